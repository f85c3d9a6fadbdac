//! A real nginx in front of a small application, configured as docs/FORWARD-AUTH.md says.

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, Uri};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tenure::Manager;
use tenure::store::{Registration, Store};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Answer, Api, Db, Link, Nginx, Node, Proxy, send, settings};

/// The application's address: it answers with what it sees.
async fn application() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let sees = |uri: Uri, headers: HeaderMap| async move {
        let seen: serde_json::Map<String, Value> = headers
            .keys()
            .map(|name| {
                let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap());
                (name.to_string(), json!(values.collect::<Vec<_>>().join(" and ")))
            })
            .collect();
        axum::Json(json!({"path": uri.to_string(), "headers": seen}))
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(sees)).await });
    address
}

/// The page's `server` block with these addresses in the place of its own.
fn servers(node: &Node, application: &str, port: u16) -> String {
    let page = include_str!("../../docs/FORWARD-AUTH.md");
    let block = page.split("```nginx\n").nth(1).unwrap().split("```").next().unwrap();
    let replaced = [
        ("listen 8000;", format!("listen 127.0.0.1:{port};")),
        ("127.0.0.1:7080", node.url.trim_start_matches("http://").to_owned()),
        ("127.0.0.1:8080", application.to_owned()),
    ];
    replaced.into_iter().fold(block.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the page has no {from}");
        text.replace(from, &to)
    })
}

/// An API on one node, and nginx in front of another whose way to PostgreSQL can be cut.
struct Edge {
    api: Api,
    nginx: Nginx,
    link: Proxy,
    node: Node,
}

impl Edge {
    async fn start() -> Self {
        let api = Api::on(Db::new().await).await;
        api.db.user("abel.tuter").await;
        let link = Proxy::to(&api.db.url).await;
        let store = Store::connect(&settings(&link.url, "edge")).await.unwrap();
        let registration = Registration { name: "edge".to_owned(), address: None };
        let node = Node::start(Manager::start(store, registration).await.unwrap()).await;
        let application = application().await;
        let nginx = Nginx::start(|port| servers(&node, &application, port)).await;
        Self { api, nginx, link, node }
    }

    async fn sign_in(&self) -> (Value, String) {
        self.api.create(&json!({"kind": "user", "user": "abel.tuter"})).await
    }

    /// A browser's request to the application.
    fn request(&self, path: &str, token: &str) -> RequestBuilder {
        self.api.client.get(format!("{}{path}", self.nginx.url)).header("cookie", format!("__Host-tenure={token}"))
    }

    async fn visit(&self, token: &str) -> Answer {
        timeout(Duration::from_secs(15), send(self.request("/orders?page=2", token))).await.expect("nginx answers")
    }
}

fn refused(answer: &Answer, reason: Option<&str>, action: Option<&str>) {
    assert_eq!(answer.status, 401, "{}", answer.text);
    assert_eq!((answer.header("x-tenure-reason"), answer.header("x-tenure-action")), (reason, action));
    assert!(!answer.text.contains("\"headers\""), "the application was asked");
}

#[tokio::test]
async fn who_is_signed_in_passes_and_the_application_sees_who_it_is() {
    let edge = Edge::start().await;
    let (session, token) = edge.sign_in().await;
    let seen = edge.visit(&token).await.expect(200);
    assert_eq!(seen["path"], "/orders?page=2");
    let identity = |seen: &Value| {
        let header = |name: &str| seen["headers"][name].clone();
        (header("x-tenure-user"), header("x-tenure-session"), header("x-tenure-kind"))
    };
    let own = (json!("abel.tuter"), session["id"].clone(), json!("user"));
    assert_eq!(identity(&seen), own);

    // What a client says of itself is overwritten, whatever it says.
    let lie = edge.request("/", &token).header("x-tenure-user", "admin").header("x-tenure-kind", "integration");
    assert_eq!(identity(&send(lie.header("X-TENURE-SESSION", "x")).await.expect(200)), own);
    let twice = edge.request("/", &token).header("x-tenure-user", "admin").header("x-tenure-user", "root");
    assert_eq!(identity(&send(twice).await.expect(200)), own);

    // A token as bearer is as good, and any method is asked about.
    let (_, bearer) = edge.api.create(&json!({"kind": "integration", "user": "abel.tuter"})).await;
    let request = edge.api.client.request(Method::DELETE, format!("{}/x", edge.nginx.url)).bearer_auth(&bearer);
    assert_eq!(send(request).await.expect(200)["headers"]["x-tenure-kind"], "integration");
    let both = edge.request("/", &token).bearer_auth(&bearer);
    assert_eq!(send(both).await.status, 500, "nginx makes an error of what is neither yes nor no");

    // The page's own questions go to the node past the question of the proxy.
    let page = |path: &str| edge.api.client.post(format!("{}/v1/browser/{path}", edge.nginx.url));
    let extend = page("extend").header("cookie", format!("__Host-tenure={token}")).header("x-tenure-client", "1");
    send(extend.header("origin", &edge.nginx.url)).await.expect(200);
    assert_eq!(send(edge.api.client.get(format!("{}/client.js", edge.nginx.url))).await.status, 200);
    // Everything else of the node stays closed: it is the application's.
    let inside = send(edge.request("/v1/auth", &token)).await.expect(200);
    assert_eq!(inside["path"], "/v1/auth");
    assert_eq!(send(edge.request("/_tenure", &token)).await.status, 404);
}

/// The application learns of maintenance from the node alone, whatever the client says.
#[tokio::test]
async fn rule_x3_the_application_is_told_of_maintenance() {
    let edge = Edge::start().await;
    let (_, token) = edge.sign_in().await;
    let told = async || {
        let lie = edge.request("/", &token).header("x-tenure-maintenance-at", "2020-01-01T00:00:00Z");
        send(lie).await.expect(200)["headers"].get("x-tenure-maintenance-at").cloned()
    };
    assert_eq!(told().await, None);
    let at = edge.api.db.now().await + chrono::TimeDelta::minutes(10);
    let value = at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
    edge.api.put("/v1/properties/tenure.maintenance_at", &json!({ "value": value })).await.expect(200);
    assert_eq!(told().await, Some(json!(value)));
}

#[tokio::test]
async fn rule_e1_who_is_not_signed_in_is_told_why() {
    let edge = Edge::start().await;
    refused(&send(edge.api.client.get(&edge.nginx.url)).await, None, None);
    refused(&edge.visit("tn_x").await, None, None);
    let (_, guest) = edge.api.create(&json!({"kind": "guest"})).await;
    refused(&edge.visit(&guest).await, None, Some("redirect_to_login"));

    let (session, token) = edge.sign_in().await;
    edge.visit(&token).await.expect(200);
    let out = edge.api.request(Method::POST, &format!("/v1/sessions/{}/sign-out", session["id"].as_str().unwrap()));
    send(out).await.expect(200);
    refused(&edge.visit(&token).await, Some("signed_out"), Some("redirect_to_login"));

    let (_, token) = edge.sign_in().await;
    edge.visit(&token).await.expect(200);
    edge.api.db.advance(chrono::TimeDelta::minutes(31)).await;
    let ajax = edge.request("/labels", &token).header("x-tenure-activity", "ajax");
    refused(&send(ajax).await, Some("idle"), Some("prompt_to_continue"));
}

#[tokio::test]
async fn rule_c3_what_another_node_terminated_is_refused_at_the_very_next_request() {
    let edge = Edge::start().await;
    for _ in 0..10 {
        let (session, token) = edge.sign_in().await;
        edge.visit(&token).await.expect(200);
        edge.visit(&token).await.expect(200);
        edge.api.delete(&format!("/v1/sessions/{}", session["id"].as_str().unwrap())).await.expect(200);
        refused(&edge.visit(&token).await, Some("terminated"), Some("redirect_to_login"));
    }
}

/// Memory passes what it knows while its lease lives; then there are errors, and never a pass or a sign-out.
#[tokio::test]
async fn without_postgresql_it_fails_closed() {
    let edge = Edge::start().await;
    let (_, known) = edge.sign_in().await;
    let (_, unknown) = edge.sign_in().await;
    edge.visit(&known).await.expect(200);
    edge.link.set(Link::Down);
    let cut = Instant::now();
    assert!(edge.visit(&unknown).await.status >= 500, "a session that memory does not know");
    loop {
        let asked = cut.elapsed();
        let answer = edge.visit(&known).await;
        assert!(answer.status == 200 || answer.status >= 500, "{} {}", answer.status, answer.text);
        if answer.status >= 500 {
            break;
        }
        assert!(asked < Duration::from_secs(2), "passed {asked:?} after the link broke");
        sleep(Duration::from_millis(20)).await;
    }
    for token in [&*known, &unknown, "tn_x"] {
        let answer = edge.visit(token).await;
        assert!(answer.status >= 500 || (token == "tn_x" && answer.status == 401), "{}", answer.status);
    }
    // The node itself says that it cannot know, and takes nobody's cookie away.
    let cookie = format!("__Host-tenure={unknown}");
    let ask = edge.api.client.get(format!("{}/v1/auth", edge.node.url)).header("cookie", &cookie);
    let page = edge.api.client.post(format!("{}/v1/browser/sign-out", edge.node.url)).header("cookie", &cookie);
    for request in [ask, page.header("sec-fetch-site", "same-origin").header("x-tenure-client", "1")] {
        let answer = send(request).await;
        answer.refused(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
        for absent in ["x-tenure-user", "x-tenure-session", "x-tenure-kind", "x-tenure-reason", "set-cookie"] {
            assert_eq!(answer.header(absent), None);
        }
    }
    edge.link.set(Link::Up);
    let back = Instant::now();
    while edge.visit(&known).await.status != 200 {
        assert!(back.elapsed() < Duration::from_secs(5), "not back in time: {}", edge.nginx.log());
        sleep(Duration::from_millis(50)).await;
    }
}
