//! Checks that memory answers: how fast against the bare map, how much memory, how many allocations.

use std::sync::Arc;
use std::time::Duration;

use tenure::Manager;

use crate::bare::BareMap;
use crate::crowd::{Crowd, Tokens};
use crate::near;
use crate::place::CONNECTIONS;
use crate::rounds::{Random, Rounds, tasks, two_threads};
use crate::table::{Goal, Row, Table};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(1);
/// Bytes of the process per remembered session.
const MOST_BYTES: f64 = 250.0;
const HITS: usize = 100_000;

/// A node's checks against a bare map of the same sessions, by text and, for comparison, by what the text decodes to.
pub async fn against_bare_map(table: &mut Table, line: &'static str, manager: &Manager, crowd: Crowd, tokens: &Tokens) {
    let sessions = tokens.len();
    let decoded: Vec<[u8; 48]> = (0..sessions).map(|number| crowd.decoded(number)).collect();
    let bare = BareMap::of(decoded.iter().copied());
    let ours = async || two_threads(ROUND, sessions, |number| near::hit(manager, tokens.get(number)));
    let what = format!("check, hit, {sessions} sessions, 2 threads, a second");
    let text =
        Rounds::measure(ROUNDS, ours, async || two_threads(ROUND, sessions, |number| bare.check(tokens.get(number)))).await;
    table.add(text.row(line, what.clone(), "bare map", Goal::AtLeast(0.5)));
    let by_bytes = async || two_threads(ROUND, sessions, |number| bare.check_decoded(&decoded[number]));
    let bytes = Rounds::measure(ROUNDS - 2, ours, by_bytes).await;
    table.add(bytes.row("R", what, "bare map given the decoded token", Goal::None));
}

/// Has a node remember sessions. One that it came to know while it could not trust its memory, as in its first moments, is
/// checked again.
pub async fn fill(manager: &Arc<Manager>, crowd: Crowd, sessions: usize) {
    let manager = Arc::clone(manager);
    tasks(CONNECTIONS as usize, sessions, Duration::MAX, move |number| {
        let (manager, token) = (Arc::clone(&manager), crowd.tokens(number..number + 1));
        async move {
            loop {
                assert!(near::check(&manager, token.get(0)).await, "a live session was not accepted");
                if near::hit(&manager, token.get(0)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    })
    .await;
}

/// Fills a node and tells what the process grew by.
pub async fn memory(table: &mut Table, manager: &Arc<Manager>, crowd: Crowd, sessions: usize) {
    let before = resident_bytes();
    fill(manager, crowd, sessions).await;
    let bytes = (resident_bytes() - before) / sessions as f64;
    table.add(Row::limit("G2", format!("bytes per session, {sessions} remembered"), bytes, MOST_BYTES, "limit"));
}

/// Counts what hits allocate.
pub fn allocations(table: &mut Table, manager: &Manager, tokens: &Tokens) {
    let mut random = Random::new(0);
    // A thread's first visits make room for what it keeps.
    for number in 0..tokens.len() {
        assert!(near::remembers(manager, tokens.get(number)), "a session was forgotten");
    }
    let counted = allocation_counter::measure(|| {
        let mut hits = 0;
        while hits < HITS {
            hits += usize::from(near::hit(manager, tokens.get(random.below(tokens.len()))));
        }
    });
    table.add(Row::limit("G3", format!("allocations, {HITS} hits"), counted.count_total as f64, 0.0, "limit"));
}

/// What the process occupies.
fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
}
