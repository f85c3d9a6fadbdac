//! One node in a process of its own: this program, executed again.
//!
//! It serves HTTP, checks tokens at a given pace, and ends sessions when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenure::Manager;
use tenure::store::Actor;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::MissedTickBehavior;

use crate::crowd::Crowd;
use crate::place::{Helper, store};
use crate::rounds::{Random, percentile, tasks};
use crate::{hit, near};

/// The argument that makes this program a node.
pub const ROLE: &str = "--as-a-node";
/// Tasks that make the traffic.
const CLIENTS: usize = 8;
const STEP: Duration = Duration::from_millis(10);

/// What a node is to do.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its database.
    pub url: String,
    /// Its sessions.
    pub crowd: Crowd,
    /// How many it remembers from the start.
    pub sessions: usize,
    /// How many of them are checked, from the first on.
    pub checked: usize,
    /// Checks a second.
    pub pace: usize,
    /// Not woken by notifications.
    pub deaf: bool,
}

impl Order {
    /// Starts the process; the node and the URL of its API.
    pub async fn start(&self, name: &str) -> (Helper, String) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([ROLE, &self.url, name, &self.crowd.began_ms().to_string(), &self.sessions.to_string()]);
        command.args([self.checked.to_string(), self.pace.to_string(), self.deaf.to_string()]);
        let (helper, ready) = Helper::start(&mut command).await;
        (helper, ready["url"].as_str().unwrap().to_owned())
    }

    fn parse(arguments: &[String]) -> (String, Self) {
        let [url, name, began_ms, sessions, checked, pace, deaf] = arguments else {
            panic!("arguments of a node: {arguments:?}")
        };
        let order = Self {
            url: url.clone(),
            crowd: Crowd::since(began_ms.parse().unwrap()),
            sessions: sessions.parse().unwrap(),
            checked: checked.parse().unwrap(),
            pace: pace.parse().unwrap(),
            deaf: deaf.parse().unwrap(),
        };
        (name.clone(), order)
    }
}

/// What the traffic came to so far.
#[derive(Default)]
struct Traffic {
    checks: AtomicU64,
    refused: AtomicU64,
}

/// The body of the process; it ends with its stdin.
pub async fn run(arguments: &[String]) {
    let (name, order) = Order::parse(arguments);
    let store = store(&order.url, &name).await;
    let manager = Arc::new(near::node(store, &name, !order.deaf).await);
    hit::fill(&manager, order.crowd, order.sessions).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(tenure::server::serve(Arc::clone(&manager), listener, async move {
        let _ = stopped.await;
    }));
    let traffic = Arc::new(Traffic::default());
    let clients: Vec<_> = (0..CLIENTS)
        .filter(|_| order.pace > 0)
        .map(|client| tokio::spawn(check_evenly(Arc::clone(&manager), Arc::clone(&traffic), order.clone(), client)))
        .collect();
    println!("{}", json!({ "url": url }));

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let words: Vec<usize> = line.split(' ').skip(1).map(|word| word.parse().unwrap()).collect();
        let answer = match (line.split(' ').next(), words.as_slice()) {
            (Some("traffic"), []) => {
                let (checks, refused) = (traffic.checks.swap(0, Ordering::Relaxed), traffic.refused.swap(0, Ordering::Relaxed));
                json!({ "checks": checks, "refused": refused })
            }
            (Some("terminate"), [from, count, at_once]) => terminate(&manager, order.crowd, *from, *count, *at_once).await,
            _ => panic!("not an order: {line}"),
        };
        println!("{answer}");
    }
    for client in clients {
        client.abort();
    }
    let _ = stop.send(());
    served.await.unwrap().unwrap();
}

/// One client's share of the traffic.
async fn check_evenly(manager: Arc<Manager>, traffic: Arc<Traffic>, order: Order, client: usize) {
    let tokens = order.crowd.tokens(0..order.checked);
    let mut random = Random::new(client as u64);
    let mut ticks = tokio::time::interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (begun, mut done) = (Instant::now(), 0);
    loop {
        ticks.tick().await;
        let due = (begun.elapsed().as_secs_f64() * order.pace as f64 / CLIENTS as f64) as usize;
        // What a slow moment left undone is not made up for: it would be a burst.
        done = done.max(due.saturating_sub(order.pace / CLIENTS / 10));
        while done < due {
            let accepted = near::check(&manager, tokens.get(random.below(tokens.len()))).await;
            traffic.refused.fetch_add(u64::from(!accepted), Ordering::Relaxed);
            traffic.checks.fetch_add(1, Ordering::Relaxed);
            done += 1;
        }
    }
}

/// Ends sessions, so many at a time, and tells how long each took until no node accepted it.
async fn terminate(manager: &Arc<Manager>, crowd: Crowd, from: usize, count: usize, at_once: usize) -> Value {
    let waited_out = Arc::new(AtomicU64::new(0));
    let (manager, counted) = (Arc::clone(manager), Arc::clone(&waited_out));
    let mut done = tasks(at_once, count, Duration::MAX, move |index| {
        let (manager, counted) = (Arc::clone(&manager), Arc::clone(&counted));
        async move {
            let ended = manager.terminate(crowd.id(from + index), true, Actor("bench")).await.unwrap();
            assert_eq!(ended.terminated, 1, "session {} was over already", from + index);
            counted.fetch_add(ended.barrier.unwrap().waited_out.len() as u64, Ordering::Relaxed);
        }
    })
    .await;
    json!({
        "p50_ms": percentile(&mut done.times, 0.5), "p99_ms": percentile(&mut done.times, 0.99),
        "waited_out": waited_out.load(Ordering::Relaxed),
    })
}
