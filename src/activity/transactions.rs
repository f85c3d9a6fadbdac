//! Requests being served right now (C2): what makes a session active. Most end within a flush interval and never reach the
//! database; one that lasts is written down by the flusher.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use uuid::{Builder, Uuid};

use super::FLUSH;
use crate::clock::{self, Boot};
use crate::error::Result;
use crate::store::{OpenTransaction, Store};

/// After this a transaction lapses, microseconds.
const LAPSE: i64 = 600_000_000;

#[derive(Debug)]
struct Open {
    session: Uuid,
    since: Boot,
    started_at: i64,
    written: bool,
}

/// The open transactions of one node.
#[derive(Debug, Default)]
pub struct Transactions {
    open: Mutex<Opened>,
    /// How many there are: most of the time none, and then nobody waits for the lock.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Opened {
    by_id: HashMap<Uuid, Open>,
    /// How many each session has.
    sessions: HashMap<Uuid, usize>,
}

impl Opened {
    fn insert(&mut self, id: Uuid, open: Open) {
        *self.sessions.entry(open.session).or_default() += 1;
        self.by_id.insert(id, open);
    }

    fn remove(&mut self, id: Uuid) -> Option<Open> {
        let open = self.by_id.remove(&id)?;
        if let Entry::Occupied(mut left) = self.sessions.entry(open.session) {
            *left.get_mut() -= 1;
            if *left.get() == 0 {
                left.remove();
            }
        }
        Some(open)
    }
}

impl Transactions {
    fn with<T>(&self, act: impl FnOnce(&mut Opened) -> T) -> T {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let done = act(&mut open);
        self.count.store(open.by_id.len(), Ordering::Release);
        done
    }

    /// Opens one at `now`, the database's time in microseconds since 1970. Its id, a UUID version 7, ends like the node's, so
    /// that another node knows who opened it.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    pub fn open(&self, session: Uuid, node: Uuid, now: i64) -> Uuid {
        let mut tail = [0; 10];
        getrandom::fill(&mut tail[..6]).expect("the operating system's random generator works");
        tail[6..].copy_from_slice(&node.as_bytes()[12..]);
        let id = Builder::from_unix_timestamp_millis((now / 1_000).cast_unsigned(), &tail).into_uuid();
        let opened = Open { session, since: clock::boot(), started_at: now, written: false };
        self.with(|open| open.insert(id, opened));
        id
    }

    /// Closes one, wherever it was opened; `false` when it is not open.
    pub async fn close(&self, store: &Store, session: Uuid, id: Uuid, node: Option<Uuid>) -> Result<bool> {
        let here = self.with(|open| {
            let ours = open.by_id.get(&id).is_some_and(|open| open.session == session);
            if ours { open.remove(id) } else { None }
        });
        if here.as_ref().is_some_and(|open| !open.written) {
            return Ok(true);
        }
        let tail = |id: Uuid| id.simple().to_string().split_off(24);
        let owner = Some(tail(id)).filter(|owner| node.is_none_or(|node| tail(node) != *owner));
        Ok(store.close_transaction(session, id, owner.as_deref()).await? || here.is_some())
    }

    /// Whether a transaction of the session is open here.
    pub fn is_open(&self, session: Uuid) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.with(|open| open.sessions.contains_key(&session))
    }

    /// Writes down those that have lasted, and drops those that have lapsed.
    pub(super) async fn write(&self, store: &Store, node: Uuid) -> Result<()> {
        let now = clock::boot();
        let lasting: Vec<OpenTransaction> = self.with(|open| {
            let age = |open: &Open| now - open.since;
            let lapsed: Vec<Uuid> = open.by_id.iter().filter(|(_, open)| age(open) >= LAPSE).map(|(id, _)| *id).collect();
            for id in lapsed {
                open.remove(id);
            }
            open.by_id
                .iter()
                .filter(|(_, open)| !open.written && u128::from(age(open).unsigned_abs()) >= FLUSH.as_micros())
                .map(|(id, open)| OpenTransaction { session: open.session, id: *id, started_at: open.started_at })
                .collect()
        });
        if lasting.is_empty() {
            return Ok(());
        }
        store.write_transactions(node, &lasting).await?;
        let closed: Vec<OpenTransaction> = self.with(|open| {
            let mut closed = lasting;
            closed.retain(|written| match open.by_id.get_mut(&written.id) {
                Some(open) => {
                    open.written = true;
                    false
                }
                None => true,
            });
            closed
        });
        // Closed while they were being written.
        for closed in closed {
            store.close_transaction(closed.session, closed.id, None).await?;
        }
        Ok(())
    }
}
