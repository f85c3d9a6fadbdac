//! How every import runs: under the claim, with a bar, stopped by Ctrl-C between two transactions; and how rows of a file are
//! written, which is read twice, so that one that is truncated or damaged changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::database::with_manager;
use super::super::output::note;
use super::super::{Failure, Global};
use super::report::Report;
use crate::error::Error;
use crate::import::{Item, ReadError, Remark, Rows};
use crate::manager::Manager;
use crate::store::{Actor, ImportRow, ImportSession, ImportWay, LANES, Outcome, PropertyWay};

/// Rows of a batch, each of which is one transaction.
const BATCH: usize = 2000;
/// Most properties, which are judged against each other and so written at once: an instance of ServiceNow has tens of thousands.
const PROPERTIES: usize = 100_000;

/// Sessions by the lane they are written in.
pub(super) type Lanes = [Vec<ImportSession>; LANES];

/// Whether somebody pressed Ctrl-C since it began to listen.
pub(super) struct Stop {
    asked: Arc<AtomicBool>,
    listener: JoinHandle<()>,
}

impl Stop {
    fn listen() -> Self {
        let asked = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&asked);
        let listener = tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                note("Stopping after this page. Begin the same import again to go on.");
                heard.store(true, Ordering::Relaxed);
            }
        });
        Self { asked, listener }
    }

    pub(super) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// A bar for so many rows.
pub(super) fn progress(rows: u64) -> ProgressBar {
    let bar = ProgressBar::new(rows);
    match ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len}, {per_sec}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Failure::Store(Error::failed(error)))
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

/// Runs an import as the only one, and prints its report.
pub(super) async fn claimed(
    global: &Global,
    mut report: Report,
    work: impl AsyncFnOnce(&Manager, &Stop, &mut Report) -> Result<(), Failure>,
) -> Result<(), Failure> {
    with_manager(global, async |manager| {
        let claim = manager.store().claim_import().await?;
        let stop = Stop::listen();
        let done = match report.open() {
            Ok(()) => work(manager, &stop, &mut report).await,
            Err(failure) => Err(failure),
        };
        claim.release().await;
        if done.is_ok() && report.ended_sessions() {
            // What a change of limits ends is accepted by no node any more when the change is done (C1).
            manager.barrier().await;
        }
        if report.wrote_sessions() {
            // A node that asked before the first commit goes on believing that there is nothing to find.
            tokio::time::sleep(Manager::FOREIGN_TOKENS_KNOWN_AFTER).await;
        }
        match done {
            Ok(()) => report.finish(global.json, !stop.asked()),
            Err(failure) => {
                report.cut_short(global.json)?;
                Err(failure)
            }
        }
    })
    .await
}

/// What a reader hands on.
pub(super) type Read = Result<Item, Remark>;

/// Runs an import of a file with so many lines or records, which `read` hands on one by one.
pub(super) async fn from_file(
    global: &Global,
    report: Report,
    lines: u64,
    way: ImportWay<'_>,
    properties: PropertyWay,
    actor: Actor<'_>,
    read: impl FnOnce(&mut dyn FnMut(Read) -> Result<(), ReadError>) -> Result<(), ReadError> + Send + 'static,
) -> Result<(), Failure> {
    claimed(global, report, async |manager, stop, report| {
        let bar = progress(lines);
        let (sender, mut receiver) = mpsc::channel(BATCH);
        let reader = blocking(move || read(&mut |item| sender.blocking_send(item).map_err(|_| ReadError::Stopped)));
        let writer = async {
            let (rows, sessions) = (BTreeMap::new(), Default::default());
            let mut waiting = Waiting { manager, way, properties, actor, report, rows, sessions };
            while !stop.asked()
                && let Some(item) = receiver.recv().await
            {
                bar.inc(1);
                waiting.take(item).await?;
            }
            // A reader that waits to hand on more learns that nobody takes it.
            receiver.close();
            while receiver.recv().await.is_some() {}
            waiting.write_all().await
        };
        let (read, written) = tokio::join!(reader, writer);
        bar.finish_and_clear();
        // A writer that fails drops the channel, and then the reader fails as well: the cause is the writer's.
        written?;
        match read? {
            Err(ReadError::Stopped) if stop.asked() => Ok(()),
            read => Ok(read?),
        }
    })
    .await
}

/// Rows that wait until there are enough of them.
struct Waiting<'a> {
    manager: &'a Manager,
    way: ImportWay<'a>,
    properties: PropertyWay,
    actor: Actor<'a>,
    report: &'a mut Report,
    rows: BTreeMap<Rows, Vec<ImportRow>>,
    sessions: Lanes,
}

impl Waiting<'_> {
    async fn take(&mut self, item: Read) -> Result<(), Failure> {
        self.report.read(1);
        match item {
            Ok(Item::Row(kind, row)) => {
                let rows = self.rows.entry(kind).or_default();
                rows.push(row);
                match (kind, rows.len()) {
                    (Rows::Properties, PROPERTIES..) => {
                        let text = "More than 100,000 properties: export those of this store's catalogue only.";
                        return Err(Failure::Data(text.to_owned()));
                    }
                    (Rows::Properties, _) | (_, ..BATCH) => {}
                    _ => self.write(kind).await?,
                }
            }
            Ok(Item::Session(session)) => {
                self.sessions[session.lane()].push(session);
                if self.sessions.iter().any(|lane| lane.len() >= BATCH) {
                    self.write_all().await?;
                }
            }
            Ok(Item::Nothing) => self.report.skipped(),
            Err(remark) => self.report.rejected(remark)?,
        }
        Ok(())
    }

    /// Writes everything that waits: what sessions refer to, and the limits they are judged by, before them.
    async fn write_all(&mut self) -> Result<(), Failure> {
        for kind in [Rows::Users, Rows::Properties, Rows::OauthEntities] {
            self.write(kind).await?;
        }
        let sessions = std::mem::take(&mut self.sessions);
        write_lanes(self.manager, sessions, self.way, self.actor, self.report, "waits_for_its_user").await?;
        for kind in [Rows::Ended, Rows::Events] {
            self.write(kind).await?;
        }
        Ok(())
    }

    async fn write(&mut self, kind: Rows) -> Result<(), Failure> {
        let Some(rows) = self.rows.remove(&kind) else { return Ok(()) };
        let (store, rehearse, actor) = (self.manager.store(), self.way.rehearse, self.actor);
        let (what, outcomes) = match kind {
            Rows::Users => ("users", store.import_users(&rows, rehearse, actor).await?),
            Rows::Properties => ("properties", self.properties(&rows).await?),
            Rows::OauthEntities => ("oauth_entities", store.import_entities(&rows, rehearse, actor).await?),
            Rows::Ended => ("ended_sessions", store.import_ended(&rows, rehearse, actor).await?),
            Rows::Events => ("events", store.import_events(&rows, rehearse, actor).await?),
        };
        self.report.outcomes_of(what, outcomes)
    }

    async fn properties(&mut self, rows: &[ImportRow]) -> Result<Vec<Outcome>, Failure> {
        let imported = self.manager.store().import_properties(rows, &self.properties, self.actor).await;
        let (outcomes, ended) = imported.map_err(|error| {
            // A value that contradicts one here is a fault of the file, not of the command.
            let of_the_file = error.refusal().is_some_and(|refusal| refusal.status == 422);
            let failure = Failure::Store(error);
            if of_the_file { Failure::Data(failure.to_string()) } else { failure }
        })?;
        self.report.ended(ended);
        Ok(outcomes)
    }
}

/// Writes the sessions of every lane at once. A rehearsal creates nobody: what lacks only its user or client application is said to be `absent`.
pub(super) async fn write_lanes(
    manager: &Manager,
    mut lanes: Lanes,
    way: ImportWay<'_>,
    actor: Actor<'_>,
    report: &mut Report,
    absent: &str,
) -> Result<(), Failure> {
    let repeated = take_repeated(&mut lanes);
    let write = async |lane: usize| -> Result<Vec<Outcome>, Error> {
        let batch = &lanes[lane];
        if batch.is_empty() { Ok(Vec::new()) } else { manager.store().import_sessions(lane, batch, way, actor).await }
    };
    let (one, two, three) = tokio::join!(write(0), write(1), write(2));
    // What one lane wrote is said, whatever came of the others.
    let (mut outcomes, mut failed) = (repeated, None);
    for lane in [one, two, three] {
        match lane {
            Ok(written) => outcomes.extend(written),
            Err(error) => failed = Some(error),
        }
    }
    if way.rehearse {
        let lacking = |outcome: &&mut Outcome| matches!(&*outcome.word, "unknown_user" | "unknown_oauth_entity");
        outcomes.iter_mut().filter(lacking).for_each(|outcome| absent.clone_into(&mut outcome.word));
    }
    report.outcomes(outcomes)?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Takes out all but the first session of each token: a source may name it twice, with two users, and lanes do not see each other.
fn take_repeated(lanes: &mut Lanes) -> Vec<Outcome> {
    let mut first: HashMap<String, u64> = HashMap::new();
    for session in lanes.iter().flatten() {
        let line = first.entry(session.token().to_owned()).or_insert(session.line());
        *line = session.line().min(*line);
    }
    let repeated = |session: &mut ImportSession| first[session.token()] != session.line();
    let taken = lanes.iter_mut().flat_map(|lane| lane.extract_if(.., repeated));
    taken.map(|session| Outcome { line: session.line(), word: "duplicate".to_owned(), rule: None }).collect()
}
