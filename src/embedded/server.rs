//! Bringing the server of a cluster up, and down again.

use std::time::Duration;

use tokio::time::Instant;

use super::Progress;
use super::cluster::Cluster;
use super::error::EmbeddedError;
use super::launch::{claim_log, launch};
use super::postmaster::{self, State};
use super::tool;

/// How long a start may take; a recovery after a crash takes the most of it.
const PATIENCE: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(100);

/// Makes sure the server runs and returns its port. Only for holders of the startup lock.
pub(super) async fn ensure_running(cluster: &mut Cluster, progress: Progress<'_>) -> Result<u16, EmbeddedError> {
    let deadline = Instant::now() + PATIENCE;
    let folder = cluster.layout.cluster();
    let mut told = Instant::now();
    loop {
        let state = match postmaster::state(&folder)? {
            State::Ready(port) => return Ok(port),
            State::Busy(word) => format!("it is {word}"),
            State::Stopped => match claim_log(cluster)? {
                Some(log) => launch(cluster, log, deadline, progress).await?,
                // A killed server's children may outlive it, and two servers must never meet.
                None => "processes of an earlier server still run, here or in another container".to_owned(),
            },
        };
        if Instant::now() >= deadline {
            return Err(EmbeddedError::NotReady { folder, seconds: PATIENCE.as_secs(), state, log: cluster.layout.log() });
        }
        if told.elapsed() >= Duration::from_secs(1) {
            told = Instant::now();
            progress(&format!("Waiting for PostgreSQL in {}: {state}", folder.display()));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Stops the server and waits until it is down. Only for those who hold both locks alone.
pub(super) async fn stop(cluster: &Cluster) -> Result<(), EmbeddedError> {
    let folder = cluster.layout.cluster();
    // Looked at first, because pg_ctl would signal whoever has the number in an outdated pid file.
    if postmaster::state(&folder)? == State::Stopped {
        return Ok(());
    }
    let mut command = tool::command(&cluster.binaries, &cluster.user, "pg_ctl", &folder);
    let seconds = PATIENCE.as_secs().to_string();
    command.args(["stop", "--silent", "--wait", "--mode=fast", "--timeout"]);
    command.arg(seconds);
    let outcome = tool::run(command, "stop the server", &folder, &|_| ()).await;
    match postmaster::state(&folder)? {
        State::Stopped => Ok(()),
        _ => outcome,
    }
}
