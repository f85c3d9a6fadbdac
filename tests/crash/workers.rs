//! Who asks for things while others are killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use uuid::Uuid;

use crate::cluster::{Cluster, Door, NODES};
use crate::journal::{Fate, Journal, Operation};

/// How many, each with a user of its own.
const WORKERS: usize = 6;
/// What one of them sets; its values end no session.
const PROPERTY: &str = "glide.ui.user_cookie.life_span_in_days";
/// Tokens that are tried after a round.
const TRIED: usize = 12;

/// All workers, between rounds.
pub struct Crew {
    /// What each knows.
    pub journals: Vec<Journal>,
}

/// All workers, at work.
pub struct Going {
    over: Arc<AtomicBool>,
    /// Operations acknowledged since they began.
    acknowledged: Arc<AtomicU64>,
    workers: Vec<JoinHandle<(Journal, Option<String>)>>,
}

impl Crew {
    /// Makes their users.
    pub async fn hire(cluster: &Cluster) -> Self {
        let mut connection = cluster.postgres.connect().await.unwrap();
        let users = "insert into tenure.users (name) select 'u' || n from generate_series(0, $1) n";
        sqlx::query(users).bind(i32::try_from(WORKERS).unwrap() - 1).execute(&mut connection).await.unwrap();
        let journal = |number: usize| Journal::new(format!("u{number}"), (number == 0).then_some(PROPERTY));
        Self { journals: (0..WORKERS).map(journal).collect() }
    }

    /// Lets them work, spread over the nodes.
    pub fn begin(&mut self, cluster: &Cluster, random: &mut StdRng) -> Going {
        let (over, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let begin = |(number, journal): (usize, Journal)| {
            let random = StdRng::seed_from_u64(random.random());
            tokio::spawn(work(cluster.door(number % NODES), random, journal, Arc::clone(&over), Arc::clone(&acknowledged)))
        };
        let workers = self.journals.drain(..).enumerate().map(begin).collect();
        Going { over, acknowledged, workers }
    }

    /// Operations acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.journals.iter().map(|journal| journal.acknowledged).sum()
    }

    /// Repeats the sign-ins that were not answered, at the other node: their keys make it safe.
    pub async fn ask_again(&mut self, cluster: &Cluster) -> Vec<String> {
        let mut odd = Vec::new();
        for (number, journal) in self.journals.iter_mut().enumerate() {
            if matches!(journal.unanswered, Some(Operation::Create(_))) {
                odd.extend(ask(&cluster.door((number + 1) % NODES), journal).await);
                if journal.unanswered.is_some() {
                    odd.push(format!("{}: a repeated sign-in was not answered", journal.user));
                }
            }
        }
        odd
    }

    /// Tries tokens at every node: what was acknowledged is what a check says.
    pub async fn check_some(&self, cluster: &Cluster, random: &mut StdRng) -> Vec<String> {
        let mut odd = Vec::new();
        let all: Vec<_> = self.journals.iter().flat_map(|journal| &journal.sessions).collect();
        for _ in 0..TRIED.min(all.len()) {
            let session = all[random.random_range(all.len().saturating_sub(60)..all.len())];
            for node in 0..NODES {
                let request = cluster.door(node).to(Method::POST, "/v1/sessions/check");
                let answer = request.json(&json!({"token": session.token, "activity": "passive"})).send().await.unwrap();
                let (status, body) = (answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default());
                let fits = match session.fate {
                    Fate::Live => status == 200,
                    Fate::Ended(reason) => status == 401 && body["reason"] == reason,
                };
                if !fits {
                    odd.push(format!("node-{} answers {status} {body} to the token of {session:?}", node + 1));
                }
            }
        }
        odd
    }
}

impl Going {
    /// Waits until so many operations have been acknowledged, or nobody is left at work.
    pub async fn reach(&self, least: u64) {
        while self.acknowledged.load(Ordering::Relaxed) < least && !self.workers.iter().all(JoinHandle::is_finished) {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Lets them end what they are at, and gives the journals back; what was answered strangely.
    pub async fn finish(self, crew: &mut Crew) -> Vec<String> {
        self.over.store(true, Ordering::Relaxed);
        let mut odd = Vec::new();
        for worker in self.workers {
            let (journal, strange) = worker.await.unwrap();
            crew.journals.push(journal);
            odd.extend(strange);
        }
        odd
    }
}

/// Asks for one thing after another until somebody says stop, or one is not answered.
async fn work(
    door: Door,
    mut random: StdRng,
    mut journal: Journal,
    over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
) -> (Journal, Option<String>) {
    while !over.load(Ordering::Relaxed) {
        journal.unanswered = Some(next(&journal, &mut random));
        let odd = ask(&door, &mut journal).await;
        if odd.is_some() || journal.unanswered.is_some() {
            return (journal, odd);
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    (journal, None)
}

fn next(journal: &Journal, random: &mut StdRng) -> Operation {
    if journal.locked_out {
        return Operation::Unlock;
    }
    let live = journal.live();
    match random.random_range(0..20) {
        0 | 1 if !live.is_empty() => Operation::LockOut,
        2..8 if !live.is_empty() => Operation::Terminate(live[random.random_range(0..live.len())]),
        8..11 if journal.property.is_some() => {
            let last = journal.values.last().and_then(|value| value.parse().ok()).unwrap_or(15);
            Operation::Set((last % 30 + 1).to_string())
        }
        _ => Operation::Create(Uuid::from_u128(random.random()).to_string()),
    }
}

/// Asks for what the journal says is unanswered, and writes the answer down; what is strange about it.
async fn ask(door: &Door, journal: &mut Journal) -> Option<String> {
    let user = format!("/v1/users/{}", journal.user);
    let request = match journal.unanswered.as_ref()? {
        Operation::Create(key) => {
            let body = json!({"kind": "user", "user": journal.user, "attributes": {"of": key}});
            door.to(Method::POST, "/v1/sessions").header("idempotency-key", key).json(&body)
        }
        // A node that died is waited for: most endings here are after the record alone.
        Operation::Terminate(place) => {
            let path = format!("/v1/sessions/{}?barrier=false", journal.sessions[*place].id);
            door.to(Method::DELETE, &path)
        }
        Operation::LockOut => door.to(Method::PATCH, &user).json(&json!({"locked_out": true})),
        Operation::Unlock => door.to(Method::PATCH, &user).json(&json!({"locked_out": false})),
        Operation::Set(value) => {
            let path = format!("/v1/properties/{}", journal.property.unwrap_or_default());
            door.to(Method::PUT, &path).json(&json!({"value": value}))
        }
    };
    // No answer, or one that says that nobody knows.
    let Ok(answer) = request.send().await else { return None };
    let status = answer.status().as_u16();
    let Ok(body) = answer.json::<Value>().await else { return None };
    match (status, &journal.unanswered) {
        (503, _) => None,
        (201, Some(Operation::Create(_))) => {
            let id = body["session"]["id"].as_str().and_then(|id| Uuid::try_parse(id).ok()).unwrap_or_default();
            journal.created(id, body["token"].as_str().unwrap_or_default().to_owned());
            None
        }
        (200, Some(Operation::Terminate(_))) if body["terminated"] != 1 => {
            Some(format!("{}: a live session was ended and {body} was answered", journal.user))
        }
        (200, _) => {
            journal.happened();
            None
        }
        _ => Some(format!("{}: {:?} was answered with {status} {body}", journal.user, journal.unanswered)),
    }
}
