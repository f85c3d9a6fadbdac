//! How fast sessions that are over are ended: the sweeper against a plain delete-and-insert written for the purpose.
//!
//! `cargo bench --bench sweep` on `TEST_DATABASE_URL`, else on an embedded server. `TENURE_BENCH_ROWS` sets the number of
//! live sessions (1,000,000); a fifth as many are over. Both sides end the same rows from the same tables in batches of
//! the same size, in turn. Read the ratio, not the rates: they are the machine's.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tenure::embedded::{Embedded, default_data_dir};
use tenure::maintenance::Sweeper;
use tenure::store::{ConnectSettings, Store};

const ROUNDS: usize = 3;
/// Below this share of the plain rate the sweeper does something it should not.
const GATE: f64 = 0.6;

/// What anyone would write first: no names, no address, no judgement of deadlines, one event each.
const PLAIN: &str = "
    with due as (
        select id from tenure.sessions where due_at <= clock_timestamp() order by due_at, id limit 1000 for update skip locked
    ), gone as (
        delete from tenure.sessions s using due d where s.id = d.id returning s.*
    ), moved as (
        insert into tenure.ended_sessions (id, token_hash, kind, user_id, device, remember_me, residue, created_at, anchor_at, node,
                                           ended_at, end_reason, ended_by)
        select id, token_hash, kind, user_id, device, remember_me, residue, created_at, anchor_at, node, due_at, 'idle', 'plain' from gone
    ), noted as (
        insert into tenure.session_events (id, at, type, session_id, actor, reason)
        select tenure.uuid_v7(clock_timestamp()), clock_timestamp(), 'session_ended', id, 'plain', 'idle' from gone
    )
    select count(*) from gone";

#[tokio::main]
async fn main() {
    // `cargo test --all-targets` runs this too, without the argument; loading a million rows is no test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let rows: i64 = std::env::var("TENURE_BENCH_ROWS").map_or(1_000_000, |rows| rows.replace('_', "").parse().unwrap());
    let embedded = if std::env::var("TEST_DATABASE_URL").is_ok() {
        None
    } else {
        let data_dir = default_data_dir(&std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("tenure-benches"));
        Some(Embedded::start(&data_dir, &|step| eprintln!("{step}")).await.unwrap())
    };
    let server = embedded.as_ref().map_or_else(|| std::env::var("TEST_DATABASE_URL").unwrap(), Embedded::url);
    let name = format!("tenure_bench_{}", std::process::id());
    let mut admin = PgConnection::connect(&server).await.unwrap();
    run(&mut admin, &format!("create database {name} encoding 'UTF8' template template0")).await;
    let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);

    let passed = measure(&url, rows).await;
    run(&mut admin, &format!("drop database {name} with (force)")).await;
    if let Some(embedded) = embedded {
        embedded.stop().await.unwrap();
    }
    assert!(passed, "the sweeper is slower than {GATE} of the plain statement");
}

async fn measure(url: &str, rows: i64) -> bool {
    let settings = ConnectSettings { url: url.to_owned(), connections: 2, node: None, allow_plaintext: true, allow_lossy: true };
    tenure::store::migrate(&settings, &|_| {}).await.unwrap();
    let store = Store::connect(&settings).await.unwrap();
    let mut connection = PgConnection::connect(url).await.unwrap();
    eprintln!("Loading {rows} live sessions");
    run(&mut connection, "insert into tenure.users (name) select 'u' || n from generate_series(1, 10000) n").await;
    load(&mut connection, rows, "interval '1 minute'").await;

    println!("{rows} live sessions, {} over, batches of 1,000", rows / 5);
    println!("{:>5} {:>16} {:>16} {:>6}", "round", "sweeper rows/s", "plain rows/s", "ratio");
    let (mut ours, mut plain) = (0.0_f64, 0.0_f64);
    for round in 1..=ROUNDS {
        let (swept, deleted);
        // In turn, so that neither always meets the tables the other left.
        if round % 2 == 1 {
            swept = sweep(&store, &mut connection, rows / 5).await;
            deleted = delete(&mut connection, rows / 5).await;
        } else {
            deleted = delete(&mut connection, rows / 5).await;
            swept = sweep(&store, &mut connection, rows / 5).await;
        }
        println!("{round:>5} {swept:>16.0} {deleted:>16.0} {:>6.2}", swept / deleted);
        (ours, plain) = (ours.max(swept), plain.max(deleted));
    }
    println!("{:>5} {ours:>16.0} {plain:>16.0} {:>6.2}", "best", ours / plain);
    store.close().await;
    ours / plain >= GATE
}

async fn sweep(store: &Store, connection: &mut PgConnection, due: i64) -> f64 {
    load(connection, due, "interval '2 hours'").await;
    let mut sweeper = Sweeper::new(tokio::time::Instant::now());
    let begun = Instant::now();
    while sweeper.tick(store, tokio::time::Instant::now()).await.unwrap().is_some() {}
    rate(connection, due, begun.elapsed()).await
}

async fn delete(connection: &mut PgConnection, due: i64) -> f64 {
    load(connection, due, "interval '2 hours'").await;
    let begun = Instant::now();
    while sqlx::query_scalar::<_, i64>(PLAIN).fetch_one(&mut *connection).await.unwrap() > 0 {}
    rate(connection, due, begun.elapsed()).await
}

#[allow(clippy::cast_precision_loss)]
async fn rate(connection: &mut PgConnection, due: i64, took: Duration) -> f64 {
    let left: i64 = sqlx::query_scalar("select count(*) from tenure.sessions where due_at <= tenure.now()")
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    assert_eq!(left, 0, "not all that was due was ended");
    due as f64 / took.as_secs_f64()
}

/// Sessions with attributes, begun so long ago, in the order of their ids; the tables are vacuumed and the log is flushed.
async fn load(connection: &mut PgConnection, rows: i64, ago: &str) {
    run(
        connection,
        &format!(
            "with made as (
                 insert into tenure.sessions (id, token_hash, kind, user_id, user_epoch, device, created_at, anchor_at, due_at, node)
                 select tenure.uuid_v7(t.at), sha256(int8send(n)), 'user', u.id, u.epoch, 'desktop', t.at, t.at, t.at + interval '30 minutes', 'node-1'
                   from generate_series(1, {rows}) n
                   join tenure.users u on u.id = 1 + n % 10000
                  cross join lateral (select tenure.now() - {ago} as at) t
                 returning id)
             insert into tenure.session_attributes (session_id, client_address, user_agent, attributes)
             select id, '203.0.113.7', 'Mozilla/5.0 (X11; Linux x86_64)', '{{\"cart\": [1, 2, 3]}}' from made"
        ),
    )
    .await;
    for statement in ["vacuum analyze tenure.sessions", "vacuum analyze tenure.session_attributes", "checkpoint"] {
        run(connection, statement).await;
    }
}

async fn run(connection: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await.unwrap();
}
