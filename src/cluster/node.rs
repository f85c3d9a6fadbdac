//! One node process: who it is in the registry, what it remembers, and what it watches of its neighbours.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::cache::Cache;
use crate::error::Result;
use crate::store::{Registration, Store};

/// Between two looks at the neighbours.
const WATCH: Duration = Duration::from_secs(5);
/// How long a beat may stand still before its node is fenced.
const SILENCE: Duration = Duration::from_mins(1);

/// This process in the registry.
#[derive(Debug)]
pub struct Node {
    registration: Registration,
    cache: Arc<Cache>,
    id: ArcSwap<Uuid>,
    /// It stops by itself, which no order takes back.
    stopping: AtomicBool,
    /// Somebody ordered it to drain, as the last poll said.
    ordered: AtomicBool,
    swept: AtomicBool,
    news: Arc<Notify>,
}

impl Node {
    /// Registers under a new id, before the process serves or remembers anything.
    pub async fn join(store: &Store, registration: Registration, cache: Arc<Cache>) -> Result<Arc<Self>> {
        let id = store.register_node(&registration).await?;
        tracing::info!(node = %registration.name, %id, "registered");
        Ok(Arc::new(Self {
            registration,
            cache,
            id: ArcSwap::from_pointee(id),
            stopping: AtomicBool::new(false),
            ordered: AtomicBool::new(false),
            swept: AtomicBool::new(true),
            news: Arc::default(),
        }))
    }

    /// Its id; a new one after it was fenced.
    pub fn id(&self) -> Uuid {
        **self.id.load()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.registration.name
    }

    /// What it remembers.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// From now on it takes nothing new, and the registry says so: it stops. Nothing takes that back.
    pub fn drain(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether it is draining: because it stops, or by an order that its polls brought. It answers what arrives all the same, but
    /// whoever leads requests here should lead them to another node.
    pub fn is_draining(&self) -> bool {
        self.is_stopping() || self.ordered.load(Ordering::Relaxed)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// What a poll said of orders to drain.
    pub(super) fn heed(&self, ordered: bool) {
        if self.ordered.swap(ordered, Ordering::Relaxed) == ordered || self.is_stopping() {
            return;
        }
        if ordered {
            tracing::info!("ordered to drain: not ready until the order is taken back");
        } else {
            tracing::info!("the order to drain was taken back: ready again");
        }
    }

    /// Notified after each poll that brought something or was hinted at.
    pub fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// The sweeper reports whether it has nothing left to do.
    pub fn report_sweep(&self, idle: bool) {
        self.swept.store(idle, Ordering::Relaxed);
    }

    /// Whether the sweeper had nothing left to do.
    pub(super) fn is_swept(&self) -> bool {
        self.swept.load(Ordering::Relaxed)
    }

    /// Registers anew: another node found this one silent, so nothing it knows counts any more. An order to drain still does.
    pub(super) async fn rejoin(&self, store: &Store) -> Result<()> {
        self.cache.distrust();
        let id = store.register_node_anew(&self.registration, self.id(), self.is_draining()).await?;
        tracing::warn!(%id, "this node was fenced as silent and has registered anew");
        self.id.store(Arc::new(id));
        Ok(())
    }

    /// Leaves the registry.
    pub async fn leave(&self, store: &Store) -> Result<()> {
        store.unregister_node(self.id()).await
    }

    /// Fences nodes whose beat stands still, for as long as it is polled.
    pub(super) async fn watch(store: Store) {
        let mut seen = HashMap::new();
        loop {
            sleep(WATCH).await;
            if let Err(error) = fence(&store, &mut seen).await {
                tracing::warn!(%error, "could not look at the other nodes; trying again in 5 s");
            }
        }
    }
}

async fn fence(store: &Store, seen: &mut HashMap<Uuid, (i64, Instant)>) -> Result<()> {
    let now = Instant::now();
    let beats: HashMap<_, _> = store.beats().await?.into_iter().collect();
    seen.retain(|node, _| beats.contains_key(node));
    for (node, beat) in beats {
        let entry = seen.entry(node).or_insert((beat, now));
        if entry.0 != beat {
            *entry = (beat, now);
        }
    }
    let still: Vec<_> =
        seen.iter().filter(|(_, (_, since))| now - *since >= SILENCE).map(|(node, (beat, _))| (*node, *beat)).collect();
    if !still.is_empty() {
        let fenced = store.fence_nodes(&still).await?;
        if fenced > 0 {
            tracing::warn!(fenced, "fenced nodes that have been silent for a minute");
        }
    }
    Ok(())
}
