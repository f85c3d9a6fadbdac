//! How long it takes until no node accepts an ended session: three processes under traffic, all healthy, one dead, none woken.

use std::time::Instant;

use crate::crowd::Crowd;
use crate::node::Order;
use crate::place::{Helper, Place};
use crate::table::{Goal, Row, Table};

const NODES: usize = 3;
const SESSIONS: usize = 10_000;
/// Those beyond are ended.
const CHECKED: usize = 9_000;
/// Checks a second, of all nodes together.
const PACE: usize = 5_000;

/// Milliseconds. A dead node is waited for until its lease of two seconds has ended by the waiter's clock, one that nobody
/// wakes until it polls.
const HEALTHY: (f64, f64) = (10.0, 40.0);
const DEAD: f64 = 2_000.0 * 1.01 + 150.0;
const NOT_WOKEN: f64 = 1.1 * 500.0 + 100.0;

/// Adds the lines.
pub async fn measure(table: &mut Table, place: &mut Place) {
    let url = place.migrated("barrier").await;
    let crowd = Crowd::found(&url).await;
    crowd.load(&url, 0..SESSIONS).await;
    let order = Order { url, crowd, sessions: SESSIONS, checked: CHECKED, pace: PACE / NODES, deaf: false };

    let mut nodes = start(&order).await;
    nodes[0].ask("terminate 9000 20 1").await;
    let (healthy, reached) = under_traffic(&mut nodes, "terminate 9100 300 1").await;
    let p50 = healthy["p50_ms"].as_f64().unwrap();
    let p99 = healthy["p99_ms"].as_f64().unwrap();
    table.add(Row::limit("G7", "barrier, 3 nodes, ms, median", p50, HEALTHY.0, "limit"));
    table.add(Row::limit("G7", "barrier, 3 nodes, ms, p99", p99, HEALTHY.1, "limit"));
    let mut traffic = Row::limit("G7", "checks a second meanwhile", reached, PACE as f64, "asked for");
    traffic.goal = Goal::AtLeast(0.9);
    table.add(traffic);

    nodes[NODES - 1].kill().await;
    let dead = nodes[0].ask("terminate 9400 48 16").await;
    table.add(Row::limit("G7", "barrier, one node dead, ms, p99", dead["p99_ms"].as_f64().unwrap(), DEAD, "limit"));
    nodes.pop();
    finish(nodes).await;

    // A database of its own: the dead node is still registered in the other.
    let url = place.migrated("deaf").await;
    let crowd = Crowd::found(&url).await;
    crowd.load(&url, 0..SESSIONS).await;
    let mut nodes = start(&Order { url, crowd, deaf: true, ..order }).await;
    let (not_woken, _) = under_traffic(&mut nodes, "terminate 9000 100 4").await;
    table.add(Row::limit("G7", "barrier, nobody woken, ms, p99", not_woken["p99_ms"].as_f64().unwrap(), NOT_WOKEN, "limit"));
    finish(nodes).await;
}

async fn start(order: &Order) -> Vec<Helper> {
    let mut nodes = Vec::new();
    for number in 1..=NODES {
        nodes.push(order.start(&format!("node-{number}")).await.0);
    }
    nodes
}

/// Has the first node end sessions, and counts the checks of all of them meanwhile.
async fn under_traffic(nodes: &mut [Helper], order: &str) -> (serde_json::Value, f64) {
    for node in nodes.iter_mut() {
        node.ask("traffic").await;
    }
    let begun = Instant::now();
    let answer = nodes[0].ask(order).await;
    let seconds = begun.elapsed().as_secs_f64();
    let mut checks = 0.0;
    for node in nodes {
        let traffic = node.ask("traffic").await;
        assert_eq!(traffic["refused"], 0, "a live session was refused");
        checks += traffic["checks"].as_f64().unwrap();
    }
    (answer, checks / seconds)
}

async fn finish(nodes: Vec<Helper>) {
    for node in nodes {
        node.finish().await;
    }
}
