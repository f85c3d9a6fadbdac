//! A check over HTTP against the cheapest answer the same server has, so that the ratio is the check's own part.

use std::io::Write;
use std::path::Path;

use serde_json::Value;
use tenure::session::Role;
use tenure::store::Actor;
use tokio::process::Command;

use crate::crowd::Crowd;
use crate::node::Order;
use crate::place::{Place, installed, store};
use crate::rounds::Rounds;
use crate::table::{Goal, Table};

const ROUNDS: usize = 5;
const SECONDS: &str = "4s";
const SESSIONS: usize = 10_000;

/// Adds the line.
pub async fn measure(table: &mut Table, place: &mut Place) {
    if !installed("wrk") {
        table.leave_out("G6", "wrk is not installed; scripts/install-bench-peers.sh does it");
        return;
    }
    let url = place.migrated("http").await;
    let crowd = Crowd::found(&url).await;
    crowd.load(&url, 0..SESSIONS).await;
    let tools = store(&url, "bench").await;
    let (_, key) = tools.create_key("bench", Role::Admin, Actor("bench")).await.unwrap();
    tools.close().await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let tokens = crowd.tokens(0..SESSIONS);
    for number in 0..SESSIONS {
        writeln!(file, "{}", tokens.get(number)).unwrap();
    }
    let (node, url) = Order { url, crowd, sessions: SESSIONS, checked: 0, pace: 0, deaf: false }.start("node-1").await;

    let check = ["check", key.reveal(), file.path().to_str().unwrap()];
    wrk(&url, "1s", &check).await;
    let rounds =
        Rounds::measure(ROUNDS, async || wrk(&url, SECONDS, &check).await, async || wrk(&url, SECONDS, &["healthz"]).await).await;
    table.add(rounds.row("G6", "check over HTTP, 64 connections, a second", "/healthz of the same server", Goal::AtLeast(0.65)));
    node.finish().await;
}

/// Requests a second.
async fn wrk(url: &str, time: &str, arguments: &[&str]) -> f64 {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/compare/check.lua");
    let output = Command::new("wrk")
        .args(["--threads", "2", "--connections", "64", "--duration", time, "--script"])
        .arg(script)
        .args([url, "--"])
        .args(arguments)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("wrk said {text}"));
    let answer: Value = serde_json::from_str(line).unwrap();
    assert_eq!(answer["failed"], 0, "requests failed: {answer}");
    answer["requests"].as_f64().unwrap() * 1e6 / answer["microseconds"].as_f64().unwrap()
}
