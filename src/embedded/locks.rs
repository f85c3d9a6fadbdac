//! The two locks that make starting and stopping sound between processes.
//!
//! Whoever starts or stops holds the startup lock alone, and takes or gives back its share of the
//! users' lock only while holding it. So a stopper that finds itself alone knows that nobody can
//! join before the server is down. The system frees both locks when a process dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use super::Progress;
use super::error::EmbeddedError;
use super::layout::Layout;
use super::waiting::with_progress;

const POLL: Duration = Duration::from_millis(50);

/// Waits for the startup lock; dropping the file gives it back.
pub(super) async fn startup(layout: &Layout, progress: Progress<'_>) -> Result<File, EmbeddedError> {
    let path = layout.startup_lock();
    let file = open(&path)?;
    if try_lock(&file, &path)? {
        return Ok(file);
    }
    let what = format!("Waiting for another process that starts or stops PostgreSQL in {}", layout.dir().display());
    // Asked again and again, because a thread blocked in the lock call could not be cancelled, and
    // Ctrl-C would then wait for the other process.
    let wait = async {
        while !try_lock(&file, &path)? {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    };
    with_progress(wait, progress, &what).await?;
    Ok(file)
}

/// Takes a share of the users' lock. Only for holders of the startup lock, so nobody holds it alone.
pub(super) fn share(layout: &Layout) -> Result<File, EmbeddedError> {
    let path = layout.users_lock();
    let file = open(&path)?;
    file.lock_shared().map_err(|error| EmbeddedError::io("lock", &path, error))?;
    Ok(file)
}

/// Tries to hold a file alone; false when someone else holds it.
pub(super) fn try_lock(file: &File, path: &Path) -> Result<bool, EmbeddedError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(EmbeddedError::io("lock", path, error)),
    }
}

/// Opens a file for locking or appending, readable by its owner only.
pub(super) fn open(path: &Path) -> Result<File, EmbeddedError> {
    let mut options = OpenOptions::new();
    options.append(true).read(true).create(true).mode(0o600);
    options.open(path).map_err(|error| EmbeddedError::io("open", path, error))
}
