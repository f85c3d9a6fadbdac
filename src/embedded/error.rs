//! Everything that can go wrong with the embedded server, each as a sentence that says what
//! happened, where, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::hint::advice;

/// Why the embedded server could not be started, used or stopped. No message holds a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No usable server on this machine.
    #[error("no PostgreSQL server of version 15 or later was found on this machine; {hint}")]
    BinariesMissing {
        /// How to install one here.
        hint: String,
    },
    /// `TENURE_POSTGRES_BIN` names something that is not a server's `bin` directory.
    #[error(
        "TENURE_POSTGRES_BIN is {dir}, but {reason}; set it to the directory that holds initdb, \
        pg_ctl and postgres of version 15 or later, or unset it to search the usual places"
    )]
    BinariesUnusable {
        /// The directory named.
        dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The cluster was made by a major version that is not installed.
    #[error(
        "the cluster in {folder} was made by PostgreSQL {major}, whose server binaries were not \
        found on this machine; {hint}"
    )]
    MajorMissing {
        /// The cluster.
        folder: PathBuf,
        /// The version it needs.
        major: u32,
        /// How to install that version here.
        hint: String,
    },
    /// The data directory's name cannot be handed to PostgreSQL.
    #[error(
        "the data directory {path:?} has a name that PostgreSQL cannot take (not UTF-8, or with \
        control characters); choose another with --data-dir"
    )]
    DataDirName {
        /// The directory named.
        path: PathBuf,
    },
    /// The data directory is a file or the like.
    #[error("the data directory {path} exists but is not a directory; choose another with --data-dir")]
    DataDirNotDirectory {
        /// The path named.
        path: PathBuf,
    },
    /// A file step failed.
    #[error("could not {what} {path}: {source}; {}", advice(.source))]
    Io {
        /// The step.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The `postgres` folder was not made by Tenure.
    #[error(
        "{folder} is not a cluster that Tenure made here: {reason}; nothing in it was touched; \
        move it away or choose another --data-dir"
    )]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// How that was seen.
        reason: String,
    },
    /// The record is there and its cluster is not: an empty database must not replace a lost one.
    #[error(
        "{record} says that Tenure keeps a cluster in {folder}, but that folder is gone; put it \
        back, or remove {record} to begin with an empty database"
    )]
    ClusterGone {
        /// Where the cluster should be.
        folder: PathBuf,
        /// The record that tells of it.
        record: PathBuf,
    },
    /// The record cannot be understood.
    #[error(
        "{record} is damaged ({reason}); restore it from a backup, because it holds the \
        password of the cluster beside it"
    )]
    RecordDamaged {
        /// The record.
        record: PathBuf,
        /// What is wrong, without its contents.
        reason: &'static str,
    },
    /// The cluster belongs to someone else and we are not root.
    #[error(
        "{folder} belongs to user {owner}, and PostgreSQL only serves a folder of its own user; \
        run as {owner} or as root, or choose another --data-dir"
    )]
    WrongUser {
        /// The cluster.
        folder: PathBuf,
        /// Its owner.
        owner: String,
    },
    /// Run as root on a machine with no unprivileged user to run the server as.
    #[error(
        "PostgreSQL refuses to run as root, and /etc/passwd has neither a user postgres nor a \
        user nobody to run it as; run as an ordinary user, or add one: useradd --system postgres"
    )]
    NoServerUser,
    /// The server's user cannot pass through a directory.
    #[error(
        "PostgreSQL runs as user {user} here, because it refuses to run as root, but that user \
        may not enter {dir} on the way to {target}; choose another --data-dir, for example \
        /var/lib/tenure, or allow it with: chmod o+x '{dir}'"
    )]
    NotReachable {
        /// The server's user.
        user: String,
        /// The directory that stops it.
        dir: PathBuf,
        /// Where it has to get to.
        target: PathBuf,
    },
    /// One of the server's programs failed.
    #[error("{program} failed ({status}) while trying to {what} in {place}; its last words:\n{output}")]
    Tool {
        /// The program.
        program: String,
        /// What it was run for.
        what: &'static str,
        /// The folder it worked on.
        place: PathBuf,
        /// How it ended.
        status: String,
        /// The last lines it printed.
        output: String,
    },
    /// The server did not become ready in time.
    #[error(
        "PostgreSQL in {folder} was not ready after {seconds} s ({state}); {log} tells more; a \
        recovery goes on by itself, so try again later"
    )]
    NotReady {
        /// The cluster.
        folder: PathBuf,
        /// How long was waited.
        seconds: u64,
        /// What it was doing when the wait ended.
        state: String,
        /// Its log.
        log: PathBuf,
    },
    /// No port of 127.0.0.1 is free.
    #[error(
        "no port is free on 127.0.0.1 for PostgreSQL to listen on: {0}; check that the loopback \
        interface is up"
    )]
    NoPort(io::Error),
    /// The system gave no random bytes for a password.
    #[error(
        "the system gave no random bytes to make a password from: {0}; check that /dev/urandom \
        can be read"
    )]
    Random(getrandom::Error),
}

impl EmbeddedError {
    /// A failed file step.
    pub(super) fn io(what: &'static str, path: &Path, source: io::Error) -> EmbeddedError {
        EmbeddedError::Io { what, path: path.to_owned(), source }
    }
}
