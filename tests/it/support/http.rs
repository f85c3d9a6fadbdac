//! A node that really listens, and a client of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tenure::Manager;
use tenure::server::ServeOptions;
use tenure::session::Role;
use tenure::store::Actor;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Clock, Db};

/// One node behind a port of its own.
pub struct Node {
    /// Where it listens, without a slash at the end.
    pub url: String,
    /// Its use cases.
    pub manager: Arc<Manager>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Node {
    /// Serves a manager.
    pub async fn start(manager: Manager) -> Self {
        Self::start_with(manager, ServeOptions::default()).await
    }

    /// The same with other options.
    pub async fn start_with(manager: Manager, options: ServeOptions) -> Self {
        let manager = Arc::new(manager);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move {
            let _ = stopped.await;
        };
        let served = tokio::spawn(tenure::server::serve_with(Arc::clone(&manager), listener, stopped, options));
        Self { url, manager, stop: Some(stop), served }
    }

    /// Says that it should stop, as a signal would.
    pub fn tell_to_stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits until it has served what was in flight and left the cluster.
    pub async fn gone(self) {
        self.served.await.unwrap().unwrap();
    }
}

/// A database, one node on it, and a client with an API key.
pub struct Api {
    /// The database.
    pub db: Db,
    /// The node.
    pub node: Node,
    /// The key in the requests of [`Api::request`].
    pub key: String,
    /// A client without a key.
    pub client: Client,
}

/// What came back.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: reqwest::header::HeaderMap,
    /// Body.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {} {:?}", self.status, self.text))
    }

    /// The problem's code.
    #[track_caller]
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The body, once the status is right.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    /// A well-formed problem of this status and code.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(problem["code"], code, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{}", self.text);
        problem
    }
}

impl Api {
    /// A node named `node-1` on a database whose clock tests move.
    pub async fn start() -> Self {
        Self::on(Db::new().await).await
    }

    /// As [`Api::start`], with production's clock.
    pub async fn real_clock() -> Self {
        Self::on(Db::with(Clock::Real).await).await
    }

    /// A node named `node-1` on this database.
    pub async fn on(db: Db) -> Self {
        let node = Node::start(db.node("node-1").await).await;
        let (_, key) = db.store.create_key("tests", Role::Admin, Actor("setup")).await.unwrap();
        Self { node, key: key.reveal().to_owned(), client: Client::builder().no_proxy().build().unwrap(), db }
    }

    /// A further node on the same database.
    pub async fn another(&self, name: &str) -> Node {
        Node::start(self.db.node(name).await).await
    }

    /// A request with the key to the first node.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.to(&self.node, method, path)
    }

    /// A request with the key to any node.
    pub fn to(&self, node: &Node, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", node.url)).bearer_auth(&self.key)
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::PUT, path).json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::PATCH, path).json(body)).await
    }

    /// Starts a session; its document and its token.
    pub async fn create(&self, body: &Value) -> (Value, String) {
        let created = self.post("/v1/sessions", body).await.expect(201);
        (created["session"].clone(), created["token"].as_str().unwrap().to_owned())
    }

    pub async fn check(&self, token: &str) -> Answer {
        self.post("/v1/sessions/check", &serde_json::json!({ "token": token })).await
    }
}

/// Sends a request and reads the whole answer.
pub async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer { status: response.status().as_u16(), headers: response.headers().clone(), text: response.text().await.unwrap() }
}

/// The same for one of a crowd, which a busy machine may keep waiting for a connection to the database longer than its node
/// waits: it asks again, as it is told.
pub async fn served(request: RequestBuilder) -> Answer {
    for _ in 0..60 {
        let answer = send(request.try_clone().unwrap()).await;
        if answer.status != 503 {
            return answer;
        }
    }
    send(request).await
}

/// The keys of an object are exactly these.
#[track_caller]
pub fn assert_keys(value: &Value, keys: &[&str]) {
    let found: BTreeSet<&str> =
        value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect();
    assert_eq!(found, keys.iter().copied().collect(), "{value:#}");
}

/// An instant in RFC 3339 with offset zero.
#[track_caller]
pub fn assert_instant(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("no instant: {value}"));
    let at = chrono::DateTime::parse_from_rfc3339(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(at.offset().local_minus_utc(), 0, "{text}");
}
