//! The record beside a cluster: which cluster is ours, and how to get in.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;

use super::error::EmbeddedError;
use super::layout::Layout;

/// What is kept about a cluster. No `Debug`: it holds the password.
pub(super) struct Record {
    pub(super) identifier: u64,
    /// The port used last, so that it stays the same for as long as it is free.
    pub(super) port: Option<u16>,
    password: String,
}

impl Record {
    pub(super) fn new(identifier: u64, password: String) -> Record {
        Record { identifier, port: None, password }
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }

    /// Reads the record of a data directory, if there is one.
    pub(super) fn read(layout: &Layout) -> Result<Option<Record>, EmbeddedError> {
        let path = layout.record();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(EmbeddedError::io("read", &path, error)),
        };
        parse(&text).map(Some).map_err(|reason| EmbeddedError::RecordDamaged { record: path, reason })
    }

    /// Writes the record as a whole or not at all: half a password would lock us out.
    pub(super) fn save(&self, layout: &Layout) -> Result<(), EmbeddedError> {
        let path = layout.record();
        let fresh = path.with_extension("record.new");
        let written = (|| {
            // A leftover could have been made with other permissions, so it is never reused.
            match fs::remove_file(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            let mut file = options.open(&fresh)?;
            file.write_all(self.text().as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &path)
        })();
        written.map_err(|error| EmbeddedError::io("write", &path, error))?;
        layout.sync()
    }

    fn text(&self) -> String {
        let mut text = String::from("# Kept by Tenure; belongs to the folder postgres beside it.\n");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "system-identifier {}", self.identifier);
        if let Some(port) = self.port {
            let _ = writeln!(text, "port {port}");
        }
        let _ = writeln!(text, "password {}", self.password);
        text
    }
}

/// Reads a record's text; the reason it cannot be read never repeats its contents.
fn parse(text: &str) -> Result<Record, &'static str> {
    let field = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let identifier = field("system-identifier").ok_or("it names no system identifier")?;
    let password = field("password").ok_or("it holds no password")?;
    Ok(Record {
        identifier: identifier.parse().map_err(|_| "its system identifier is no number")?,
        // Only a wish, so a wrong one is as good as none.
        port: field("port").and_then(|port| port.parse().ok()),
        password: password.to_owned(),
    })
}

/// Random bytes in hexadecimal, which needs no escaping in a URL or a file.
pub(super) fn random_hex<const BYTES: usize>() -> Result<String, EmbeddedError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(EmbeddedError::Random)?;
    let mut text = String::with_capacity(2 * BYTES);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_written_and_damage_is_named() {
        let mut record = Record::new(u64::MAX, random_hex::<32>().unwrap());
        record.port = Some(5433);
        let read = parse(&record.text()).ok().unwrap();
        assert_eq!(read.identifier, u64::MAX);
        assert_eq!(read.port, Some(5433));
        assert_eq!(read.password, record.password);
        assert_eq!(read.password.len(), 64);
        assert_eq!(parse("password x\n").err(), Some("it names no system identifier"));
        assert_eq!(parse("system-identifier 1\n").err(), Some("it holds no password"));
    }
}
