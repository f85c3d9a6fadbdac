//! The faults of a run, all drawn from the seed before it begins.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};

/// Load without faults, at the beginning and for healing at the end.
const CALM: Duration = Duration::from_secs(4);

/// From here on a run cuts a node off for so long that the others find it dead and fence it.
const LONG_RUN: Duration = Duration::from_mins(4);
/// That long.
const LONG_CUT: Duration = Duration::from_secs(70);

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `kill -9` of a node, and a new process under its name.
    KillNode,
    /// SIGSTOP of a node, SIGCONT later: shorter and longer than its lease.
    StopNode,
    /// PostgreSQL killed, and started again.
    KillPostgres,
    /// PostgreSQL asked to stop, and started again.
    RestartPostgres,
    /// A node's connections to PostgreSQL cut; none is admitted for a while.
    Cut,
    /// A node's connections to PostgreSQL take bytes and deliver none.
    HalfOpen,
    /// A node's connections to PostgreSQL become slow.
    Delay,
    /// A node's wall clock steps.
    StepClock,
}

impl Kind {
    /// Each of them.
    pub const ALL: [Self; 8] = [
        Self::KillNode,
        Self::StopNode,
        Self::KillPostgres,
        Self::RestartPostgres,
        Self::Cut,
        Self::HalfOpen,
        Self::Delay,
        Self::StepClock,
    ];

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::KillNode => "node killed",
            Self::StopNode => "node stopped and continued",
            Self::KillPostgres => "PostgreSQL killed",
            Self::RestartPostgres => "PostgreSQL restarted",
            Self::Cut => "connections cut",
            Self::HalfOpen => "half-open link",
            Self::Delay => "slow link",
            Self::StepClock => "wall clock stepped",
        }
    }

    /// Whether one node is hit, and not all.
    pub fn is_of_a_node(self) -> bool {
        !matches!(self, Self::KillPostgres | Self::RestartPostgres)
    }
}

/// One fault.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// When, from the beginning of the load.
    pub at: Duration,
    /// What.
    pub kind: Kind,
    /// Which node; of no meaning for PostgreSQL.
    pub node: usize,
    /// How long.
    pub lasts: Duration,
    /// A variant: the way PostgreSQL dies, whether frozen bytes are delivered or lost, which way a clock steps.
    pub variant: u8,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7.2} s  {}", self.at.as_secs_f64(), self.kind.words())?;
        if self.kind.is_of_a_node() {
            write!(f, ", node-{}", self.node + 1)?;
        }
        if self.kind == Kind::StepClock {
            return write!(f, ", {} min", if self.variant.is_multiple_of(2) { "+5" } else { "-5" });
        }
        write!(f, ", {:.1} s, variant {}", self.lasts.as_secs_f64(), self.variant)
    }
}

/// Draws the faults of a run: every kind comes once before any comes again.
pub fn draw(seed: u64, time: Duration, nodes: usize) -> Vec<Fault> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut faults = Vec::new();
    let end = time.saturating_sub(CALM);
    // A short run meets every kind too: the mean pause is at most what lets them all happen.
    let span = u64::try_from(end.saturating_sub(CALM).as_millis()).unwrap_or(u64::MAX);
    let mean = (span / (Kind::ALL.len() as u64 + 1)).min(6_500);
    let mut at = CALM;
    let mut kinds = Vec::new();
    loop {
        if kinds.is_empty() {
            kinds = Kind::ALL.to_vec();
            kinds.shuffle(&mut random);
        }
        if at >= end {
            return faults;
        }
        let Some(kind) = kinds.pop() else { return faults };
        let long = kind == Kind::Cut && time >= LONG_RUN && random.random_range(0..4) == 0;
        let lasts = if long { LONG_CUT } else { lasting(kind, &mut random) };
        let lasts = lasts.min(end.saturating_sub(at) + CALM / 2);
        faults.push(Fault { at, kind, node: random.random_range(0..nodes), lasts, variant: random.random_range(0..6) });
        at += Duration::from_millis(random.random_range(mean / 2..=mean * 3 / 2 - mean / 20));
    }
}

fn lasting(kind: Kind, random: &mut impl Rng) -> Duration {
    let mut between = |low: u64, high: u64| Duration::from_millis(random.random_range(low..=high));
    match kind {
        Kind::KillNode => between(300, 4_000),
        Kind::StopNode => match between(0, 3).as_millis() {
            0 => between(100, 1_000),
            1 => between(1_000, 2_500),
            _ => between(2_500, 10_000),
        },
        Kind::KillPostgres | Kind::RestartPostgres => between(0, 1_500),
        Kind::Cut => between(0, 4_000),
        Kind::HalfOpen => between(1_000, 8_000),
        Kind::Delay => between(2_000, 8_000),
        Kind::StepClock => Duration::ZERO,
    }
}
