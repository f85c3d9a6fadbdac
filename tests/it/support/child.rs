//! Further processes of this binary, for what only a process can show: being killed.

use std::process::{Child, Command, Stdio};

/// A child process; killed when dropped.
pub struct Process(Child);

impl Process {
    /// Starts the ignored test `body` (its full path) of this binary in a process of its own.
    pub fn start(body: &str, environment: &[(&str, &str)]) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", body, "--ignored", "--nocapture"])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits for its end: what it said when it failed.
    pub fn finish(mut self) -> Result<(), String> {
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.0.stderr.take().unwrap(), &mut said).unwrap();
        if self.0.wait().unwrap().success() { Ok(()) } else { Err(said) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
