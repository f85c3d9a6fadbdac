//! C31, C32 and rule C4: sweepers against activity and against each other, in tasks and in processes that are killed.

use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::Row;
use tenure::input::CreateSession;
use tenure::maintenance::Sweeper;
use tenure::session::Activity;
use tenure::store::{Actor, CheckOutcome, Store, SweepPosition};
use tokio::time::Instant;

use super::{pid, until_waiting};
use crate::support::{Clock, Crowd, Db, Process, rounds, settings};

const DATABASE: &str = "TENURE_TEST_SWEEP";
const SWEEPS: Actor<'static> = Actor("sweeps");

/// All sessions ended, each with one row and one event.
async fn expect_each_ended_once(db: &Db, sessions: u32) {
    assert_eq!(db.count("select count(*) from tenure.sessions").await, 0, "sessions are left");
    assert_eq!(db.count("select count(*) from tenure.ended_sessions").await, i64::from(sessions));
    assert_eq!(db.count("select count(*) from tenure.session_events where type = 'session_ended'").await, i64::from(sessions));
    let distinct = "select count(distinct session_id) from tenure.session_events where type = 'session_ended'";
    assert_eq!(db.count(distinct).await, i64::from(sessions));
    assert_eq!(db.count("select count(*) from tenure.session_attributes").await, 0, "attributes outlived their session");
}

async fn sweep_dry(store: &Store) {
    let mut sweeper = Sweeper::new(Instant::now());
    while sweeper.tick(store, Instant::now()).await.unwrap().is_some() {}
}

/// Not a test: one sweeper, run by the test below in a process of its own.
#[tokio::test]
#[ignore = "a process that sweeps, started by the tests"]
async fn sweeping_process() {
    let Ok(url) = std::env::var(DATABASE) else { return };
    let store = Store::connect(&settings(&url, "sweeper")).await.unwrap();
    sweep_dry(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_c4_five_sweepers_end_each_session_exactly_once() {
    let db = Db::with(Clock::Real).await;
    let sessions = rounds(50_000);
    db.crowd(Crowd { sessions, users: 100, oldest: 7200, youngest: 3600 }).await;
    let sweepers: Vec<_> =
        (0..5).map(|_| db.store.clone()).map(|store| tokio::spawn(async move { sweep_dry(&store).await })).collect();
    for sweeper in sweepers {
        sweeper.await.unwrap();
    }
    // A row that a neighbour held is skipped and left to the next full scan.
    sweep_dry(&db.store).await;
    expect_each_ended_once(&db, sessions).await;
}

#[tokio::test]
async fn rule_c4_five_sweeping_processes_killed_at_random_end_each_session_exactly_once() {
    let mut random = StdRng::seed_from_u64(4);
    let db = Db::with(Clock::Real).await;
    let sessions = rounds(200_000);
    db.crowd(Crowd { sessions, users: 100, oldest: 7200, youngest: 3600 }).await;
    let start = || Process::start("races::sweeping::sweeping_process", &[(DATABASE, &db.url)]);
    let mut sweepers: Vec<_> = (0..5).map(|_| start()).collect();
    let mut killed = 0;
    for part in 1..=6 {
        let goal = i64::from(sessions) * part / 10;
        while db.count("select count(*) from tenure.ended_sessions").await < goal {}
        let victim = random.random_range(0..sweepers.len());
        sweepers[victim].kill();
        sweepers[victim] = start();
        killed += i64::from(db.count("select count(*) from tenure.sessions").await > 0);
    }
    for sweeper in sweepers {
        sweeper.finish().unwrap();
    }
    assert!(killed >= 3, "the sweepers were done before they could be killed");
    sweep_dry(&db.store).await;
    expect_each_ended_once(&db, sessions).await;
}

/// A sweeper that expects nothing reads one page of policies and no session; what it could not foresee wakes it all the same:
/// time, and a limit that was tightened.
#[tokio::test]
async fn rule_c4_a_sweeper_at_rest_misses_nothing() {
    let db = Db::new().await;
    db.user("abel.tuter").await;
    let mut sweeper = Sweeper::new(Instant::now());
    let mut tick = async || sweeper.tick(&db.store, Instant::now()).await.unwrap();
    let sign_in = || CreateSession { kind: "user".into(), user: Some("abel.tuter".into()), ..Default::default() };
    let over = "select count(*) from tenure.ended_sessions";
    db.store.create(&sign_in().validate().unwrap(), SWEEPS).await.unwrap();
    db.advance(TimeDelta::seconds(50)).await;
    assert!(tick().await.is_none());
    // Nobody can read the sessions now, and it does not have to.
    let mut connection = db.connection().await;
    sqlx::raw_sql("begin; lock tenure.sessions in access exclusive mode").execute(&mut connection).await.unwrap();
    assert!(tick().await.is_none());
    sqlx::raw_sql("rollback").execute(&mut connection).await.unwrap();

    // Ten seconds before the new limit, well within the half minute it meant to rest.
    db.manager.set_property("glide.ui.session_timeout", "1", true, SWEEPS).await.unwrap();
    assert!(tick().await.is_none(), "nothing is due yet");
    while db.store.lower_deadlines(1_000).await.unwrap().is_some() {}
    db.advance(TimeDelta::seconds(11)).await;
    while tick().await.is_some() {}
    assert_eq!(db.count(over).await, 1, "the tightened limit was slept through");

    // A session that begins while it rests is met at its own deadline.
    assert!(tick().await.is_none());
    db.store.create(&sign_in().validate().unwrap(), SWEEPS).await.unwrap();
    db.advance(TimeDelta::seconds(59)).await;
    while tick().await.is_some() {}
    assert_eq!(db.count(over).await, 1);
    db.advance(TimeDelta::seconds(1)).await;
    while tick().await.is_some() {}
    assert_eq!(db.count(over).await, 2);
}

/// Activity and sweepers meet around the deadline: what a check accepted was not over, and counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_c31_fault_c32_a_touch_around_the_deadline_is_counted_or_refused_never_both() {
    let db = Db::new().await;
    let sessions = rounds(5_000);
    // Their idle deadlines pass one after the other while the touches run: 100 s in 50 steps.
    db.crowd(Crowd { sessions, users: 50, oldest: 1790, youngest: 1700 }).await;
    let tokens = db.tokens(sessions).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let sweepers: Vec<_> = (0..2)
        .map(|_| (db.store.clone(), stopped.clone()))
        .map(|(store, stopped)| {
            tokio::spawn(async move {
                while !*stopped.borrow() {
                    store.sweep(SweepPosition::START, 50).await.unwrap();
                }
            })
        })
        .collect();
    let (mut accepted, mut refused) = (0, 0);
    let mut random = StdRng::seed_from_u64(31);
    let mut order: Vec<_> = (0..tokens.len()).collect();
    for place in (1..order.len()).rev() {
        order.swap(place, random.random_range(0..=place));
    }
    for (number, index) in order.into_iter().enumerate() {
        if number % (tokens.len() / 50) == 0 {
            db.advance(chrono::TimeDelta::seconds(2)).await;
        }
        let (id, token) = &tokens[index];
        let row = match db.store.check(token, Some(Activity::User), Actor("race")).await.unwrap() {
            CheckOutcome::Accepted(counted) => {
                accepted += 1;
                let now = sqlx::query("select anchor_at from tenure.sessions where id = $1").bind(id).fetch_one(db.pool()).await;
                (
                    now.expect("an accepted session was swept").get::<chrono::DateTime<chrono::Utc>, _>(0),
                    counted.session.last_activity_at,
                )
            }
            CheckOutcome::Over(over) => {
                refused += 1;
                assert_eq!(over.ending.at, over.session.last_activity_at + chrono::TimeDelta::minutes(30));
                continue;
            }
            CheckOutcome::TokenExpired | CheckOutcome::Unknown => panic!("{id} was made"),
        };
        assert_eq!(row.0, row.1, "the activity is on record");
    }
    stop.send(true).unwrap();
    for sweeper in sweepers {
        sweeper.await.unwrap();
    }
    sweep_dry(&db.store).await;
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted > 50 && refused > 50, "the deadline did not pass between: {accepted} accepted, {refused} refused");
    assert_eq!(db.count("select count(*) from tenure.sessions").await, accepted);
    let late = "select count(*) from tenure.ended_sessions where ended_at <> anchor_at + interval '30 minutes' or anchor_at <> created_at";
    assert_eq!(db.count(late).await, 0, "a session ended by another deadline than its own, or was touched after it");
}

#[tokio::test]
async fn fault_c31_a_sweep_passes_over_a_row_that_activity_holds_and_rearms_it_afterwards() {
    let db = Db::new().await;
    db.crowd(Crowd { sessions: 1, users: 1, oldest: 1740, youngest: 1740 }).await;
    let mut toucher = db.connection().await;
    sqlx::raw_sql("begin; update tenure.sessions set anchor_at = tenure.now()").execute(&mut toucher).await.unwrap();
    db.sql("update tenure_test.clock set moved = '2 minutes'").await;
    let swept = db.store.sweep(SweepPosition::START, 10).await.unwrap();
    assert_eq!((swept.ended, swept.rearmed), (0, 0), "swept what activity holds");
    sqlx::raw_sql("commit").execute(&mut toucher).await.unwrap();
    let swept = db.store.sweep(SweepPosition::START, 10).await.unwrap();
    assert_eq!((swept.ended, swept.rearmed), (0, 1));
    assert_eq!(db.count("select count(*) from tenure.sessions where due_at = anchor_at + interval '30 minutes'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_c32_a_touch_that_waited_for_an_ending_is_refused() {
    let db = Db::new().await;
    db.crowd(Crowd { sessions: 1, users: 1, oldest: 60, youngest: 60 }).await;
    let (id, token) = db.tokens(1).await.remove(0);
    let store = db.store_of(2).await;
    let mut ender = db.connection().await;
    let mut watcher = db.connection().await;
    let ender_pid = pid(&mut ender).await;
    sqlx::raw_sql("begin").execute(&mut ender).await.unwrap();
    sqlx::query("select tenure.terminate($1)").bind(id).execute(&mut ender).await.unwrap();
    let touch = tokio::spawn(async move { store.check(&token, Some(Activity::User), Actor("race")).await.unwrap() });
    let waiting: i32 = loop {
        let found = sqlx::query_scalar("select pid from pg_stat_activity where $1 = any (pg_blocking_pids(pid))")
            .bind(ender_pid)
            .fetch_optional(&mut watcher)
            .await
            .unwrap();
        if let Some(found) = found {
            break found;
        }
    };
    until_waiting(&mut watcher, waiting).await;
    sqlx::raw_sql("commit").execute(&mut ender).await.unwrap();
    let outcome = touch.await.unwrap();
    let CheckOutcome::Over(over) = outcome else { panic!("a zombie: {outcome:?}") };
    assert_eq!(over.ending.reason.as_str(), "terminated");
    assert_eq!(db.count("select count(*) from tenure.sessions").await, 0);
}
