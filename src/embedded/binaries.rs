//! Finding the server binaries of this machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::EmbeddedError;
use super::{hint, places};

/// The oldest major version that Tenure's statements and the settings given here work with.
const OLDEST: u32 = 15;

/// The programs that must lie together for a directory to count.
const NEEDED: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Server binaries of one major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The directory that holds `initdb`, `pg_ctl` and `postgres`.
    pub dir: PathBuf,
    /// Their major version.
    pub major: u32,
}

impl Binaries {
    /// Finds the server binaries: those in `TENURE_POSTGRES_BIN`, else the first in `PATH`, else the
    /// newest in the places where packagers put them. Versions before 15 do not count.
    ///
    /// # Errors
    /// [`EmbeddedError::BinariesMissing`] when there are none, [`EmbeddedError::BinariesUnusable`]
    /// when `TENURE_POSTGRES_BIN` is set to something else.
    pub fn find() -> Result<Binaries, EmbeddedError> {
        let named = named(std::env::var_os("TENURE_POSTGRES_BIN"))?;
        named.or_else(|| elsewhere(None)).ok_or_else(|| EmbeddedError::BinariesMissing { hint: hint::install(None) })
    }

    /// The same for a cluster that exists already: only binaries of its own major version will do.
    pub(super) fn find_for(folder: &Path, major: u32) -> Result<Binaries, EmbeddedError> {
        let named = named(std::env::var_os("TENURE_POSTGRES_BIN"))?;
        named
            .filter(|binaries| binaries.major == major)
            .or_else(|| elsewhere(Some(major)))
            .ok_or_else(|| EmbeddedError::MajorMissing { folder: folder.to_owned(), major, hint: hint::install(Some(major)) })
    }

    /// The path of one of the programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// The directory someone named. A wrong one is an error: searching on would start a server that was
/// not asked for.
fn named(value: Option<OsString>) -> Result<Option<Binaries>, EmbeddedError> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let dir = PathBuf::from(value);
    match probe(&dir) {
        Ok(binaries) => Ok(Some(binaries)),
        Err(reason) => Err(EmbeddedError::BinariesUnusable { dir, reason }),
    }
}

/// The first in `PATH`, else the newest in the known places, of `wanted` when a version is wanted.
fn elsewhere(wanted: Option<u32>) -> Option<Binaries> {
    let suits = |found: &Binaries| wanted.is_none_or(|major| found.major == major);
    let usable = |dir: PathBuf| probe(&dir).ok().filter(suits);
    let path = std::env::var_os("PATH").unwrap_or_default();
    places::in_path(&path).into_iter().find_map(usable).or_else(|| {
        let known = places::known().into_iter().filter_map(usable);
        known.max_by_key(|found| found.major)
    })
}

/// Looks whether a directory holds usable binaries, asking the server itself for its version.
fn probe(dir: &Path) -> Result<Binaries, String> {
    let dir = std::fs::canonicalize(dir).map_err(|error| error.to_string())?;
    for name in NEEDED {
        if !dir.join(name).is_file() {
            return Err(format!("there is no {name} in it"));
        }
    }
    let mut ask = Command::new(dir.join("postgres"));
    ask.arg("--version").env("LC_ALL", "C").stdin(Stdio::null());
    let answer = ask.output().map_err(|error| format!("its postgres cannot be run ({error})"))?;
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    match major_of(&answer) {
        Some(major) if major >= OLDEST => Ok(Binaries { dir, major }),
        Some(major) => Err(format!("its postgres is of version {major}, older than {OLDEST}")),
        None => Err("its postgres does not tell its version".to_owned()),
    }
}

/// The major version in an answer like `postgres (PostgreSQL) 15.18 (Debian ...)` or `... 18beta1`.
fn major_of(answer: &str) -> Option<u32> {
    let (_, version) = answer.split_once("(PostgreSQL) ")?;
    let end = version.find(|c: char| !c.is_ascii_digit())?;
    version[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_servers_print() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_of("postgres (EnterpriseDB) x\n"), None);
    }

    #[test]
    fn a_wrong_directory_is_refused_by_name() {
        let error = named(Some("/nonexistent/bin".into())).unwrap_err();
        assert!(matches!(error, EmbeddedError::BinariesUnusable { .. }));
        assert!(named(Some("".into())).unwrap().is_none());
    }
}
