//! The use cases: what HTTP, command line and embedders call. Each is one way through: store, then barrier, then receipt.

mod sessions;
mod users;

use std::sync::{Arc, Mutex, PoisonError};

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
    work: Mutex<Vec<JoinHandle<()>>>,
}

impl Manager {
    /// Joins the cluster and starts heartbeat and maintenance. The schema must have been checked.
    pub async fn start(store: Store, registration: Registration) -> Result<Self> {
        let node = Node::join(&store, registration).await?;
        let (stop, stopped) = watch::channel(false);
        let mut work = vec![node.beat(store.clone(), stopped.clone())];
        work.extend(maintenance::start(&store, &node, &stopped));
        Ok(Self { store, node: Some(node), stop, work: Mutex::new(work) })
    }

    /// The use cases without a node of its own, for tools.
    pub fn tool(store: Store) -> Self {
        Self { store, node: None, stop: watch::channel(false).0, work: Mutex::default() }
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
    pub async fn drain(&self) -> Result<()> {
        let _ = self.stop.send(true);
        let running = std::mem::take(&mut *self.work.lock().unwrap_or_else(PoisonError::into_inner));
        for work in running {
            let _ = work.await;
        }
        if let Some(node) = &self.node {
            node.leave(&self.store).await?;
        }
        self.store.close().await;
        Ok(())
    }
}
