//! The demo's node processes: `tenure serve` three times.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::super::Failure;
use crate::store::{Held, Store};

/// How many nodes.
pub(super) const COUNT: usize = 3;

/// One node process.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) address: String,
    process: Child,
}

/// The processes; dropping it kills them.
pub(super) struct Nodes(Vec<Node>);

impl Nodes {
    /// Starts them and waits until each is registered.
    pub(super) async fn start(url: &str, store: &Store) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(Failure::Output)?;
        let mut nodes = Vec::new();
        for number in 1..=COUNT {
            let name = format!("node-{number}");
            let process = Command::new(&program)
                .args(["serve", "--listen", "127.0.0.1:0", "--node", &name])
                .env("DATABASE_URL", url)
                .env_remove("TENURE_ADVERTISE")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .map_err(Failure::Output)?;
            nodes.push(Node { name, address: String::new(), process });
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        while nodes.iter().any(|node| node.address.is_empty()) {
            for record in store.nodes(&Held::default()).await? {
                if let Some(node) = nodes.iter_mut().find(|node| node.name == record.name) {
                    node.address = record.address.unwrap_or_default();
                }
            }
            for node in &mut nodes {
                if let Some(status) = node.process.try_wait().map_err(Failure::Output)? {
                    return Err(Failure::Config(format!(
                        "{} ended at its start ({status}). Run `tenure serve` to see why.",
                        node.name
                    )));
                }
            }
            if Instant::now() > deadline {
                return Err(Failure::Config("The nodes did not start within 30 s.".to_owned()));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(Self(nodes))
    }

    pub(super) fn list(&self) -> &[Node] {
        &self.0
    }

    pub(super) fn addresses(&self) -> Vec<String> {
        self.0.iter().map(|node| node.address.clone()).collect()
    }

    /// Kills a node as a crash would.
    pub(super) async fn kill(&mut self, index: usize) {
        let _ = self.0[index].process.kill().await;
    }

    /// Asks every node to finish, and waits for it.
    pub(super) async fn stop(mut self) {
        for node in &self.0 {
            if let Some(pid) = node.process.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw)
            {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
        }
        for node in &mut self.0 {
            if timeout(Duration::from_secs(10), node.process.wait()).await.is_err() {
                let _ = node.process.kill().await;
            }
        }
    }
}
