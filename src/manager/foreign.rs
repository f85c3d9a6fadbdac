//! Tokens that other stores issued: their digest leads to the session that was imported with them.

use std::sync::atomic::{AtomicI64, Ordering};

use super::Manager;
use crate::clock::{self, Boot};
use crate::error::Result;
use crate::session::{ForeignToken, Presented};

/// How long a node goes on believing that nothing was imported, microseconds. An import waits this long before it says that it is
/// done, so no client is turned away once the old store is switched off.
const BELIEVED: Boot = 1_000_000;

/// When this node last began to ask whether any session was imported, and heard that none was. It is the one negative thing a node
/// remembers: without an import, a string that cannot be a token of this store costs one question a second, however many come.
#[derive(Debug)]
pub(super) struct NoneImported(AtomicI64);

impl Default for NoneImported {
    fn default() -> Self {
        Self(AtomicI64::new(Boot::MIN))
    }
}

impl NoneImported {
    fn is_believed(&self) -> bool {
        clock::boot().saturating_sub(self.0.load(Ordering::Relaxed)) < BELIEVED
    }
}

impl Manager {
    /// How long after its first commit an import is known to every node.
    pub const FOREIGN_TOKENS_KNOWN_AFTER: std::time::Duration = std::time::Duration::from_micros(BELIEVED.unsigned_abs());

    /// Whether a check of this text would ask PostgreSQL for a token that this node does not remember. What cannot be a token of
    /// anybody is refused for nothing.
    pub fn is_strange(&self, token: &str) -> bool {
        match Presented::parse(token) {
            Some(token) => !self.cache.remembers(token.id, &token.hash),
            None => !self.none_imported.is_believed() && ForeignToken::parse(token).is_some(),
        }
    }

    /// What a foreign token leads to; `None` for what nobody was imported with.
    pub(super) async fn foreign(&self, token: &str) -> Result<Option<Presented>> {
        let Some(token) = ForeignToken::parse(token).filter(|_| !self.none_imported.is_believed()) else { return Ok(None) };
        let _turn = self.turn().await?;
        let sent = clock::boot();
        let (found, any) = self.store.foreign_session(&token).await?;
        if !any {
            self.none_imported.0.fetch_max(sent, Ordering::Relaxed);
        }
        Ok(found)
    }
}
