//! Requests being served right now (C2): what makes a session active. Most end within a flush interval and never reach the
//! database; one that lasts is written down by the flusher.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
pub struct Transactions(Mutex<HashMap<Uuid, Open>>);

impl Transactions {
    fn open_ones(&self) -> MutexGuard<'_, HashMap<Uuid, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.open_ones().insert(id, Open { session, since: clock::boot(), started_at: now, written: false });
        id
    }

    /// Closes one, wherever it was opened; `false` when it is not open.
    pub async fn close(&self, store: &Store, session: Uuid, id: Uuid, node: Option<Uuid>) -> Result<bool> {
        let here = {
            let mut open = self.open_ones();
            let ours = open.get(&id).is_some_and(|open| open.session == session);
            if ours { open.remove(&id) } else { None }
        };
        if here.as_ref().is_some_and(|open| !open.written) {
            return Ok(true);
        }
        let tail = |id: Uuid| id.simple().to_string().split_off(24);
        let owner = Some(tail(id)).filter(|owner| node.is_none_or(|node| tail(node) != *owner));
        Ok(store.close_transaction(session, id, owner.as_deref()).await? || here.is_some())
    }

    /// Whether a transaction of the session is open here.
    pub fn is_open(&self, session: Uuid) -> bool {
        self.open_ones().values().any(|open| open.session == session)
    }

    /// Writes down those that have lasted, and drops those that have lapsed.
    pub(super) async fn write(&self, store: &Store, node: Uuid) -> Result<()> {
        let now = clock::boot();
        let lasting: Vec<OpenTransaction> = {
            let mut open = self.open_ones();
            open.retain(|_, open| now - open.since < LAPSE);
            open.iter()
                .filter(|(_, open)| !open.written && u128::from((now - open.since).unsigned_abs()) >= FLUSH.as_micros())
                .map(|(id, open)| OpenTransaction { session: open.session, id: *id, started_at: open.started_at })
                .collect()
        };
        if lasting.is_empty() {
            return Ok(());
        }
        store.write_transactions(node, &lasting).await?;
        let closed: Vec<OpenTransaction> = {
            let mut open = self.open_ones();
            lasting
                .into_iter()
                .filter(|written| match open.get_mut(&written.id) {
                    Some(open) => {
                        open.written = true;
                        false
                    }
                    None => true,
                })
                .collect()
        };
        // Closed while they were being written.
        for closed in closed {
            store.close_transaction(closed.session, closed.id, None).await?;
        }
        Ok(())
    }
}
