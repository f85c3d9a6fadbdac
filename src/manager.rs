//! The use cases: what HTTP, command line and embedders call. Each is one way through: memory, store, barrier, receipt.

mod bulk;
mod checks;
mod events;
mod foreign;
mod keys;
mod memo;
mod nodes;
mod oauth;
mod overview;
mod passwords;
mod sessions;
mod users;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinHandle;

pub use crate::cache::Hit;
pub use crate::cluster::Told;
pub use bulk::BulkTerminated;
pub use checks::{CheckOptions, Checked, Verdict};
pub use events::Following;
pub use keys::Key;
pub use oauth::{ChangedEntity, EntityView, Tokens};
pub use sessions::{Created, CreatedView, Rotated, SignOut, Terminated};
pub use users::{Changed, ChangedUser};

use crate::activity::{Flusher, Transactions};
use crate::cache::Cache;
use crate::clock;
use crate::cluster::{Barrier, Barriers, Node, Tail};
use crate::error::Result;
use crate::maintenance;
use crate::session::instant;
use crate::store::{Held, Overview, Registration, Store};
use memo::Memo;

/// How a node works; the defaults suit nearly everybody.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Sessions it remembers at most; each takes some 200 bytes, and no memory is taken before it is used. Further ones are
    /// asked of PostgreSQL at every check; every 30 seconds room is made by forgetting those idle for longest. 0: none at all.
    pub remembered_sessions: usize,
    /// Whether it listens for hints to poll sooner. Without them it learns of changes within half a second.
    pub listen: bool,
    /// A rule of the cache protocol to leave out, to see what it is for.
    #[cfg(any(test, feature = "test-util"))]
    pub without: Option<crate::cache::Rule>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            remembered_sessions: 1_000_000,
            listen: true,
            #[cfg(any(test, feature = "test-util"))]
            without: None,
        }
    }
}

/// A running node: the store, its place in the cluster, what it remembers, and its background work.
///
/// One a process is enough, shared by reference or in an [`Arc`]; it needs a tokio runtime with I/O and time. Calls that change
/// a user, a property or a token, and those that end sessions, return when no node accepts any more what they ended: after
/// milliseconds, or after 2.07 s at most beyond their statement while some node does not answer.
///
/// Every call fails with an error for which [`Error::is_unavailable`](crate::Error::is_unavailable) is true while PostgreSQL is
/// away or too slow. After a change that failed so it is not known whether it happened: ending again, or setting the same
/// again, does no harm; creating again makes a second session, unless both go through [`Manager::create_once`].
///
/// Dropping it stops the background work, with at most two seconds of activity unwritten, and other nodes' barriers wait for it
/// until it is found silent after a minute; [`Manager::drain`] writes the activity and leaves the registry.
#[derive(Debug)]
pub struct Manager {
    store: Store,
    cache: Arc<Cache>,
    transactions: Arc<Transactions>,
    barriers: Barriers,
    /// Checks that ask PostgreSQL at once.
    gate: Semaphore,
    none_imported: foreign::NoneImported,
    /// Passwords that are hashed at once.
    hashing: Arc<Semaphore>,
    /// Previews that scan at once: two, so that they leave connections to checks.
    rehearsing: Semaphore,
    overview: Memo<Overview>,
    held: Memo<Held>,
    node: Option<Arc<Node>>,
    tail: Option<Tail>,
    flusher: Option<Arc<Flusher>>,
    stop: watch::Sender<bool>,
    work: Mutex<Vec<JoinHandle<()>>>,
}

impl Manager {
    /// Joins the cluster and starts polls, flusher and maintenance. The schema must have been checked
    /// ([`Store::check_schema`]).
    ///
    /// # Errors
    /// When it cannot be entered into the registry. Afterwards it never stops by itself: what fails in the background is tried
    /// again.
    pub async fn start(store: Store, registration: Registration) -> Result<Self> {
        Self::start_with(store, registration, NodeOptions::default()).await
    }

    /// The same with other options.
    pub async fn start_with(store: Store, registration: Registration, options: NodeOptions) -> Result<Self> {
        let cache = Cache::new(options.remembered_sessions);
        #[cfg(any(test, feature = "test-util"))]
        let cache = cache.without(options.without);
        let mut manager = Self::over(store, cache);
        let node = Node::join(&manager.store, registration, Arc::clone(&manager.cache)).await?;
        let stopped = manager.stop.subscribe();
        manager.tail = Some(Tail::start(manager.store.clone(), node.news(), stopped.clone()));
        let flusher =
            Arc::new(Flusher::new(manager.store.clone(), Arc::clone(&manager.cache), Arc::clone(&manager.transactions)));
        let mut work = maintenance::start(&manager.store, &node, &stopped);
        work.push(tokio::spawn(Arc::clone(&flusher).run(Arc::clone(&node), stopped.clone())));
        work.push(tokio::spawn(Arc::clone(&node).run(manager.store.clone(), options.listen, stopped)));
        manager.work = Mutex::new(work);
        manager.node = Some(node);
        manager.flusher = Some(flusher);
        Ok(manager)
    }

    /// The use cases without a node of its own, for tools: it remembers nothing.
    pub fn tool(store: Store) -> Self {
        Self::over(store, Cache::new(0))
    }

    fn over(store: Store, cache: Cache) -> Self {
        Self {
            barriers: Barriers::start(store.clone()),
            gate: Semaphore::new(store.connections()),
            none_imported: foreign::NoneImported::default(),
            hashing: Arc::new(Semaphore::new(passwords::at_once())),
            rehearsing: Semaphore::new(2),
            overview: Memo::default(),
            held: Memo::default(),
            store,
            cache: Arc::new(cache),
            transactions: Arc::default(),
            node: None,
            tail: None,
            flusher: None,
            stop: watch::channel(false).0,
            work: Mutex::default(),
        }
    }

    /// The store, for reads that need no use case.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// This process in the registry; `None` for tools.
    pub fn node(&self) -> Option<&Arc<Node>> {
        self.node.as_ref()
    }

    /// The database's time: as this node knows it from its polls, else as PostgreSQL says.
    pub async fn time(&self) -> Result<DateTime<Utc>> {
        match self.cache.now(clock::read()) {
            Some(now) => Ok(instant(now)),
            None => self.store.time().await,
        }
    }

    /// Waits until no node accepts what was committed before the call, for instance by plain SQL: at most 2.07 s.
    pub async fn barrier(&self) -> Barrier {
        self.barriers.wait().await
    }

    /// Writes what was counted, now rather than within two seconds.
    pub async fn flush(&self) -> Result<()> {
        if let (Some(node), Some(flusher)) = (&self.node, &self.flusher) {
            flusher.flush(node.id()).await?;
        }
        Ok(())
    }

    /// Writes what was counted, stops the background work and leaves the registry. Call it when no request is in flight any
    /// more; whatever is asked afterwards is unavailable.
    ///
    /// # Errors
    /// When it could not leave the registry: the other nodes will find it silent. Activity that could not be written is logged,
    /// and lost.
    pub async fn drain(&self) -> Result<()> {
        let _ = self.stop.send(true);
        // Held to the end: a second caller must not leave while a poll of the first could still earn a lease.
        let mut work = self.work.lock().await;
        for work in work.drain(..) {
            let _ = work.await;
        }
        // A barrier no longer waits for a node that has left, so it must have stopped trusting its memory.
        self.cache.distrust();
        let left = match &self.node {
            Some(node) => node.leave(&self.store).await,
            None => Ok(()),
        };
        self.store.close().await;
        left
    }
}
