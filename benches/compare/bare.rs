//! What is compared with a check from memory: the least a concurrent map can do and still be a check.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use papaya::HashMap;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// What a session comes down to, if nothing but idleness ended it and no other node existed.
struct Entry {
    hash: [u8; 32],
    idle: Duration,
    seen_at: AtomicU64,
}

/// A map of sessions.
pub struct BareMap {
    entries: HashMap<Uuid, Entry>,
    since: Instant,
}

impl BareMap {
    /// A map that holds the sessions of these decoded tokens.
    pub fn of(tokens: impl Iterator<Item = [u8; 48]>) -> Self {
        let entries = HashMap::new();
        let pinned = entries.pin();
        for token in tokens {
            let (id, secret) = token.split_at(16);
            let entry = Entry { hash: Sha256::digest(secret).into(), idle: Duration::from_mins(30), seen_at: AtomicU64::new(0) };
            pinned.insert(Uuid::from_slice(id).unwrap(), entry);
        }
        drop(pinned);
        Self { entries, since: Instant::now() }
    }

    /// A check of a token as text, with activity.
    pub fn check(&self, token: &str) -> bool {
        let mut decoded = [0; 48];
        let text = token.strip_prefix("tn_");
        let length = text.and_then(|text| URL_SAFE_NO_PAD.decode_slice(text, &mut decoded).ok());
        length == Some(48) && self.check_decoded(&decoded)
    }

    /// A check of a token that was decoded before.
    pub fn check_decoded(&self, token: &[u8; 48]) -> bool {
        let (id, secret) = token.split_at(16);
        let hash = Sha256::digest(secret);
        let entries = self.entries.pin();
        let Some(entry) = entries.get(&Uuid::from_slice(id).unwrap()) else { return false };
        let now = self.since.elapsed();
        let seen_at = Duration::from_nanos(entry.seen_at.load(Ordering::Relaxed));
        let accepted = bool::from(hash.ct_eq(&entry.hash)) && now < seen_at + entry.idle;
        if accepted {
            entry.seen_at.store(now.as_nanos() as u64, Ordering::Relaxed);
        }
        accepted
    }
}
