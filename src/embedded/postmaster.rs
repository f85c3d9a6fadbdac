//! What the server's pid file tells, and whether it is still true.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::error::EmbeddedError;

/// What the server of a cluster is doing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No process serves the folder, whatever its pid file says.
    Stopped,
    /// It runs and lets clients in on this port.
    Ready(u16),
    /// It starts, recovers or stops; the word is the server's own.
    Busy(String),
}

/// Looks at the server of a cluster.
pub(super) fn state(cluster: &Path) -> Result<State, EmbeddedError> {
    let path = pid_file(cluster);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Stopped),
        Err(error) => return Err(EmbeddedError::io("read", &path, error)),
    };
    Ok(match parse(&text) {
        Some((pid, state)) if serves(pid, cluster) => state,
        _ => State::Stopped,
    })
}

/// Removes the pid file of a server that is gone: after a reboot its number may be some other
/// process's, and PostgreSQL would then refuse to start. Only for those who hold the log's lock.
pub(super) fn forget(cluster: &Path) -> Result<(), EmbeddedError> {
    let path = pid_file(cluster);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(EmbeddedError::io("remove", &path, error)),
        _ => Ok(()),
    }
}

/// True when the pid file would keep PostgreSQL from starting although no server runs: it names a
/// living process that is not the server, or nothing, cut off by a full disk or a crash.
pub(super) fn is_misleading(cluster: &Path) -> bool {
    let Ok(text) = fs::read_to_string(pid_file(cluster)) else {
        return false;
    };
    parse(&text).is_none_or(|(pid, _)| lives(pid) && !serves(pid, cluster))
}

fn pid_file(cluster: &Path) -> std::path::PathBuf {
    cluster.join("postmaster.pid")
}

/// Line 1 is the process, line 4 the port, line 8 the state (padded); the later lines come late.
fn parse(text: &str) -> Option<(i32, State)> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let pid: i32 = lines.first()?.parse().ok().filter(|pid| *pid > 0)?;
    let port = lines.get(3).and_then(|line| line.parse().ok());
    let state = match (port, lines.get(7)) {
        (Some(port), Some(&"ready")) => State::Ready(port),
        (_, Some(word)) if !word.is_empty() => State::Busy((*word).to_owned()),
        _ => State::Busy("starting".to_owned()),
    };
    Some((pid, state))
}

fn lives(pid: i32) -> bool {
    rustix::process::Pid::from_raw(pid).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

/// Whether a process is the server of this very folder, and not one that got its number later. The
/// server works within its folder; a dead but unreaped one works nowhere.
fn serves(pid: i32, cluster: &Path) -> bool {
    if Path::new("/proc/self/cwd").exists() {
        let (here, there) = (fs::metadata(cluster), fs::metadata(format!("/proc/{pid}/cwd")));
        return matches!((here, there), (Ok(a), Ok(b)) if (a.dev(), a.ino()) == (b.dev(), b.ino()));
    }
    // Without a /proc, the name of the program is all that can be had.
    let mut ps = Command::new("ps");
    ps.args(["-p", &pid.to_string(), "-o", "comm="]);
    ps.output().is_ok_and(|said| {
        let name = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        name.ends_with("postgres")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_is_read_however_far_it_is_written() {
        let whole = "42\n/d/postgres\n1700000000\n5433\n\n127.0.0.1\n  1 2\nready   \n";
        assert_eq!(parse(whole), Some((42, State::Ready(5433))));
        let stopping = whole.replace("ready   ", "stopping");
        assert_eq!(parse(&stopping), Some((42, State::Busy("stopping".into()))));
        assert_eq!(parse("42\n/d\n"), Some((42, State::Busy("starting".into()))));
        assert_eq!(parse(""), None);
    }
}
