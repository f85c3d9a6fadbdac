//! Barriers and membership.

use sqlx::{AssertSqlSafe, Connection};
use tenure::manager::Verdict;
use tenure::store::Registration;

use super::*;
use crate::support::{Api, Link, Proxy};

fn registration(name: &str) -> Registration {
    Registration { name: name.to_owned(), address: None }
}

#[tokio::test]
async fn fault_c15_a_restarted_node_answers_for_itself_alone() {
    let db = Db::new().await;
    // The predecessor died without a word: its row is still there, and has applied nothing since.
    let old = db.store.register_node(&registration("node-1")).await.unwrap();
    let node = db.node("node-1").await;
    assert_ne!(old, node.node().unwrap().id());
    let session = guest(&node).await;
    remembered(&node, &session).await;
    let receipt = node.terminate(session.session.id, true, ADMIN).await.unwrap().barrier.unwrap();
    assert_eq!((receipt.acknowledged, receipt.waited_out), (vec!["node-1".to_owned()], vec!["node-1".to_owned()]));
    assert!(receipt.took_ms >= 2_070.0, "{} ms", receipt.took_ms);
}

#[tokio::test]
async fn fault_c16_a_node_that_joins_after_the_commit_has_seen_it() {
    let db = Db::new().await;
    let before = db.store.register_node(&registration("before")).await.unwrap();
    let mut connection = db.connection().await;
    let xid: String = sqlx::query_scalar("select pg_current_xact_id()::text").fetch_one(&mut connection).await.unwrap();
    db.store.register_node(&registration("after")).await.unwrap();
    let applied: Vec<_> = db.store.applied(&xid).await.unwrap().into_iter().map(|node| (node.name, node.applied)).collect();
    assert_eq!(applied, [("after".to_owned(), true), ("before".to_owned(), false)]);
    // It is on record before it may remember anything: a poll of an id that is not finds nobody.
    db.store.unregister_node(before).await.unwrap();
    assert!(db.store.control().await.unwrap().poll(before, None, false, true).await.unwrap().is_none());
}

#[tokio::test]
async fn fault_c10_fault_c17_a_fenced_node_forgets_everything_and_joins_anew() {
    let db = Db::new().await;
    let node = db.node("node-1").await;
    let session = guest(&node).await;
    remembered(&node, &session).await;
    let old = node.node().unwrap().id();
    db.sql(&format!("update tenure.nodes set fenced = true where id = '{old}'")).await;
    until("it joins anew", async || node.node().unwrap().id() != old).await;
    assert!(!has(&node, session.session.id), "it knows nothing");
    assert_eq!(db.count("select count(*) from tenure.nodes where not fenced").await, 1);
    remembered(&node, &session).await;
    let receipt = node.terminate(session.session.id, true, ADMIN).await.unwrap().barrier.unwrap();
    assert_eq!(receipt.acknowledged, ["node-1"], "it counts again, under its new id");
}

#[tokio::test]
async fn fault_c18_the_wait_for_a_silent_node_is_measured_by_the_waiters_own_clock() {
    let db = Db::new().await;
    let node = db.node("node-1").await;
    db.store.register_node(&registration("silent")).await.unwrap();
    let session = guest(&node).await;
    let jump = async {
        db.sql("update tenure_test.clock set moved = moved + interval '20 minutes'").await;
    };
    let (ended, ()) = tokio::join!(node.terminate(session.session.id, true, ADMIN), jump);
    let receipt = ended.unwrap().barrier.unwrap();
    assert_eq!(receipt.waited_out, ["silent"]);
    assert!((2_070.0..4_000.0).contains(&receipt.took_ms), "{} ms", receipt.took_ms);
}

#[tokio::test]
async fn fault_c20_an_ending_whose_outcome_is_unknown_is_no_success_and_is_forgotten_here() {
    let db = Db::new().await;
    let proxy = Proxy::to(&db.url).await;
    let node = node_at(&proxy.url, "far", deaf()).await;
    let session = guest(&node).await;
    remembered(&node, &session).await;
    let id = session.session.id;
    // The statement arrives and waits for the row; then the link breaks.
    let mut holder = db.connection().await;
    sqlx::raw_sql(AssertSqlSafe(format!("begin; select from tenure.sessions where id = '{id}' for update")))
        .execute(&mut holder)
        .await
        .unwrap();
    let cut = async {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        until("the statement waits", async || db.count(waiting).await > 0).await;
        proxy.set(Link::Down);
    };
    let (ended, ()) = tokio::join!(node.terminate(id, true, ADMIN), cut);
    assert!(ended.expect_err("nobody knows").is_unavailable());
    assert!(!has(&node, id) && !hit(&node, &session), "whatever became of it, memory does not say that it lives");
    holder.close().await.unwrap();
    proxy.set(Link::Up);
    until("it is asked again", async || node.terminate(id, false, ADMIN).await.is_ok()).await;
    until("the node is back", async || {
        let verdict = node.check(session.token.reveal(), None, CheckOptions::default(), ADMIN).await;
        verdict.is_ok_and(|verdict| matches!(verdict, Verdict::Over(_)))
    })
    .await;
}

/// A full queue fails every statement that notifies.
const FULL: &str = "create or replace function tenure.wake() returns void language plpgsql as
    $$ begin raise exception 'too many notifications in the NOTIFY queue' using errcode = '54000'; end $$;";

#[tokio::test]
async fn fault_c21_a_full_notification_queue_stops_no_ending() {
    let db = Db::new().await;
    let (one, two) = (db.node("node-1").await, db.node("node-2").await);
    db.sql(FULL).await;
    let session = guest(&one).await;
    remembered(&two, &session).await;
    let ended = one.terminate(session.session.id, true, ADMIN).await.unwrap();
    assert_eq!((ended.terminated, ended.barrier.unwrap().waited_out.len()), (1, 0), "their polls tell the nodes");
    assert!(!hit(&two, &session));

    // The same notification inside the transaction of the ending takes the ending with it.
    db.sql(
        "create function tenure_test.notify() returns trigger language plpgsql as $$ begin perform tenure.wake(); return null; end $$;
         create trigger notify after insert on tenure.ended_sessions for each statement execute function tenure_test.notify();",
    )
    .await;
    let session = guest(&one).await;
    one.terminate(session.session.id, true, ADMIN).await.unwrap_err();
    assert!(matches!(check(&one, &session).await, Verdict::Live(_)));
}

#[tokio::test]
async fn fault_c22_a_node_does_not_accept_what_it_has_just_ended() {
    let db = Db::new().await;
    let node = node_with(&db, "node-1", deaf()).await;
    for _ in 0..20 {
        let session = guest(&node).await;
        remembered(&node, &session).await;
        assert!(node.terminate(session.session.id, false, ADMIN).await.unwrap().barrier.is_none());
        assert!(!hit(&node, &session), "not even without a barrier");
        assert!(matches!(check(&node, &session).await, Verdict::Over(_)));
    }
}

/// A node that has left the registry is waited for by nobody.
#[tokio::test]
async fn fault_c22_a_node_that_has_drained_accepts_nothing_from_memory() {
    let db = Db::new().await;
    let (leaving, other) = (db.node("leaving").await, db.node("other").await);
    let session = guest(&leaving).await;
    remembered(&leaving, &session).await;
    leaving.drain().await.unwrap();
    let receipt = other.terminate(session.session.id, true, ADMIN).await.unwrap().barrier.unwrap();
    assert_eq!((receipt.acknowledged, receipt.waited_out), (vec!["other".to_owned()], vec![]));
    assert!(!hit(&leaving, &session), "accepted after the barrier");
}

#[tokio::test]
async fn fault_c46_more_checks_than_connections_when_the_leases_lapse_are_all_answered_rightly() {
    const SESSIONS: usize = 60;
    let db = Db::new().await;
    let store = tenure::store::Store::connect(&tenure::store::ConnectSettings {
        connections: 2,
        ..crate::support::settings(&db.url, "node-1")
    })
    .await
    .unwrap();
    let node = std::sync::Arc::new(Manager::start(store, registration("node-1")).await.unwrap());
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let session = guest(&node).await;
        remembered(&node, &session).await;
        sessions.push(session);
    }
    for session in sessions.iter().step_by(3) {
        end(&db, session).await;
    }
    node.node().unwrap().cache().distrust();
    let asked: Vec<_> = sessions
        .iter()
        .map(|session| {
            let (node, token) = (std::sync::Arc::clone(&node), session.token.reveal().to_owned());
            tokio::spawn(async move { node.check(&token, None, CheckOptions::default(), ADMIN).await })
        })
        .collect();
    let mut answered = 0;
    for (number, check) in asked.into_iter().enumerate() {
        match check.await.unwrap() {
            Ok(Verdict::Live(_)) => assert_ne!(number % 3, 0, "an ended one was accepted"),
            Ok(Verdict::Over(_)) => assert_eq!(number % 3, 0, "a live one was refused"),
            Ok(Verdict::TokenExpired | Verdict::Unknown) => panic!("{number} was made"),
            Err(error) => assert!(error.is_unavailable(), "{error}"),
        }
        answered += 1;
    }
    assert_eq!(answered, SESSIONS);
}

/// One connection of a client carries many requests: each is a check of its own.
#[tokio::test]
async fn fault_c50_a_verdict_is_good_for_one_request() {
    let api = Api::start().await;
    let (session, token) = api.create(&serde_json::json!({"kind": "guest"})).await;
    for _ in 0..5 {
        api.check(&token).await.expect(200);
    }
    api.delete(&format!("/v1/sessions/{}", session["id"].as_str().unwrap())).await.expect(200);
    api.check(&token).await.refused(401, "session_ended");
}
