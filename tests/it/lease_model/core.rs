//! The cache as an automaton: each state of it is reached by calls on a fresh cache, each step taken once.

use std::collections::HashMap;

use tenure::cache::{Cache, Invalidation, Load, Observed, PolicySet, Polled, Rule};
use tenure::clock::{Boot, Reading};
use tenure::session::{Activity, Kind, Loaded, Policy, TokenHash};
use uuid::Uuid;

use crate::support::{begun, half_an_hour};

/// The session.
const ID: Uuid = Uuid::from_u128(1);
const HASH: TokenHash = TokenHash::stored([7; 32]);
/// 2027-06-01, microseconds since 1970: the database's time when a search begins.
const BEGIN: i64 = 1_811_808_000_000_000;

/// A call of the cache, with what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    BeginLoad,
    /// The load's answer: the session lives.
    FinishLoad(Reading),
    /// The load ends without anything to remember.
    DropLoad,
    Apply {
        sent: Reading,
        first: bool,
        /// The poll brought the row about the session.
        row: bool,
        /// The database's time, microseconds since the search began.
        now: i64,
        received: Boot,
    },
    Fenced,
    /// A passive check, so that what is searched does not grow by what is counted.
    Hit(Reading),
}

/// A state of the cache.
pub type State = u16;

struct Reached {
    observed: Observed,
    by: Vec<Call>,
}

/// The states met so far.
pub struct Automaton {
    without: Option<Rule>,
    states: Vec<Reached>,
    numbers: HashMap<Observed, State>,
    steps: HashMap<(State, Call), (State, bool)>,
}

impl Automaton {
    /// Just the empty cache, state 0.
    pub fn new(without: Option<Rule>) -> Self {
        let mut empty = Self { without, states: Vec::new(), numbers: HashMap::new(), steps: HashMap::new() };
        let (observed, _) = empty.run(&[]);
        empty.meet(observed, Vec::new());
        empty
    }

    /// Where a call leads, and whether it was a hit.
    pub fn step(&mut self, from: State, call: Call) -> (State, bool) {
        if let Some(known) = self.steps.get(&(from, call)) {
            return *known;
        }
        let mut by = self.states[usize::from(from)].by.clone();
        by.push(call);
        let (observed, hit) = self.run(&by);
        let step = (self.meet(observed, by), hit);
        self.steps.insert((from, call), step);
        step
    }

    fn meet(&mut self, observed: Observed, by: Vec<Call>) -> State {
        if let Some(known) = self.numbers.get(&observed) {
            return *known;
        }
        let number = State::try_from(self.states.len()).unwrap();
        self.numbers.insert(observed.clone(), number);
        self.states.push(Reached { observed, by });
        number
    }

    /// What is seen of a state.
    pub fn observed(&self, state: State) -> &Observed {
        &self.states[usize::from(state)].observed
    }

    /// How many states were met.
    pub fn count(&self) -> usize {
        self.states.len()
    }

    /// Makes calls on a fresh cache: what is seen then, and whether the last one was a hit.
    pub fn run(&self, calls: &[Call]) -> (Observed, bool) {
        let cache = Cache::new(1).without(self.without);
        let mut load = None;
        let mut hit = false;
        for call in calls {
            hit = make(&cache, &mut load, *call);
        }
        (cache.observe(ID), hit)
    }
}

fn make<'a>(cache: &'a Cache, load: &mut Option<Load<'a>>, call: Call) -> bool {
    match call {
        Call::BeginLoad => *load = Some(cache.begin_load(ID)),
        Call::FinishLoad(reading) => {
            cache.finish_load(&load.take().unwrap(), &session(), reading);
        }
        Call::DropLoad => *load = None,
        Call::Apply { sent, first, row, now, received } => {
            let rows = if row { vec![Invalidation::Session(ID)] } else { Vec::new() };
            let polled = Polled { rows, policies: first.then(policies), now: BEGIN + now };
            cache.apply(cache.begin_poll(sent, first), polled, received);
        }
        Call::Fenced => cache.distrust(),
        Call::Hit(reading) => return cache.hit(ID, &HASH, Activity::Passive, reading).is_some(),
    }
    false
}

fn session() -> Loaded {
    let timing = begun(Kind::Guest, BEGIN);
    Loaded { id: ID, hash: HASH, timing, anchor: BEGIN, user: None }
}

fn policies() -> PolicySet {
    std::array::from_fn(|_| Policy { prompt_seconds: 120, ..half_an_hour() })
}

/// Clocks of the node: `boot` and wall clock minus `boot`.
pub const fn reading(boot: Boot, offset: i64) -> Reading {
    Reading { boot, offset }
}
