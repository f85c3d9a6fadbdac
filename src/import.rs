//! Reading what was written elsewhere: rows of foreign session tables, exports of ServiceNow and of this store. No I/O but that of a file. Nothing
//! is believed: every length, depth and number has a bound, and what does not fit is said by line.
//!
//! It makes of what comes from outside what the store takes, like [`crate::input`], which judges each single value.

use crate::store::{ImportRow, ImportSession};

mod backup;
mod decode;
mod file;
mod records;
mod servicenow;

pub use backup::{Backup, BackupWriter, Counts};
pub use decode::{DecodeOptions, Decoded, Owner, decode};
pub use file::{Opened, open};
pub use records::{Record, each_record};
pub use servicenow::{Table, convert};

/// What a line of a file holds, as the store takes it.
#[derive(Debug)]
pub enum Item {
    /// A row of a table.
    Row(Rows, ImportRow),
    /// A session of this store.
    Session(ImportSession),
    /// Nothing to import: a record of another table, or a deletion.
    Nothing,
}

/// What rows are, in the order in which they are written: sessions come before history, after everything they refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rows {
    /// Users.
    Users,
    /// Overrides of properties.
    Properties,
    /// Client applications.
    OauthEntities,
    /// Ended sessions.
    Ended,
    /// Events.
    Events,
}

fn row(line: u64, rows: Rows, columns: &impl serde::Serialize) -> Result<Item, Remark> {
    ImportRow::new(line, columns).map(|row| Item::Row(rows, row)).map_err(|error| Remark::unwritten(line, &error))
}

/// A line that is left out, or taken without some part of it, and why. It quotes no value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Remark {
    /// The number of the row in its source, in the order of its keys.
    pub line: u64,
    /// The field, when one is to blame; else empty.
    pub field: String,
    /// A sentence.
    pub reason: String,
}

impl Remark {
    /// A remark.
    pub fn new(line: u64, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { line, field: field.into(), reason: reason.into() }
    }

    /// JSON that was read and cannot be written again does not occur; its line would be left out.
    pub fn unwritten(line: u64, error: &serde_json::Error) -> Self {
        Self::new(line, "", format!("It cannot be written as JSON: {error}."))
    }
}

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such file, or it may not be read.
    #[error("{0}")]
    Missing(String),
    /// The file is not what it should be.
    #[error("{0}")]
    Data(String),
    /// Whoever takes the records wants no more of them.
    #[error("the import was stopped")]
    Stopped,
}
