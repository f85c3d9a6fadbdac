//! The user the server runs as: the caller, or an unprivileged one when the caller is root, whom
//! PostgreSQL refuses to serve.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::error::EmbeddedError;
use super::passwd;

/// The user the server's programs run as.
#[derive(Debug, Clone)]
pub(super) struct ServerUser {
    /// User and group to change to; none when the caller's own will do.
    pub(super) ids: Option<(u32, u32)>,
    pub(super) name: String,
    pub(super) home: PathBuf,
}

impl ServerUser {
    /// The user for a new cluster.
    pub(super) fn for_new() -> Result<ServerUser, EmbeddedError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(ServerUser::caller());
        }
        let passwd = passwd::read();
        ["postgres", "_postgres", "nobody"]
            .iter()
            .find_map(|name| passwd::entry(&passwd, |user| user.name == *name))
            .ok_or(EmbeddedError::NoServerUser)
    }

    /// The user for a cluster that exists: its owner, since the server will serve nobody else's.
    pub(super) fn for_cluster(folder: &Path) -> Result<ServerUser, EmbeddedError> {
        let failed = |error| EmbeddedError::io("look at", folder, error);
        let found = fs::metadata(folder).map_err(failed)?;
        let passwd = passwd::read();
        let ids = (found.uid(), found.gid());
        let owner = passwd::entry(&passwd, |user| user.ids.is_some_and(|(uid, _)| uid == ids.0));
        let me = rustix::process::geteuid();
        if !me.is_root() {
            if me.as_raw() == ids.0 {
                return Ok(ServerUser::caller());
            }
            return Err(EmbeddedError::WrongUser {
                folder: folder.to_owned(),
                owner: owner.map_or_else(|| ids.0.to_string(), |user| user.name),
            });
        }
        if ids.0 == 0 {
            // Put back from a backup by root; the caller has checked that the cluster is ours.
            let user = ServerUser::for_new()?;
            user.take(folder).map_err(|error| EmbeddedError::io("give away", folder, error))?;
            return Ok(user);
        }
        Ok(ServerUser {
            ids: Some(ids),
            name: owner.as_ref().map_or_else(|| ids.0.to_string(), |user| user.name.clone()),
            home: owner.map_or_else(|| PathBuf::from("/"), |user| user.home),
        })
    }

    fn caller() -> ServerUser {
        ServerUser {
            ids: None,
            name: "the caller".to_owned(),
            home: std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from),
        }
    }

    /// Makes a program run as this user. Changing the user also drops root's other groups.
    pub(super) fn apply(&self, command: &mut Command) {
        if let Some((uid, gid)) = self.ids {
            command.uid(uid).gid(gid);
        }
        command.env("HOME", &self.home);
    }

    /// Gives this user a file, or a folder with all that is in it; links are not followed.
    pub(super) fn take(&self, path: &Path) -> io::Result<()> {
        let Some((uid, gid)) = self.ids else {
            return Ok(());
        };
        if fs::symlink_metadata(path)?.is_dir() {
            for entry in fs::read_dir(path)? {
                self.take(&entry?.path())?;
            }
        }
        lchown(path, Some(uid), Some(gid))
    }

    /// Names what keeps this user from entering `target`, for when the system has refused it.
    pub(super) fn blocked(&self, target: &Path) -> Option<EmbeddedError> {
        let (uid, gid) = self.ids?;
        let enters = |dir: &Path| {
            let Ok(found) = fs::metadata(dir) else {
                return false;
            };
            let bit = if found.uid() == uid {
                0o100
            } else if found.gid() == gid {
                0o010
            } else {
                0o001
            };
            found.mode() & bit != 0
        };
        let mut ancestors: Vec<&Path> = target.ancestors().collect();
        ancestors.reverse();
        let dir = ancestors.into_iter().find(|dir| !enters(dir))?;
        Some(EmbeddedError::NotReachable { user: self.name.clone(), dir: dir.to_owned(), target: target.to_owned() })
    }
}
