//! The crowd: people who browse, idle, extend and sign out, integrations that call, guests who look around.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::client::Client;

/// A node that the story has killed; clients go elsewhere, as behind a load balancer.
const NONE_DEAD: usize = usize::MAX;

/// What the crowd did, and what it did not expect.
pub(super) struct Traffic {
    requests: AtomicU64,
    sessions: AtomicU64,
    dead: AtomicUsize,
    surprises: Mutex<Vec<String>>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            dead: AtomicUsize::new(NONE_DEAD),
            surprises: Mutex::default(),
        }
    }
}

impl Traffic {
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    pub(super) fn surprises(&self) -> Vec<String> {
        self.surprises.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on nobody is sent to this node, and an answer it still owed is no surprise.
    pub(super) fn avoid(&self, node: usize) {
        self.dead.store(node, Ordering::Relaxed);
    }

    fn node(&self) -> usize {
        loop {
            let node = below(super::nodes::COUNT);
            if node != self.dead.load(Ordering::Relaxed) {
                return node;
            }
        }
    }

    /// One request on some node; `None` when it was lost with a killed node.
    async fn post(&self, client: &Client, path: &str, body: Value, expected: u16) -> Option<Value> {
        let node = self.node();
        self.requests.fetch_add(1, Ordering::Relaxed);
        match client.post(node, path, body).await {
            Ok((status, body)) if status == expected => Some(body),
            Ok((status, body)) => {
                self.surprise(format!("{path} answered {status} {}", body["code"]));
                None
            }
            Err(_) if node == self.dead.load(Ordering::Relaxed) => None,
            Err(error) => {
                self.surprise(error);
                None
            }
        }
    }

    fn surprise(&self, what: String) {
        self.surprises.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    async fn sign_in(&self, client: &Client, body: Value) -> Option<(String, String)> {
        let created = self.post(client, "/v1/sessions", body, 201).await?;
        self.sessions.fetch_add(1, Ordering::Relaxed);
        Some((created["session"]["id"].as_str()?.to_owned(), created["token"].as_str()?.to_owned()))
    }
}

/// Starts the crowd.
pub(super) fn start(traffic: &Arc<Traffic>, client: &Client, until: Instant) -> Vec<JoinHandle<()>> {
    let spawn = |number: usize| {
        let (traffic, client) = (Arc::clone(traffic), client.clone());
        tokio::spawn(async move {
            let who = format!("person.{number}");
            if number < 12 && client.put(traffic.node(), &format!("/v1/users/{who}"), json!({})).await.is_err() {
                traffic.surprise(format!("{who} could not be made"));
            }
            while Instant::now() < until {
                match number {
                    0..9 => browse(&traffic, &client, &who).await,
                    9..12 => integrate(&traffic, &client, &who).await,
                    _ => look_around(&traffic, &client).await,
                }
                sleep(Duration::from_millis(50)).await;
            }
        })
    };
    (0..16).map(spawn).collect()
}

async fn browse(traffic: &Traffic, client: &Client, who: &str) {
    let device = ["desktop", "tablet", "phone"][below(3)];
    let body = json!({ "kind": "user", "user": who, "device": device, "client_address": format!("203.0.113.{}", 1 + below(250)),
                       "user_agent": "Demo/1.0", "homepage_refresh_minutes": 5, "remember_me": below(4) == 0 });
    let remembered = body["remember_me"] == true;
    let Some((id, token)) = traffic.sign_in(client, body).await else { return };
    for _ in 0..5 + below(20) {
        let activity = ["user", "ajax", "chat_poll", "auto_refresh", "passive"][below(5)];
        let _ = traffic.post(client, "/v1/sessions/check", json!({ "token": token, "activity": activity }), 200).await;
        pause(40, 400).await;
    }
    if !remembered {
        let _ = traffic.post(client, &format!("/v1/sessions/{id}/extend"), json!({}), 200).await;
    }
    pause(100, 1500).await;
    let Some(left) = traffic.post(client, &format!("/v1/sessions/{id}/sign-out"), json!({}), 200).await else { return };
    let _ = traffic.post(client, "/v1/sessions/check", json!({ "token": token }), 401).await;
    if let Some(guest) = left["token"].as_str() {
        let _ = traffic.post(client, "/v1/sessions/check", json!({ "token": guest, "activity": "passive" }), 200).await;
    }
}

async fn integrate(traffic: &Traffic, client: &Client, who: &str) {
    let Some((id, token)) = traffic.sign_in(client, json!({ "kind": "integration", "user": who })).await else { return };
    for _ in 0..40 {
        let _ = traffic.post(client, "/v1/sessions/check", json!({ "token": token }), 200).await;
        pause(10, 60).await;
    }
    let _ = traffic.post(client, &format!("/v1/sessions/{id}/sign-out"), json!({}), 200).await;
}

async fn look_around(traffic: &Traffic, client: &Client) {
    let Some((_, token)) = traffic.sign_in(client, json!({ "kind": "guest", "client_address": "198.51.100.7" })).await else {
        return;
    };
    for _ in 0..10 {
        let _ = traffic.post(client, "/v1/sessions/check", json!({ "token": token }), 200).await;
        pause(50, 500).await;
    }
}

async fn pause(from_ms: usize, to_ms: usize) {
    sleep(Duration::from_millis((from_ms + below(to_ms - from_ms)) as u64)).await;
}

fn below(n: usize) -> usize {
    getrandom::u32().map_or(0, |random| random as usize % n)
}
