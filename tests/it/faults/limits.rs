//! Users, policies and tokens that change under what nodes remember; statements that stand still.

use sqlx::AssertSqlSafe;
use tenure::manager::Verdict;
use tenure::store::UserPatch;

use super::*;

fn locked_out(locked_out: bool) -> UserPatch {
    UserPatch { locked_out: Some(locked_out), ..UserPatch::default() }
}

#[tokio::test]
async fn fault_c29_a_lock_out_reaches_what_other_nodes_remember_and_stops_rotation() {
    let db = Db::new().await;
    let (one, two) = (db.node("node-1").await, node_with(&db, "node-2", deaf()).await);
    let session = user(&db, &one, "abel.tuter").await;
    let bystander = user(&db, &one, "bow.ruggeri").await;
    remembered(&two, &session).await;
    remembered(&two, &bystander).await;
    let changed = one.patch_user("abel.tuter", &locked_out(true), ADMIN).await.unwrap();
    assert_eq!(changed.ended, Some(1));
    assert!(!hit(&two, &session));
    let Verdict::Over(over) = check(&two, &session).await else { panic!("accepted after the lock-out") };
    assert_eq!(over.ending.reason.as_str(), "locked_out");
    assert!(has(&two, bystander.session.id), "somebody else's session stays");
    let refused = two.rotate(session.session.id, ADMIN).await.unwrap_err();
    assert_eq!(refused.code(), "session_ended");

    // A lock-out that could not see the session ends it by the epoch alone.
    let racing = user(&db, &one, "charlie.whitherspoon").await;
    remembered(&two, &racing).await;
    db.sql(
        "alter table tenure.users disable trigger users_follow_update;
         update tenure.users set locked_out = true where name = 'charlie.whitherspoon';
         alter table tenure.users enable trigger users_follow_update;
         insert into tenure.invalidations (kind, key) select 'u', id::text from tenure.users where name = 'charlie.whitherspoon'",
    )
    .await;
    until("the node learns of it", async || !hit(&two, &racing)).await;
    assert!(matches!(check(&two, &racing).await, Verdict::Over(_)));
    assert_eq!(two.rotate(racing.session.id, ADMIN).await.unwrap_err().code(), "session_ended");
}

#[tokio::test]
async fn fault_c30_an_unlocked_users_old_sessions_stay_over() {
    let db = Db::new().await;
    let node = db.node("node-1").await;
    let session = user(&db, &node, "abel.tuter").await;
    remembered(&node, &session).await;
    let epoch = "select epoch::bigint from tenure.users where name = 'abel.tuter'";
    let mut last = db.count(epoch).await;
    for _ in 0..3 {
        for state in [true, false] {
            node.patch_user("abel.tuter", &locked_out(state), ADMIN).await.unwrap();
            let now = db.count(epoch).await;
            assert!(now >= last && (now > last) == state, "{last} then {now}");
            last = now;
            assert!(!hit(&node, &session));
            assert!(matches!(check(&node, &session).await, Verdict::Over(_)));
        }
    }
    db.sql("update tenure.users set epoch = 0 where name = 'abel.tuter'").await;
    assert!(db.count(epoch).await >= last, "nor does an operator put it back");
}

#[tokio::test]
async fn fault_c40_a_shorter_limit_holds_on_every_node_once_it_is_set() {
    let db = Db::new().await;
    let (one, two) = (db.node("node-1").await, node_with(&db, "node-2", deaf()).await);
    let session = guest(&one).await;
    db.advance(chrono::TimeDelta::minutes(10)).await;
    let fresh = guest(&one).await;
    for session in [&session, &fresh] {
        until("memory answers", async || {
            two.check(session.token.reveal(), Some(Activity::Passive), CheckOptions::default(), ADMIN).await.unwrap();
            hit(&two, session)
        })
        .await;
    }
    one.set_property("glide.guest.session_timeout", "5", false, ADMIN).await.unwrap();
    assert!(!hit(&two, &session));
    assert!(has(&two, fresh.session.id), "nothing else is forgotten");
    assert!(matches!(check(&two, &session).await, Verdict::Over(_)));
}

/// Sweepers run on both nodes; whoever is first, the session ends as what it was.
#[tokio::test]
async fn fault_c40_a_longer_limit_revives_nothing() {
    let db = Db::new().await;
    let (one, two) = (db.node("node-1").await, node_with(&db, "node-2", deaf()).await);
    let session = guest(&one).await;
    remembered(&two, &session).await;
    two.flush().await.unwrap();
    // Past its deadline, and still in memory: nothing was said to anybody.
    db.sql("update tenure_test.clock set moved = moved + interval '31 minutes'").await;
    one.set_property("glide.guest.session_timeout", "600", false, ADMIN).await.unwrap();
    assert!(!hit(&two, &session));
    let Verdict::Over(over) = check(&two, &session).await else { panic!("revived") };
    assert_eq!(over.ending.reason.as_str(), "idle");
}

#[tokio::test]
async fn fault_c41_the_old_token_is_dead_everywhere_once_rotation_returns() {
    let db = Db::new().await;
    let (one, two) = (db.node("node-1").await, node_with(&db, "node-2", deaf()).await);
    let session = guest(&one).await;
    remembered(&one, &session).await;
    remembered(&two, &session).await;
    let rotated = one.rotate(session.session.id, ADMIN).await.unwrap();
    for node in [&one, &two] {
        assert!(!hit(node, &session));
        assert!(matches!(check(node, &session).await, Verdict::Unknown));
        let new = node.check(rotated.token.reveal(), None, CheckOptions::default(), ADMIN).await.unwrap();
        assert!(matches!(new, Verdict::Live(_)), "{new:?}");
        assert!(!hit(node, &session), "nor with the new one in memory");
    }
}

/// What a node that was stopped inside a transaction holds, PostgreSQL takes back after five seconds.
#[tokio::test]
async fn fault_c44_a_transaction_that_stands_still_does_not_hold_its_rows() {
    let db = Db::new().await;
    let node = db.node("node-1").await;
    let session = guest(&node).await;
    let id = session.session.id;
    for setting in ["statement_timeout", "idle_in_transaction_session_timeout"] {
        let set: String = sqlx::query_scalar("select current_setting($1)").bind(setting).fetch_one(db.pool()).await.unwrap();
        assert_eq!(set, "5s", "{setting}");
    }
    let mut stopped = db.pool().acquire().await.unwrap();
    let hold = format!("begin; select from tenure.sessions where id = '{id}' for update");
    sqlx::raw_sql(AssertSqlSafe(hold)).execute(&mut *stopped).await.unwrap();
    until("it may be ended", async || node.terminate(id, false, ADMIN).await.is_ok()).await;
    sqlx::query("select 1").execute(&mut *stopped).await.unwrap_err();
}
