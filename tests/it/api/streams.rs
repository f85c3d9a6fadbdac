//! Events as a stream: resumed without loss, whatever was committed late or crashed meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection};
use tenure::embedded::Embedded;
use tenure::session::Role;
use tenure::store::{Actor, ConnectSettings, Registration, Store};
use tenure::{Manager, store};
use tokio::time::{Instant, timeout};

use super::shapes;
use crate::support::{Api, Clock, Db, Node, send};

/// A stream and what came through it.
struct Stream {
    response: Response,
    rest: String,
    last_id: Option<String>,
    resets: u32,
}

impl Stream {
    async fn open(api: &Api, node: &Node, path: &str, last_id: Option<&str>) -> Self {
        let mut request = api.to(node, Method::GET, path).header("accept", "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self { response, rest: String::new(), last_id: None, resets: 0 }
    }

    /// The events of the next block; `None` at the end of the stream.
    async fn block(&mut self) -> Option<Option<Value>> {
        loop {
            if let Some((block, rest)) = self.rest.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.rest = rest;
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let Some(id) = field("id: ") {
                    self.last_id = Some(id);
                }
                if block.starts_with("event: reset\n") {
                    self.resets += 1;
                    return Some(None);
                }
                let event = field("data: ").map(|data| serde_json::from_str::<Value>(&data).unwrap());
                if let Some(event) = &event {
                    shapes::event(event);
                    assert_eq!(field("event: ").as_deref(), event["type"].as_str());
                }
                return Some(event);
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.rest.push_str(std::str::from_utf8(&chunk).unwrap()),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Reads until `wanted` are all there; every session that an event named.
    async fn until(&mut self, wanted: &BTreeSet<String>) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let reading = async {
            while !wanted.is_subset(&seen) {
                match self.block().await {
                    Some(Some(event)) => {
                        seen.extend(event["session_id"].as_str().map(str::to_owned));
                    }
                    Some(None) => {}
                    None => panic!("the stream ended"),
                }
            }
        };
        let told = timeout(Duration::from_secs(20), reading).await.is_ok();
        assert!(told, "never told: {:?}", wanted.difference(&seen));
        seen
    }

    /// Reads until it is told a position.
    async fn position(&mut self) -> String {
        self.last_id = None;
        while self.last_id.is_none() {
            timeout(Duration::from_secs(20), self.block()).await.unwrap().expect("the stream goes on");
        }
        self.last_id.clone().unwrap()
    }

    /// Whether it ends within so long.
    async fn ends_within(&mut self, time: Duration) -> bool {
        timeout(time, async { while self.block().await.is_some() {} }).await.is_ok()
    }
}

async fn guest(api: &Api) -> String {
    api.create(&json!({"kind": "guest"})).await.0["id"].as_str().unwrap().to_owned()
}

fn set(ids: &[&String]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).clone()).collect()
}

#[tokio::test]
async fn what_happens_anywhere_is_told_and_a_stream_is_resumed() {
    let api = Api::start().await;
    let two = api.another("node-2").await;
    guest(&api).await;
    let mut stream = Stream::open(&api, &two, "/v1/events", None).await;
    let begun = stream.position().await;
    let first = guest(&api).await;
    let seen = stream.until(&set(&[&first])).await;
    assert_eq!(seen, set(&[&first]), "it begins now");
    let position = stream.position().await;
    drop(stream);
    let second = guest(&api).await;
    let third = guest(&api).await;
    // Through whichever node.
    let mut stream = Stream::open(&api, &api.node, "/v1/events", Some(&position)).await;
    stream.until(&set(&[&second, &third])).await;
    let mut stream = Stream::open(&api, &two, "/v1/events", Some(&begun)).await;
    stream.until(&set(&[&first, &second, &third])).await;

    // Of one type only.
    let mut endings = Stream::open(&api, &two, "/v1/events?type=session_ended", None).await;
    endings.position().await;
    let other = guest(&api).await;
    api.delete(&format!("/v1/sessions/{third}")).await.expect(200);
    assert_eq!(endings.until(&set(&[&third])).await, set(&[&third]));
    assert_ne!(other, third);
}

#[tokio::test]
async fn a_position_that_is_none_is_refused_and_one_of_another_server_resets() {
    let api = Api::start().await;
    let stream = |id: &str| {
        api.request(Method::GET, "/v1/events").header("accept", "text/event-stream").header("last-event-id", id.to_owned())
    };
    for id in ["x", "1", "00000001-", "00000001-0", "00000001-01", "00000001-+1", "0000000a-1", "00000001-18446744073709551616"] {
        send(stream(id)).await.refused(400, "invalid_cursor");
    }
    for path in ["/v1/events?limit=5", "/v1/events?after=00000000-0000-0000-0000-000000000000", "/v1/events?type="] {
        let request = api.request(Method::GET, path).header("accept", "text/html, text/event-stream;q=0.9");
        send(request).await.refused(400, "invalid_parameter");
    }
    for id in ["7FFFFFFF-3", "00000001-9000000000000000000"] {
        let mut stream = Stream::open(&api, &api.node, "/v1/events", Some(id)).await;
        stream.position().await;
        assert_eq!(stream.resets, 1, "{id}");
        let session = guest(&api).await;
        stream.until(&set(&[&session])).await;
    }
}

/// Transactions that began earlier commit later than others: whoever stops anywhere and resumes has seen them all.
#[tokio::test]
async fn resuming_misses_nothing_that_was_committed_late() {
    let api = Api::start().await;
    let mut stream = Stream::open(&api, &api.node, "/v1/events", None).await;
    let mut position = stream.position().await;
    let mut seen = BTreeSet::new();
    let mut made = BTreeSet::new();
    let start = "select s.id::text from tenure.sign_in('guest', null, sha256('x'), null, 'desktop', null, null, null, null, false, null, null, '{}') s";
    for round in 0..8 {
        // Three that commit in the reverse order, with others in between, while the stream breaks off and goes on.
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut connection = api.db.connection().await;
            sqlx::raw_sql("begin").execute(&mut connection).await.unwrap();
            let id: String = sqlx::query_scalar(AssertSqlSafe(start.to_owned())).fetch_one(&mut connection).await.unwrap();
            made.insert(id);
            open.push(connection);
        }
        while let Some(mut connection) = open.pop() {
            let quick = guest(&api).await;
            seen.extend(stream.until(&set(&[&quick])).await);
            made.insert(quick);
            // Wherever it stands: it may have been told a position since, or not.
            position = stream.last_id.clone().unwrap_or(position);
            if (round + open.len()) % 2 == 0 {
                drop(stream);
                sqlx::raw_sql("commit").execute(&mut connection).await.unwrap();
                stream = Stream::open(&api, &api.node, "/v1/events", Some(&position)).await;
            } else {
                sqlx::raw_sql("commit").execute(&mut connection).await.unwrap();
            }
            connection.close().await.unwrap();
        }
    }
    seen.extend(stream.until(&made.difference(&seen).cloned().collect()).await);
    assert_eq!(seen, made);
}

/// More than a page in one transaction: nothing falls between the pages, live or resumed.
#[tokio::test]
async fn a_burst_is_told_page_by_page() {
    let api = Api::start().await;
    let mut stream = Stream::open(&api, &api.node, "/v1/events", None).await;
    let begun = stream.position().await;
    let burst = "insert into tenure.session_events (id, at, type, session_id, actor)
                 select tenure.uuid_v7(n.at), n.at, 'session_ended', gen_random_uuid(), 'burst' from (select tenure.now() as at) n, generate_series(1, 1700)
                 returning session_id::text";
    let made: Vec<String> = sqlx::query_scalar(AssertSqlSafe(burst.to_owned())).fetch_all(api.db.pool()).await.unwrap();
    let made: BTreeSet<String> = made.into_iter().collect();
    assert_eq!(made.len(), 1700);
    assert_eq!(stream.until(&made).await, made);
    let mut resumed = Stream::open(&api, &api.node, "/v1/events", Some(&begun)).await;
    assert_eq!(resumed.until(&made).await, made);
    // A position that is told after it leads on from there.
    let position = resumed.position().await;
    let next = guest(&api).await;
    Stream::open(&api, &api.node, "/v1/events", Some(&position)).await.until(&set(&[&next])).await;
}

/// A stream is as good as its key.
#[tokio::test]
async fn fault_c50_the_stream_of_a_revoked_key_ends_and_so_do_those_of_a_node_that_stops() {
    let mut api = Api::start().await;
    let (_, key) = api.db.store.create_key("desk", Role::UserAdmin, Actor("setup")).await.unwrap();
    let admin = std::mem::replace(&mut api.key, key.reveal().to_owned());
    let mut stream = Stream::open(&api, &api.node, "/v1/events", None).await;
    stream.position().await;
    assert!(!stream.ends_within(Duration::from_secs(3)).await, "a good key's stream goes on");
    assert!(api.db.store.revoke_key("desk", Actor("setup")).await.unwrap());
    assert!(stream.ends_within(Duration::from_secs(4)).await, "within two leases");
    send(api.request(Method::GET, "/v1/events").header("accept", "text/event-stream")).await.refused(401, "invalid_api_key");

    api.key = admin;
    let (_, key) = api.db.store.create_key("app", Role::App, Actor("setup")).await.unwrap();
    let refused =
        api.client.get(format!("{}/v1/events", api.node.url)).bearer_auth(key.reveal()).header("accept", "text/event-stream");
    send(refused).await.refused(403, "role_not_allowed");

    let mut two = api.another("node-2").await;
    let mut stream = Stream::open(&api, &two, "/v1/events", None).await;
    stream.position().await;
    two.tell_to_stop();
    let told = Instant::now();
    assert!(stream.ends_within(Duration::from_secs(3)).await);
    two.gone().await;
    assert!(told.elapsed() < Duration::from_secs(5), "it had to be cut");
}

#[tokio::test]
async fn streams_are_bounded() {
    let api = Api::start().await;
    let mut streams = Vec::new();
    for _ in 0..256 {
        streams.push(Stream::open(&api, &api.node, "/v1/events", None).await);
    }
    let request = || api.request(Method::GET, "/v1/events").header("accept", "text/event-stream");
    send(request()).await.refused(503, "too_many_streams");
    streams.truncate(10);
    let begun = Instant::now();
    loop {
        let response = request().send().await.unwrap();
        if response.status() == 200 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "room is made when clients go");
    }
}

/// A transaction's number that a crash took back is given to another, which a position must not lie above.
#[tokio::test]
async fn resuming_misses_nothing_when_postgresql_crashes() {
    let folder = std::env::temp_dir().join(format!("tenure-streams-{}", std::process::id()));
    let mut embedded = Some(Embedded::start(&folder, &|_| {}).await.unwrap());
    let url = embedded.as_ref().unwrap().url();
    let settings = |node: Option<&str>| ConnectSettings {
        url: url.clone(),
        connections: 8,
        node: node.map(str::to_owned),
        allow_plaintext: true,
        allow_lossy: false,
    };
    store::migrate(&settings(None), &|_| {}).await.unwrap();
    let setup = Store::connect(&settings(None)).await.unwrap();
    let (_, key) = setup.create_key("tests", Role::Admin, Actor("setup")).await.unwrap();
    setup.close().await;
    let node = Store::connect(&settings(Some("node-1"))).await.unwrap();
    let node = Manager::start(node, Registration { name: "node-1".to_owned(), address: None }).await.unwrap();
    let node = Node::start(node).await;
    let api = Api {
        db: Db::with(Clock::Real).await,
        node,
        key: key.reveal().to_owned(),
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
    };
    let mut position = None;
    for _ in 0..3 {
        let mut stream = Stream::open(&api, &api.node, "/v1/events", position.as_deref()).await;
        let told = stream.position().await;
        // Transactions without a trace on the disk push the numbers up; a crash takes them back.
        let mut plain = sqlx::PgConnection::connect(&url).await.unwrap();
        for _ in 0..200 {
            sqlx::raw_sql("set synchronous_commit = off; select pg_current_xact_id()").execute(&mut plain).await.unwrap();
        }
        let mut last = told;
        let session = guest(&api).await;
        stream.until(&set(&[&session])).await;
        if let Ok(Some(_)) = timeout(Duration::from_millis(700), stream.block()).await {
            last = stream.last_id.clone().unwrap_or(last);
        }
        crash(&folder).await;
        drop(embedded.take());
        embedded = Some(Embedded::start(&folder, &|_| {}).await.unwrap());
        assert_eq!(embedded.as_ref().unwrap().url(), url, "it came back at another address");
        // The first transactions after the crash have the numbers of those that were lost.
        let begun = Instant::now();
        let after = loop {
            let answer = api.post("/v1/sessions", &json!({"kind": "guest"})).await;
            if answer.status == 201 {
                break answer.json()["session"]["id"].as_str().unwrap().to_owned();
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", answer.text);
        };
        let mut stream = Stream::open(&api, &api.node, "/v1/events", Some(&last)).await;
        stream.until(&set(&[&after])).await;
        assert_eq!(stream.resets, 0);
        position = Some(stream.position().await);
    }
    drop(api);
    if let Some(embedded) = embedded {
        embedded.stop().await.unwrap();
    }
    let _ = std::fs::remove_dir_all(&folder);
}

/// Kills the server of a folder as a power cut would, and waits without blocking: a dying server waits for whoever has just
/// connected to say something, which clients on this very runtime must be able to do.
async fn crash(folder: &std::path::Path) {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = std::fs::read_to_string(folder.join("postgres/postmaster.pid")).unwrap();
    let pid: i32 = pid.lines().next().unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::QUIT).unwrap();
    let begun = Instant::now();
    while std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not die");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
