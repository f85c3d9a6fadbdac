//! API keys, remembered under the same lease as sessions, so that a request that memory can answer asks PostgreSQL nothing.

use std::sync::Arc;

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
}

/// Keys by digest. The digest is of 256 random bits: finding one by it says that the caller holds the key.
#[derive(Debug, Default)]
pub(super) struct Keys(papaya::HashMap<[u8; 32], Arc<CachedKey>>);

impl Keys {
    pub(super) fn forget(&self, id: Uuid) {
        self.0.pin().retain(|_, key| key.id != id);
    }

    pub(super) fn clear(&self) {
        self.0.pin().clear();
    }
}

impl Cache {
    /// A key from memory; `None` when PostgreSQL must be asked.
    pub fn key(&self, hash: &TokenHash, reading: Reading) -> Option<Arc<CachedKey>> {
        let trust = self.trust.load();
        trust.now(reading)?;
        self.keys.0.pin().get(hash.as_bytes()).cloned()
    }

    /// Begins the look-up of a key: before anything is sent.
    pub fn begin_key(&self) -> Load<'_> {
        self.begin(Target::Key)
    }

    /// Remembers the key a look-up found, under the rules of a load. Only keys that exist are remembered.
    pub fn finish_key(&self, load: &Load<'_>, hash: &TokenHash, found: Arc<CachedKey>, reading: Reading) {
        let guarded = self.guard();
        if !guarded.is_tainted(load) && self.trust.load().now(reading).is_some() {
            self.keys.0.pin().insert(*hash.as_bytes(), found);
        }
    }
}
