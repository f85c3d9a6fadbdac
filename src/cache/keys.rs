//! API keys, remembered under the same lease as sessions, so that a request that memory can answer asks PostgreSQL nothing.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::{Cache, Load, Target};
use crate::clock::Reading;
use crate::session::{Role, TokenHash};

/// A key as a look-up found it.
#[derive(Debug)]
pub struct CachedKey {
    /// Public id.
    pub id: Uuid,
    /// Name: the actor of what it does.
    pub name: Box<str>,
    /// What it may do.
    pub role: Role,
    /// From when it is void, microseconds since 1970 in the database's time; `None` is never.
    expires_at: Option<i64>,
    /// Used since the uses were last taken. Read far more often than written: what every request writes would be fought over.
    used: AtomicBool,
}

impl CachedKey {
    /// A key, as yet unused.
    pub fn new(id: Uuid, name: &str, role: Role, expires_at: Option<i64>) -> Self {
        Self { id, name: name.into(), role, expires_at, used: AtomicBool::new(false) }
    }
}

/// Keys by digest. The digest is of 256 random bits: finding one by it says that the caller holds the key.
#[derive(Debug, Default)]
pub(super) struct Keys {
    remembered: papaya::HashMap<[u8; 32], Arc<CachedKey>>,
    /// Keys that were looked up since the uses were last taken, remembered or not. No more than exist.
    looked_up: Mutex<HashSet<Uuid>>,
}

impl Keys {
    pub(super) fn forget(&self, id: Uuid) {
        self.remembered.pin().retain(|_, key| key.id != id);
    }

    pub(super) fn clear(&self) {
        self.remembered.pin().clear();
    }

    fn looked_up(&self) -> std::sync::MutexGuard<'_, HashSet<Uuid>> {
        self.looked_up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    /// A key from memory, which counts as its use; `None` when PostgreSQL must be asked, as it must about one that has expired.
    pub fn key(&self, hash: &TokenHash, reading: Reading) -> Option<Arc<CachedKey>> {
        let trust = self.trust.load();
        let now = trust.now(reading)?;
        let key = self.keys.remembered.pin().get(hash.as_bytes()).cloned()?;
        if key.expires_at.is_some_and(|at| at <= now) {
            return None;
        }
        if !key.used.load(Ordering::Relaxed) {
            key.used.store(true, Ordering::Relaxed);
        }
        Some(key)
    }

    /// The keys that were used since the last call.
    pub fn take_used_keys(&self) -> Vec<Uuid> {
        let mut used = std::mem::take(&mut *self.keys.looked_up());
        let keys = self.keys.remembered.pin();
        used.extend(keys.values().filter(|key| key.used.swap(false, Ordering::Relaxed)).map(|key| key.id));
        used.into_iter().collect()
    }

    /// Begins the look-up of a key: before anything is sent.
    pub fn begin_key(&self) -> Load<'_> {
        self.begin(Target::Key)
    }

    /// Remembers the key a look-up found, under the rules of a load. Only keys that exist are remembered. Its use counts.
    pub fn finish_key(&self, load: &Load<'_>, hash: &TokenHash, found: Arc<CachedKey>, reading: Reading) {
        self.keys.looked_up().insert(found.id);
        let guarded = self.guard();
        if !guarded.is_tainted(load) && self.trust.load().now(reading).is_some() {
            self.keys.remembered.pin().insert(*hash.as_bytes(), found);
        }
    }
}
