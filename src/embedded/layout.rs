//! The paths within a data directory, and the checks a data directory has to pass.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::error::EmbeddedError;

/// The beginning of the names of half-made clusters; nothing else may bear it.
const INIT_PREFIX: &str = "postgres.init-";

/// A data directory that exists, by its canonical path.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// Checks a data directory and creates it when it is missing.
    pub(super) fn open(dir: &Path) -> Result<Layout, EmbeddedError> {
        check_name(dir)?;
        match fs::metadata(dir) {
            Ok(found) if !found.is_dir() => {
                let path = dir.to_owned();
                return Err(EmbeddedError::DataDirNotDirectory { path });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(dir)?,
            Err(error) => return Err(EmbeddedError::io("look at", dir, error)),
        }
        // Children run in another working directory, and links may lead to a name we cannot take.
        let dir = fs::canonicalize(dir).map_err(|e| EmbeddedError::io("resolve", dir, e))?;
        check_name(&dir)?;
        Ok(Layout { dir })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    pub(super) fn record(&self) -> PathBuf {
        self.dir.join("postgres.record")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }

    pub(super) fn startup_lock(&self) -> PathBuf {
        self.dir.join("postgres.startup.lock")
    }

    pub(super) fn users_lock(&self) -> PathBuf {
        self.dir.join("postgres.users.lock")
    }

    /// A place of its own for a new cluster: a killed attempt may still be writing to its own one.
    pub(super) fn init_dir(&self, token: &str) -> PathBuf {
        self.dir.join(format!("{INIT_PREFIX}{token}"))
    }

    /// What killed attempts have left.
    pub(super) fn leftovers(&self) -> Result<Vec<PathBuf>, EmbeddedError> {
        let failed = |error| EmbeddedError::io("list", &self.dir, error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_string_lossy().starts_with(INIT_PREFIX) {
                found.push(entry.path());
            }
        }
        Ok(found)
    }

    /// Makes what was renamed into the directory survive a power cut.
    pub(super) fn sync(&self) -> Result<(), EmbeddedError> {
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        synced.map_err(|error| EmbeddedError::io("sync", &self.dir, error))
    }
}

/// The system identifier of a cluster: in every version the first field of `pg_control`, in the
/// machine's own byte order.
pub(super) fn identifier(cluster: &Path) -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open(cluster.join("global/pg_control"))?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// A line break would split PostgreSQL's own pid file, and its tools print paths as text.
fn check_name(dir: &Path) -> Result<(), EmbeddedError> {
    match dir.to_str() {
        Some(name) if !name.chars().any(char::is_control) => Ok(()),
        _ => Err(EmbeddedError::DataDirName { path: dir.to_owned() }),
    }
}

fn create(dir: &Path) -> Result<(), EmbeddedError> {
    let failed = |error| EmbeddedError::io("create the data directory", dir, error);
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o755);
    builder.create(dir).map_err(failed)?;
    // The server's user must be able to pass whatever the caller's umask is, and no one need list it.
    let mode = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
    fs::set_permissions(dir, Permissions::from_mode(mode)).map_err(failed)
}
