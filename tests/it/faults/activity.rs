//! Activity that is counted in memory: held up, overtaken, near its deadline, lost with its node.

use sqlx::{AssertSqlSafe, Connection};
use tenure::session::{Law, Mark, Movement};
use tenure::store::Flushed;

use super::*;
use crate::support::Process;

const DATABASE: &str = "TENURE_TEST_COUNTING";
const SESSION: &str = "TENURE_TEST_COUNTED";

fn count(node: &Manager, session: &Created) {
    assert!(node.check_now(session.token.reveal(), Some(Activity::User)).is_some(), "memory does not answer");
}

fn to(at: i64) -> Law {
    Mark::NONE.moved(Movement::ToNow, at, None).law(None)
}

#[tokio::test]
async fn fault_c33_activity_written_in_the_wrong_order_never_goes_back() {
    let db = Db::new().await;
    let session = guest(&db.manager).await;
    let id = session.session.id;
    let begun = anchor(&db, id).await;
    db.sql("update tenure_test.clock set moved = moved + interval '1 minute'").await;
    let (earlier, later) = (begun + 20_000_000, begun + 40_000_000);
    assert_eq!(db.store.flush(&[(id, to(later))]).await.unwrap(), [Flushed::Written(later)]);
    assert_eq!(db.store.flush(&[(id, to(earlier))]).await.unwrap(), [Flushed::Written(later)]);
    assert_eq!(anchor(&db, id).await, later);
}

#[tokio::test]
async fn fault_c34_rows_that_somebody_holds_are_skipped_and_written_later() {
    let db = Db::new().await;
    let node = db.node("node-1").await;
    let (held, free) = (guest(&node).await, guest(&node).await);
    remembered(&node, &held).await;
    remembered(&node, &free).await;
    node.flush().await.unwrap();
    let before = (anchor(&db, held.session.id).await, anchor(&db, free.session.id).await);
    let mut holder = db.connection().await;
    let hold = format!("begin; select from tenure.sessions where id = '{}' for update", held.session.id);
    sqlx::raw_sql(AssertSqlSafe(hold)).execute(&mut holder).await.unwrap();
    count(&node, &held);
    count(&node, &free);
    let flushed = async |id, before| {
        node.flush().await.unwrap();
        anchor(&db, id).await > before
    };
    until("the free one is written", async || flushed(free.session.id, before.1).await).await;
    assert_eq!(anchor(&db, held.session.id).await, before.0);
    holder.close().await.unwrap();
    until("what was skipped stayed to be written", async || flushed(held.session.id, before.0).await).await;
}

/// Two writers over the same sessions in batches that overlap, and an operator who takes them in the other order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_c34_overlapping_batches_meet_no_deadlock() {
    let db = Db::new().await;
    db.crowd(crate::support::Crowd { sessions: 300, users: 5, oldest: 600, youngest: 60 }).await;
    let ids: Vec<Uuid> = sqlx::query_scalar("select id from tenure.sessions order by id").fetch_all(db.pool()).await.unwrap();
    let now = db.now().await.timestamp_micros();
    let batch: Vec<_> = ids.iter().map(|id| (*id, to(now))).collect();
    let flush = async || {
        for _ in 0..30 {
            for flushed in db.store.flush(&batch).await.unwrap() {
                assert!(matches!(flushed, Flushed::Written(_) | Flushed::Skipped), "{flushed:?}");
            }
        }
    };
    let operator = async {
        let mut connection = db.connection().await;
        for id in ids.iter().rev() {
            let touch = format!("update tenure.sessions set node = 'psql' where id = '{id}'");
            sqlx::raw_sql(AssertSqlSafe(touch)).execute(&mut connection).await.unwrap();
        }
    };
    tokio::join!(flush(), flush(), operator);
    assert_eq!(db.store.flush(&batch).await.unwrap(), vec![Flushed::Written(now); 300]);
}

#[tokio::test]
async fn fault_c34_what_the_database_no_longer_has_is_forgotten() {
    let db = Db::new().await;
    let node = db.node("node-1").await;
    let session = guest(&node).await;
    remembered(&node, &session).await;
    count(&node, &session);
    // Not even the log knows: the flush is the first to find out.
    db.sql(&format!("delete from tenure.sessions where id = '{}'", session.session.id)).await;
    node.flush().await.unwrap();
    assert!(!has(&node, session.session.id));
}

#[tokio::test]
async fn fault_c35_near_the_deadline_on_record_a_check_writes_before_it_answers() {
    let db = Db::new().await;
    let node = db.node("node-1").await;
    let session = guest(&node).await;
    let id = session.session.id;
    let begun = anchor(&db, id).await;
    remembered(&node, &session).await;
    node.flush().await.unwrap();
    // Nine seconds are left of thirty minutes.
    db.advance(chrono::TimeDelta::seconds(1_791)).await;
    assert!(!hit(&node, &session));
    assert!(matches!(check(&node, &session).await, Verdict::Live(_)));
    assert!(anchor(&db, id).await >= begun + 1_791_000_000, "answered before it was on record");
    remembered(&node, &session).await;
}

/// Not a test: a node that counts one session for as long as it is left alone.
#[tokio::test]
#[ignore = "a process that counts, started by the test below"]
async fn counting_process() {
    let (Ok(url), Ok(token)) = (std::env::var(DATABASE), std::env::var(SESSION)) else { return };
    let node = node_at(&url, "node-1", NodeOptions::default()).await;
    loop {
        node.check(&token, None, CheckOptions::default(), ADMIN).await.unwrap();
        if let Some(hit) = node.check_now(&token, None) {
            sqlx::query("update tenure_test.counted set at = $1")
                .bind(hit.last_activity_at)
                .execute(node.store().pool())
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn fault_c36_a_killed_node_loses_at_most_a_flush_interval_of_activity() {
    let db = Db::new().await;
    db.sql("create table tenure_test.counted as select 0::bigint as at").await;
    let session = guest(&db.manager).await;
    let id = session.session.id;
    let begun = anchor(&db, id).await;
    let environment = [(DATABASE, &*db.url), (SESSION, session.token.reveal())];
    let mut node = Process::start("faults::activity::counting_process", &environment);
    let counted = "select at from tenure_test.counted";
    until("it has counted for more than a flush interval", async || db.count(counted).await > begun + 3_000_000).await;
    node.kill();
    let lost = db.count(counted).await - anchor(&db, id).await;
    println!("lost {lost} us");
    assert!((1..3_000_000).contains(&lost), "{lost} us; nothing lost would mean that nothing was counted in memory");
}

#[tokio::test]
async fn fault_c36_a_node_that_drains_loses_nothing() {
    let db = Db::new().await;
    let node = db.node("node-1").await;
    let session = guest(&node).await;
    remembered(&node, &session).await;
    let last = node.check_now(session.token.reveal(), None).unwrap().last_activity_at;
    node.drain().await.unwrap();
    // A node's idea of the time may be ahead by the way of a poll, and no anchor is written ahead of the database's.
    let lost = last - anchor(&db, session.session.id).await;
    assert!((0..=50_000).contains(&lost), "{lost} us");
}
