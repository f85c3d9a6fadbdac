//! The nodes: listed with what they hold, and ordered to drain.

use std::sync::Arc;

use super::Manager;
use crate::error::Result;
use crate::store::{Actor, Held, NodeRecord};

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

    /// Orders a node to drain, from whatever node: it says that it is not ready, so that load balancers lead elsewhere, and goes
    /// on answering what arrives, sweeping and polling until it is stopped or resumed. Every process of the name is meant; a
    /// process that starts is live. Returns when they know, with how they are then: after milliseconds, or after 2.07 s while
    /// some node does not answer. Ordered again it changes nothing.
    ///
    /// # Errors
    /// `unknown_node` when there is none of this name, and without `force` `last_node` when no other node is live.
    pub async fn drain_node(&self, name: &str, force: bool, actor: Actor<'_>) -> Result<Vec<NodeRecord>> {
        self.order(name, true, force, actor).await
    }

    /// Takes the order to drain back. A process that stops by itself drains on.
    ///
    /// # Errors
    /// `unknown_node` when there is none of this name.
    pub async fn resume_node(&self, name: &str, actor: Actor<'_>) -> Result<Vec<NodeRecord>> {
        self.order(name, false, false, actor).await
    }

    async fn order(&self, name: &str, draining: bool, force: bool, actor: Actor<'_>) -> Result<Vec<NodeRecord>> {
        self.store.drain_node(name, draining, force, actor).await?;
        self.barrier().await;
        // The order is given, whether what is held can be counted now or not.
        let held = match self.held().await {
            Ok(held) => held,
            Err(_) => self.held.last().await.unwrap_or_default(),
        };
        let mut nodes = self.store.nodes(&held).await?;
        nodes.retain(|node| node.name == name);
        Ok(nodes)
    }
}
