//! The tokens a node checks, and what came of it.

use std::collections::HashMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tenure::session::Activity;

use super::ask;
use crate::tally::{Answer, FRAME, Tally};

/// So many suspects are looked at most: an ending that somebody missed shows within the first seconds.
const FRESH: usize = 12;

/// What to do with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Checked often, with activity.
    Hot,
    /// Checked now and then, with activity.
    Cold,
    /// Only looked at.
    Watched,
}

struct Entry {
    number: u64,
    token: Arc<str>,
    used: Use,
    tally: Option<Tally>,
}

/// A check to make.
pub(super) struct Choice {
    /// The token's number.
    pub(super) number: u64,
    /// The token.
    pub(super) token: Arc<str>,
    /// What it reports.
    pub(super) activity: Activity,
}

/// The tokens, by number and by what is done with them.
pub(super) struct Pool {
    entries: Vec<Entry>,
    places: HashMap<u64, usize>,
    hot: Vec<u64>,
    /// Tokens that somebody is about to end, or has ended: where a wrong answer would be.
    suspects: Vec<u64>,
    /// Tallies of tokens that have left.
    left: Vec<(u64, Tally)>,
    /// Checks a second that the driver wants.
    pub(super) rate: u64,
    random: StdRng,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            places: HashMap::new(),
            hot: Vec::new(),
            suspects: Vec::new(),
            left: Vec::new(),
            rate: 0,
            random: StdRng::seed_from_u64(0),
        }
    }
}

impl Pool {
    /// What it draws from.
    pub(super) fn seed(&mut self, seed: u64) {
        self.random = StdRng::seed_from_u64(seed);
    }

    /// Follows a command: `+ NUMBER USE TOKEN`, `! NUMBER` (suspect), `- NUMBER`, `rate N`, `step MICROSECONDS`.
    pub(super) fn obey(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().unwrap_or(0);
        match words[..] {
            ["+", name, used, token] => {
                let used = match used {
                    "hot" => Use::Hot,
                    "cold" => Use::Cold,
                    _ => Use::Watched,
                };
                self.enter(number(name), used, token);
            }
            ["!", name] => self.suspects.push(number(name)),
            ["-", name] => self.leave(number(name)),
            ["rate", rate] => self.rate = number(rate),
            ["step", by] => ask::step_wall_clock(by.parse().unwrap_or(0)),
            _ => {}
        }
    }

    fn enter(&mut self, number: u64, used: Use, token: &str) {
        if used == Use::Hot {
            self.hot.push(number);
        }
        self.places.insert(number, self.entries.len());
        self.entries.push(Entry { number, token: token.into(), used, tally: None });
    }

    fn leave(&mut self, number: u64) {
        let Some(place) = self.places.remove(&number) else { return };
        let entry = self.entries.swap_remove(place);
        if let Some(tally) = entry.tally {
            self.left.push((number, tally));
        }
        if let Some(moved) = self.entries.get(place) {
            self.places.insert(moved.number, place);
        }
        self.hot.retain(|other| *other != number);
        self.suspects.retain(|other| *other != number);
    }

    /// Draws a check: mostly of hot tokens, some of suspects, some of any.
    pub(super) fn choose(&mut self) -> Option<Choice> {
        let among = |list: &[u64], random: &mut StdRng| (!list.is_empty()).then(|| list[random.random_range(0..list.len())]);
        let number = match self.random.random_range(0..100) {
            0..60 => among(&self.hot, &mut self.random),
            60..70 => among(&self.suspects[self.suspects.len().saturating_sub(FRESH)..], &mut self.random),
            70..75 => among(&self.suspects, &mut self.random),
            _ => None,
        };
        let place = match number {
            Some(number) => *self.places.get(&number)?,
            None if self.entries.is_empty() => return None,
            None => self.random.random_range(0..self.entries.len()),
        };
        let counts = self.entries[place].used != Use::Watched && self.random.random_range(0..2) == 0;
        let entry = &self.entries[place];
        let activity = if counts { Activity::User } else { Activity::Passive };
        Some(Choice { number: entry.number, token: Arc::clone(&entry.token), activity })
    }

    /// Keeps an answer.
    pub(super) fn record(&mut self, choice: &Choice, answer: Answer, invoked: u64, answered: u64) {
        let counts = choice.activity != Activity::Passive;
        match self.places.get(&choice.number) {
            Some(place) => {
                let tally = &mut self.entries[*place].tally;
                tally.get_or_insert_default().add(answer, counts, invoked, answered);
            }
            None => self.left.push((choice.number, Tally::of(answer, counts, invoked, answered))),
        }
    }

    /// What has come about since the last call, as frames for the driver.
    pub(super) fn frames(&mut self) -> Vec<u8> {
        let mut frames = Vec::new();
        for (number, tally) in self.left.drain(..) {
            frames.extend_from_slice(&tally.frame(number));
        }
        for entry in &mut self.entries {
            if let Some(tally) = entry.tally.take() {
                frames.extend_from_slice(&tally.frame(entry.number));
            }
        }
        debug_assert!(frames.len().is_multiple_of(FRAME));
        frames
    }
}
