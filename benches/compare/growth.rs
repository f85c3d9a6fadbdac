//! What three hundred times as many sessions cost: a cold check, an idle sweep and a poll, side by side on a database
//! with few sessions and one with many.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tenure::maintenance::Sweeper;
use tenure::session::Presented;
use tenure::store::{Actor, Looked, Store};
use tokio::time::Instant;

use crate::cold::Fresh;
use crate::crowd::{Crowd, run};
use crate::near;
use crate::place::settings;
use crate::rounds::{Rounds, percentile};
use crate::table::{Goal, Row, Table};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(1);
/// Calls whose buffers are counted.
const CALLS: usize = 2_000;
/// Counters of a connection arrive when it ends a transaction a second after the last time, unless somebody else is writing
/// theirs: then the next time.
const REPORT_AFTER: Duration = Duration::from_millis(1_100);
const REPORTS: usize = 3;

/// Buffers that equal numbers may differ by: the server's own work and the pruning of a row that is updated again and again are
/// in the mean.
const SLACK: f64 = 0.5;

/// A database of the comparison.
#[derive(Debug, Clone)]
pub struct Size {
    /// Its URL.
    pub url: String,
    /// Its sessions.
    pub crowd: Crowd,
    /// How many.
    pub sessions: usize,
}

/// Adds the lines.
pub async fn measure(table: &mut Table, small: &Size, large: &Size) {
    let what = |what: &str| format!("{what}, {} sessions", large.sessions);
    let against = format!("{} sessions", small.sessions);

    let (mut few, mut many) =
        (Fresh::new(&small.url, small.crowd, small.sessions).await, Fresh::new(&large.url, large.crowd, large.sessions).await);
    for fresh in [&mut few, &mut many] {
        fresh.check(ROUND / 4).await;
    }
    let rounds = Rounds::measure(
        ROUNDS,
        async || percentile(&mut many.check(ROUND).await.times, 0.99),
        async || percentile(&mut few.check(ROUND).await.times, 0.99),
    )
    .await;
    table.add(rounds.row("G8", what("check, cold, ms, p99"), against.clone(), Goal::AtMost(2.0)));
    few.close().await;
    many.close().await;

    for size in [small, large] {
        let mut connection = PgConnection::connect(&size.url).await.unwrap();
        // What vacuum reads would count; this also ends one that is under way.
        run(&mut connection, "alter table tenure.sessions set (autovacuum_enabled = off)").await;
        run(&mut connection, "alter table tenure.session_attributes set (autovacuum_enabled = off)").await;
    }
    // A larger table has one more level in its index, which a look-up of one row descends.
    let (few, many) = (checked(small).await, checked(large).await);
    table.add(Row::limit("G8", what("buffers of a cold check"), many, few + 1.0 + SLACK, &format!("{against}, and 1.5")));
    let against = format!("{against}, and 0.5");
    let (few, many) = (swept(small).await, swept(large).await);
    table.add(Row::limit("G8", what("buffers of an idle sweep"), many, few + SLACK, &against));
    let (few, many) = (polled(small).await, polled(large).await);
    table.add(Row::limit("G8", what("buffers of a poll"), many, few + SLACK, &against));
}

/// Buffers of a check that PostgreSQL answers. The statement is asked for alone: what the check counts is written later, with
/// that of others.
async fn checked(size: &Size) -> f64 {
    let store = quiet(size).await;
    let mut number = 0;
    let buffers = buffers(size, &store, async || {
        number = (number + 7_919) % size.sessions;
        let token = Presented::parse(size.crowd.tokens(number..number + 1).get(0)).unwrap();
        let looked = store.look(&token, None, Actor("bench")).await.unwrap();
        assert!(matches!(looked, Looked::Live(_)), "a live session was not accepted");
    })
    .await;
    store.close().await;
    buffers
}

/// Buffers of a sweep when nothing is due.
async fn swept(size: &Size) -> f64 {
    let store = quiet(size).await;
    let mut sweeper = Sweeper::new(Instant::now());
    let buffers = buffers(size, &store, async || assert!(sweeper.tick(&store, Instant::now()).await.unwrap().is_none())).await;
    store.close().await;
    buffers
}

/// Buffers of a poll, which is the heartbeat too, when nothing has happened.
async fn polled(size: &Size) -> f64 {
    let store = quiet(size).await;
    let mut poller = near::Poller::new(&store).await;
    let buffers = buffers(size, &store, async || poller.poll().await).await;
    poller.leave(&store).await;
    store.close().await;
    buffers
}

/// A store without a node's background work.
async fn quiet(size: &Size) -> Store {
    Store::connect(&tenure::store::ConnectSettings { connections: 2, ..settings(&size.url, "bench") }).await.unwrap()
}

/// Buffers that a call touches, whatever statements it sends: the database's counters over many calls, one after the other.
async fn buffers(size: &Size, store: &Store, mut call: impl AsyncFnMut()) -> f64 {
    // Of the two connections one is left, whose counters arrive with its last call.
    let _held = store.pool().acquire().await.unwrap();
    let mut observer = PgConnection::connect(&size.url).await.unwrap();
    let mut last = 0;
    let mut touched = 0;
    for calls in [CALLS / 10, CALLS] {
        for _ in REPORTS..calls {
            call().await;
        }
        for _ in 0..REPORTS {
            tokio::time::sleep(REPORT_AFTER).await;
            call().await;
        }
        let seen: i64 =
            sqlx::query_scalar("select blks_hit + blks_read from pg_stat_database where datname = current_database()")
                .fetch_one(&mut observer)
                .await
                .unwrap();
        (touched, last) = (seen - last, seen);
    }
    touched as f64 / CALLS as f64
}
