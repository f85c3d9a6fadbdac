//! Several nodes, one store.

use std::sync::Arc;

use reqwest::Method;
use serde_json::json;

use super::shapes;
use crate::support::{Api, assert_instant, assert_keys, send};

#[tokio::test]
async fn made_on_one_seen_on_two_ended_on_three_refused_on_one() {
    let api = Api::start().await;
    let (two, three) = (api.another("node-2").await, api.another("node-3").await);
    api.db.user("abel.tuter").await;
    let (session, token) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());

    let listed = send(api.to(&two, Method::GET, "/v1/sessions?user=abel.tuter")).await.expect(200);
    assert_eq!(listed["items"][0], session, "node 2 shows what node 1 made");
    let body = json!({"token": token});
    let checked = send(api.to(&two, Method::POST, "/v1/sessions/check").json(&body)).await.expect(200);
    shapes::checked(&checked);
    two.manager.flush().await.unwrap();
    assert_eq!(api.get(&path).await.expect(200)["node"], "node-2", "the node that served it last");

    let receipt = send(api.to(&three, Method::DELETE, &path)).await.expect(200);
    assert_eq!(receipt["terminated"], 1);
    shapes::barrier(&receipt["barrier"], &["node-1", "node-2", "node-3"]);
    for node in [&api.node, &two, &three] {
        let over = send(api.to(node, Method::POST, "/v1/sessions/check").json(&body)).await.refused(401, "session_ended");
        assert_eq!(over["reason"], "terminated");
    }
    let explained = send(api.to(&two, Method::GET, &format!("{path}/explain"))).await.expect(200);
    assert_eq!(explained["ended"]["node"], "node-3");

    // Its user keeps signing in (U5), on any node.
    let body = json!({"kind": "user", "user": "abel.tuter"});
    let again = send(api.to(&three, Method::POST, "/v1/sessions").json(&body)).await.expect(201);
    assert_eq!(again["session"]["node"], "node-3");

    let page = api.get("/v1/nodes").await.expect(200);
    let nodes = shapes::page(&page);
    let names: Vec<_> = nodes.iter().map(|node| node["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["node-1", "node-2", "node-3"]);
    for node in nodes {
        assert_keys(
            node,
            &["name", "address", "version", "state", "lease_expires_at", "sessions", "in_flight", "sweep_late_seconds"],
        );
        assert_instant(&node["lease_expires_at"]);
        assert_eq!((&node["state"], &node["version"]), (&json!("live"), &json!(env!("CARGO_PKG_VERSION"))));
    }
    assert_eq!(nodes[2]["sessions"], 1);
}

#[tokio::test]
async fn a_transaction_belongs_to_its_node() {
    let api = Api::start().await;
    let two = api.another("node-2").await;
    let (session, token) = api.create(&json!({"kind": "guest"})).await;
    let body = json!({"token": token, "transaction": true});
    send(api.to(&two, Method::POST, "/v1/sessions/check").json(&body)).await.expect(200);
    // It is written down once it has lasted a flush interval.
    let begun = tokio::time::Instant::now();
    while api.get("/v1/sessions?active=true").await.expect(200)["items"][0]["id"] != session["id"] {
        assert!(begun.elapsed() < std::time::Duration::from_secs(6), "never shown as active");
    }
    let nodes = api.get("/v1/nodes").await.expect(200);
    assert_eq!((&nodes["items"][0]["in_flight"], &nodes["items"][1]["in_flight"]), (&json!(0), &json!(1)));
    let mut two = two;
    two.tell_to_stop();
    two.gone().await;
    assert_eq!(api.get("/v1/sessions?active=true").await.expect(200)["items"], json!([]), "it lapsed with its node");
}

/// The list is of now; what it counts is counted once for all who look.
#[tokio::test]
async fn what_nodes_hold_is_counted_once_for_all_who_ask() {
    let api = Api::start().await;
    let _two = api.another("node-2").await;
    api.create(&json!({"kind": "guest"})).await;
    let sessions = async || api.get("/v1/nodes").await.expect(200)["items"][0]["sessions"].clone();
    assert_eq!(sessions().await, 1);
    let held = api.node.manager.held().await.unwrap();
    api.create(&json!({"kind": "guest"})).await;
    let again = api.node.manager.held().await.unwrap();
    // Unless ten seconds passed meanwhile.
    if Arc::ptr_eq(&held, &again) {
        assert_eq!(again.sessions["node-1"], 1);
    }
    let mut shared = false;
    for _ in 0..10 {
        let (one, other) = (api.node.manager.held().await.unwrap(), api.node.manager.held().await.unwrap());
        shared |= Arc::ptr_eq(&one, &other);
    }
    assert!(shared, "every one who asks counts anew");
    assert_eq!(api.db.manager.held().await.unwrap().sessions["node-1"], 2, "another process counts for itself");
}
