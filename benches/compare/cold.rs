//! A check that memory cannot answer, against the least PostgreSQL can be asked: the same row by its key, over the same pool.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Row;
use tenure::Manager;
use tokio::sync::Mutex;

use crate::crowd::Crowd;
use crate::near;
use crate::place::{CONNECTIONS, store};
use crate::rounds::{Done, Rounds, tasks};
use crate::table::{Goal, Table};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);

/// The columns of a session that a check may need.
const READ: &str = "
    select id, token_hash, kind, user_id, user_epoch, device, remember_me, residue, created_at, anchor_at, due_at, refresh_seconds,
           idle_limit_seconds, window_seconds, oauth_entity_id, app_state, app_state_at, node
      from tenure.sessions where id = $1";

/// A node and the sessions that it has not met, handed out one by one, neighbours far apart.
pub struct Fresh {
    url: String,
    crowd: Crowd,
    sessions: usize,
    met: usize,
    manager: Arc<Manager>,
}

impl Fresh {
    /// A node that has met none of the first so many sessions of a crowd.
    pub async fn new(url: &str, crowd: Crowd, sessions: usize) -> Self {
        Self { url: url.to_owned(), crowd, sessions, met: 0, manager: unacquainted(url).await }
    }

    /// The number at a place in that order: a prime stride meets each number once.
    fn scattered(place: usize, sessions: usize) -> usize {
        place % sessions * 7_368_787 % sessions
    }

    /// Checks further sessions, each once, for a while.
    pub async fn check(&mut self, time: Duration) -> Done {
        if self.met > self.sessions / 2 {
            self.manager.drain().await.unwrap();
            self.manager = unacquainted(&self.url).await;
            self.met = 0;
        }
        let (crowd, sessions, met, manager) = (self.crowd, self.sessions, self.met, Arc::clone(&self.manager));
        let done = tasks(CONNECTIONS as usize, sessions - met, time, move |index| {
            let number = Self::scattered(met + index, sessions);
            let (manager, token) = (Arc::clone(&manager), crowd.tokens(number..number + 1));
            async move { assert!(near::check(&manager, token.get(0)).await, "a live session was not accepted") }
        })
        .await;
        self.met += done.times.len();
        done
    }

    /// Reads rows by their keys through the node's connections for a while.
    async fn read(&self, time: Duration) -> Done {
        let (crowd, sessions, pool) = (self.crowd, self.sessions, self.manager.store().pool().clone());
        tasks(CONNECTIONS as usize, usize::MAX, time, move |index| {
            let (pool, id) = (pool.clone(), crowd.id(Self::scattered(index, sessions)));
            async move {
                let row = sqlx::query(READ).bind(id).fetch_one(&pool).await.unwrap();
                // Decoded, as whoever asks for it would.
                let hash: &[u8] = row.get(1);
                let (kind, device, node): (&str, Option<&str>, Option<&str>) = (row.get(2), row.get(5), row.get(17));
                let (created_at, anchor_at): (DateTime<Utc>, DateTime<Utc>) = (row.get(8), row.get(9));
                std::hint::black_box((hash, kind, device, node, created_at, anchor_at));
            }
        })
        .await
    }

    /// Ends the node.
    pub async fn close(self) {
        self.manager.drain().await.unwrap();
    }
}

/// A new node whose connections are open.
async fn unacquainted(url: &str) -> Arc<Manager> {
    let manager = near::node(store(url, "cold").await, "cold", true).await;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        open.push(manager.store().pool().acquire().await.unwrap());
    }
    Arc::new(manager)
}

/// Rounds of cold checks and of reads through the same connections.
pub async fn against_reads(fresh: &mut Fresh, rounds: usize) -> Rounds {
    // Has each connection prepare the statements.
    fresh.check(ROUND / 4).await;
    fresh.read(ROUND / 4).await;
    let fresh = Mutex::new(fresh);
    Rounds::measure(
        rounds,
        async || fresh.lock().await.check(ROUND).await.per_second,
        async || fresh.lock().await.read(ROUND).await.per_second,
    )
    .await
}

/// Adds the line.
pub async fn measure(table: &mut Table, url: &str, crowd: Crowd, sessions: usize) {
    let mut fresh = Fresh::new(url, crowd, sessions).await;
    let rounds = against_reads(&mut fresh, ROUNDS).await;
    table.add(rounds.row(
        "G4",
        "check, cold, 16 tasks, a second",
        "the same row read by its key, same pool",
        Goal::AtLeast(0.75),
    ));
    fresh.close().await;
}
