//! What the demo tells while it runs, and what it concludes.

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::output;
use super::traffic::Traffic;

/// One thing the demo set out to show.
#[derive(Debug, Serialize)]
struct Check {
    name: String,
    ok: bool,
    detail: String,
}

/// The checks so far; lines go to stdout, or to stderr when stdout is for the JSON document.
pub(super) struct Report {
    started: Instant,
    quiet_stdout: bool,
    checks: Vec<Check>,
    sessions: u64,
}

impl Report {
    pub(super) fn new(quiet_stdout: bool) -> Self {
        Self { started: Instant::now(), quiet_stdout, checks: Vec::new(), sessions: 0 }
    }

    pub(super) fn line(&self, text: &str) {
        let line = format!("{:>6.1} s  {text}", self.started.elapsed().as_secs_f64());
        if self.quiet_stdout {
            output::note(&line);
        } else {
            // A reader that went away must not stop the story before it has stopped its nodes.
            let _ = output::line(&line);
        }
    }

    /// Records whether something held.
    pub(super) fn check(&mut self, name: &str, held: Result<String, String>) {
        let ok = held.is_ok();
        let detail = held.unwrap_or_else(|detail| detail);
        self.line(&format!("{} {name}: {detail}", if ok { "[ok]  " } else { "[FAIL]" }));
        self.checks.push(Check { name: name.to_owned(), ok, detail });
    }

    pub(super) fn finish(&mut self, traffic: &Traffic) {
        self.sessions = traffic.sessions();
        let held = match traffic.surprises() {
            surprises if !surprises.is_empty() => Err(format!("{} surprises, the first: {}", surprises.len(), surprises[0])),
            _ if traffic.requests() == 0 => Err("no request was made".to_owned()),
            _ => Ok(format!("{} requests of {} sessions, each answered as expected", traffic.requests(), traffic.sessions())),
        };
        self.check("every client was answered as the rules say", held);
        let (ok, all) = (self.checks.iter().filter(|check| check.ok).count(), self.checks.len());
        self.line(&format!("{ok} of {all} checks held."));
    }

    pub(super) fn ok(&self) -> bool {
        self.checks.len() >= 4 && self.checks.iter().all(|check| check.ok)
    }

    pub(super) fn document(&self) -> Value {
        json!({ "nodes": super::nodes::COUNT, "sessions": self.sessions, "checks": self.checks, "ok": self.ok() })
    }
}
