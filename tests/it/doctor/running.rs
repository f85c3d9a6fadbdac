//! Findings about what changes while it runs: the clock, bloat, nodes and policies.

use serde_json::Value;
use sqlx::{Connection, PgConnection};

use super::{examined, findings, found, planted, problems};
use crate::support::{Clock, Db};

#[tokio::test]
async fn a_running_node_is_counted_and_nothing_is_wrong_with_it() {
    let db = Db::with(Clock::Real).await;
    let node = db.node("node-1").await;
    // Beside the node, which has to go on beating; on a machine too busy for that it is silent for a moment, and called so.
    let mut document = Value::Null;
    for _ in 0..20 {
        let url = db.url.clone();
        document = tokio::task::spawn_blocking(move || examined(&url)).await.unwrap();
        if findings(&document).iter().all(|finding| finding["code"] != "node_silent") {
            break;
        }
    }
    assert_eq!(problems(&document), Vec::<&str>::new(), "{document:#}");
    assert!(document["areas"][6]["summary"].as_str().unwrap().starts_with("1 node,"), "{document:#}");
    assert!(findings(&document).iter().all(|finding| finding["code"] != "no_node"));
    node.drain().await.unwrap();
}

#[tokio::test]
async fn a_replaced_clock_is_found() {
    let replace = "create or replace function tenure.now() returns timestamptz language sql volatile as $$ select '2026-01-01Z'::timestamptz $$";
    let db = Db::with(Clock::Real).await;
    db.sql(replace).await;
    let document = examined(&db.url);
    let (severity, advice) = found(&document, "clock_replaced", "tenure.now()");
    assert_eq!(severity, "problem");
    db.sql(advice).await;
    let after = examined(&db.url);
    assert!(
        findings(&after)
            .iter()
            .all(|finding| !["clock_replaced", "not_parallel_safe"].contains(&finding["code"].as_str().unwrap())),
        "{after:#}"
    );
}

#[tokio::test]
async fn a_clock_far_from_this_machines_is_found() {
    let db = Db::new().await;
    db.sql("update tenure_test.clock set moved = '1 hour'").await;
    assert_eq!(found(&examined(&db.url), "clock_differs", "60 minutes ahead of this machine's").0, "warning");
    db.sql("update tenure_test.clock set moved = '-1 hour'").await;
    assert_eq!(found(&examined(&db.url), "clock_differs", "60 minutes behind this machine's").0, "warning");
}

#[tokio::test]
async fn a_clock_that_went_back_is_found_by_the_newest_event() {
    let db = Db::new().await;
    db.sql("update tenure_test.clock set moved = '1 hour'").await;
    db.user("abel.tuter").await;
    db.sql("update tenure.users set locked_out = true").await;
    db.sql("update tenure_test.clock set moved = '0'").await;
    assert_eq!(found(&examined(&db.url), "clock_went_back", "in the future").0, "warning");
}

#[tokio::test]
async fn autovacuum_that_was_switched_off_is_found() {
    planted("alter table tenure.sessions set (autovacuum_enabled = false)", "warning", "autovacuum_off", "tenure.sessions").await;
}

#[tokio::test]
async fn dead_rows_that_no_vacuum_removes_are_counted() {
    let db = Db::with(Clock::Real).await;
    db.sql(
        "alter table tenure.invalidations set (autovacuum_enabled = false);
         insert into tenure.invalidations (kind, key) select 's', n::text from generate_series(1, 15000) n;
         delete from tenure.invalidations; select pg_stat_force_next_flush()",
    )
    .await;
    let document = examined(&db.url);
    let (severity, advice) = found(&document, "dead_rows", "tenure.invalidations has 15,000 dead rows");
    assert_eq!(severity, "warning");
    assert!(advice.starts_with("vacuum (analyze) tenure.invalidations;"), "{advice}");
}

#[tokio::test]
async fn a_replication_slot_that_nobody_reads_is_found() {
    let db = Db::with(Clock::Real).await;
    let slot = format!("tenure_doctor_{}", std::process::id());
    db.sql(&format!("select pg_create_physical_replication_slot('{slot}', true)")).await;
    let document = examined(&db.url);
    // It belongs to the whole server: gone before anything is judged.
    db.sql(&format!("select pg_drop_replication_slot('{slot}')")).await;
    let (severity, advice) = found(&document, "slot_inactive", &slot);
    assert_eq!((severity, advice.contains("pg_drop_replication_slot")), ("warning", true), "{advice}");
}

#[tokio::test]
async fn long_transactions_are_found_with_what_they_hold_back() {
    let db = Db::new().await;
    let mut reading = db.connection().await;
    sqlx::raw_sql("begin isolation level repeatable read; select 1").execute(&mut reading).await.unwrap();
    let mut writing = PgConnection::connect(&Db::empty("UTF8").await).await.unwrap();
    sqlx::raw_sql("begin; select pg_current_xact_id()").execute(&mut writing).await.unwrap();
    db.sql("update tenure_test.clock set moved = '1 hour'").await;
    let document = examined(&db.url);
    found(&document, "long_transaction", "it holds back vacuum.");
    let (severity, advice) = found(&document, "long_transaction", "it holds back the pruning of the invalidation log.");
    assert_eq!(severity, "warning");
    assert!(advice.contains("pg_terminate_backend("), "{advice}");
}

#[tokio::test]
async fn a_silent_node_and_a_log_held_back_are_found() {
    let db = Db::new().await;
    db.store.register_node(&tenure::store::Registration { name: "node-9".to_owned(), address: None }).await.unwrap();
    db.sql("insert into tenure.invalidations (kind, key) select 's', n::text from generate_series(1, 100001) n").await;
    db.sql("update tenure_test.clock set moved = '1 hour'").await;
    let document = examined(&db.url);
    assert_eq!(found(&document, "node_silent", "node-9 has been silent for 60 minutes").0, "warning");
    assert_eq!(found(&document, "log_held_back", "100,001 rows: the node node-9 has not applied it").0, "warning");
    db.sql("update tenure.nodes set fenced = true").await;
    assert_eq!(found(&examined(&db.url), "node_silent", "node-9").0, "note");
}

#[tokio::test]
async fn overdue_sessions_and_late_sweeps_are_found() {
    let db = Db::new().await;
    db.user("abel.tuter").await;
    db.sql("select tenure.sign_in('user', 'abel.tuter', sha256('x'), null, 'desktop', null, null, null, null, false, null, null, '{}')").await;
    db.store.register_node(&tenure::store::Registration { name: "node-9".to_owned(), address: None }).await.unwrap();
    db.sql("update tenure_test.clock set moved = '1 hour'").await;
    assert_eq!(found(&examined(&db.url), "sessions_overdue", "1 session is due").0, "warning");
    db.sql("update tenure.nodes set beat_at = tenure.now() + interval '1 hour'").await;
    assert_eq!(found(&examined(&db.url), "sweeps_late", "No sweeper has been done for 60 minutes").0, "warning");
}

#[tokio::test]
async fn passes_of_the_lowering_job_are_shown_and_late_ones_found() {
    let db = Db::new().await;
    db.sql("update tenure.policies set lowering_pass = 2, lowering_from = tenure.now() where kind = 'user'").await;
    assert_eq!(found(&examined(&db.url), "lowering_owed", "2 passes").0, "note");
    db.sql("update tenure_test.clock set moved = '1 hour'").await;
    assert_eq!(found(&examined(&db.url), "lowering_owed", "2 passes over user sessions, since 60 minutes").0, "warning");
}

#[tokio::test]
async fn policies_that_do_not_follow_the_properties_are_a_problem() {
    let edit = "update tenure.policies set idle_seconds = 99 where kind = 'user'";
    planted(edit, "problem", "policy_differs", "idle_seconds of user sessions is 99 in force, and 1800 by the properties").await;
    let set = format!("insert into tenure.properties (name, value) values ('glide.ui.session_timeout', '60'); {edit}");
    planted(&set, "problem", "policy_differs", "99 in force, and 3600 by the properties").await;
}
