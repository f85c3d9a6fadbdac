//! Activity that was counted but not yet written: how it moves the anchor, in one word of memory.
//!
//! A mark stands for every movement since the last flush. Movements are of two shapes, `anchor := max(anchor, t)` (A3) and
//! `anchor := max(anchor, min(anchor + r, t))` (A4), r being frozen in the session, and whatever follows whatever, the
//! sequence is again `anchor := max(anchor, min(max(anchor + shift, low), high))`: after the first `t` low and high are one
//! point; before it low is nothing. So a point in time and a number of refreshes are all there is to keep, and an atomic
//! word holds both. Shifts by different nodes add up, where a maximum of anchors computed apart would lose refreshes.

use super::{Activity, Device, Kind, Policy, Timing};

/// 2020-01-01, microseconds since 1970: marks count from here, up to the year 2162.
const ORIGIN: i64 = 1_577_836_800_000_000;
const TIME_BITS: u32 = 52;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
/// More refreshes than fit between two flushes; a shift this long moves any live session's anchor up to its bound.
const MOST_REFRESHES: u64 = (1 << (64 - TIME_BITS)) - 2;

/// What an activity does to the anchor: the twin of `tenure.counted_anchor` in `migrations/V5__limits.sql`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movement {
    /// Nothing (A5, `passive`).
    None,
    /// To now (A3).
    ToNow,
    /// On by one refresh interval, at most to now (A4).
    Refresh,
}

impl Movement {
    /// What an activity does to the anchor of a session under a policy.
    pub fn of(activity: Activity, timing: &Timing, policy: &Policy) -> Self {
        match activity {
            Activity::User | Activity::Ajax | Activity::ChatPoll => Self::ToNow,
            Activity::AutoRefresh
                if timing.kind == Kind::User && timing.device == Some(Device::Desktop) && policy.auto_refresh_extends =>
            {
                if timing.refresh_seconds.is_some() { Self::Refresh } else { Self::ToNow }
            }
            _ => Self::None,
        }
    }
}

/// Movements not yet written. Zero is none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark(u64);

/// A mark as the three numbers of the law, microseconds; `low` is `None` for minus infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Law {
    /// How far the anchor moves on.
    pub shift: i64,
    /// At least to here.
    pub low: Option<i64>,
    /// At most to here.
    pub high: i64,
}

impl Mark {
    /// Nothing to write.
    pub const NONE: Self = Self(0);

    /// A mark from its word.
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word that holds it; never all ones.
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Whether there is nothing to write.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether an instant can be kept.
    pub const fn holds(at: i64) -> bool {
        at > ORIGIN && at - ORIGIN < (1 << TIME_BITS)
    }

    const fn new(refreshes: u64, at: i64) -> Self {
        let refreshes = if refreshes > MOST_REFRESHES { MOST_REFRESHES } else { refreshes };
        let since = at - ORIGIN;
        let since = if since < 1 { 1 } else { since.cast_unsigned() & TIME_MASK };
        Self(refreshes << TIME_BITS | since)
    }

    const fn refreshes(self) -> u64 {
        self.0 >> TIME_BITS
    }

    const fn at(self) -> i64 {
        (self.0 & TIME_MASK).cast_signed() + ORIGIN
    }

    /// The mark after one more movement at `now`; `refresh_seconds` is the session's own.
    #[must_use]
    pub fn moved(self, movement: Movement, now: i64, refresh_seconds: Option<i32>) -> Self {
        match movement {
            Movement::None => self,
            Movement::ToNow => Self::new(0, if self.is_none() { now } else { now.max(self.at()) }),
            Movement::Refresh => self.then(Self::new(1, now), refresh_seconds),
        }
    }

    /// The mark of this one's movements followed by a later one's: what a flush that failed leaves.
    #[must_use]
    pub fn then(self, later: Self, refresh_seconds: Option<i32>) -> Self {
        if self.is_none() || later.is_none() {
            return if later.is_none() { self } else { later };
        }
        let moved_on = self.at().saturating_add(later.shift(refresh_seconds));
        match (self.refreshes(), later.refreshes()) {
            (_, 0) => Self::new(0, later.at().max(self.at())),
            // A point never goes back, and a refresh moves it at most to its own bound.
            (0, _) => Self::new(0, moved_on.min(later.at()).max(self.at())),
            (first, more) => Self::new(first + more, moved_on.min(later.at())),
        }
    }

    fn shift(self, refresh_seconds: Option<i32>) -> i64 {
        i64::from(refresh_seconds.unwrap_or(0)).saturating_mul(1_000_000).saturating_mul(self.refreshes().cast_signed())
    }

    /// The three numbers a statement takes.
    pub fn law(self, refresh_seconds: Option<i32>) -> Law {
        let point = self.refreshes() == 0;
        Law { shift: self.shift(refresh_seconds), low: point.then_some(self.at()), high: self.at() }
    }

    /// Where the anchor is after the movements.
    pub fn applied(self, anchor: i64, refresh_seconds: Option<i32>) -> i64 {
        if self.is_none() {
            return anchor;
        }
        let Law { shift, low, high } = self.law(refresh_seconds);
        let moved = anchor.saturating_add(shift);
        anchor.max(low.map_or(moved, |low| moved.max(low)).min(high))
    }
}
