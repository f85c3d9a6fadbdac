//! What the tasks of the driver share: the history, the tokens in use, the nodes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::RngExt;
use rand::rngs::StdRng;
use uuid::Uuid;

use crate::clock::Micros;
use crate::history::{History, Limit};
use crate::nodes::Node;
use crate::options::Options;
use crate::postgres::Postgres;

/// The last so many tokens are young.
const YOUNG: usize = 12;

/// What is done with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Checked often, with activity.
    Hot,
    /// Checked now and then, with activity.
    Cold,
    /// Only looked at, but for activity at known instants.
    Watched,
}

impl Use {
    fn word(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Cold => "cold",
            Self::Watched => "watched",
        }
    }
}

/// A token in use.
#[derive(Debug, Clone)]
pub struct InUse {
    /// Its number in the history.
    pub number: usize,
    /// Its session's number.
    pub session: usize,
    /// Its session's id.
    pub id: Uuid,
    /// Its user's number.
    pub user: Option<usize>,
    /// What is done with it.
    pub used: Use,
    /// The token itself.
    pub token: Arc<str>,
    /// Somebody is ending it, or has: it is only checked any more.
    pub doomed: bool,
}

/// The tokens in use.
#[derive(Default)]
pub struct Pool {
    entries: Vec<InUse>,
    places: HashMap<usize, usize>,
}

/// Everything shared.
pub struct World {
    /// The command line.
    pub options: Options,
    /// The database.
    pub postgres: Postgres,
    /// The API key.
    pub key: String,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The load is over.
    pub over: AtomicBool,
    history: Mutex<History>,
    pool: Mutex<Pool>,
}

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(options: Options, postgres: Postgres, key: String, nodes: Vec<Node>) -> Self {
        let (history, pool) = (Mutex::default(), Mutex::default());
        Self { options, postgres, key, nodes, over: AtomicBool::new(false), history, pool }
    }

    /// The history.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the load is over.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Writes a new session down and puts its token into use, on every node.
    pub fn enter(&self, id: Uuid, token: &str, user: Option<usize>, limit: Limit, used: Use, at: (Micros, Micros)) -> InUse {
        let (session, number) = self.history().create(id, user, limit, used != Use::Watched, at.0, at.1);
        let entry = InUse { number, session, id, user, used, token: token.into(), doomed: false };
        self.put(entry.clone());
        entry
    }

    /// Puts a token into use.
    pub fn put(&self, entry: InUse) {
        let mut pool = self.pool();
        self.tell(&format!("+ {} {} {}", entry.number, entry.used.word(), entry.token));
        let place = pool.entries.len();
        pool.places.insert(entry.number, place);
        pool.entries.push(entry);
    }

    /// From now on a token may end: nodes look at it more closely, nobody else ends it.
    pub fn doom(&self, number: usize) {
        let mut pool = self.pool();
        if let Some(place) = pool.places.get(&number).copied() {
            pool.entries[place].doomed = true;
            self.tell(&format!("! {number}"));
        }
    }

    /// Takes a token out of use.
    pub fn leave(&self, number: usize) {
        let mut pool = self.pool();
        let Some(place) = pool.places.remove(&number) else { return };
        pool.entries.swap_remove(place);
        if let Some(moved) = pool.entries.get(place).map(|entry| entry.number) {
            pool.places.insert(moved, place);
        }
        self.tell(&format!("- {number}"));
    }

    /// The numbers of all tokens in use.
    pub fn in_use(&self) -> Vec<usize> {
        self.pool().entries.iter().map(|entry| entry.number).collect()
    }

    /// How many tokens are in use that nobody has begun to end.
    pub fn undoomed(&self, used: Use) -> usize {
        self.pool().entries.iter().filter(|entry| entry.used == used && !entry.doomed).count()
    }

    /// Any token in use.
    pub fn any(&self, random: &mut StdRng) -> Option<InUse> {
        let pool = self.pool();
        (!pool.entries.is_empty()).then(|| pool.entries[random.random_range(0..pool.entries.len())].clone())
    }

    /// Any token that nobody has begun to end; often a young one, which no node remembers yet.
    pub fn victim(&self, random: &mut StdRng) -> Option<InUse> {
        let pool = self.pool();
        let youngest = pool.entries.len().saturating_sub(YOUNG);
        (0..8).find_map(|_| {
            let from = if random.random_range(0..2) == 0 { youngest } else { 0 };
            let entry = pool.entries.get(random.random_range(from..pool.entries.len().max(from + 1)))?;
            (!entry.doomed && entry.used != Use::Watched).then(|| entry.clone())
        })
    }

    /// The tokens of a user.
    pub fn of_user(&self, user: usize) -> Vec<InUse> {
        self.pool().entries.iter().filter(|entry| entry.user == Some(user)).cloned().collect()
    }

    /// The lines that bring a new node process up to date, and the way for those that follow; nothing comes in between.
    pub fn introduce(&self, admit: impl FnOnce(Vec<String>)) {
        let pool = self.pool();
        let lines = pool.entries.iter().flat_map(|entry| {
            let enter = format!("+ {} {} {}", entry.number, entry.used.word(), entry.token);
            std::iter::once(enter).chain(entry.doomed.then(|| format!("! {}", entry.number)))
        });
        admit(lines.collect());
    }

    /// A line for every node.
    pub fn tell(&self, line: &str) {
        for node in &self.nodes {
            node.tell(line);
        }
    }
}
