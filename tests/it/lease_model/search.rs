//! Breadth first, so that a counter-example is a shortest one.

use std::collections::HashSet;

use super::core::{Automaton, Call};
use super::world::{Event, Everything, World, next};

/// Every so many states, the way there is walked again on one cache.
const WALKED_AGAIN: usize = 997;

/// What a search found.
pub enum Found {
    /// Every state was seen, none was bad.
    Nothing { states: usize, cores: usize },
    /// A shortest way to a bad one.
    Bad { states: usize, path: Vec<String> },
}

struct Search {
    world: World,
    core: Automaton,
    /// Every state met, with the number of the one it was met from.
    met: Vec<(Everything, u32)>,
}

/// Searches every state of a world.
pub fn search(world: World) -> Found {
    let mut search = Search { world, core: Automaton::new(world.without), met: vec![(Everything::BEGIN, 0)] };
    let mut known = HashSet::from([Everything::BEGIN.word()]);
    let mut events = Vec::new();
    let mut at = 0;
    while at < search.met.len() {
        let now = search.met[at].0;
        next(world, &now, &mut search.core, &mut events);
        for event in &events {
            if event.bad {
                return Found::Bad { states: search.met.len(), path: search.shown(at, event) };
            }
            if known.insert(event.then.word()) {
                search.met.push((event.then, u32::try_from(at).unwrap()));
            }
        }
        if at.is_multiple_of(WALKED_AGAIN) {
            let (_, calls) = search.way_to(at);
            let (observed, _) = search.core.run(&calls);
            assert_eq!(&observed, search.core.observed(now.cache), "the cache is more than what is seen of it: {calls:?}");
        }
        at += 1;
    }
    Found::Nothing { states: search.met.len(), cores: search.core.count() }
}

impl Search {
    /// What happened on the way to a state, and the calls that were made.
    fn way_to(&mut self, mut at: usize) -> (Vec<String>, Vec<Call>) {
        let (mut names, mut calls, mut events) = (Vec::new(), Vec::new(), Vec::new());
        while at != 0 {
            let (then, from) = self.met[at];
            at = from as usize;
            let now = self.met[at].0;
            next(self.world, &now, &mut self.core, &mut events);
            let event = events.iter().find(|event| event.then.word() == then.word()).unwrap();
            names.push(format!("  at {}: {}", now.time, event.name));
            calls.extend(event.call);
        }
        names.reverse();
        calls.reverse();
        (names, calls)
    }

    /// A bad run, once the same calls on one cache have ended in the same hit.
    fn shown(&mut self, at: usize, last: &Event) -> Vec<String> {
        let time = self.met[at].0.time;
        let (mut names, mut calls) = self.way_to(at);
        calls.extend(last.call);
        if let Some(Call::Hit(_)) = last.call {
            assert!(self.core.run(&calls).1, "not so on one cache: {calls:?}");
        }
        names.push(format!("  at {time}: {}, accepted", last.name));
        names
    }
}
