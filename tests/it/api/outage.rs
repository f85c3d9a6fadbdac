//! PostgreSQL goes away, a node stops: nobody is told that they were signed out.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tenure::Manager;
use tenure::store::{ConnectSettings, Registration, Store};
use tokio::time::{Instant, timeout};

use crate::support::{Answer, Api, Db, Link, Node, Proxy, send};

/// A node whose way to PostgreSQL leads through a proxy.
async fn behind_a_proxy() -> (Api, Proxy, Node) {
    let api = Api::on(Db::new().await).await;
    let proxy = Proxy::to(&api.db.url).await;
    let settings = ConnectSettings {
        url: proxy.url.clone(),
        connections: 4,
        node: Some("far".to_owned()),
        allow_plaintext: true,
        allow_lossy: true,
    };
    let store = Store::connect(&settings).await.unwrap();
    let node = Node::start(Manager::start(store, Registration { name: "far".to_owned(), address: None }).await.unwrap()).await;
    (api, proxy, node)
}

fn unavailable(answer: &Answer) {
    answer.refused(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

/// Memory goes on accepting while its lease lives, then nothing can be said: never that a session is over.
async fn until_the_lease_is_over<F: Future<Output = Answer>>(check: impl Fn() -> F) {
    let begun = Instant::now();
    loop {
        let asked = begun.elapsed();
        let answer = timeout(Duration::from_secs(15), check()).await.expect("the request is answered");
        if answer.status != 200 {
            return unavailable(&answer);
        }
        assert!(asked < Duration::from_secs(2), "accepted {asked:?} after the link broke");
    }
}

#[tokio::test]
async fn without_postgresql_the_answer_is_503_and_never_401() {
    let (api, proxy, node) = behind_a_proxy().await;
    let (session, token) = api.create(&json!({"kind": "guest"})).await;
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    let check = || send(api.to(&node, Method::POST, "/v1/sessions/check").json(&json!({"token": token})));
    check().await.expect(200);

    proxy.set(Link::Down);
    until_the_lease_is_over(check).await;
    unavailable(&send(api.to(&node, Method::POST, "/v1/sessions/check").json(&json!({"token": ""}))).await);
    unavailable(&send(api.to(&node, Method::GET, &path)).await);
    unavailable(&send(api.to(&node, Method::DELETE, &path)).await);
    unavailable(&send(api.to(&node, Method::POST, "/v1/sessions").json(&json!({"kind": "guest"}))).await);
    unavailable(&send(api.client.get(format!("{}/readyz", node.url))).await);
    send(api.client.get(format!("{}/healthz", node.url))).await.expect(200);
    // What needs no look-up is still told apart.
    send(api.client.get(format!("{}/v1/nodes", node.url))).await.refused(401, "invalid_api_key");

    proxy.set(Link::Up);
    let back = Instant::now();
    loop {
        let answer = check().await;
        assert!(back.elapsed() < Duration::from_secs(3), "not back in time: {}", answer.text);
        if answer.status == 200 {
            break;
        }
        unavailable(&answer);
    }
    assert_eq!(api.db.count("select count(*) from tenure.sessions").await, 1, "nothing was made in the outage");
}

#[tokio::test]
async fn a_link_that_swallows_bytes_does_not_hold_requests_for_ever() {
    let (api, proxy, node) = behind_a_proxy().await;
    let (_, token) = api.create(&json!({"kind": "guest"})).await;
    let check = || send(api.to(&node, Method::POST, "/v1/sessions/check").json(&json!({"token": token})));
    check().await.expect(200);
    proxy.set(Link::Frozen);
    until_the_lease_is_over(check).await;
    proxy.set(Link::Up);
    let back = Instant::now();
    while check().await.status != 200 {
        assert!(back.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn a_node_that_stops_finishes_what_is_in_flight_and_leaves() {
    let api = Api::start().await;
    let mut node = api.another("leaving").await;
    let (session, _) = api.create(&json!({"kind": "guest"})).await;
    assert_eq!(api.db.count("select count(*) from tenure.nodes where name = 'leaving'").await, 1);

    // A request that waits for a row lock is in flight for as long as the test wants.
    let mut holder = api.db.connection().await;
    let hold = format!("begin; select from tenure.sessions where id = '{}' for update", session["id"].as_str().unwrap());
    sqlx::raw_sql(sqlx::AssertSqlSafe(hold)).execute(&mut holder).await.unwrap();
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    let request = api.to(&node, Method::DELETE, &path);
    let in_flight = tokio::spawn(send(request));
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let begun = Instant::now();
    while api.db.count(waiting).await == 0 {
        assert!(begun.elapsed() < Duration::from_secs(4));
        tokio::task::yield_now().await;
    }
    node.tell_to_stop();
    while !node.manager.node().unwrap().is_draining() {
        tokio::task::yield_now().await;
    }
    sqlx::raw_sql("commit").execute(&mut holder).await.unwrap();
    assert_eq!(in_flight.await.unwrap().expect(200)["terminated"], 1);
    timeout(Duration::from_secs(4), node.gone()).await.expect("it stops as soon as nothing is in flight");
    assert_eq!(api.db.count("select count(*) from tenure.nodes where name = 'leaving'").await, 0);
}

#[tokio::test]
async fn a_draining_node_is_not_ready_and_says_so() {
    let api = Api::start().await;
    let node = api.another("draining").await;
    node.manager.node().unwrap().drain();
    let answer = send(api.client.get(format!("{}/readyz", node.url))).await;
    answer.refused(503, "draining");
    assert!(answer.header("retry-after").is_some());
    let begun = Instant::now();
    loop {
        let nodes = api.get("/v1/nodes").await.expect(200);
        if nodes["items"][0]["state"] == "draining" {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(3), "the registry never says draining: {nodes}");
    }
}

/// A load balancer asks over a connection of its own, which a node that stopped accepting at once would refuse.
#[tokio::test]
async fn a_stopping_node_still_answers_that_it_is_not_ready() {
    let api = Api::start().await;
    let mut node = api.another("stopping").await;
    node.tell_to_stop();
    while !node.manager.node().unwrap().is_draining() {
        tokio::task::yield_now().await;
    }
    let client = reqwest::Client::new();
    send(client.get(format!("{}/readyz", node.url))).await.refused(503, "draining");
    timeout(Duration::from_secs(4), node.gone()).await.expect("it stops soon after");
}

/// Nor must a link to PostgreSQL that swallows bytes.
#[tokio::test]
async fn a_frozen_link_does_not_hold_up_the_stop() {
    let (api, proxy, mut node) = behind_a_proxy().await;
    let (session, _) = api.create(&json!({"kind": "guest"})).await;
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    send(api.to(&node, Method::GET, &path)).await.expect(200);
    proxy.set(Link::Frozen);
    node.tell_to_stop();
    timeout(Duration::from_secs(10), node.gone()).await.expect("it stops in time");
}

/// A client that never finishes its request must not keep the process alive.
#[tokio::test]
async fn half_a_request_does_not_hold_up_the_stop() {
    use tokio::io::AsyncWriteExt;
    let api = Api::start().await;
    let mut node = api.another("stuck").await;
    let mut socket = tokio::net::TcpStream::connect(node.url.trim_start_matches("http://")).await.unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    // Another request behind it shows that the first bytes were accepted.
    send(api.client.get(format!("{}/healthz", node.url))).await.expect(200);
    node.tell_to_stop();
    timeout(Duration::from_secs(10), node.gone()).await.expect("it stops in time");
    assert_eq!(api.db.count("select count(*) from tenure.nodes where name = 'stuck'").await, 0);
}
