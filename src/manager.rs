//! The use cases: what HTTP, command line and embedders call. Each is one way through: store, then barrier, then receipt.

mod sessions;
mod users;

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use sessions::{Checked, Created, Rotated, SignOut, Terminated, Verdict};
pub use users::{Changed, ChangedUser};

use crate::cluster::Node;
use crate::error::Result;
use crate::maintenance;
use crate::store::{Registration, Store};

/// A running node: the store, its place in the cluster, and its background work.
///
/// Dropping it stops the background work; [`Manager::drain`] also leaves the registry.
#[derive(Debug)]
pub struct Manager {
    store: Store,
    node: Option<Arc<Node>>,
    stop: watch::Sender<bool>,
    work: Vec<JoinHandle<()>>,
}

impl Manager {
    /// Joins the cluster and starts heartbeat and maintenance. The schema must have been checked.
    pub async fn start(store: Store, registration: Registration) -> Result<Self> {
        let node = Node::join(&store, registration).await?;
        let (stop, stopped) = watch::channel(false);
        let mut work = vec![node.beat(store.clone(), stopped.clone())];
        work.extend(maintenance::start(&store, &node, &stopped));
        Ok(Self { store, node: Some(node), stop, work })
    }

    /// The use cases without a node of its own, for tools.
    pub fn tool(store: Store) -> Self {
        Self { store, node: None, stop: watch::channel(false).0, work: Vec::new() }
    }

    /// The store, for reads that need no use case.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// This process in the registry; `None` for tools.
    pub fn node(&self) -> Option<&Arc<Node>> {
        self.node.as_ref()
    }

    /// Stops the background work and leaves the registry. Call it when no request is in flight any more.
    pub async fn drain(&mut self) -> Result<()> {
        let _ = self.stop.send(true);
        for work in self.work.drain(..) {
            let _ = work.await;
        }
        if let Some(node) = &self.node {
            node.leave(&self.store).await?;
        }
        self.store.close().await;
        Ok(())
    }
}
