//! Running the server's own programs: as the right user, in a clean environment, out of reach of the
//! caller's terminal and pipes.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::error::EmbeddedError;
use super::user::ServerUser;
use super::waiting::with_progress;
use super::{Binaries, Progress};

/// What of the caller's environment the programs need to be found and loaded. All else stays out:
/// `PG*` would change what they do, and secrets would be readable to the server's user.
const KEPT: [&str; 5] = ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "LOCALE_ARCHIVE"];

/// How many of a failed program's last lines are reported.
const LAST_LINES: usize = 12;

/// A program of the server about to be run on a folder.
pub(super) fn command(binaries: &Binaries, user: &ServerUser, program: &str, folder: &Path) -> Command {
    let mut command = Command::new(binaries.program(program));
    command.env_clear();
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    user.apply(&mut command);
    // The folder goes by the environment and not by -D, because pg_ctl pastes -D into a shell line.
    command.env("LC_ALL", "C").env("PGDATA", folder);
    // The caller's directory may be closed to the server's user, and Ctrl-C must not reach it.
    command.current_dir("/").process_group(0);
    command.stdin(Stdio::null());
    command
}

/// Runs a program to its end; what it prints is shown only when it fails.
pub(super) async fn run(
    mut command: Command,
    what: &'static str,
    place: &Path,
    progress: Progress<'_>,
) -> Result<(), EmbeddedError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    // A start that is given up must not leave an initdb behind.
    command.kill_on_drop(true);
    let name = Path::new(&program).file_name().unwrap_or_default().display();
    let doing = format!("Running {name} to {what} in {}", place.display());
    let output = with_progress(command.output(), progress, &doing).await;
    let output = output.map_err(|error| cannot_run(&program, what, place, &error))?;
    if output.status.success() {
        return Ok(());
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(EmbeddedError::Tool {
        program,
        what,
        place: place.to_owned(),
        status: output.status.to_string(),
        output: last_lines(&text),
    })
}

/// The error for a program that did not even begin.
pub(super) fn cannot_run(program: &str, what: &'static str, place: &Path, error: &io::Error) -> EmbeddedError {
    EmbeddedError::Tool {
        program: program.to_owned(),
        what,
        place: place.to_owned(),
        status: "it could not be run".to_owned(),
        output: error.to_string(),
    }
}

/// Makes sure the server's user can get to the data directory and to the binaries, by going there:
/// the mode bits alone would not know of access lists.
pub(super) async fn check_reach(binaries: &Binaries, user: &ServerUser, data_dir: &Path) -> Result<(), EmbeddedError> {
    let mut probe = command(binaries, user, "pg_ctl", data_dir);
    probe.arg("--version").current_dir(data_dir);
    match probe.output().await {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(user
            .blocked(data_dir)
            .or_else(|| user.blocked(&binaries.dir))
            .unwrap_or_else(|| cannot_run("pg_ctl", "enter the folder", data_dir, &error))),
        Err(error) => Err(cannot_run("pg_ctl", "enter the folder", data_dir, &error)),
        Ok(_) => Ok(()),
    }
}

/// Hands a file to a program as both of its outputs.
pub(super) fn write_to(command: &mut Command, file: File) -> io::Result<()> {
    command.stdout(file.try_clone()?).stderr(file);
    Ok(())
}

/// The end of a text, for an error message.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}
