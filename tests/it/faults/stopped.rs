//! A node that is stopped in the middle of everything, with hints waiting in its socket.

use rustix::process::{Pid, Signal, getpid, kill_process};
use tenure::cache::Rule;
use tenure::clock;

use super::*;
use crate::support::Process;

const DATABASE: &str = "TENURE_TEST_STOPPED";
const TOKEN: &str = "TENURE_TEST_TOKEN";
const WITHOUT: &str = "TENURE_TEST_WITHOUT";
const ACCEPTED: &str = "memory accepted after the stop";

/// Not a test: a node that remembers a session, stops itself, and checks it as soon as it goes on. On one thread, so that no
/// poll comes first.
#[tokio::test]
#[ignore = "a process that stops, started by the test below"]
async fn stopping_process() {
    let (Ok(url), Ok(token)) = (std::env::var(DATABASE), std::env::var(TOKEN)) else { return };
    let without = std::env::var(WITHOUT).ok().and_then(|rule| rule.parse().ok());
    let node = node_at(&url, "stopping", NodeOptions { without, ..NodeOptions::default() }).await;
    let ask = async || node.check(&token, None, CheckOptions::default(), ADMIN).await.unwrap();
    until("memory answers", async || {
        assert!(matches!(ask().await, Verdict::Live(_)));
        node.check_now(&token, None).is_some()
    })
    .await;
    // Another thread may take the signal, and this one go on for a moment: the stop is where the clock leaps.
    let mut last = clock::boot();
    kill_process(getpid(), Signal::STOP).unwrap();
    loop {
        let now = clock::boot();
        if now - last > 1_000_000 {
            break;
        }
        last = now;
    }
    assert!(node.check_now(&token, None).is_none(), "{ACCEPTED}");
    assert!(matches!(ask().await, Verdict::Over(_)));
}

async fn stop_and_go_on(without: Option<Rule>) -> Result<(), String> {
    let db = Db::new().await;
    let session = guest(&db.manager).await;
    let rule = without.map_or("none", Rule::as_str);
    let environment = [(DATABASE, &*db.url), (TOKEN, session.token.reveal()), (WITHOUT, rule)];
    let process = Process::start("faults::stopped::stopping_process", &environment);
    let pid = Pid::from_raw(process.id().cast_signed()).unwrap();
    let state = format!("/proc/{}/stat", process.id());
    until("it stands still", async || std::fs::read_to_string(&state).unwrap().contains(") T ")).await;
    let receipt = db.manager.terminate(session.session.id, true, ADMIN).await.unwrap().barrier.unwrap();
    assert_eq!(receipt.waited_out, ["stopping"]);
    kill_process(pid, Signal::CONT).unwrap();
    tokio::task::spawn_blocking(|| process.finish()).await.unwrap()
}

#[tokio::test]
async fn fault_c12_the_first_check_after_a_stop_asks_postgresql() {
    stop_and_go_on(None).await.unwrap();
}

#[tokio::test]
async fn fault_c12_without_its_rule_memory_accepts_after_a_stop() {
    let said = stop_and_go_on(Some(Rule::LeaseChecked)).await.unwrap_err();
    println!("{said}");
    assert!(said.contains(ACCEPTED), "it failed for another reason: {said}");
}
