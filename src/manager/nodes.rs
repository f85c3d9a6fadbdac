//! The nodes, with what they hold.

use std::sync::Arc;

use super::Manager;
use crate::error::Result;
use crate::store::{Held, NodeRecord};

impl Manager {
    /// Every node. What it is doing is of now; how many sessions it holds, of [`Manager::held`].
    ///
    /// # Errors
    /// When PostgreSQL is unavailable.
    pub async fn nodes(&self) -> Result<Vec<NodeRecord>> {
        let held = self.held().await?;
        self.store.nodes(&held).await
    }

    /// How many live sessions each node holds: of some seconds ago at most, as it says. Every one is looked at, so they are counted
    /// once however many ask.
    ///
    /// # Errors
    /// When PostgreSQL is unavailable.
    pub async fn held(&self) -> Result<Arc<Held>> {
        self.held.get(self.store.held()).await
    }
}
