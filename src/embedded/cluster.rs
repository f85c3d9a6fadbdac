//! The cluster of a data directory: ours, made when there is none, never someone else's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::EmbeddedError;
use super::layout::{Layout, identifier};
use super::record::Record;
use super::user::ServerUser;
use super::{Binaries, Progress, init, tool};

/// A cluster that is known to be ours, with all that is needed to run it.
pub(super) struct Cluster {
    pub(super) layout: Layout,
    pub(super) record: Record,
    pub(super) binaries: Binaries,
    pub(super) user: ServerUser,
}

impl Cluster {
    /// Opens the cluster of a data directory or makes one. Only for holders of the startup lock.
    pub(super) async fn open_or_create(layout: Layout, progress: Progress<'_>) -> Result<Cluster, EmbeddedError> {
        let folder = layout.cluster();
        let record = match (exists(&folder)?, Record::read(&layout)?) {
            (true, Some(record)) => record,
            (true, None) => {
                let record = layout.record();
                let reason = format!("{} is missing", record.display());
                return Err(EmbeddedError::Foreign { folder, reason });
            }
            (false, Some(record)) => adopt(&layout, record)?,
            (false, None) => {
                sweep(&layout, progress);
                init::create(&layout, progress).await?
            }
        };
        verify(&folder, &record)?;
        sweep(&layout, progress);
        let binaries = Binaries::find_for(&folder, major(&folder)?)?;
        let user = ServerUser::for_cluster(&folder)?;
        tool::check_reach(&binaries, &user, layout.dir()).await?;
        Ok(Cluster { layout, record, binaries, user })
    }
}

fn exists(folder: &Path) -> Result<bool, EmbeddedError> {
    // Without following links: a dangling one is in the way just as well.
    match fs::symlink_metadata(folder) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(EmbeddedError::io("look at", folder, error)),
    }
}

/// Finishes an initialisation that was killed between writing the record and the last rename.
fn adopt(layout: &Layout, record: Record) -> Result<Record, EmbeddedError> {
    let folder = layout.cluster();
    let is_ours = |made: &PathBuf| identifier(made).is_ok_and(|found| found == record.identifier);
    let mut made = layout.leftovers()?.into_iter().map(|dir| dir.join("cluster"));
    let Some(made) = made.find(is_ours) else {
        let record = layout.record();
        return Err(EmbeddedError::ClusterGone { folder, record });
    };
    fs::rename(&made, &folder).map_err(|error| EmbeddedError::io("create", &folder, error))?;
    layout.sync()?;
    Ok(record)
}

/// Removes what killed initialisations have left. Not fatal: a killed attempt may still be dying, and
/// the next start tries again.
fn sweep(layout: &Layout, progress: Progress<'_>) {
    for dir in layout.leftovers().unwrap_or_default() {
        progress(&format!("Removing {}, left by an interrupted start", dir.display()));
        let _ = fs::remove_dir_all(&dir);
    }
}

/// Looks whether the folder is the very cluster that the record tells of.
fn verify(folder: &Path, record: &Record) -> Result<(), EmbeddedError> {
    let reason = match identifier(folder) {
        Ok(found) if found == record.identifier => return Ok(()),
        Ok(found) => format!("its system identifier is {found}, but the one made here has {}", record.identifier),
        // "Not permitted" says nothing about whose it is, and needs another remedy.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            ServerUser::for_cluster(folder)?;
            return Err(EmbeddedError::io("read", folder, error));
        }
        Err(error) => format!("its global/pg_control cannot be read ({error})"),
    };
    Err(EmbeddedError::Foreign { folder: folder.to_owned(), reason })
}

/// The major version that made the cluster.
fn major(folder: &Path) -> Result<u32, EmbeddedError> {
    let path = folder.join("PG_VERSION");
    let text = fs::read_to_string(&path).map_err(|e| EmbeddedError::io("read", &path, e))?;
    text.trim().parse().map_err(|_| EmbeddedError::Foreign {
        folder: folder.to_owned(),
        reason: "its PG_VERSION names no version that Tenure knows".to_owned(),
    })
}
