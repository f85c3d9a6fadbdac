//! Background work of every node, without a coordinator: sweeping, lowering due dates after a tightened policy, house-keeping.

mod sweeper;

pub use sweeper::Sweeper;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::clock;
use crate::cluster::Node;
use crate::store::Store;

/// Rows of one lowering batch: short enough that no check waits long for a row of it.
const LOWERING_BATCH: i32 = 2_000;
const HOUSE_KEEPING: Duration = Duration::from_mins(1);
const MAKE_ROOM: Duration = Duration::from_secs(30);

/// Starts the background work of a node; it ends when `stop` says so.
pub fn start(store: &Store, node: &Arc<Node>, stop: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    vec![
        tokio::spawn(until(stop.clone(), sweep(store.clone(), Arc::clone(node)))),
        tokio::spawn(until(stop.clone(), lower(store.clone()))),
        tokio::spawn(until(stop.clone(), keep_house(store.clone(), Arc::clone(node)))),
        tokio::spawn(until(stop.clone(), make_room(Arc::clone(node)))),
    ]
}

async fn until(mut stop: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

async fn sweep(store: Store, node: Arc<Node>) {
    let mut sweeper = Sweeper::new(Instant::now());
    loop {
        let pause = match sweeper.tick(&store, Instant::now()).await {
            Ok(swept) => {
                node.report_sweep(swept.is_none());
                match swept {
                    Some(wait) => wait,
                    None => sweeper.idle_wait(),
                }
            }
            Err(error) => {
                node.report_sweep(false);
                tracing::warn!(%error, "sweep failed; trying again in a second");
                Duration::from_secs(1)
            }
        };
        sleep(pause).await;
    }
}

async fn lower(store: Store) {
    loop {
        match store.lower_deadlines(LOWERING_BATCH).await {
            Ok(Some(done)) => {
                metrics::counter!("tenure_deadlines_lowered_total").increment(u64::try_from(done.lowered).unwrap_or(0));
                metrics::counter!("tenure_sessions_swept_total").increment(u64::try_from(done.ended).unwrap_or(0));
            }
            Ok(None) => sleep(Duration::from_secs(1)).await,
            Err(error) => {
                tracing::warn!(%error, "lowering due dates failed; trying again in a second");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Drops from memory what will not be used again.
async fn make_room(node: Arc<Node>) {
    loop {
        sleep(MAKE_ROOM).await;
        let node = Arc::clone(&node);
        let trimmed = tokio::task::spawn_blocking(move || (node.cache().trim(clock::read()), node.cache().len())).await;
        if let Ok((dropped, left)) = trimmed {
            metrics::counter!("tenure_remembered_dropped_total").increment(dropped as u64);
            #[expect(clippy::cast_precision_loss, reason = "a gauge")]
            metrics::gauge!("tenure_remembered_sessions").set(left as f64);
        }
    }
}

async fn keep_house(store: Store, node: Arc<Node>) {
    loop {
        // Beside the way of every request; a use that could not be noted is noted with the next one.
        let used = node.cache().take_used_keys();
        if !used.is_empty()
            && let Err(error) = store.note_key_use(&used).await
        {
            tracing::warn!(%error, "the last use of API keys could not be noted");
        }
        if let Err(error) = store.keep_house().await {
            tracing::warn!(%error, "house-keeping failed; trying again in a minute");
        }
        sleep(HOUSE_KEEPING).await;
    }
}
