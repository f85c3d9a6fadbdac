//! The writer: takes what the cache counted, writes it in batches, gives back what could not be written.

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

/// What is given back unless it was written, even when the flush is dropped half-way.
struct Pending<'a> {
    cache: &'a Cache,
    unwritten: Vec<Unwritten>,
    skipped: Vec<Unwritten>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        for unwritten in self.unwritten.drain(..).chain(self.skipped.drain(..)) {
            self.cache.put_back(unwritten);
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
        let mut pending = Pending { cache: &self.cache, unwritten: self.cache.take_unwritten(), skipped: Vec::new() };
        let mut written = 0;
        while !pending.unwritten.is_empty() {
            let from = pending.unwritten.len().saturating_sub(BATCH);
            let (batch, again) = distinct(&pending.unwritten[from..]);
            let marks: Vec<_> = batch.iter().map(|unwritten| (unwritten.id, unwritten.law())).collect();
            let flushed = self.store.flush(&marks).await?;
            pending.unwritten.truncate(from);
            pending.skipped.extend(again);
            for (unwritten, flushed) in batch.into_iter().zip(flushed) {
                match flushed {
                    Flushed::Written(anchor) => {
                        self.cache.written(&unwritten, anchor);
                        written += 1;
                    }
                    Flushed::Skipped => pending.skipped.push(unwritten),
                    Flushed::Gone => self.cache.forget(unwritten.id),
                }
            }
        }
        metrics::counter!("tenure_activity_written_total").increment(written as u64);
        let back = pending.skipped.len();
        drop(pending);
        self.transactions.write(&self.store, node).await?;
        Ok((written, back))
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

/// Splits what is ordered by session into one mark a session and the rest: a session counted in a forgotten entry and again in
/// a new one has two, which must not meet in one statement.
fn distinct(ordered: &[Unwritten]) -> (Vec<Unwritten>, Vec<Unwritten>) {
    let mut batch: Vec<Unwritten> = Vec::with_capacity(ordered.len());
    let mut again = Vec::new();
    for unwritten in ordered {
        match batch.last() {
            Some(last) if last.id == unwritten.id => again.push(*unwritten),
            _ => batch.push(*unwritten),
        }
    }
    (batch, again)
}
