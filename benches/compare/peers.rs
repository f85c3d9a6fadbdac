//! Other stores beside ours. They are a program of their own, benches/peers, which answers one order at a time, so that
//! their turns alternate with ours.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;

use crate::cold::{Fresh, against_reads};
use crate::crowd::Crowd;
use crate::place::{CONNECTIONS, Helper, Place, Redis, installed, store};
use crate::rounds::{Rounds, two_threads};
use crate::table::{Goal, Row, Table};
use crate::{hit, near};

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_millis(1_500);
const SESSIONS: usize = 200_000;

const COLD: &str = "check, cold, 16 tasks, a second";
const HIT: &str = "check, hit, 2 threads, a second";
/// What ours is compared with: the measure's name there, and what it is.
const PEERS: [(&str, &str); 4] = [
    ("postgres", "tower-sessions on this PostgreSQL, load and save"),
    ("redis", "tower-sessions on Redis (log synced every second), load and save"),
    ("getex", "Redis GETEX, 16 connections (log synced every second)"),
    ("memory", "tower-sessions in the memory of one node, load and save"),
];

/// Adds the lines; `durable` is the rate of the flusher, where it was measured.
pub async fn measure(table: &mut Table, place: &mut Place, url: &str, crowd: Crowd, sessions: usize, durable: Option<f64>) {
    let redis = if installed("redis-server") { Some(Redis::start().await) } else { None };
    if redis.is_none() {
        table.leave_out("R", "redis-server is not installed; scripts/install-bench-peers.sh does it");
    }
    let Some(mut peers) = start(place, redis.as_ref()).await else {
        table.leave_out("R", "benches/peers could not be built");
        return;
    };
    let few = SESSIONS.min(sessions);
    let tokens = crowd.tokens(0..few);
    let warm = Arc::new(near::node(store(url, "warm").await, "warm", true).await);
    hit::fill(&warm, crowd, few).await;
    let mut fresh = Fresh::new(url, crowd, sessions).await;

    let reads = against_reads(&mut fresh, ROUNDS).await;
    table.add(reads.row("R", COLD, "PostgreSQL point reads, 16 connections", Goal::None));
    for (measure, name) in PEERS {
        if redis.is_none() && matches!(measure, "redis" | "getex") {
            continue;
        }
        if measure != "memory" {
            let rounds =
                Rounds::measure(ROUNDS, async || fresh.check(ROUND).await.per_second, async || rate(&mut peers, measure).await)
                    .await;
            table.add(rounds.row("R", COLD, name, Goal::None));
        }
        let hits = async || two_threads(ROUND, few, |number| near::hit(&warm, tokens.get(number)));
        let rounds = Rounds::measure(ROUNDS, hits, async || rate(&mut peers, measure).await).await;
        table.add(rounds.row("R", HIT, name, Goal::None));
        if let (Some(durable), "postgres") = (durable, measure) {
            let mut row = Row::limit(
                "R",
                "sessions whose activity is made durable, a second",
                durable,
                rate(&mut peers, measure).await,
                name,
            );
            row.goal = Goal::None;
            table.add(row);
        }
    }
    fresh.close().await;
    warm.drain().await.unwrap();
    peers.finish().await;
}

/// Builds and starts the program; `None` when it cannot be built here.
async fn start(place: &mut Place, redis: Option<&Redis>) -> Option<Helper> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
    eprintln!("Building the peers; the first time takes minutes");
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(root.join("benches/peers/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status()
        .await;
    if !built.is_ok_and(|status| status.success()) {
        return None;
    }
    let url = place.empty("peers").await;
    let port = redis.map_or_else(|| "-".to_owned(), |redis| redis.port.to_string());
    eprintln!("Filling the peers with {SESSIONS} sessions each");
    let mut command = Command::new(target.join("release/tenure-peers"));
    command.args([&url, &port, &SESSIONS.to_string(), &CONNECTIONS.to_string()]);
    Some(Helper::start(&mut command).await.0)
}

async fn rate(peers: &mut Helper, measure: &str) -> f64 {
    let answer = peers.ask(&format!("{measure} {}", ROUND.as_millis())).await;
    answer["per_second"].as_f64().unwrap_or_else(|| panic!("the peers said {answer}"))
}
