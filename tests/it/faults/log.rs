//! The invalidation log: what is missed, late, out of order, unknown, held back or pruned.

use sqlx::Connection;
use tenure::cache::Rule;
use tenure::manager::{CheckOptions, NodeOptions, Verdict};
use tenure::session::Activity;
use tenure::store::Registration;
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::*;

fn registration(name: &str) -> Registration {
    Registration { name: name.to_owned(), address: None }
}

#[tokio::test]
async fn fault_c04_fault_c19_fault_c45_without_any_hint_everything_holds_within_the_lease() {
    let db = Db::new().await;
    let node = node_with(&db, "node-1", deaf()).await;
    let mut plain_after = 0;
    for _ in 0..3 {
        let session = guest(&node).await;
        remembered(&node, &session).await;
        // The operator's psql ends it and is gone before it could wake anybody.
        end(&db, &session).await;
        let ended = Instant::now();
        plain_after += u32::from(hit(&node, &session));
        let strict = CheckOptions { strict: true, ..CheckOptions::default() };
        let verdict = node.check(session.token.reveal(), Some(Activity::User), strict, ADMIN).await.unwrap();
        assert!(matches!(verdict, Verdict::Over(_)), "a strict check asks PostgreSQL: {verdict:?}");

        let session = guest(&node).await;
        remembered(&node, &session).await;
        end(&db, &session).await;
        until("the node learns of it", async || !hit(&node, &session)).await;
        assert!(ended.elapsed() < Duration::from_secs(3), "{:?}", ended.elapsed());
        assert!(matches!(check(&node, &session).await, Verdict::Over(_)));
    }
    assert!(plain_after > 0, "memory never answered after the end: strict was not needed here");
}

#[tokio::test]
async fn fault_c05_fault_c49_a_new_connection_empties_the_cache_and_loses_no_activity() {
    for without in [None, Some(Rule::FirstPollEmpties)] {
        let db = Db::new().await;
        let node = node_with(&db, "node-1", NodeOptions { without, ..NodeOptions::default() }).await;
        let session = guest(&node).await;
        remembered(&node, &session).await;
        let id = session.session.id;
        node.flush().await.unwrap();
        let before = anchor(&db, id).await;
        assert!(node.check_now(session.token.reveal(), Some(Activity::User)).is_some());
        assert!(has(&node, id));
        let poller = "select pid from pg_stat_activity where datname = current_database() and query like '/* node_poll%'";
        let old = db.count(&format!("select pid::bigint from ({poller}) p")).await;
        db.sql(&format!("select pg_terminate_backend({old})")).await;
        let new = format!("select count(*) from ({poller}) p where pid <> {old}");
        until("it polls again", async || db.count(&new).await > 0).await;
        let beat = beats(&db, "node-1").await;
        until("and has applied what it polled", async || beats(&db, "node-1").await > beat + 1).await;
        assert_eq!(has(&node, id), without.is_some(), "{without:?}");
        node.flush().await.unwrap();
        assert!(anchor(&db, id).await > before, "what was counted before the break is written");
        remembered(&node, &session).await;
    }
}

/// The row written first commits last; in between the node has polled past it.
#[tokio::test]
async fn fault_c08_a_row_that_commits_late_is_found() {
    let db = Db::new().await;
    db.sql("alter table tenure.invalidations add number bigserial").await;
    let node = db.store.register_node(&registration("node-1")).await.unwrap();
    let mut control = db.store.control().await.unwrap();
    let mut poll = async |applied: Option<&str>| {
        let answer = control.poll(node, applied, false, true).await.unwrap().unwrap();
        (answer.snapshot, answer.rows.into_iter().map(|row| row.1).collect::<Vec<_>>())
    };
    let (applied, _) = poll(None).await;
    let log = |key: u128| format!("insert into tenure.invalidations (kind, key) values ('s', '{}')", Uuid::from_u128(key));
    let mut late = db.connection().await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("begin; {}", log(1)))).execute(&mut late).await.unwrap();
    db.sql(&log(2)).await;
    let (applied, rows) = poll(Some(&applied)).await;
    assert_eq!(rows, [Uuid::from_u128(2).to_string()]);
    let highest = db.count("select max(number) from tenure.invalidations").await;
    sqlx::raw_sql("commit").execute(&mut late).await.unwrap();
    let (applied, rows) = poll(Some(&applied)).await;
    assert_eq!(rows, [Uuid::from_u128(1).to_string()], "what committed late, and nothing twice");
    assert!(poll(Some(&applied)).await.1.is_empty());
    // What reads by the highest number seen misses it for ever.
    assert_eq!(db.count(&format!("select count(*) from tenure.invalidations where number > {highest}")).await, 0);
}

#[tokio::test]
async fn fault_c09_a_long_writer_delays_no_acknowledgement() {
    let db = Db::new().await;
    let (one, two) = (db.node("node-1").await, db.node("node-2").await);
    let mut writer = db.connection().await;
    sqlx::raw_sql("begin; insert into tenure.users (name) values ('long')").execute(&mut writer).await.unwrap();
    for _ in 0..3 {
        let session = guest(&one).await;
        remembered(&two, &session).await;
        let receipt = one.terminate(session.session.id, true, ADMIN).await.unwrap().barrier.unwrap();
        assert_eq!((receipt.acknowledged.len(), receipt.waited_out.len()), (2, 0), "{receipt:?}");
        assert!(!hit(&two, &session));
    }
    writer.close().await.unwrap();
}

#[tokio::test]
async fn fault_c10_the_log_is_kept_for_a_node_that_sleeps_until_it_is_fenced() {
    let db = Db::new().await;
    let sleeping = db.store.register_node(&registration("sleeping")).await.unwrap();
    let awake = db.store.register_node(&registration("awake")).await.unwrap();
    let mut control = db.store.control().await.unwrap();
    db.sql("insert into tenure.invalidations (kind) values ('g')").await;
    let mut keep_house = async || {
        let applied = control.poll(awake, None, false, true).await.unwrap().unwrap().snapshot;
        control.poll(awake, Some(&applied), false, true).await.unwrap().unwrap();
        db.store.keep_house().await.unwrap();
    };
    keep_house().await;
    let left = "select count(*) from tenure.invalidations";
    assert_eq!(db.count(left).await, 1, "pruned under a node that has not read it");
    assert_eq!(db.store.fence_nodes(&[(sleeping, 1)]).await.unwrap(), 0, "its beat is not 1");
    assert_eq!(db.store.fence_nodes(&[(sleeping, 0)]).await.unwrap(), 1);
    // A writing transaction anywhere on the server holds the log back as well, for as long as it runs.
    until("the log is pruned", async || {
        keep_house().await;
        db.count(left).await == 0
    })
    .await;
    assert!(control.poll(sleeping, None, false, true).await.unwrap().is_none(), "it has to begin anew");
}

#[tokio::test]
async fn fault_c47_a_row_of_an_unknown_kind_empties_the_cache() {
    let db = Db::new().await;
    let node = db.node("node-1").await;
    let session = guest(&node).await;
    db.sql("alter table tenure.invalidations drop constraint invalidations_kind_check, drop constraint invalidations_key_check")
        .await;
    for row in ["('z', 'whatever')", "('s', 'no session id')", "('u', '7.5')", "('k', '')"] {
        remembered(&node, &session).await;
        db.sql(&format!("insert into tenure.invalidations (kind, key) values {row}")).await;
        until("the cache is empty", async || !has(&node, session.session.id)).await;
    }
    remembered(&node, &session).await;
}

#[tokio::test]
async fn fault_c48_nothing_negative_is_remembered() {
    let db = Db::new().await;
    let node = db.node("node-1").await;
    let session = guest(&node).await;
    remembered(&node, &session).await;
    let id = session.session.id;
    let row = "create table tenure_test.kept as select * from tenure.sessions";
    db.sql(&format!("{row}; delete from tenure.sessions; insert into tenure.invalidations (kind, key) values ('s', '{id}')"))
        .await;
    until("the node learns of it", async || !has(&node, id)).await;
    assert!(matches!(check(&node, &session).await, Verdict::Unknown));
    // An import brings it back without a word to anybody.
    db.sql("insert into tenure.sessions select * from tenure_test.kept").await;
    assert!(matches!(check(&node, &session).await, Verdict::Live(_)));
}
