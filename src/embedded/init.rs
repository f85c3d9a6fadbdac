//! Making a new cluster, aside, so that a killed attempt never looks like a finished one: first the
//! cluster, then its record, and as the last step the rename to its place.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::error::EmbeddedError;
use super::layout::{Layout, identifier};
use super::record::{Record, random_hex};
use super::user::ServerUser;
use super::{Binaries, Progress, tool};

/// Locales to try in turn: sorted by code point in both, so every machine sorts alike, but the first
/// also knows letters beyond ASCII. Not every system has it.
const LOCALES: [&str; 2] = ["C.UTF-8", "C"];

/// Makes the cluster of a data directory that has none.
pub(super) async fn create(layout: &Layout, progress: Progress<'_>) -> Result<Record, EmbeddedError> {
    let binaries = Binaries::find()?;
    let user = ServerUser::for_new()?;
    tool::check_reach(&binaries, &user, layout.dir()).await?;

    let work = layout.init_dir(&random_hex::<8>()?);
    let made = fill(layout, &work, &binaries, &user, progress).await;
    // Whatever happened, nothing of it may stay: it could hold the file with the password.
    let _ = fs::remove_dir_all(&work);
    made
}

async fn fill(
    layout: &Layout,
    work: &Path,
    binaries: &Binaries,
    user: &ServerUser,
    progress: Progress<'_>,
) -> Result<Record, EmbeddedError> {
    let password = random_hex::<32>()?;
    let password_file = work.join("password");
    let statement = work.join("create.sql");
    let prepared = (|| {
        DirBuilder::new().mode(0o700).create(work)?;
        write_private(&password_file, &password)?;
        write_private(&statement, "CREATE DATABASE tenure OWNER tenure_owner\n")?;
        // As the last step: root must not write where another user could have laid a link.
        user.take(work)
    })();
    prepared.map_err(|error| EmbeddedError::io("prepare", work, error))?;

    let cluster = work.join("cluster");
    initdb(binaries, user, &cluster, &password_file, progress).await?;
    remove(&password_file)?;

    // Single-user mode, because the clients' tools need not be installed and nothing may listen yet.
    let input = File::open(&statement).map_err(|e| EmbeddedError::io("open", &statement, e))?;
    let mut single = tool::command(binaries, user, "postgres", &cluster);
    // Without exit_on_error a failed statement would still end well.
    single.args(["--single", "-c", "exit_on_error=on", "postgres"]);
    single.stdin(input);
    tool::run(single, "create the database tenure", &cluster, progress).await?;

    let found = identifier(&cluster).map_err(|e| EmbeddedError::io("read", &cluster, e))?;
    let record = Record::new(found, password);
    record.save(layout)?;
    let place = layout.cluster();
    fs::rename(&cluster, &place).map_err(|e| EmbeddedError::io("create", &place, e))?;
    layout.sync()?;
    Ok(record)
}

async fn initdb(
    binaries: &Binaries,
    user: &ServerUser,
    cluster: &Path,
    password_file: &Path,
    progress: Progress<'_>,
) -> Result<(), EmbeddedError> {
    let mut outcome = Ok(());
    for locale in LOCALES {
        let mut command = tool::command(binaries, user, "initdb", cluster);
        command
            .args(["--encoding=UTF8", "--username=tenure_owner", "--data-checksums"])
            .args(["--auth-host=scram-sha-256", "--auth-local=scram-sha-256"])
            .args(["--no-instructions", &format!("--locale={locale}")])
            .arg("--pwfile")
            .arg(password_file);
        outcome = tool::run(command, "make a new cluster", cluster, progress).await;
        match &outcome {
            Err(EmbeddedError::Tool { output, .. }) if output.contains("locale") => {}
            _ => break,
        }
    }
    outcome
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}

fn remove(path: &Path) -> Result<(), EmbeddedError> {
    fs::remove_file(path).map_err(|error| EmbeddedError::io("remove", path, error))
}
