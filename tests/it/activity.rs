//! A node under steady load for half an hour: what activity does to the table. Three minutes in ordinary runs, in which every other
//! test goes on beside it: tests begin in the order of their names, and by its own this one begins first.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tenure::Manager;
use tenure::embedded::Embedded;
use tenure::input::CreateSession;
use tenure::manager::{CheckOptions, Verdict};
use tenure::session::Activity;
use tenure::store::Actor;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::support::{Crowd, Db, rounds};

const LOAD: Actor<'static> = Actor("load");
const SESSIONS: u32 = 20_000;

/// An answer; none where a busy machine kept the question waiting too long for a connection.
fn heard<T>(answer: tenure::Result<T>) -> Option<T> {
    match answer {
        Err(error) if error.is_unavailable() => None,
        answer => Some(answer.unwrap()),
    }
}

/// A thousand checks a second over all sessions, from memory when it can answer.
async fn check(node: Arc<Manager>, tokens: Arc<Vec<String>>, until: Instant, seed: u64) -> u64 {
    let mut random = StdRng::seed_from_u64(seed);
    let mut pace = interval(Duration::from_millis(10));
    let mut checks = 0;
    while Instant::now() < until {
        pace.tick().await;
        for _ in 0..10 {
            let token = &tokens[random.random_range(0..tokens.len())];
            if node.check_now(token, Some(Activity::User)).is_none() {
                let verdict = heard(node.check(token, Some(Activity::User), CheckOptions::default(), LOAD).await);
                assert!(matches!(verdict, None | Some(Verdict::Live(_))), "{verdict:?}");
            }
            checks += 1;
        }
    }
    checks
}

/// Ten sessions a second begin, are used for a while and are signed out.
async fn come_and_go(node: Arc<Manager>, until: Instant) -> u64 {
    let guest = CreateSession { kind: "guest".into(), ..Default::default() }.validate().unwrap();
    let mut pace = interval(Duration::from_millis(100));
    let mut present = std::collections::VecDeque::new();
    let mut gone = 0;
    while Instant::now() < until {
        pace.tick().await;
        present.extend(heard(node.create(&guest, LOAD).await));
        if present.len() > 200
            && let Some(created) = present.pop_front()
        {
            heard(node.terminate(created.session.id, false, LOAD).await);
            gone += 1;
        }
    }
    gone
}

/// Activity is in no index and pages have room, so updates stay within their page and autovacuum keeps the table small.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measured_activity_stays_hot_and_the_table_small() {
    // On a server of its own: a transaction that lasts, in whatever database of the same one, holds back what is measured here.
    let folder = std::env::temp_dir().join(format!("tenure-activity-{}", std::process::id()));
    let embedded = Embedded::start(&folder, &|_| {}).await.unwrap();
    let db = Db::on(embedded.url()).await;
    db.crowd(Crowd { sessions: SESSIONS, users: 1_000, oldest: 60, youngest: 1 }).await;
    let tokens: Arc<Vec<String>> = Arc::new(db.tokens(SESSIONS).await.into_iter().map(|(_, token)| token).collect());
    let live_size = "select pg_relation_size('tenure.sessions')";
    let (loaded, seconds) = (db.count(live_size).await, u64::from(rounds(1_800)));
    let node = Arc::new(db.node("node-1").await);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut load = JoinSet::new();
    load.spawn(check(Arc::clone(&node), Arc::clone(&tokens), until, 1));
    load.spawn(check(Arc::clone(&node), tokens, until, 2));
    load.spawn(come_and_go(Arc::clone(&node), until));
    let done: u64 = load.join_all().await.into_iter().sum();
    node.drain().await.unwrap();

    let another = db.another("node-2").await;
    another.sql("select pg_stat_force_next_flush()").await;
    let stat = async |column: &str| {
        another.count(&format!("select {column} from pg_stat_user_tables where relid = 'tenure.sessions'::regclass")).await
    };
    let (updated, hot) = (stat("n_tup_upd").await, stat("n_tup_hot_upd").await);
    let size = another.count(live_size).await;
    println!("{seconds} s, {done} operations: {updated} updates, {hot} of them HOT; table {loaded} bytes at first, {size} now");
    assert!(updated > i64::from(SESSIONS), "the activity was not written");
    assert!(hot * 100 >= updated * 95, "{hot} of {updated} updates were HOT");
    assert!(size < loaded * 2, "the table grew from {loaded} to {size} bytes");
    another.manager.drain().await.unwrap();
    embedded.stop().await.unwrap();
    let _ = std::fs::remove_dir_all(&folder);
}
