//! `tenure export`: everything that another Tenure needs to go on, as lines of JSON out of one snapshot.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::database::{spinner, with_manager};
use super::output::{document, note};
use super::{Failure, Global};
use crate::import::BackupWriter;
use crate::store::Section;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// A new file, which only its owner can read; without it the export goes to stdout.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Compress it.
    #[arg(long)]
    gzip: bool,
    /// Also what has ended and is still retained.
    #[arg(long)]
    ended: bool,
    /// Also the events.
    #[arg(long)]
    events: bool,
}

pub(super) async fn run(global: &Global, args: ExportArgs) -> Result<(), Failure> {
    if args.output.is_none() && global.json {
        return Err(Failure::Usage("--json reports on stdout, where the export would be: name a file with --output.".to_owned()));
    }
    let out: Box<dyn Write + Send> = match &args.output {
        Some(path) => Box::new(create(path)?),
        // Digests are worth as little on a screen as binary data.
        None if io::stdout().is_terminal() => {
            return Err(Failure::Usage(
                "The export would fill this terminal: name a file with --output, or redirect stdout.".to_owned(),
            ));
        }
        None => Box::new(io::stdout()),
    };
    let done = write(global, &args, out).await;
    let done = match &args.output {
        Some(path) => done.and_then(|counts| kept(path).map(|()| counts)),
        None => done,
    };
    match (&args.output, done) {
        // Half an export is none.
        (Some(path), Err(failure)) => {
            let _ = std::fs::remove_file(path);
            Err(failure)
        }
        (None, Err(failure)) => Err(failure),
        (path, Ok(counts)) => {
            if global.json {
                return document(&json!({ "file": path, "counts": counts }));
            }
            let counts: Vec<String> = counts.iter().map(|(word, lines)| format!("{lines} {word}")).collect();
            note(&format!("Exported {}.", if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") }));
            Ok(())
        }
    }
}

/// A file that was not there (115), and that nobody else may read.
fn create(path: &Path) -> Result<File, Failure> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::Usage(format!("{} exists. It is not overwritten; choose another name.", path.display()))
        }
        _ => Failure::Config(format!("{} cannot be written: {error}.", path.display())),
    })
}

/// Waits until the file and its name outlive a loss of power: whoever is told of an export may drop the database.
fn kept(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for at in [path, folder] {
        File::open(at)
            .and_then(|file| file.sync_all())
            .map_err(|error| Failure::Config(format!("{} cannot be written to its disk: {error}.", at.display())))?;
    }
    Ok(())
}

async fn write(global: &Global, args: &ExportArgs, out: Box<dyn Write + Send>) -> Result<crate::import::Counts, Failure> {
    let mut writer = BackupWriter::begin(BufWriter::with_capacity(1 << 16, out), args.gzip)?;
    with_manager(global, async |manager| {
        let progress = spinner();
        let mut snapshot = manager.store().export_snapshot().await?;
        for section in Section::ALL {
            let wanted = match section {
                Section::Ended => args.ended,
                Section::Events => args.events,
                _ => true,
            };
            if !wanted {
                continue;
            }
            progress.set_message(format!("{} lines", section.word()));
            snapshot.each(section, |line| writer.line(section.word(), line).map_err(Failure::from)).await?;
        }
        progress.finish_and_clear();
        Ok(())
    })
    .await?;
    Ok(writer.finish()?)
}
