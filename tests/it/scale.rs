//! Large numbers: a tightened policy over a million sessions, a lock-out of a hundred thousand, a sweep amid dead rows.
//! A tenth of each in ordinary runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::{PgConnection, Row};
use tenure::maintenance::Sweeper;
use tenure::session::Activity;
use tenure::store::{Actor, Expect, Store};
use tokio::task::JoinHandle;

use crate::support::{Clock, Crowd, Db, rounds};

const IDLE: &str = "glide.ui.session_timeout";

/// Counting checks, one after the other, until `stop`: the longest one took.
fn check_all_the_while(store: Store, tokens: Arc<Vec<String>>, stop: Arc<AtomicBool>, seed: u64) -> JoinHandle<(Duration, u32)> {
    tokio::spawn(async move {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut longest, mut count) = (Duration::ZERO, 0);
        while !stop.load(Ordering::Relaxed) {
            let token = &tokens[random.random_range(0..tokens.len())];
            let asked = Instant::now();
            store.check(token, Some(Activity::User), Actor("load")).await.unwrap();
            longest = longest.max(asked.elapsed());
            count += 1;
        }
        (longest, count)
    })
}

/// The lowering job and a sweeper, as a node runs them, until nothing is owed; the second pass is due 5 s after the first.
async fn lower_and_sweep(db: &Db) {
    let mut sweeper = Sweeper::new(tokio::time::Instant::now());
    loop {
        while db.store.lower_deadlines(2_000).await.unwrap().is_some() {}
        while sweeper.tick(&db.store, tokio::time::Instant::now()).await.unwrap().is_some() {}
        if db.count("select sum(lowering_pass)::bigint from tenure.policies").await == 0 {
            return;
        }
        db.advance(TimeDelta::seconds(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_a11_a_tightened_limit_over_a_million_sessions_ends_all_that_is_due_and_none_comes_back() {
    let db = Db::new().await;
    let sessions = rounds(1_000_000);
    db.crowd(Crowd { sessions, users: 1_000, oldest: 250, youngest: 1 }).await;
    // However long that took: the first of them is 10 s from an idle limit of 5 minutes.
    let age = db.count("select extract(epoch from tenure.now() - min(anchor_at))::bigint from tenure.sessions").await;
    db.advance(TimeDelta::seconds(290 - age)).await;
    let mut random = StdRng::seed_from_u64(11);
    let all = db.tokens(sessions).await;
    // The youngest tenth is checked while the limit changes.
    let young = &all[all.len() * 9 / 10..];
    let tokens: Arc<Vec<String>> = Arc::new((0..1_000).map(|_| young[random.random_range(0..young.len())].1.clone()).collect());
    let checks = db.store_of(4).await;

    // The best of some: a checker may be put aside by other work on the machine.
    let (mut change, mut wait) = (Duration::MAX, Duration::MAX);
    for (attempt, limit) in ["10", "9", "5"].into_iter().enumerate() {
        let stop = Arc::new(AtomicBool::new(false));
        let checkers: Vec<_> =
            (0..2).map(|n| check_all_the_while(checks.clone(), tokens.clone(), stop.clone(), attempt as u64 * 2 + n)).collect();
        let asked = Instant::now();
        db.store.change_property(IDLE, Some(limit), false, &Expect::default(), Actor("operator")).await.unwrap();
        change = change.min(asked.elapsed());
        stop.store(true, Ordering::Relaxed);
        let mut longest = Duration::ZERO;
        for checker in checkers {
            let (took, count) = checker.await.unwrap();
            assert!(count > 0, "nobody checked meanwhile");
            longest = longest.max(took);
        }
        wait = wait.min(longest);
    }
    println!("{sessions} sessions: change {change:?}, longest check meanwhile {wait:?}");
    assert!(change <= Duration::from_secs(2), "the change took {change:?}");
    assert!(wait <= Duration::from_millis(100), "a check waited {wait:?}");

    // A tenth of them falls due.
    db.advance(TimeDelta::seconds(30)).await;
    let asked = Instant::now();
    lower_and_sweep(&db).await;
    println!("lowered and swept in {:?}", asked.elapsed());
    assert!(asked.elapsed() <= Duration::from_mins(1), "{:?}", asked.elapsed());
    let overdue = "select count(*) from tenure.sessions s where s.due_at > s.anchor_at + interval '5 minutes'";
    assert_eq!(db.count(overdue).await, 0, "a due date is later than the deadline");
    let ended = db.count("select count(*) from tenure.ended_sessions").await;
    assert!(ended > 0, "nothing fell due meanwhile");

    db.advance(TimeDelta::seconds(10)).await;
    // Raised again in the middle of what falls due: what is over stays over, though no sweeper has come by.
    let over: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from tenure.sessions where anchor_at <= tenure.now() - interval '5 minutes'")
            .fetch_all(db.pool())
            .await
            .unwrap();
    assert!(!over.is_empty());
    db.store.change_property(IDLE, None, false, &Expect::default(), Actor("operator")).await.unwrap();
    let back =
        sqlx::query("select count(*) from tenure.sessions where id = any ($1)").bind(&over).fetch_one(db.pool()).await.unwrap();
    assert_eq!(back.get::<i64, _>(0), 0, "sessions came back when the limit was raised");
    let live = db.count("select count(*) from tenure.live").await;
    let gone = db.count("select count(*) from tenure.ended_sessions where end_reason = 'idle'").await;
    assert_eq!(live + gone, i64::from(sessions));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_p5_more_than_10_000_endings_are_refused_with_their_count_unless_forced() {
    let db = Db::with(Clock::Real).await;
    let sessions = rounds(200_000);
    db.crowd(Crowd { sessions, users: 100, oldest: 1200, youngest: 900 }).await;
    let tokens: Arc<Vec<String>> =
        Arc::new(db.tokens(sessions).await.into_iter().rev().take(500).map(|(_, token)| token).collect());
    let stop = Arc::new(AtomicBool::new(false));
    // They are among those that would end, and have to be answered while it is found out.
    let checker = check_all_the_while(db.store_of(2).await, tokens, stop.clone(), 5);
    let refused = db.store.change_property(IDLE, Some("10"), false, &Expect::default(), Actor("operator")).await.unwrap_err();
    stop.store(true, Ordering::Relaxed);
    checker.await.unwrap();
    let refusal = refused.refusal().unwrap();
    assert_eq!((refusal.status, &*refusal.code), (409, "too_many_endings"));
    let named: i64 = refusal.message.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    assert!((i64::from(sessions) - 500..=i64::from(sessions)).contains(&named), "{}", refusal.message);
    assert_eq!(db.count("select count(*) from tenure.ended_sessions").await, 0, "a refused change ended sessions");
    assert_eq!(db.count("select count(*) from tenure.properties").await, 0);

    let live = db.count("select count(*) from tenure.sessions where anchor_at <= tenure.now() - interval '10 minutes'").await;
    db.store.change_property(IDLE, Some("10"), true, &Expect::default(), Actor("operator")).await.unwrap();
    assert_eq!(
        db.count("select count(*) from tenure.ended_sessions where end_reason = 'idle' and ended_by = 'operator'").await,
        live
    );
}

async fn idle_buffers(connection: &mut PgConnection) -> i64 {
    let statement = "explain (analyze, buffers, format json) select * from tenure.sweep((select tenure.now()), '00000000-0000-0000-0000-000000000000', 1000)";
    let plan: serde_json::Value = sqlx::query_scalar(statement).fetch_one(connection).await.unwrap();
    let plan = &plan[0]["Plan"];
    plan["Shared Hit Blocks"].as_i64().unwrap() + plan["Shared Read Blocks"].as_i64().unwrap()
}

#[tokio::test]
async fn an_idle_sweep_stays_cheap_while_a_snapshot_keeps_the_dead_rows() {
    let db = Db::with(Clock::Real).await;
    let due = rounds(200_000);
    db.crowd(Crowd { sessions: due, users: 100, oldest: 7200, youngest: 3600 }).await;
    db.crowd(Crowd { sessions: 1_000, users: 100, oldest: 60, youngest: 1 }).await;
    let mut analyst = db.connection().await;
    sqlx::raw_sql("begin isolation level repeatable read; select count(*) from tenure.users")
        .execute(&mut analyst)
        .await
        .unwrap();
    let mut sweeper = Sweeper::new(tokio::time::Instant::now());
    while sweeper.tick(&db.store, tokio::time::Instant::now()).await.unwrap().is_some() {}
    assert_eq!(db.count("select count(*) from tenure.ended_sessions").await, i64::from(due));
    let mut connection = db.connection().await;
    // The first call fills the caches of its connection.
    idle_buffers(&mut connection).await;
    let buffers = idle_buffers(&mut connection).await;
    println!("idle sweep after {due} endings under a held snapshot: {buffers} buffers");
    assert!(buffers < 20, "{buffers} buffers");
    sqlx::raw_sql("rollback").execute(&mut analyst).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_u1_a_user_with_many_sessions_is_locked_out_by_plain_sql_amid_flushes_and_sweeps() {
    let db = Db::with(Clock::Real).await;
    let sessions = rounds(100_000);
    let mut best = Duration::MAX;
    // The best of some: other work on the machine is not what is measured.
    for attempt in 1..=3 {
        best = best.min(lock_out_a_crowd(&db, sessions).await);
        assert_eq!(db.count("select count(*) from tenure.sessions").await, 0);
        let reasons = "select count(*) from tenure.ended_sessions where end_reason in ('idle', 'locked_out')";
        assert_eq!(db.count(reasons).await, i64::from(sessions) * attempt);
        if best <= Duration::from_secs(3) {
            break;
        }
    }
    assert!(best <= Duration::from_secs(3), "{best:?}");
}

/// Locks out a user with so many sessions while a flusher and a sweeper work on them: how long the statement took.
async fn lock_out_a_crowd(db: &Db, sessions: u32) -> Duration {
    db.sql("update tenure.users set locked_out = false").await;
    db.crowd(Crowd { sessions, users: 1, oldest: 2100, youngest: 1 }).await;
    let stop = Arc::new(AtomicBool::new(false));
    // More often than every node of a cluster together would.
    // Activity of those that are not over: a mark never moves what is.
    let ids: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from tenure.sessions where due_at > tenure.now() + interval '1 minute'")
            .fetch_all(db.pool())
            .await
            .unwrap();
    let (store, stopped, mut connection) = (db.store.clone(), stop.clone(), db.connection().await);
    let others = tokio::spawn(async move {
        let mut random = StdRng::seed_from_u64(1);
        let mut sweeper = Sweeper::new(tokio::time::Instant::now());
        let mut flushes = 0;
        while !stopped.load(Ordering::Relaxed) {
            // A batch of activity as a flusher writes it: by id, passing over rows that others hold.
            let batch: Vec<uuid::Uuid> = (0..500).map(|_| ids[random.random_range(0..ids.len())]).collect();
            sqlx::query(
                "with batch as (select s.id from tenure.sessions s where s.id = any ($1) order by s.id for no key update skip locked)
                 update tenure.sessions s set anchor_at = tenure.now() from batch b where s.id = b.id",
            )
            .bind(batch)
            .execute(&mut connection)
            .await
            .unwrap();
            sweeper.tick(&store, tokio::time::Instant::now()).await.unwrap();
            flushes += 1;
        }
        flushes
    });
    let mut operator = db.connection().await;
    let asked = Instant::now();
    sqlx::raw_sql("update tenure.users set locked_out = true where name = 'u1'").execute(&mut operator).await.unwrap();
    let took = asked.elapsed();
    stop.store(true, Ordering::Relaxed);
    let flushes = others.await.unwrap();
    println!("lock-out of {sessions} sessions: {took:?}, {flushes} flushes and sweeps meanwhile");
    took
}
