//! One sweeper: where it stands, when it scans from the beginning, how long it sleeps.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::error::Result;
use crate::store::{Store, SweepPosition};

/// Rows of one batch.
const BATCH: i32 = 1_000;
/// A scan from the beginning meets rows that were locked, or became due behind the position.
const FULL_SCAN: Duration = Duration::from_mins(1);
/// It never sleeps longer, so that a row inserted meanwhile waits at most this long.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// The state of one node's sweeper. It remembers how far it came, so that a tick does not wade through the index entries of
/// rows that it ended and vacuum has not yet removed; and until when nothing can become due, so that an idle tick reads no
/// index at all.
#[derive(Debug)]
pub struct Sweeper {
    position: SweepPosition,
    revision: Option<i64>,
    calm_until: Option<DateTime<Utc>>,
    scanned_at: Instant,
    next_due_in: Option<Duration>,
}

impl Sweeper {
    /// A sweeper at the beginning.
    pub fn new(now: Instant) -> Self {
        Self { position: SweepPosition::START, revision: None, calm_until: None, scanned_at: now, next_due_in: None }
    }

    /// One batch. `Some(pause)` when there is more to do, `None` when nothing is due.
    pub async fn tick(&mut self, store: &Store, now: Instant) -> Result<Option<Duration>> {
        if now - self.scanned_at >= FULL_SCAN {
            self.position = SweepPosition::START;
            self.scanned_at = now;
            self.calm_until = None;
        }
        if let Some(until) = self.calm_until {
            let outlook = store.sweep_outlook().await?;
            if Some(outlook.revision) == self.revision && !outlook.lowering && outlook.now < until {
                self.next_due_in = (until - outlook.now).to_std().ok();
                return Ok(None);
            }
        }
        let swept = store.sweep(self.position, BATCH).await?;
        metrics::counter!("tenure_sessions_swept_total").increment(u64::try_from(swept.ended).unwrap_or(0));
        self.position = swept.reached;
        self.next_due_in = swept.next_due_in;
        if self.revision.is_some_and(|revision| revision != swept.revision) {
            self.position = SweepPosition::START;
        }
        self.revision = Some(swept.revision);
        let more = swept.ended + swept.rearmed > 0 || swept.next_due_in == Some(Duration::ZERO);
        self.calm_until = (!more).then_some(swept.calm_until);
        Ok(more.then_some(if swept.ended + swept.rearmed == 0 { Duration::from_millis(50) } else { Duration::ZERO }))
    }

    /// How long to sleep when nothing is due.
    pub fn idle_wait(&self) -> Duration {
        self.next_due_in.unwrap_or(LONGEST_SLEEP).clamp(Duration::from_millis(10), LONGEST_SLEEP)
    }
}
