//! Secrets that a command needs: from the environment or a file, never from the command line, which others can read (111).

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use super::super::Failure;

/// Longest file that is read for a secret, bytes.
const LONGEST: u64 = 8192;

/// The secret that `env:NAME` or a file's name leads to. A source that is neither may be the secret itself, and is not repeated.
pub(super) fn secret(source: &str) -> Result<String, Failure> {
    if source.contains("://") {
        return Err(Failure::Usage(
            "The source is named, not written down, because others can read the command line: env:NAME or a file.".to_owned(),
        ));
    }
    let text = match source.strip_prefix("env:") {
        Some(name) => std::env::var(name)
            .map_err(|_| Failure::Config(format!("The environment has no variable {name} with text in it.")))?,
        None => from_file(source)?,
    };
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(Failure::Config(format!("{source} is empty."))) } else { Ok(text.to_owned()) }
}

fn from_file(name: &str) -> Result<String, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::Config(format!("The file that should hold the secret cannot be read: {error}. Name a file, or env:NAME."))
    };
    let file = fs::File::open(name).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.mode() & 0o077 != 0 {
        return Err(Failure::Config(format!("Others may read {name}. Close it: chmod 600 {name}")));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}
