//! What is refused, and that a refusal touches nothing.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::Scratch;
use tenure::embedded::{Embedded, EmbeddedError};

async fn refusal(dir: &Path) -> EmbeddedError {
    let error = Embedded::start(dir, &|_| ()).await.unwrap_err();
    eprintln!("{error}");
    error
}

#[tokio::test]
async fn a_folder_without_our_record_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.cluster()).unwrap();
    fs::write(scratch.cluster().join("PG_VERSION"), "15\n").unwrap();
    let error = refusal(&scratch.dir).await;
    assert!(matches!(error, EmbeddedError::Foreign { .. }));
    let names: Vec<_> = fs::read_dir(scratch.cluster()).unwrap().collect();
    assert_eq!(names.len(), 1);
}

#[tokio::test]
async fn another_cluster_in_place_of_ours_is_refused_and_a_lost_one_not_replaced() {
    let (ours, theirs) = (Scratch::new(), Scratch::new());
    assert!(ours.start().await.stop().await.unwrap());
    assert!(theirs.start().await.stop().await.unwrap());
    fs::rename(ours.cluster(), ours.dir.join("away")).unwrap();
    let error = refusal(&ours.dir).await;
    assert!(matches!(error, EmbeddedError::ClusterGone { .. }));
    fs::rename(theirs.cluster(), ours.cluster()).unwrap();
    let error = refusal(&ours.dir).await;
    assert!(matches!(error, EmbeddedError::Foreign { .. }));
}

#[tokio::test]
async fn a_cluster_of_a_version_that_is_not_installed_is_named() {
    let scratch = Scratch::new();
    assert!(scratch.start().await.stop().await.unwrap());
    fs::write(scratch.cluster().join("PG_VERSION"), "99\n").unwrap();
    let error = refusal(&scratch.dir).await;
    assert!(matches!(error, EmbeddedError::MajorMissing { major: 99, .. }));
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_one_is_refused() {
    let scratch = Scratch::new();
    fs::create_dir_all(&scratch.dir).unwrap();
    let file = scratch.dir.join("file");
    fs::write(&file, "").unwrap();
    let error = refusal(&file).await;
    assert!(matches!(error, EmbeddedError::DataDirNotDirectory { .. }));
    let error = refusal(&file.join("below")).await;
    assert!(matches!(error, EmbeddedError::Io { .. }));
    for name in [&b"\xff"[..], b"a\nb"] {
        let error = refusal(&scratch.dir.join(OsStr::from_bytes(name))).await;
        assert!(matches!(error, EmbeddedError::DataDirName { .. }));
    }
    assert_eq!(fs::read_dir(&scratch.dir).unwrap().count(), 1);
}

#[tokio::test]
async fn a_directory_the_server_cannot_enter_is_named() {
    let scratch = Scratch::new();
    let closed = scratch.dir.join("closed");
    fs::create_dir_all(&closed).unwrap();
    let root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    // Root passes where its server's user does not; anyone else is stopped at once.
    fs::set_permissions(&closed, Permissions::from_mode(if root { 0o700 } else { 0o000 })).unwrap();
    match refusal(&closed.join("data")).await {
        EmbeddedError::NotReachable { dir, .. } => {
            assert_eq!(dir, fs::canonicalize(&closed).unwrap());
        }
        EmbeddedError::Io { .. } if !root => {}
        other => panic!("{other}"),
    }
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn a_damaged_record_is_named_without_its_contents() {
    let scratch = Scratch::new();
    fs::create_dir_all(&scratch.dir).unwrap();
    fs::write(scratch.dir.join("postgres.record"), "nonsense\n").unwrap();
    let error = refusal(&scratch.dir).await;
    assert!(matches!(error, EmbeddedError::RecordDamaged { .. }));
    assert!(!error.to_string().contains("nonsense"));
    assert!(!scratch.cluster().exists());
}
