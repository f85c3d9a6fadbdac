//! `tenure import tenure`: what `tenure export` wrote. The file is read twice: once to know that it is whole, once to import it.

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::database::{actor, operator, with_manager};
use super::super::{Failure, Global};
use super::report::Report;
use crate::import::{Backup, BackupLine, ReadError, Remark};
use crate::manager::Manager;
use crate::store::{Actor, HistoryTable, ImportSession, ImportWay, LANES};

/// Rows of a batch, each of which is one transaction.
const BATCH: usize = 2000;
/// Most properties: they are judged against each other, so all at once.
const PROPERTIES: usize = 1000;

#[derive(Debug, Args)]
pub(in crate::cli) struct TenureArgs {
    /// The export.
    file: PathBuf,
    /// Say what would be imported, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Write a line of JSON into this new file for each line that was left out.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Missing(text) => Self::Config(text),
            ReadError::Data(text) => Self::Data(text),
            stopped @ ReadError::Stopped => Self::Data(stopped.to_string()),
        }
    }
}

/// Lines of one type that wait to be written.
#[derive(Default)]
struct Waiting {
    users: Vec<Value>,
    properties: Vec<Value>,
    entities: Vec<Value>,
    sessions: [Vec<ImportSession>; LANES],
    ended: Vec<Value>,
    events: Vec<Value>,
}

type Line = (u64, Result<BackupLine, Remark>);

pub(super) async fn run(global: &Global, args: &TenureArgs) -> Result<(), Failure> {
    let operator = operator();
    let actor = actor(&operator);
    let mut report = Report::new(args.report.as_deref())?;
    let path = args.file.clone();
    let backup = blocking(move || Backup::verify(&path)).await??;
    let lines: u64 = backup.counts.values().sum();
    with_manager(global, async |manager| {
        let claim = manager.store().claim_import().await?;
        let done = import(manager, backup, lines, args.dry_run, actor, &mut report).await;
        claim.release().await;
        done?;
        if report.imported() > 0 && !args.dry_run {
            tokio::time::sleep(Manager::FOREIGN_TOKENS_KNOWN_AFTER).await;
        }
        report.finish(global.json, args.dry_run, true)
    })
    .await
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Failure::Store(crate::Error::failed(error)))
}

async fn import(
    manager: &Manager,
    backup: Backup,
    lines: u64,
    rehearse: bool,
    actor: Actor<'_>,
    report: &mut Report,
) -> Result<(), Failure> {
    let progress = ProgressBar::new(lines);
    let (sender, receiver) = mpsc::channel(BATCH);
    let reader =
        blocking(move || backup.each(|number, line| sender.blocking_send((number, line)).map_err(|_| ReadError::Stopped)));
    let (read, written) = tokio::join!(reader, write(receiver, manager, rehearse, actor, report, &progress));
    progress.finish_and_clear();
    // A writer that fails drops the channel, and then the reader fails as well: the cause is the writer's.
    written?;
    read??;
    Ok(())
}

/// Writes what is read, as many lines of one type at once as there are.
async fn write(
    mut lines: mpsc::Receiver<Line>,
    manager: &Manager,
    rehearse: bool,
    actor: Actor<'_>,
    report: &mut Report,
    progress: &ProgressBar,
) -> Result<(), Failure> {
    let mut waiting = Waiting::default();
    let mut last = None;
    while let Some((number, line)) = lines.recv().await {
        report.read(1);
        progress.inc(1);
        let line = match line {
            Ok(line) => line,
            Err(remark) => {
                report.rejected(remark)?;
                continue;
            }
        };
        let kind = std::mem::discriminant(&line);
        if last.replace(kind).is_some_and(|last| last != kind) || waiting.is_full() {
            waiting.write(manager, rehearse, actor, report).await?;
        }
        waiting.take(number, line)?;
    }
    waiting.write(manager, rehearse, actor, report).await
}

impl Waiting {
    fn is_full(&self) -> bool {
        let rows = [&self.users, &self.entities, &self.ended, &self.events];
        rows.iter().any(|rows| rows.len() >= BATCH) || self.sessions.iter().any(|lane| lane.len() >= BATCH)
    }

    fn take(&mut self, number: u64, line: BackupLine) -> Result<(), Failure> {
        let value = |value: Result<Value, serde_json::Error>| value.map_err(|error| Failure::Store(crate::Error::failed(error)));
        match line {
            BackupLine::User {
                name,
                display_name,
                active,
                locked_out,
                roles,
                epoch,
                password_hash,
                homepage_refresh_minutes,
                created_at,
            } => self.users.push(json!({
                "line": number, "name": name, "display_name": display_name, "active": active, "locked_out": locked_out, "roles": roles,
                "epoch": epoch, "password_hash": password_hash, "homepage_refresh_minutes": homepage_refresh_minutes,
                "created_at": created_at,
            })),
            BackupLine::Property { name, value } => {
                if self.properties.len() == PROPERTIES {
                    return Err(Failure::Data("More than 1,000 properties: no export of this store has so many.".to_owned()));
                }
                self.properties.push(json!({ "line": number, "name": name, "value": value }));
            }
            BackupLine::OauthEntity { name, client_id, client_secret_hash, access_token_lifespan, refresh_token_lifespan } => {
                self.entities.push(json!({
                    "line": number, "name": name, "client_id": client_id, "confidential": false, "client_secret_hash": client_secret_hash,
                    "access_token_lifespan": access_token_lifespan, "refresh_token_lifespan": refresh_token_lifespan,
                }));
            }
            BackupLine::Session { user, oauth_entity, session, place, tokens } => {
                let place = value(place.map_or(Ok(json!({})), serde_json::to_value))?;
                let (session, tokens) = (value(serde_json::to_value(session))?, value(serde_json::to_value(tokens))?);
                let session = ImportSession::own(number, user, oauth_entity, session, place, tokens);
                self.sessions[session.lane()].push(session);
            }
            BackupLine::EndedSession { session } => self.ended.push(session.into()),
            BackupLine::Event { event } => self.events.push(event.into()),
        }
        Ok(())
    }

    /// Writes what waits; each list is a transaction of its own.
    async fn write(&mut self, manager: &Manager, rehearse: bool, actor: Actor<'_>, report: &mut Report) -> Result<(), Failure> {
        let waiting = std::mem::take(self);
        let store = manager.store();
        for (what, rows) in
            [("users", &waiting.users), ("properties", &waiting.properties), ("oauth_entities", &waiting.entities)]
        {
            if rows.is_empty() {
                continue;
            }
            let outcomes = match what {
                "users" => store.import_users(rows, rehearse, actor).await?,
                "properties" => store.import_properties(rows, rehearse, actor).await?,
                _ => store.import_entities(rows, rehearse, actor).await?,
            };
            report.outcomes_of(what, outcomes)?;
        }
        let way = ImportWay { source: "tenure", strict_idle: true, rehearse };
        for (lane, batch) in waiting.sessions.iter().enumerate().filter(|(_, batch)| !batch.is_empty()) {
            let mut outcomes = store.import_sessions(lane, batch, way, actor).await?;
            if rehearse {
                // Nobody was created; the file says who would have been.
                let absent = |word: &str| matches!(word, "unknown_user" | "unknown_oauth_entity");
                outcomes
                    .iter_mut()
                    .filter(|outcome| absent(&outcome.word))
                    .for_each(|outcome| outcome.word = "waits_for_its_user".to_owned());
            }
            report.outcomes(outcomes)?;
        }
        for (table, rows) in [(HistoryTable::Ended, &waiting.ended), (HistoryTable::Events, &waiting.events)] {
            if !rows.is_empty() && !rehearse {
                let written = store.import_history(table, rows, actor).await?;
                report.history(written, rows.len() as u64 - written);
            }
        }
        Ok(())
    }
}
