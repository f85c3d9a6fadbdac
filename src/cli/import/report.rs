//! What came of an import: counted by outcome, and line by line in a file for whoever asks for one.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::Failure;
use super::super::output::{document, line, note, table};
use crate::import::Remark;
use crate::store::Outcome;

/// Exit code after Ctrl-C, as of every bulk operation.
const INTERRUPTED: u8 = 130;
/// Remarks that are shown.
const SHOWN: usize = 20;
/// Remarks that are written into the file: more are counted only.
const WRITTEN: u64 = 1_000_000;
/// Longest first line that is looked at to know a report by, bytes.
const LINE: u64 = 4096;

/// What an outcome means for whoever imports.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// Nothing to wonder at.
    Fine,
    /// Left out as this store's rules want it: said by line.
    Said,
    /// Left out for what it holds, or for what is missing here: said by line, and by the exit code.
    Refused,
}

/// Every outcome, in the order in which they are shown.
const OUTCOMES: [(&str, Weight, &str); 18] = [
    ("imported", Weight::Fine, "Taken over."),
    ("present", Weight::Fine, "Here already."),
    ("expired", Weight::Fine, "Ended in its own store."),
    ("skipped", Weight::Fine, "Of another table, deleted or empty."),
    ("waits_for_its_user", Weight::Fine, "Its user or client application is not here yet: the file has to bring it."),
    ("ignored", Weight::Said, "This store has no such property, or takes it from no file."),
    ("over", Weight::Said, "It would have ended before now under this store's limits."),
    ("user_locked_out", Weight::Said, "Its user is locked out."),
    ("user_inactive", Weight::Said, "Its user is inactive."),
    (
        "maintenance",
        Weight::Refused,
        "There is maintenance, in which only sessions of administrators begin. Import again after it.",
    ),
    ("unknown_user", Weight::Refused, "There is no such user. Create it, or import with --create-users."),
    (
        "user_differs",
        Weight::Refused,
        "The user of this name here is written in another case. Give --ignore-case if the source does not tell them apart.",
    ),
    ("unknown_oauth_entity", Weight::Refused, "There is no such client application."),
    ("duplicate", Weight::Refused, "It stood on an earlier line."),
    ("in_the_future", Weight::Refused, "It begins or was active in the future."),
    ("invalid", Weight::Refused, "Its value does not fit this store's property."),
    ("unfit", Weight::Refused, "It breaks a rule of this store's tables."),
    ("rejected", Weight::Refused, "It cannot be read."),
];

/// Where an outcome stands above: those of rows that are no sessions begin with the name of their table.
fn place(outcome: &str) -> usize {
    let is = |word: &str| outcome == word || outcome.strip_suffix(word).is_some_and(|table| table.ends_with('_'));
    OUTCOMES.iter().position(|(word, ..)| is(word)).unwrap_or(OUTCOMES.len() - 1)
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    dry_run: bool,
    /// Whether every row was read.
    complete: bool,
    rows: u64,
    /// Rows of sessions in which nobody had signed in: all of them where --user-path leads nowhere.
    guests: u64,
    users_created: u64,
    /// Live sessions that the properties of a file ended.
    sessions_ended: i64,
    outcomes: BTreeMap<String, u64>,
    /// Rows that were left out or taken in part.
    remarks: u64,
    first_remarks: Vec<Remark>,
    #[serde(skip)]
    path: Option<PathBuf>,
    #[serde(skip)]
    file: Option<BufWriter<File>>,
}

/// Whether an opened file is empty, or a report whose last line is whole; what is written next comes after it.
fn continues(file: &mut File) -> io::Result<bool> {
    if !file.metadata()?.is_file() {
        return Ok(false);
    }
    let mut first = Vec::new();
    BufReader::new(&*file).take(LINE).read_until(b'\n', &mut first)?;
    if first.is_empty() {
        return Ok(true);
    }
    if serde_json::from_slice::<Remark>(&first).is_err() {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last != *b"\n" {
        file.write_all(b"\n")?;
    }
    Ok(true)
}

impl Report {
    pub(super) fn new(path: Option<&Path>, dry_run: bool) -> Self {
        Self { dry_run, path: path.map(Path::to_owned), ..Self::default() }
    }

    /// Opens its file, if somebody asked for one: a new one, or the report of an earlier run, because the answer to an import that
    /// failed is the same import again. Nothing else is written into.
    pub(super) fn open(&mut self) -> Result<(), Failure> {
        let Some(path) = &self.path else { return Ok(()) };
        let unwritable = |error: io::Error| Failure::Config(format!("{} cannot be written: {error}.", path.display()));
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map_err(unwritable)?;
        if !continues(&mut file).map_err(unwritable)? {
            return Err(Failure::Usage(format!("{} exists, and is no report. Choose another name.", path.display())));
        }
        self.file = Some(BufWriter::new(file));
        Ok(())
    }

    pub(super) fn read(&mut self, rows: u64) {
        self.rows += rows;
    }

    pub(super) fn users(&mut self, created: u64) {
        self.users_created += created;
    }

    pub(super) fn guests(&mut self, rows: u64) {
        self.guests += rows;
    }

    /// Live sessions that properties ended.
    pub(super) fn ended(&mut self, sessions: i64) {
        self.sessions_ended += sessions;
    }

    /// Whether a session was ended that nodes may remember.
    pub(super) fn ended_sessions(&self) -> bool {
        !self.dry_run && self.sessions_ended > 0
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
            let (_, weight, meaning) = OUTCOMES[place(&word)];
            if weight != Weight::Fine {
                let reason =
                    rule.map_or_else(|| meaning.to_owned(), |rule| format!("{} ({rule})", meaning.trim_end_matches('.')));
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

    /// Prints what was done until something failed; the failure itself is said after it.
    pub(super) fn cut_short(mut self, json: bool) -> Result<(), Failure> {
        if self.rows == 0 && self.users_created == 0 && self.outcomes.is_empty() {
            return Ok(());
        }
        self.print(json)?;
        note("It failed before its end. What is reported stays as it is: begin the same import again to go on.");
        Ok(())
    }

    /// Prints it. What was left out for its data or its user makes the exit code 7, a stop before the end 130.
    pub(super) fn finish(mut self, json: bool, complete: bool) -> Result<(), Failure> {
        self.complete = complete;
        self.print(json)?;
        let refused = self.outcomes.keys().any(|word| OUTCOMES[place(word)].1 == Weight::Refused);
        match (complete, refused) {
            (false, _) => Err(Failure::Answered(INTERRUPTED)),
            (true, true) => Err(Failure::Answered(7)),
            (true, false) => Ok(()),
        }
    }

    fn print(&mut self, json: bool) -> Result<(), Failure> {
        let written = self.file.is_some();
        if let Some(mut file) = self.file.take() {
            file.flush()?;
        }
        if json {
            document(&*self)?;
        } else {
            if self.dry_run {
                line("Dry run: nothing was written. This is what an import would do.")?;
            }
            let guests = if self.guests > 0 { format!(", {} of guests", self.guests) } else { String::new() };
            line(&format!("{} rows read{guests}.", self.rows))?;
            if self.users_created > 0 {
                line(&format!("{} users created.", self.users_created))?;
            }
            if self.sessions_ended > 0 {
                line(&format!("{} live sessions are ended by the properties.", self.sessions_ended))?;
            }
            let mut outcomes: Vec<_> = self.outcomes.iter().collect();
            outcomes.sort_by_key(|(word, _)| place(word));
            let rows: Vec<_> = outcomes
                .into_iter()
                .map(|(word, rows)| vec![rows.to_string(), word.replace('_', " "), OUTCOMES[place(word)].2.to_owned()])
                .collect();
            table(&["rows", "outcome", "meaning"], &rows)?;
            for remark in &self.first_remarks {
                let field = if remark.field.is_empty() { String::new() } else { format!(", {}", remark.field) };
                note(&format!("Row {}{field}: {}", remark.line, remark.reason));
            }
            if self.remarks > self.first_remarks.len() as u64 {
                let more = self.remarks - self.first_remarks.len() as u64;
                let place = if written { "all of them are in the report" } else { "give --report FILE to see them all" };
                note(&format!("And {more} more: {place}."));
            }
        }
        Ok(())
    }
}
