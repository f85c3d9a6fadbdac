//! API keys: who calls.

use std::sync::Arc;

use super::Manager;
use crate::cache::CachedKey;
use crate::clock;
use crate::error::Result;
use crate::session::TokenHash;
use crate::store::Actor;

/// An API key that was found.
pub type Key = Arc<CachedKey>;

impl Manager {
    /// The key of a digest, from memory while that may be trusted; `None` when there is none, or it has expired.
    pub async fn key(&self, hash: &TokenHash) -> Result<Option<Key>> {
        if let Some(key) = self.key_now(hash) {
            return Ok(Some(key));
        }
        let load = self.cache.begin_key();
        let Some(record) = self.store.key(hash).await? else { return Ok(None) };
        let expires_at = record.expires_at.map(|at| at.timestamp_micros());
        let key = Arc::new(CachedKey::new(record.id, &record.name, record.role, expires_at));
        self.cache.finish_key(&load, hash, Arc::clone(&key), clock::read());
        Ok(Some(key))
    }

    /// The key of a digest from memory, without waiting; `None` says nothing about the key: ask [`Manager::key`].
    pub fn key_now(&self, hash: &TokenHash) -> Option<Key> {
        self.cache.key(hash, clock::read())
    }

    /// Revokes a key by name or id and waits until no node accepts it; `false` when there is none.
    pub async fn revoke_key(&self, name_or_id: &str, actor: Actor<'_>) -> Result<bool> {
        let revoked = self.store.revoke_key(name_or_id, actor).await?;
        if revoked {
            self.barrier().await;
        }
        Ok(revoked)
    }
}
