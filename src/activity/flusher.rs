//! The writer: takes what the cache counted, writes it in batches, gives back what could not be written.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use uuid::Uuid;

use super::Transactions;
use crate::cache::{Cache, Unwritten};
use crate::cluster::Node;
use crate::error::Result;
use crate::store::{Flushed, Store};

/// Between two flushes. A crash loses at most this much activity, and what PostgreSQL had not yet written.
pub const FLUSH: Duration = Duration::from_secs(2);
/// Rows of one statement.
const BATCH: usize = 1_000;

/// The writer of one node.
#[derive(Debug)]
pub struct Flusher {
    store: Store,
    cache: Arc<Cache>,
    transactions: Arc<Transactions>,
}

/// A batch on its way: given back unless it was written, even when the flush is dropped half-way.
struct Batch<'a> {
    cache: &'a Cache,
    taken: Vec<Unwritten>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.taken.drain(..).for_each(|unwritten| self.cache.put_back(unwritten));
    }
}

/// A flush under way: what it does not come to is looked for by the next.
struct Round<'a> {
    cache: &'a Cache,
    whole: bool,
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        if !self.whole {
            self.cache.look_again();
        }
    }
}

impl Flusher {
    /// A writer of what a cache and the transactions hold.
    pub fn new(store: Store, cache: Arc<Cache>, transactions: Arc<Transactions>) -> Self {
        Self { store, cache, transactions }
    }

    /// Writes everything counted so far; returns how many sessions were written and how many were given back.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached: what was not written is given back.
    pub async fn flush(&self, node: Uuid) -> Result<(usize, usize)> {
        let mut round = Round { cache: &self.cache, whole: false };
        let (ids, mut orphans) = self.cache.unwritten();
        let mut skipped = Batch { cache: &self.cache, taken: Vec::new() };
        let mut written = 0;
        // Orphans first, in statements of their own: their sessions may be remembered again, and must not meet themselves.
        orphans.sort_unstable_by_key(|unwritten| unwritten.id);
        let mut orphans = Batch { cache: &self.cache, taken: orphans };
        while !orphans.taken.is_empty() {
            let mut seen = HashSet::new();
            let (now, later): (Vec<_>, Vec<_>) =
                orphans.taken.drain(..).partition(|unwritten| seen.len() < BATCH && seen.insert(unwritten.id));
            orphans.taken = later;
            written += self.write(now, &mut skipped.taken).await?;
        }
        for ids in ids.chunks(BATCH) {
            written += self.write(self.cache.take(ids), &mut skipped.taken).await?;
        }
        let back = skipped.taken.len();
        drop(skipped);
        round.whole = true;
        metrics::counter!("tenure_activity_written_total").increment(written as u64);
        self.transactions.write(&self.store, node).await?;
        Ok((written, back))
    }

    /// Writes one batch, of different sessions in order; returns how many were written.
    async fn write(&self, taken: Vec<Unwritten>, skipped: &mut Vec<Unwritten>) -> Result<usize> {
        if taken.is_empty() {
            return Ok(0);
        }
        let mut batch = Batch { cache: &self.cache, taken };
        let marks: Vec<_> = batch.taken.iter().map(|unwritten| (unwritten.id, unwritten.law())).collect();
        let flushed = self.store.flush(&marks).await?;
        let mut written = 0;
        for (unwritten, flushed) in batch.taken.drain(..).zip(flushed) {
            match flushed {
                Flushed::Written(anchor) => {
                    self.cache.written(&unwritten, anchor);
                    written += 1;
                }
                Flushed::Skipped => skipped.push(unwritten),
                Flushed::Gone => self.cache.forget(unwritten.id),
            }
        }
        Ok(written)
    }
}

/// How often the last flush is tried again for rows that somebody holds.
const LAST_TRIES: usize = 10;

impl Flusher {
    /// Flushes every two seconds until `stop` says so, and then once more.
    pub async fn run(self: Arc<Self>, node: Arc<Node>, mut stop: watch::Receiver<bool>) {
        let mut failing = false;
        loop {
            let stopped = tokio::select! {
                () = sleep(FLUSH) => false,
                _ = stop.wait_for(|stop| *stop) => true,
            };
            match self.flush(node.id()).await {
                Ok(_) => failing = false,
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "activity could not be written; it is kept and tried again every 2 s");
                    }
                    failing = true;
                }
            }
            if stopped {
                return self.finish(&node).await;
            }
        }
    }

    async fn finish(&self, node: &Node) {
        for _ in 0..LAST_TRIES {
            match self.flush(node.id()).await {
                Ok((_, 0)) => return,
                Ok(_) => sleep(Duration::from_millis(50)).await,
                Err(error) => {
                    tracing::warn!(%error, "the last activity could not be written");
                    return;
                }
            }
        }
        tracing::warn!("the last activity of some sessions could not be written: somebody holds their rows");
    }
}
