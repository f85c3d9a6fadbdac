//! A data directory per test, SQL through psql, and a second process that uses the server.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tenure::embedded::{Binaries, Embedded};

/// A data directory of one test; on the way out no server and no file of it remain.
pub struct Scratch {
    pub dir: PathBuf,
}

impl Scratch {
    pub fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tenure embedded $'{}-{count}", std::process::id());
        Scratch { dir: std::env::temp_dir().join(name) }
    }

    pub fn cluster(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    pub async fn start(&self) -> Embedded {
        Embedded::start(&self.dir, &|said| eprintln!("{said}")).await.unwrap()
    }

    /// The server's process, while it runs.
    pub fn server(&self) -> Option<i32> {
        let text = fs::read_to_string(self.cluster().join("postmaster.pid")).ok()?;
        text.lines().next()?.parse().ok()
    }

    /// Kills the server the hard way and waits until it has gone.
    pub fn kill_server(&self) {
        let pid = self.server().unwrap();
        signal("-KILL", pid);
        // A killed process has no working directory any more, even before anyone reaps it.
        while fs::read_link(format!("/proc/{pid}/cwd")).is_ok() {
            std::thread::yield_now();
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let live = |pid: &i32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == self.cluster());
        if let Some(pid) = self.server().filter(live) {
            signal("-QUIT", pid);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub fn signal(name: &str, pid: i32) {
    let mut kill = Command::new("kill");
    assert!(kill.args([name, &pid.to_string()]).status().unwrap().success());
}

/// Runs one statement and returns what it answers.
pub fn sql(url: &str, statement: &str) -> String {
    let psql = Binaries::find().unwrap().dir.join("psql");
    let mut command = Command::new(psql);
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement, url]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{statement}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Another process that starts the server, tells its port, and stops when told to.
pub struct Other {
    pub child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Other {
    pub fn begin(dir: &Path) -> Other {
        let mut child = command(dir, "stay").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Other { child, lines }
    }

    /// Waits for the next word of a kind.
    pub fn hear(&mut self, kind: &str) -> String {
        let prefix = format!("helper {kind} ");
        let mut said = self.lines.by_ref().map_while(Result::ok);
        said.find_map(|line| line.split_once(&prefix).map(|(_, word)| word.to_owned())).expect("the other process ended early")
    }

    /// Lets it stop; whether it was the last one.
    pub fn finish(mut self) -> bool {
        drop(self.child.stdin.take());
        let last = self.hear("last");
        assert!(self.child.wait().unwrap().success());
        last == "true"
    }
}

/// This test program again, as a process of its own.
pub fn command(dir: &Path, mode: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["helper", "--exact", "--ignored", "--nocapture"]);
    command.env("TENURE_TEST_DIR", dir).env("TENURE_TEST_MODE", mode);
    command
}
