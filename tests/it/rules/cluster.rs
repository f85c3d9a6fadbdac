//! Section 7: cluster.

use std::time::Duration;

use tenure::session::Activity;
use tenure::store::{CheckOutcome, ListFilter, OpenTransaction, Registration, StateFilter, SweepPosition};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::*;

async fn register(db: &Db, name: &str) -> uuid::Uuid {
    db.store.register_node(&Registration { name: name.into(), address: None }).await.unwrap()
}

#[tokio::test]
async fn rule_c1_every_node_sees_all() {
    let db = stopped().await;
    let nodes = [db.another("node-1").await, db.another("node-2").await, db.another("node-3").await];
    let mut sessions = Vec::new();
    for node in &nodes {
        sessions.push(create(node, user()).await);
    }
    for node in &nodes {
        let mut seen: Vec<_> = listed(node, StateFilter::Live).await.iter().map(|session| session.id).collect();
        let mut all: Vec<_> = sessions.iter().map(|session| session.session.id).collect();
        seen.sort();
        all.sort();
        assert_eq!(seen, all);
    }
    for (number, session) in sessions.iter().enumerate() {
        let stranger = &nodes[(number + 1) % 3];
        assert_eq!(stranger.manager.terminate(session.session.id, true, ADMIN).await.unwrap().terminated, 1);
    }
    assert!(listed(&nodes[0], StateFilter::Live).await.is_empty());
}

#[tokio::test]
async fn rule_c2_what_a_row_shows() {
    let db = stopped().await;
    let first = register(&db, "node-1").await;
    let second = register(&db, "node-2").await;
    let new = CreateSession { client_address: Some("203.0.113.7".into()), user_agent: Some("Firefox".into()), ..user() };
    let session = create(&db, new).await;
    let id = session.session.id;
    let seen = view(&db, &session).await;
    let place = seen.place.unwrap();
    assert_eq!(place.client_address.as_deref(), Some("203.0.113.7"));
    assert_eq!((place.user_agent.as_deref(), place.node.as_deref()), (Some("Firefox"), Some("node-1")));
    check(&db.another("node-2").await, &session, Activity::User).await;
    assert_eq!(view(&db, &session).await.place.unwrap().node.as_deref(), Some("node-2"), "the node that last served it");

    let active = async || view(&db, &session).await.active;
    let mut control = db.store.control().await.unwrap();
    let mut beat = async |node| control.poll(node, None, false, true).await.unwrap().unwrap();
    let open = async |node, id: Uuid, began| {
        let open = OpenTransaction { session: session.session.id, id, started_at: t(began).timestamp_micros() };
        db.store.write_transactions(node, &[open]).await.unwrap();
        id
    };
    assert!(!active().await, "most sessions show false");
    let short = open(first, Uuid::from_u128(1), "09:00").await;
    let long = open(second, Uuid::from_u128(2), "09:00").await;
    assert!(active().await);
    let filter = |active| ListFilter { active: Some(active), limit: 10, ..Default::default() };
    assert_eq!(db.store.list(&filter(true)).await.unwrap().items.len(), 1);
    assert_eq!(db.store.list(&filter(false)).await.unwrap().items.len(), 0);
    assert!(db.store.close_transaction(id, short, None).await.unwrap());
    assert!(active().await, "one is still open");
    assert!(!db.store.close_transaction(id, short, None).await.unwrap());

    // It lapses with the lease of its node, whatever other nodes do.
    at(&db, "09:00:01.999999").await;
    assert!(active().await);
    at(&db, "09:00:02").await;
    beat(first).await;
    assert!(!active().await, "the lease of node-2 is over");
    beat(second).await;
    assert!(active().await);

    // And after ten minutes.
    for (clock, open) in [("09:09:59.999999", true), ("09:10:00", false)] {
        at(&db, clock).await;
        beat(first).await;
        beat(second).await;
        assert_eq!(active().await, open, "{clock}");
    }
    let again = open(first, Uuid::from_u128(3), "09:10").await;
    assert!(active().await);
    db.store.unregister_node(first).await.unwrap();
    assert!(!active().await, "a node that leaves takes its transactions with it");
    assert!(!db.store.close_transaction(id, again, None).await.unwrap());
    at(&db, "09:11:00.000001").await;
    db.store.keep_house().await.unwrap();
    assert!(!db.store.close_transaction(id, long, None).await.unwrap(), "a lapsed one is cleared away");
}

#[tokio::test]
async fn rule_c3_ended_is_ended_everywhere() {
    let db = stopped().await;
    let one = db.node("node-1").await;
    let two = db.node("node-2").await;
    for _ in 0..20 {
        let new = user().validate().unwrap();
        let session = one.create(&new, ADMIN).await.unwrap();
        let check =
            async || two.check(session.token.reveal(), Some(Activity::User), CheckOptions::default(), ADMIN).await.unwrap();
        assert!(matches!(check().await, Verdict::Live(_)));
        let receipt = one.terminate(session.session.id, true, ADMIN).await.unwrap().barrier.unwrap();
        let mut known = [receipt.acknowledged, receipt.waited_out].concat();
        known.sort();
        assert_eq!(known, ["node-1", "node-2"], "the receipt names every node");
        assert!(matches!(check().await, Verdict::Over(_)));
    }
    let unasked = one.create(&user().validate().unwrap(), ADMIN).await.unwrap();
    assert!(one.terminate(unasked.session.id, false, ADMIN).await.unwrap().barrier.is_none());
}

#[tokio::test]
async fn rule_c3_a_check_that_waits_for_the_termination() {
    let db = stopped().await;
    for passive in [false, true] {
        let session = create(&db, user()).await;
        let mut operator = db.connection().await;
        sqlx::raw_sql(AssertSqlSafe(format!("begin; select tenure.terminate('{}')", session.session.id)))
            .execute(&mut operator)
            .await
            .unwrap();
        if passive {
            // Not yet committed, not yet ended; a passive check waits for nobody.
            check(&db, &session, Activity::Passive).await;
            sqlx::raw_sql("commit").execute(&mut operator).await.unwrap();
        } else {
            let (store, token) = (db.store.clone(), session.token.reveal().to_owned());
            let waiting = tokio::spawn(async move { store.check(&token, Some(Activity::User), ADMIN).await.unwrap() });
            blocked(&db).await;
            sqlx::raw_sql("commit").execute(&mut operator).await.unwrap();
            let outcome = waiting.await.unwrap();
            assert!(matches!(outcome, CheckOutcome::Over(_)), "{outcome:?}");
        }
        assert_eq!(ending(&db, &session).await.0, "terminated");
    }
}

#[tokio::test]
async fn rule_c4_nothing_is_ended_twice() {
    const SESSIONS: i64 = 300;
    let db = stopped().await;
    db.sql(&format!(
        "insert into tenure.sessions (id, token_hash, kind, created_at, anchor_at, due_at)
         select tenure.uuid_v7(n.at), sha256('x'), 'guest', n.at, n.at, n.at + interval '30 minutes'
           from (select tenure.now() as at) n, generate_series(1, {SESSIONS})"
    ))
    .await;
    at(&db, "09:30").await;
    let mut nodes = Vec::new();
    for number in 1..=5 {
        nodes.push(db.another(&format!("node-{number}")).await);
    }
    let sweepers: JoinSet<i64> = nodes
        .iter()
        .map(|node| {
            let store = node.store.clone();
            async move {
                let (mut ended, mut position) = (0, SweepPosition::START);
                loop {
                    let swept = store.sweep(position, 7).await.unwrap();
                    ended += swept.ended;
                    position = swept.reached;
                    if swept.ended == 0 {
                        break ended;
                    }
                }
            }
        })
        .collect();
    let ended = sweepers.join_all().await;
    let left = nodes[0].store.sweep(SweepPosition::START, 1_000).await.unwrap().ended;
    assert_eq!(ended.iter().sum::<i64>() + left, SESSIONS);
    let twice = "select count(*) from (select session_id from tenure.session_events where type = 'session_ended'
                                        group by session_id having count(*) <> 1) as more";
    assert_eq!(db.count(twice).await, 0);
    assert_eq!(db.count("select count(*) from tenure.session_events where type = 'session_ended'").await, SESSIONS);
    let exact = "select count(*) from tenure.ended_sessions where ended_at = '2027-06-01 09:30+00' and end_reason = 'idle'";
    assert_eq!(db.count(exact).await, SESSIONS);
}

#[tokio::test]
async fn rule_c4_running_nodes_sweep_without_a_coordinator() {
    let db = stopped().await;
    let one = db.node("node-1").await;
    let two = db.node("node-2").await;
    for _ in 0..50 {
        create(&db, guest()).await;
    }
    at(&db, "09:30").await;
    // Either node alone is enough: the other one leaves.
    one.drain().await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), async {
        while db.count("select count(*) from tenure.sessions").await > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("nobody swept");
    assert_eq!(db.count("select count(*) from tenure.session_events where type = 'session_ended'").await, 50);
    drop(two);
}

#[tokio::test]
async fn rule_c5_never_past_the_deadline() {
    let db = stopped().await;
    at(&db, "10:00").await;
    let mut sessions = Vec::new();
    for activity in [Activity::User, Activity::Ajax, Activity::ChatPoll, Activity::AutoRefresh, Activity::Passive] {
        sessions.push((create(&db, user()).await, activity));
    }
    at(&db, "10:29:59.999999").await;
    let last = create(&db, user()).await;
    for (session, _) in &sessions {
        check(&db, session, Activity::Passive).await;
    }
    // No sweeper has ever run.
    at(&db, "10:30").await;
    for (session, activity) in &sessions {
        let over = over(&db, session, *activity).await;
        assert_eq!(over.ending.at, t("10:30"), "{activity}");
        let ended = format!("select count(*) from tenure.ended_sessions where id = '{}'", session.session.id);
        assert_eq!(db.count(&ended).await, 1, "the check ends the session itself");
    }
    at(&db, "10:31").await;
    let mut nodes = Vec::new();
    for number in 1..=5 {
        nodes.push(db.another(&format!("node-{number}")).await);
    }
    let sweepers: JoinSet<i64> = nodes
        .iter()
        .map(|node| {
            let store = node.store.clone();
            async move { store.sweep(SweepPosition::START, 100).await.unwrap().ended }
        })
        .collect();
    assert_eq!(sweepers.join_all().await, [0; 5], "nothing left to do");
    check(&db, &last, Activity::User).await;
}

#[tokio::test]
async fn rule_c6_what_a_failure_costs() {
    let db = stopped().await;
    let dying = db.node("node-1").await;
    let session = dying.create(&user().validate().unwrap(), ADMIN).await.unwrap();
    let token = session.token.reveal();
    let Verdict::Live(checked) = dying
        .check(token, Some(Activity::User), CheckOptions { open_transaction: true, ..Default::default() }, ADMIN)
        .await
        .unwrap()
    else {
        panic!()
    };
    assert!(checked.transaction_id.is_some() && checked.session.active);
    at(&db, "09:20").await;
    dying.check(token, Some(Activity::User), CheckOptions::default(), ADMIN).await.unwrap();
    dying.flush().await.unwrap();
    // It dies: no drain, nothing said to anybody.
    drop(dying);
    at(&db, "09:49").await;
    let other = db.another("node-2").await;
    let seen = check(&other, &session, Activity::Passive).await.session;
    assert_eq!((seen.last_activity_at, seen.active), (t("09:20"), false), "its recorded activity stays");
    at(&db, "09:50").await;
    assert_eq!(other.store.sweep(SweepPosition::START, 10).await.unwrap().ended, 1, "another node ends what it served");
}
