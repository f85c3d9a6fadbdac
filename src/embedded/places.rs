//! Where server binaries may lie.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// The directories where packagers put server binaries; `*` stands for the version.
const KNOWN: &[&str] = &[
    "/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
    "/usr/pgsql-*/bin",                   // PGDG's RPMs
    "/opt/homebrew/opt/postgresql@*/bin", // Homebrew on Apple silicon
    "/usr/local/opt/postgresql*/bin",     // Homebrew on Intel
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/libexec/postgresql*",    // Alpine
    "/usr/lib/postgresql*/bin",    // SUSE
    "/usr/lib64/postgresql-*/bin", // Gentoo
    "/usr/local/pgsql/bin",        // built from source
];

/// The known directories that exist on this machine.
pub(super) fn known() -> Vec<PathBuf> {
    KNOWN.iter().flat_map(|pattern| expand(pattern)).collect()
}

/// The directories behind every `postgres` of a `PATH`: a link such as `/usr/local/bin/postgres` is
/// followed, because `initdb` and `pg_ctl` need not be linked beside it.
pub(super) fn in_path(path: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(path)
        .filter_map(|dir| fs::canonicalize(dir.join("postgres")).ok())
        .filter_map(|file| file.parent().map(Path::to_owned))
        .collect()
}

/// The existing directories that match a pattern with at most one `*` in one of its components.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let parent = if parent.is_empty() { "/" } else { parent };
    let rest = after.trim_start_matches('/');
    let mut found: Vec<PathBuf> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join(rest))
        .filter(|dir| dir.is_dir())
        .collect();
    // The order a directory is listed in is nobody's promise.
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_the_version_and_links_in_path_are_followed() {
        let root = std::env::temp_dir().join(format!("tenure-places-{}", std::process::id()));
        let bin = root.join("pg-15/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(root.join("pg-16")).unwrap();
        fs::create_dir_all(root.join("links")).unwrap();
        fs::write(bin.join("postgres"), "").unwrap();
        std::os::unix::fs::symlink(bin.join("postgres"), root.join("links/postgres")).unwrap();

        let pattern = format!("{}/pg-*/bin", root.display());
        assert_eq!(expand(&pattern), vec![bin.clone()]);
        let path = std::env::join_paths([root.join("pg-16"), root.join("links")]).unwrap();
        assert_eq!(in_path(&path), vec![fs::canonicalize(&bin).unwrap()]);
        fs::remove_dir_all(&root).unwrap();
    }
}
