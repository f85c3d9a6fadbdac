//! An embedded PostgreSQL: started from the machine's own server binaries when no `DATABASE_URL`
//! is given, shared by every Tenure process on the same data directory, stopped by the last one.
//!
//! What lies in the data directory:
//!
//! | path | what it is |
//! |---|---|
//! | `postgres/` | the cluster, owned by the user the server runs as |
//! | `postgres.record` | system identifier, port and password (0600, owned by the caller) |
//! | `postgres.log` | the server's output; the server holds a lock on it for as long as it lives |
//! | `postgres.log.old` | what was in the log before it grew past 16 MiB |
//! | `postgres.startup.lock` | held alone while someone initialises, starts or stops |
//! | `postgres.users.lock` | held shared by everyone who uses the server |
//! | `postgres.init-*/` | a cluster being made, renamed to `postgres` when it is complete |
//!
//! File steps use `std::fs` directly: they are few, small, and done before any service begins.

mod binaries;
mod cluster;
mod error;
mod hint;
mod init;
mod launch;
mod layout;
mod locks;
mod passwd;
mod places;
mod postmaster;
mod record;
mod server;
mod tool;
mod user;
mod waiting;

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub use binaries::Binaries;
pub use error::EmbeddedError;

use cluster::Cluster;
use layout::Layout;

/// What a long step is doing now, one sentence; called from any step that takes longer than a blink.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// A folder for data when nobody named one: `folder` itself, or the one of its name in /var/lib when root works below a folder
/// that the server's user may not enter, as /root is.
#[must_use]
pub fn default_data_dir(folder: &Path) -> PathBuf {
    let others_enter = |dir: &Path| fs::metadata(dir).is_ok_and(|found| found.mode() & 0o001 != 0);
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let reachable = absolute.ancestors().skip(1).filter(|dir| dir.exists()).all(others_enter);
    match (rustix::process::geteuid().is_root() && !reachable, absolute.file_name()) {
        (true, Some(name)) => Path::new("/var/lib").join(name),
        _ => folder.to_owned(),
    }
}

/// This process's share of the embedded server of one data directory.
///
/// Dropping it without [`Embedded::stop`] gives the share back but leaves the server running, which
/// is also what happens when the process is killed: the next user finds the server and reuses it.
pub struct Embedded {
    cluster: Cluster,
    users: File,
    port: u16,
}

impl Embedded {
    /// Makes sure the server of `data_dir` runs, creating its cluster when there is none, and takes a
    /// share in it. Must be called within a tokio runtime that has its I/O and time drivers enabled.
    ///
    /// # Errors
    /// [`EmbeddedError`], when the binaries are missing, the directory cannot be used, the cluster in
    /// it was not made by Tenure, or the server does not come up.
    pub async fn start(data_dir: &Path, progress: Progress<'_>) -> Result<Embedded, EmbeddedError> {
        let layout = Layout::open(data_dir)?;
        // The share is taken before the startup lock is given back, so no stopper can come between
        // "the server is ready" and "we are counted as its user".
        let startup = locks::startup(&layout, progress).await?;
        let mut cluster = Cluster::open_or_create(layout, progress).await?;
        let port = server::ensure_running(&mut cluster, progress).await?;
        let users = locks::share(&cluster.layout)?;
        drop(startup);
        Ok(Embedded { cluster, users, port })
    }

    /// The connection string, password included: hand it to the driver, never to a log.
    #[must_use]
    pub fn url(&self) -> String {
        let password = self.cluster.record.password();
        let port = self.port;
        format!("postgres://tenure_owner:{password}@127.0.0.1:{port}/tenure")
    }

    /// Gives this share back; the last one out stops the server. True when that was us and the
    /// server no longer runs.
    ///
    /// # Errors
    /// [`EmbeddedError`], when a lock cannot be taken or the server does not stop.
    pub async fn stop(self) -> Result<bool, EmbeddedError> {
        let startup = locks::startup(&self.cluster.layout, &|_| ()).await?;
        let path = self.cluster.layout.users_lock();
        let failed = |source| EmbeddedError::io("unlock", &path, source);
        self.users.unlock().map_err(failed)?;
        if !locks::try_lock(&self.users, &path)? {
            return Ok(false);
        }
        server::stop(&self.cluster).await?;
        drop(startup);
        Ok(true)
    }
}

impl fmt::Debug for Embedded {
    // By hand, so that the password stays out of whatever prints this.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded")
            .field("folder", &self.cluster.layout.cluster())
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}
