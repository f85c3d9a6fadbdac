//! For how long a node may act on what it remembers, what time it is, and by which policies it judges: replaced as a whole by
//! every applied poll, read at once by every hit.

use std::sync::Arc;

use crate::clock::{Boot, Reading};
use crate::session::{Deadlines, Kind, Policy, Timing};

/// The lease L, microseconds: `tenure.lease_interval()` in `migrations/V2__cluster.sql`.
pub const LEASE: i64 = 2_000_000;
/// Only a poll answered this quickly says what time it is, microseconds.
const PROMPT_ANSWER: i64 = 50_000;
/// A time base older than this is none, microseconds: clocks drift.
const BASE_LIFE: i64 = 60_000_000;
/// A wall clock further off than this since the last poll means that the machine's clocks cannot be trusted, microseconds.
const CLOCK_SHIFT: i64 = 100_000;
/// Replaced policies that are remembered; an entry judged under an older one is read again.
const REMEMBERED: usize = 16;

/// The policies of all kinds, in the order of [`Kind::ALL`].
pub type PolicySet = [Policy; Kind::ALL.len()];

/// Policies that were in force until some instant.
#[derive(Debug, Clone)]
struct Past {
    generation: u32,
    policies: Arc<PolicySet>,
    until: i64,
}

/// What a node may rely on now.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    /// The lease ends here; 0 is none.
    pub(super) lease: Boot,
    /// Database time minus `CLOCK_BOOTTIME`, and when that was measured.
    base: Option<(i64, Boot)>,
    /// Wall clock minus `CLOCK_BOOTTIME` when the last applied poll was sent.
    offset: i64,
    policies: Option<Arc<PolicySet>>,
    past: Arc<Vec<Past>>,
    /// Grows with every change of the policies.
    pub(super) generation: u32,
    /// Grows whenever the cache is emptied.
    pub(super) life: u32,
}

impl Trust {
    pub(super) fn none() -> Self {
        Self { lease: 0, base: None, offset: 0, policies: None, past: Arc::default(), generation: 0, life: 0 }
    }

    /// Whether memory may be used at all.
    pub(super) fn is_live(&self, reading: Reading) -> bool {
        reading.boot < self.lease && (reading.offset - self.offset).abs() <= CLOCK_SHIFT
    }

    /// Database time in microseconds since 1970, ahead of the truth by at most the round trip of the poll it rests on; `None`
    /// when no poll of the last minute was quick enough to tell.
    pub(super) fn time(&self, boot: Boot) -> Option<i64> {
        let (base, measured) = self.base?;
        (boot - measured < BASE_LIFE).then_some(base + boot)
    }

    /// The time, if memory may be used.
    pub(super) fn now(&self, reading: Reading) -> Option<i64> {
        if self.is_live(reading) { self.time(reading.boot) } else { None }
    }

    pub(super) fn policy(&self, kind: Kind) -> Option<&Policy> {
        self.policies.as_ref().map(|policies| &policies[kind as usize])
    }

    /// Whether a session judged under an older generation lived on through every change of the policies since. What was due when
    /// a policy was replaced stays over, however long the new limit (A11).
    pub(super) fn survived(&self, timing: &Timing, durable: i64, judged: u32) -> bool {
        let mut next = judged;
        for past in self.past.iter().filter(|past| past.generation >= judged) {
            if past.generation != next
                || Deadlines::of(timing, durable, &past.policies[timing.kind as usize]).expires_at <= past.until
            {
                return false;
            }
            next += 1;
        }
        next == self.generation
    }

    /// Takes the clocks as they were when the poll was sent: had the machine stood still until the answer was received, a wall
    /// clock read then would already be right again.
    pub(super) fn measure(&mut self, answered_at: i64, sent: Reading, received: Boot) {
        self.offset = sent.offset;
        if received - sent.boot <= PROMPT_ANSWER {
            self.base = Some((answered_at - sent.boot, sent.boot));
        }
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) const fn offset(&self) -> i64 {
        self.offset
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) const fn is_informed(&self) -> bool {
        self.base.is_some() && self.policies.is_some()
    }

    pub(super) fn forget_time(&mut self) {
        self.base = None;
    }

    pub(super) fn replace(&mut self, policies: PolicySet, now: i64) {
        if self.policies.as_deref() == Some(&policies) {
            return;
        }
        if let Some(old) = self.policies.take() {
            let mut past = Vec::clone(&self.past);
            if past.len() == REMEMBERED {
                past.remove(0);
            }
            past.push(Past { generation: self.generation, policies: old, until: now });
            self.past = Arc::new(past);
            self.generation += 1;
        }
        self.policies = Some(Arc::new(policies));
    }
}
