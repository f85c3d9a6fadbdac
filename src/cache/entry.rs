//! What a node remembers of one session: the facts of its row, never a deadline, and the activity not yet written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use uuid::Uuid;

use super::Unwritten;
use crate::session::{Loaded, Mark, Movement, Timing, TokenHash};

/// The word of an entry that takes no more marks: it was removed or replaced.
const CLOSED: u64 = u64::MAX;

/// A user as the entries of their sessions share it.
#[derive(Debug)]
pub struct Person {
    /// Name.
    pub name: Box<str>,
    /// Set by an invalidation of the user: every entry that shares this record is over.
    dead: AtomicBool,
}

impl Person {
    /// A user as a row showed it.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), dead: AtomicBool::new(false) }
    }

    pub(super) fn kill(&self) {
        self.dead.store(true, Ordering::Release);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }
}

/// One remembered session.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) hash: TokenHash,
    pub(super) timing: Timing,
    pub(super) user: Option<Arc<Person>>,
    /// The anchor as this node sees it: written, or on its way.
    anchor: AtomicI64,
    /// The anchor the database is known to hold. The truth there may be later, never earlier.
    durable: AtomicI64,
    mark: AtomicU64,
    /// The policies under which it was last found to live.
    pub(super) judged: AtomicU32,
    /// The life of the cache it belongs to: emptying begins a new one.
    pub(super) life: u32,
}

/// What became of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marked {
    /// The entry had none before: the flusher must be told.
    First,
    /// It joined those waiting, or there was nothing to mark.
    Joined,
    /// The entry is no longer the one that is remembered.
    Closed,
}

impl Entry {
    pub(super) fn new(loaded: &Loaded, user: Option<Arc<Person>>, judged: u32, life: u32) -> Self {
        Self {
            hash: loaded.hash,
            timing: loaded.timing,
            user,
            anchor: AtomicI64::new(loaded.anchor),
            durable: AtomicI64::new(loaded.anchor),
            mark: AtomicU64::new(0),
            judged: AtomicU32::new(judged),
            life,
        }
    }

    /// Takes over what an older entry of the same session knew and had not written.
    pub(super) fn inherit(&mut self, older: &Self) {
        let mark = older.close();
        let durable = self.durable.get_mut();
        if older.life == self.life {
            *durable = (*durable).max(older.durable());
        }
        *self.anchor.get_mut() = mark.applied(*durable, self.timing.refresh_seconds);
        *self.mark.get_mut() = mark.word();
    }

    pub(super) fn unwritten(&self, id: Uuid, mark: Mark) -> Unwritten {
        Unwritten { id, mark, refresh_seconds: self.timing.refresh_seconds, life: self.life }
    }

    pub(super) fn durable(&self) -> i64 {
        self.durable.load(Ordering::Acquire)
    }

    /// The anchor with every activity this node has counted.
    pub(super) fn seen(&self) -> i64 {
        let anchor = self.anchor.load(Ordering::Acquire);
        match self.mark.load(Ordering::Acquire) {
            0 | CLOSED => anchor,
            word => Mark::from_word(word).applied(anchor, self.timing.refresh_seconds),
        }
    }

    /// Records a movement.
    pub(super) fn record(&self, movement: Movement, now: i64) -> Marked {
        if movement == Movement::None {
            return Marked::Joined;
        }
        let mut word = self.mark.load(Ordering::Acquire);
        loop {
            if word == CLOSED {
                return Marked::Closed;
            }
            let next = Mark::from_word(word).moved(movement, now, self.timing.refresh_seconds).word();
            if next == word {
                return Marked::Joined;
            }
            match self.mark.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(0) => return Marked::First,
                Ok(_) => return Marked::Joined,
                Err(other) => word = other,
            }
        }
    }

    pub(super) fn is_marked(&self) -> bool {
        !matches!(self.mark.load(Ordering::Acquire), 0 | CLOSED)
    }

    /// Takes the mark for writing; the anchor seen here does not go back meanwhile.
    pub(super) fn take(&self) -> Mark {
        let mut word = self.mark.load(Ordering::Acquire);
        loop {
            if word == 0 || word == CLOSED {
                return Mark::NONE;
            }
            let seen = Mark::from_word(word).applied(self.anchor.load(Ordering::Acquire), self.timing.refresh_seconds);
            self.anchor.fetch_max(seen, Ordering::AcqRel);
            match self.mark.compare_exchange_weak(word, 0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(taken) => return Mark::from_word(taken),
                Err(other) => word = other,
            }
        }
    }

    /// Puts a mark back that could not be written.
    pub(super) fn put_back(&self, taken: Mark) -> Marked {
        let mut word = self.mark.load(Ordering::Acquire);
        loop {
            if word == CLOSED {
                return Marked::Closed;
            }
            let next = taken.then(Mark::from_word(word), self.timing.refresh_seconds).word();
            match self.mark.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(0) => return Marked::First,
                Ok(_) => return Marked::Joined,
                Err(other) => word = other,
            }
        }
    }

    /// The database holds this anchor now.
    pub(super) fn written(&self, anchor: i64) {
        self.durable.fetch_max(anchor, Ordering::AcqRel);
        self.anchor.fetch_max(anchor, Ordering::AcqRel);
    }

    /// Ends it: from now on it takes no mark; what it had is returned.
    pub(super) fn close(&self) -> Mark {
        match self.mark.swap(CLOSED, Ordering::AcqRel) {
            CLOSED => Mark::NONE,
            word => Mark::from_word(word),
        }
    }
}
