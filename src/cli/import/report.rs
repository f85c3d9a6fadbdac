//! What came of an import: counted by outcome, and line by line in a file for whoever asks for one.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;

use super::super::Failure;
use super::super::output::{document, line, note};
use crate::import::Remark;
use crate::store::Outcome;

/// Remarks that are shown.
const SHOWN: usize = 20;
/// Remarks that are written into the file: more are counted only.
const WRITTEN: u64 = 1_000_000;

#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    dry_run: bool,
    /// Whether every row was read.
    complete: bool,
    rows: u64,
    /// Rows of sessions in which nobody had signed in: all of them where --user-path leads nowhere.
    guests: u64,
    users_created: u64,
    outcomes: BTreeMap<String, u64>,
    /// Rows that were left out or taken in part.
    remarks: u64,
    first_remarks: Vec<Remark>,
    #[serde(skip)]
    file: Option<BufWriter<File>>,
}

impl Report {
    pub(super) fn new(path: Option<&Path>, dry_run: bool) -> Result<Self, Failure> {
        let open = |path: &Path| {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            file.map(BufWriter::new).map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => Failure::Usage(format!("{} exists. Choose another name.", path.display())),
                _ => Failure::Config(format!("{} cannot be written: {error}.", path.display())),
            })
        };
        Ok(Self { dry_run, file: path.map(open).transpose()?, ..Self::default() })
    }

    pub(super) fn read(&mut self, rows: u64) {
        self.rows += rows;
    }

    pub(super) fn users(&mut self, created: u64) {
        self.users_created += created;
    }

    pub(super) fn guest(&mut self) {
        self.guests += 1;
    }

    /// Whether a session was imported, and is there.
    pub(super) fn wrote_sessions(&self) -> bool {
        !self.dry_run && self.outcomes.contains_key("imported")
    }

    /// A row that was left out before the database saw it.
    pub(super) fn rejected(&mut self, remark: Remark) -> Result<(), Failure> {
        *self.outcomes.entry("rejected".to_owned()).or_default() += 1;
        self.partly(remark)
    }

    /// A row that was taken without some part of it.
    pub(super) fn partly(&mut self, remark: Remark) -> Result<(), Failure> {
        self.remarks += 1;
        if let (Some(file), true) = (&mut self.file, self.remarks <= WRITTEN) {
            serde_json::to_writer(&mut *file, &remark).map_err(std::io::Error::from)?;
            file.write_all(b"\n")?;
        }
        if self.first_remarks.len() < SHOWN {
            self.first_remarks.push(remark);
        }
        Ok(())
    }

    /// What came of sessions.
    pub(super) fn outcomes(&mut self, outcomes: Vec<Outcome>) -> Result<(), Failure> {
        self.outcomes_of("", outcomes)
    }

    /// What came of other rows; their outcomes carry the name of their table.
    pub(super) fn outcomes_of(&mut self, what: &str, outcomes: Vec<Outcome>) -> Result<(), Failure> {
        for Outcome { line, word, rule } in outcomes {
            let reason = match (&*word, rule) {
                ("unknown_user", _) => "There is no such user. Create it, or import with --create-users.",
                ("user_locked_out", _) => "Its user is locked out.",
                ("user_inactive", _) => "Its user is inactive.",
                ("over", _) => "It would have ended before now under this store's limits.",
                ("maintenance", _) => {
                    "There is maintenance, in which only sessions of administrators begin. Import again after it."
                }
                ("duplicate", _) => "It stood on an earlier line.",
                ("unknown_oauth_entity", _) => "There is no such client application.",
                ("in_the_future", _) => "It begins or was active in the future.",
                ("ignored", _) => "This store has no such property.",
                ("invalid", _) => "Its value does not fit this store's property.",
                ("unfit", Some(rule)) => &format!("It breaks a rule of this store's tables: {rule}."),
                // Nothing to wonder at: taken, there already, or dead in its own store.
                _ => "",
            };
            if !reason.is_empty() {
                self.partly(Remark::new(line, "", reason))?;
            }
            let name = if what.is_empty() { word } else { format!("{what}_{word}") };
            *self.outcomes.entry(name).or_default() += 1;
        }
        Ok(())
    }

    /// A record of another table, or of something that was deleted.
    pub(super) fn skipped(&mut self) {
        *self.outcomes.entry("skipped".to_owned()).or_default() += 1;
    }

    /// Prints it. What was left out for its data or its user makes the exit code 7, a stop before the end 5.
    pub(super) fn finish(mut self, json: bool, complete: bool) -> Result<(), Failure> {
        self.complete = complete;
        if let Some(mut file) = self.file.take() {
            file.flush()?;
        }
        if json {
            document(&self)?;
        } else {
            let words: Vec<String> =
                self.outcomes.iter().map(|(word, rows)| format!("{rows} {}", word.replace('_', " "))).collect();
            let words = if words.is_empty() { "nothing to import".to_owned() } else { words.join(", ") };
            line(&format!(
                "{}{} rows read, {} of guests: {words}.",
                if self.dry_run { "Dry run. " } else { "" },
                self.rows,
                self.guests
            ))?;
            for remark in &self.first_remarks {
                let field = if remark.field.is_empty() { String::new() } else { format!(", {}", remark.field) };
                note(&format!("Row {}{field}: {}", remark.line, remark.reason));
            }
            if self.remarks > self.first_remarks.len() as u64 {
                note(&format!(
                    "And {} more: give --report FILE to see them all.",
                    self.remarks - self.first_remarks.len() as u64
                ));
            }
        }
        let refused =
            ["rejected", "unfit", "invalid", "duplicate", "unknown_user", "unknown_oauth_entity", "in_the_future", "maintenance"];
        let refused = self.outcomes.keys().any(|word| refused.iter().any(|refused| word.ends_with(refused)));
        match (complete, refused) {
            (false, _) => Err(Failure::Answered(5)),
            (true, true) => Err(Failure::Answered(7)),
            (true, false) => Ok(()),
        }
    }
}
