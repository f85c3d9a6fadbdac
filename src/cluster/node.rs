//! One node process: registers, beats twice a second, notices dead neighbours, leaves.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{RwLock, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

use crate::error::Result;
use crate::store::{Registration, Store};

/// Between two heartbeats; a quarter of the lease.
const BEAT: Duration = Duration::from_millis(500);
/// How long a beat may stand still before its node is fenced.
const SILENCE: Duration = Duration::from_mins(1);

/// This process in the registry.
#[derive(Debug)]
pub struct Node {
    registration: Registration,
    id: Arc<RwLock<Uuid>>,
    draining: Arc<AtomicBool>,
    swept: Arc<AtomicBool>,
}

impl Node {
    /// Registers under a new id, before the process serves anything.
    pub async fn join(store: &Store, registration: Registration) -> Result<Arc<Self>> {
        let id = store.register_node(&registration).await?;
        tracing::info!(node = %registration.name, %id, "registered");
        Ok(Arc::new(Self {
            registration,
            id: Arc::new(RwLock::new(id)),
            draining: Arc::default(),
            swept: Arc::new(AtomicBool::new(true)),
        }))
    }

    /// Its id; a new one after it was fenced.
    pub async fn id(&self) -> Uuid {
        *self.id.read().await
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.registration.name
    }

    /// From now on it takes nothing new, and the registry says so.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether it is draining.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The sweeper reports whether it has nothing left to do.
    pub fn report_sweep(&self, idle: bool) {
        self.swept.store(idle, Ordering::Relaxed);
    }

    /// Leaves the registry.
    pub async fn leave(&self, store: &Store) -> Result<()> {
        store.unregister_node(self.id().await).await
    }

    /// Beats until `stop` says so. A failed beat is tried again at the next; the registry shows the silence meanwhile.
    pub fn beat(self: &Arc<Self>, store: Store, mut stop: watch::Receiver<bool>) -> JoinHandle<()> {
        let node = Arc::clone(self);
        tokio::spawn(async move {
            let mut ticks = interval(BEAT);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut applied = None;
            let mut seen = HashMap::new();
            let mut failing = false;
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
                match node.beat_once(&store, &mut applied, &mut seen).await {
                    Ok(()) => failing = false,
                    Err(error) => {
                        if !failing {
                            tracing::warn!(%error, "heartbeat failed; trying again every half second");
                        }
                        failing = true;
                        metrics::counter!("tenure_heartbeat_failures_total").increment(1);
                    }
                }
            }
        })
    }

    async fn beat_once(
        &self,
        store: &Store,
        applied: &mut Option<String>,
        seen: &mut HashMap<Uuid, (i64, Instant)>,
    ) -> Result<()> {
        let id = self.id().await;
        let answer = store.beat(id, applied.as_deref(), self.is_draining(), self.swept.load(Ordering::Relaxed)).await?;
        let Some((snapshot, users)) = answer else {
            let id = store.register_node(&self.registration).await?;
            tracing::warn!(%id, "this node was fenced as silent and has registered anew");
            *self.id.write().await = id;
            *applied = None;
            return Ok(());
        };
        if !users.is_empty() {
            store.end_outdated(&users).await?;
        }
        *applied = Some(snapshot);

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
}
