//! How activity gets to PostgreSQL: the flusher against a plain update of a thousand rows at a time, and how few statements
//! a busy node sends.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use tenure::Manager;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::crowd::{Crowd, Tokens, run};
use crate::near;
use crate::rounds::{Random, Rounds};
use crate::table::{Goal, Row, Table};

const ROUNDS: usize = 5;
/// Checks of a round, each of any session: what a node at 25,000 checks a second writes at once.
const MARKS: usize = 50_000;
/// Rows of a plain statement.
const BATCH: usize = 1_000;
/// Checks a second while statements are counted; a little more than what must be reached.
const PACE: u32 = 22_000;
const LEAST_PACE: f64 = 20_000.0;
const COUNTED: Duration = Duration::from_secs(10);
const MOST_STATEMENTS: f64 = 5.0;

/// What anyone would write.
const PLAIN: &str = "update tenure.sessions t set anchor_at = m.at
                       from unnest($1::uuid[], $2::timestamptz[]) m (id, at) where t.id = m.id";

/// Adds the line of the flusher; its rate, for the peers' lines.
pub async fn flusher(table: &mut Table, url: &str, manager: &Manager, crowd: Crowd, tokens: &Tokens) -> f64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    run(&mut connection, "set synchronous_commit = off").await;
    let (mut random, mut other) = (Random::new(5), Random::new(6));
    let rounds = Rounds::measure(
        ROUNDS,
        async || flush(manager, tokens, &mut random).await,
        async || plain(&mut connection, crowd, tokens.len(), &mut other).await,
    )
    .await;
    table.add(rounds.row("G5", "activity made durable, sessions a second", "plain updates of 1,000 rows", Goal::AtLeast(0.7)));
    rounds.ours()
}

/// Sessions a second whose activity is written. The node flushes by itself too, every two seconds: a round that meets that is
/// an outlier, which the median leaves out.
async fn flush(manager: &Manager, tokens: &Tokens, random: &mut Random) -> f64 {
    manager.flush().await.unwrap();
    let numbers: HashSet<usize> = (0..MARKS).map(|_| random.below(tokens.len())).collect();
    for number in &numbers {
        assert!(near::remembers(manager, tokens.get(*number)), "a session was forgotten");
    }
    let begun = Instant::now();
    manager.flush().await.unwrap();
    numbers.len() as f64 / begun.elapsed().as_secs_f64()
}

async fn plain(connection: &mut PgConnection, crowd: Crowd, sessions: usize, random: &mut Random) -> f64 {
    let now: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("select tenure.now()").fetch_one(&mut *connection).await.unwrap();
    let mut ids: Vec<Uuid> = (0..MARKS).map(|_| crowd.id(random.below(sessions))).collect();
    ids.sort_unstable();
    ids.dedup();
    let begun = Instant::now();
    for batch in ids.chunks(BATCH) {
        sqlx::query(PLAIN).bind(batch).bind(vec![now; batch.len()]).execute(&mut *connection).await.unwrap();
    }
    ids.len() as f64 / begun.elapsed().as_secs_f64()
}

/// Adds the line of the statements: a busy node, everything it sends counted.
pub async fn statements(table: &mut Table, url: &str, manager: &Manager, tokens: &Tokens) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let checks = AtomicU64::new(0);
    let (stop, runtime) = (AtomicBool::new(false), Handle::current());
    let (mut statements, mut done, mut seconds) = (0, 0, 0.0);
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| pace(&runtime, manager, tokens, &checks, &stop));
        tokio::task::block_in_place(|| {
            runtime.block_on(async {
                // Counters of connections arrive about a second late; both readings are equally late.
                tokio::time::sleep(Duration::from_secs(3)).await;
                let (before, from, begun) = (sent(&mut connection).await, checks.load(Ordering::Relaxed), Instant::now());
                tokio::time::sleep(COUNTED).await;
                statements = sent(&mut connection).await - before;
                done = checks.load(Ordering::Relaxed) - from;
                seconds = begun.elapsed().as_secs_f64();
            });
        });
        stop.store(true, Ordering::Relaxed);
        busy.join().unwrap();
    });
    let per_thousand = statements as f64 * 1000.0 / done as f64;
    table.add(Row::limit("G5", "statements per 1,000 checks", per_thousand, MOST_STATEMENTS, "limit"));
    let mut pace = Row::limit("G5", "checks a second meanwhile", done as f64 / seconds, LEAST_PACE, "least");
    pace.goal = Goal::AtLeast(1.0);
    table.add(pace);
}

/// Checks at an even pace, on a thread of its own.
fn pace(runtime: &Handle, manager: &Manager, tokens: &Tokens, checks: &AtomicU64, stop: &AtomicBool) {
    let mut random = Random::new(9);
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..PACE / 200 {
            let token = tokens.get(random.below(tokens.len()));
            if !near::hit(manager, token) {
                assert!(runtime.block_on(near::check(manager, token)), "a live session was not accepted");
            }
            checks.fetch_add(1, Ordering::Relaxed);
        }
        next += Duration::from_millis(5);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Transactions of this database so far; each statement of a node is one.
async fn sent(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar("select xact_commit + xact_rollback from pg_stat_database where datname = current_database()")
        .fetch_one(connection)
        .await
        .unwrap()
}
