//! Orders to drain: given through any node, heard by the one they are for, and taken back.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection};
use tenure::store::{Actor, Registration};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::support::{Api, Db, Node, send};

const ADMIN: Actor<'static> = Actor("admin-key");

/// A database whose clock stands, so that no node is found silent however slow its polls are.
async fn still() -> Db {
    let db = Db::new().await;
    db.sql(
        "create or replace function tenure.now() returns timestamptz language sql volatile
             as $$ select timestamptz '2027-06-01 09:00:00+00' $$",
    )
    .await;
    db
}

/// Asks again until it is so.
async fn until(what: &str, is: impl AsyncFn() -> bool) {
    let asking = async {
        while !is().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), asking).await.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn ready(api: &Api, node: &Node) -> u16 {
    send(api.client.get(format!("{}/readyz", node.url))).await.status
}

fn registration(name: &str) -> Registration {
    Registration { name: name.to_owned(), address: None }
}

/// Name and state of each.
fn states(page: &Value) -> Vec<(&str, &str)> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|node| (node["name"].as_str().unwrap(), node["state"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn an_order_to_drain_is_given_at_one_node_heard_by_another_and_taken_back() {
    let api = Api::on(still().await).await;
    let two = api.another("node-2").await;
    let (_, token) = api.create(&json!({"kind": "guest"})).await;
    let order = |method| send(api.request(method, "/v1/nodes/node-2/drain"));
    let events = async |kind: &str| api.get(&format!("/v1/events?type={kind}")).await.expect(200)["items"].take();

    for _ in 0..2 {
        assert_eq!(states(&order(Method::POST).await.expect(200)), [("node-2", "draining")], "as often as it is ordered");
        until("it hears", async || ready(&api, &two).await == 503).await;
    }
    send(api.client.get(format!("{}/readyz", two.url))).await.refused(503, "draining");
    assert_eq!(ready(&api, &api.node).await, 200);
    let listed = send(api.to(&two, Method::GET, "/v1/nodes")).await.expect(200);
    assert_eq!(states(&listed), [("node-1", "live"), ("node-2", "draining")]);

    // It answers what arrives, but for what would stay.
    send(api.to(&two, Method::POST, "/v1/sessions/check").json(&json!({"token": token}))).await.expect(200);
    let stream = api.to(&two, Method::GET, "/v1/events").header("accept", "text/event-stream");
    assert!(send(stream).await.refused(503, "draining")["detail"].as_str().unwrap().contains("another node"));

    // Taken back at the very node.
    for _ in 0..2 {
        let resumed = send(api.to(&two, Method::DELETE, "/v1/nodes/node-2/drain")).await.expect(200);
        assert_eq!(states(&resumed), [("node-2", "live")]);
        until("it hears", async || ready(&api, &two).await == 200).await;
    }
    for (kind, node) in [("node_drain_ordered", "node-1"), ("node_drain_lifted", "node-2")] {
        let told = events(kind).await;
        assert_eq!(told.as_array().unwrap().len(), 1, "what changes nothing is no event: {told}");
        assert_eq!((&told[0]["actor"], &told[0]["node"]), (&json!("tests"), &json!(node)));
        assert_eq!(told[0]["details"], json!({"name": "node-2"}));
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_node_is_ordered_to_drain() {
    let api = Api::on(still().await).await;
    let two = api.another("node-2").await;
    let mut stream = api.to(&two, Method::GET, "/v1/events").header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(stream.status(), 200);
    api.post("/v1/nodes/node-2/drain", &json!({})).await.expect(200);
    let end = async { while let Ok(Some(_)) = stream.chunk().await {} };
    timeout(Duration::from_secs(20), end).await.expect("its client should go to another node");
}

#[tokio::test]
async fn an_order_for_no_node_is_refused() {
    let api = Api::on(still().await).await;
    for method in [Method::POST, Method::DELETE] {
        let order = async |path: &str| send(api.request(method.clone(), path)).await;
        order("/v1/nodes/node-9/drain").await.refused(404, "unknown_node");
        order("/v1/nodes/NODE-1/drain").await.refused(404, "unknown_node");
        order("/v1/nodes/-x/drain").await.refused(422, "invalid_field");
        order(&format!("/v1/nodes/{}/drain", "x".repeat(64))).await.refused(422, "invalid_field");
    }
    api.post("/v1/nodes/node-1/drain?force=perhaps", &json!({})).await.refused(400, "invalid_parameter");
    api.post("/v1/nodes/node-1/drain?forced=true", &json!({})).await.refused(400, "invalid_parameter");
    assert_eq!(api.db.count("select count(*) from tenure.session_events where type like 'node%'").await, 0);
    assert_eq!(api.db.count("select count(*) from tenure.nodes where draining").await, 0);
}

#[tokio::test]
async fn the_last_live_node_drains_only_by_force() {
    let api = Api::on(still().await).await;
    api.post("/v1/nodes/node-1/drain", &json!({})).await.refused(409, "last_node");
    // One that was found dead is no other.
    let other = api.db.store.register_node(&registration("node-2")).await.unwrap();
    api.db.sql("update tenure.nodes set fenced = true where name = 'node-2'").await;
    api.post("/v1/nodes/node-1/drain", &json!({})).await.refused(409, "last_node");
    api.db.sql("update tenure.nodes set fenced = false, draining = true where name = 'node-2'").await;
    api.post("/v1/nodes/node-1/drain", &json!({})).await.refused(409, "last_node");
    // What drains already makes nothing worse.
    api.db.store.drain_node("node-2", true, false, ADMIN).await.unwrap();
    api.db.store.unregister_node(other).await.unwrap();

    api.post("/v1/nodes/node-1/drain?force=true", &json!({})).await.expect(200);
    until("it hears", async || ready(&api, &api.node).await == 503).await;
    api.delete("/v1/nodes/node-1/drain").await.expect(200);
    until("it hears", async || ready(&api, &api.node).await == 200).await;
}

#[tokio::test]
async fn a_process_that_stops_drains_on_though_the_order_is_taken_back() {
    let api = Api::on(still().await).await;
    let two = api.another("node-2").await;
    let node = two.manager.node().unwrap();
    node.drain();
    let draining = "select count(*) from tenure.nodes where name = 'node-2' and draining";
    until("the registry says so", async || api.db.count(draining).await == 1).await;
    api.delete("/v1/nodes/node-2/drain").await.expect(200);
    assert!(node.is_draining());
    until("its next poll says so again", async || api.db.count(draining).await == 1).await;
    assert_eq!(ready(&api, &two).await, 503);
}

#[tokio::test]
async fn fault_c17_a_node_that_joins_anew_keeps_its_order() {
    let api = Api::on(still().await).await;
    let two = api.another("node-2").await;
    let node = two.manager.node().unwrap();
    api.post("/v1/nodes/node-2/drain", &json!({})).await.expect(200);
    until("it hears", async || node.is_draining()).await;
    let old = node.id();
    api.db.sql("update tenure.nodes set fenced = true where name = 'node-2'").await;
    until("it joins anew", async || node.id() != old).await;
    assert!(node.is_draining(), "at no moment is it ready");
    assert_eq!(api.db.count("select count(*) from tenure.nodes where name = 'node-2' and not fenced and draining").await, 1);
}

#[tokio::test]
async fn fault_c17_the_fenced_row_knows_the_order_better_than_the_process() {
    let db = still().await;
    let registration = registration("node-2");
    let other = db.store.register_node(&self::registration("node-1")).await.unwrap();
    let first = db.store.register_node(&registration).await.unwrap();
    let mut control = db.store.control().await.unwrap();
    let mut draining = async |node: Uuid| control.poll(node, None, false, true).await.unwrap().unwrap().draining;
    assert!(!draining(first).await);

    // Ordered while nobody could hear it, and taken back so.
    db.sql("update tenure.nodes set fenced = true where name = 'node-2'").await;
    db.store.drain_node("node-2", true, false, ADMIN).await.unwrap();
    let second = db.store.register_node_anew(&registration, first, false).await.unwrap();
    assert!(draining(second).await);
    db.sql("update tenure.nodes set fenced = true where name = 'node-2'").await;
    db.store.drain_node("node-2", false, false, ADMIN).await.unwrap();
    let third = db.store.register_node_anew(&registration, second, true).await.unwrap();
    assert!(!draining(third).await);

    // House-keeping removed the row: what the process has heard counts. One that starts has heard nothing.
    let fourth = db.store.register_node_anew(&registration, Uuid::nil(), true).await.unwrap();
    assert!(draining(fourth).await);
    let fifth = db.store.register_node(&registration).await.unwrap();
    assert!(!draining(fifth).await && !draining(other).await);

    // Every process of the name is meant, and no other.
    db.store.drain_node("node-2", true, false, ADMIN).await.unwrap();
    for (node, drains) in [(third, true), (fourth, true), (fifth, true), (other, false)] {
        assert_eq!(draining(node).await, drains);
    }
}

/// Two orders at once, each of which counts on the other's node; whether both were given.
async fn both_are_given(db: &Db) -> bool {
    for name in ["node-1", "node-2"] {
        db.store.register_node(&registration(name)).await.unwrap();
    }
    let mut first = db.connection().await;
    sqlx::raw_sql("begin; select tenure.drain_node('node-1')").execute(&mut first).await.unwrap();
    let second = tokio::spawn({
        let store = db.store.clone();
        async move { store.drain_node("node-2", true, false, ADMIN).await }
    });
    let waiting = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
                    where d.datname = current_database() and l.locktype = 'advisory' and not l.granted";
    until("it waits, or is done", async || second.is_finished() || db.count(waiting).await == 1).await;
    sqlx::raw_sql("commit").execute(&mut first).await.unwrap();
    first.close().await.unwrap();
    match second.await.unwrap() {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.code(), "last_node");
            false
        }
    }
}

#[tokio::test]
async fn two_orders_at_once_leave_a_live_node() {
    let db = still().await;
    assert!(!both_are_given(&db).await);
    assert_eq!(db.count("select count(*) from tenure.nodes where not draining").await, 1);
}

#[tokio::test]
async fn without_their_queue_two_orders_at_once_leave_none() {
    let db = still().await;
    let body: String =
        sqlx::query_scalar("select pg_get_functiondef('tenure.drain_node'::regproc)").fetch_one(db.pool()).await.unwrap();
    let careless = body.replace("perform pg_advisory_xact_lock", "-- perform pg_advisory_xact_lock");
    assert_ne!(careless, body);
    sqlx::raw_sql(AssertSqlSafe(careless)).execute(db.pool()).await.unwrap();
    assert!(both_are_given(&db).await, "the race cannot fail");
}
