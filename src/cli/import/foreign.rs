//! How the session table of another application is imported: while one page is written, the users of the next are made, and the one
//! after it is read and decoded.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde_json::json;

use super::super::Failure;
use super::ForeignArgs;
use super::flow::{Lanes, Stop, blocking, progress, write_lanes};
use super::report::Report;
use crate::error::Error;
use crate::import::{DecodeOptions, Decoded, Owner, Remark, decode};
use crate::manager::Manager;
use crate::store::{
    Actor, ForeignDatabase, ForeignFormat, ForeignRow, ForeignUser, ImportRow, ImportSession, ImportWay, Outcome,
};

/// Most users that are remembered as made, so that not every page asks for them again.
const KNOWN: usize = 100_000;

/// Everything that one import needs to know.
pub(super) struct Import<'a> {
    pub(super) args: &'a ForeignArgs,
    pub(super) format: ForeignFormat,
    pub(super) options: Arc<DecodeOptions>,
    pub(super) users_table: Option<String>,
    pub(super) way: ImportWay<'static>,
    pub(super) actor: Actor<'a>,
}

/// A page as it was read.
struct Page {
    rows: u64,
    decoded: Vec<(u64, Decoded)>,
    rejected: Vec<Remark>,
    /// Users whom the source knows by number, as far as it could be asked.
    users: Result<HashMap<i64, ForeignUser>, Failure>,
}

/// A page that is ready to be written, and what is to be said of its rows.
#[derive(Default)]
struct Prepared {
    rows: u64,
    lanes: Lanes,
    guests: u64,
    users_made: u64,
    partly: Vec<Remark>,
    rejected: Vec<Remark>,
    unwritten: Vec<Outcome>,
}

impl Prepared {
    /// Reports the rows that are not to be written.
    fn tell(&mut self, report: &mut Report) -> Result<(), Failure> {
        report.guests(self.guests);
        self.partly.drain(..).try_for_each(|remark| report.partly(remark))?;
        self.rejected.drain(..).try_for_each(|remark| report.rejected(remark))?;
        report.outcomes(std::mem::take(&mut self.unwritten))
    }
}

/// Where the reading stands.
struct Source<'a> {
    foreign: &'a mut ForeignDatabase,
    /// The number of the next row.
    line: u64,
    /// The page that comes next, fetched while the one before was decoded.
    ahead: Option<Result<Vec<ForeignRow>, Error>>,
}

/// What is known of this store.
struct Target<'a> {
    manager: &'a Manager,
    /// Names of users that were made, or found, on earlier pages.
    users: HashSet<String>,
    /// Whether some of the page before was here already.
    repeats: bool,
}

impl Import<'_> {
    /// Every page, until somebody stops it between two. While one is written, the next is got ready, and the one after it read.
    pub(super) async fn all(
        &self,
        manager: &Manager,
        foreign: &mut ForeignDatabase,
        stop: &Stop,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let bar = progress(foreign.count().await?);
        let mut source = Source { foreign, line: 1, ahead: None };
        let mut target = Target { manager, users: HashSet::new(), repeats: true };
        let first = self.read(&mut source).await;
        let (mut next, mut read) = tokio::join!(self.prepare(&mut target, first), self.read(&mut source));
        loop {
            let (mut page, prepared) = next;
            // They are made, whether the page is written or not.
            report.users(page.users_made);
            if stop.asked() && prepared.is_ok() {
                break;
            }
            page.tell(report)?;
            prepared?;
            if page.rows == 0 {
                break;
            }
            // Who is to be created is there by then.
            let absent = if self.args.create_users { "imported" } else { "unknown_user" };
            let write = write_lanes(manager, page.lanes, self.way, self.actor, report, absent);
            let (after, ahead, written) = tokio::join!(self.prepare(&mut target, read), self.read(&mut source), write);
            (next, read) = (after, ahead);
            if let Err(failure) = written {
                report.users(next.0.users_made);
                return Err(failure);
            }
            report.read(page.rows);
            bar.inc(page.rows);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Reads the next page; without rows at the end.
    async fn read(&self, source: &mut Source<'_>) -> Result<Page, Failure> {
        let rows = match source.ahead.take() {
            Some(rows) => rows?,
            None => source.foreign.page().await?,
        };
        let (first, count) = (source.line, rows.len() as u64);
        source.line += count;
        let (format, options) = (self.format, Arc::clone(&self.options));
        let decoding = blocking(move || decode_all(first, rows, format, &options));
        let (all, ahead) = tokio::join!(decoding, source.foreign.page());
        source.ahead = Some(ahead);
        let (mut decoded, mut rejected) = (Vec::new(), Vec::new());
        for row in all? {
            match row {
                Ok(row) => decoded.push(row),
                Err(remark) => rejected.push(remark),
            }
        }
        let users = self.users(source.foreign, &decoded).await;
        Ok(Page { rows: count, decoded, rejected, users })
    }

    /// Gets a page ready, and says whether that was possible; what was found before something failed is in it.
    async fn prepare(&self, target: &mut Target<'_>, page: Result<Page, Failure>) -> (Prepared, Result<(), Failure>) {
        let mut prepared = Prepared::default();
        let done = match page {
            Ok(page) => self.fill(&mut prepared, target, page).await,
            Err(failure) => Err(failure),
        };
        (prepared, done)
    }

    /// Sorts a page into lanes.
    async fn fill(&self, prepared: &mut Prepared, target: &mut Target<'_>, mut page: Page) -> Result<(), Failure> {
        prepared.rows = page.rows;
        prepared.rejected = page.rejected;
        prepared.partly.extend(page.decoded.iter_mut().filter_map(|(_, row)| row.remark.take()));
        let known = page.users?;
        let mut users = BTreeMap::new();
        let mut sessions = Vec::with_capacity(page.decoded.len());
        for (line, decoded) in page.decoded {
            let user = match &decoded.owner {
                Owner::Guest => {
                    prepared.guests += 1;
                    None
                }
                Owner::Name(name) => Some(ForeignUser { name: name.clone(), active: true }),
                Owner::Id(id) => {
                    let Some(user) = known.get(id) else {
                        prepared.rejected.push(Remark::new(line, "user", "The source has no user of its number any more."));
                        continue;
                    };
                    Some(user.clone())
                }
            };
            if let (true, Some(user)) = (self.args.create_users, &user)
                && !target.users.contains(&user.name)
            {
                users.insert(user.name.clone(), user.active);
            }
            // Nobody is let in again whom the source no longer lets in, whatever is known of them here.
            if user.as_ref().is_some_and(|user| !user.active) {
                prepared.unwritten.push(Outcome { line, word: "user_inactive".to_owned(), rule: None });
                continue;
            }
            sessions.push((line, decoded, user.map(|user| user.name)));
        }
        // An import that was cut off finds its beginning here, which need not be sent and judged again.
        if target.repeats {
            let tokens: Vec<_> = sessions.iter().map(|(_, decoded, _)| &decoded.token).collect();
            let present = target.manager.store().foreign_present(&tokens).await?;
            target.repeats = !present.is_empty();
            let mut said = HashSet::new();
            let here = sessions.extract_if(.., |(_, decoded, _)| present.contains(decoded.token.hash().as_bytes().as_slice()));
            prepared.unwritten.extend(here.map(|(line, decoded, _)| {
                let word = if said.insert(decoded.token.hash().as_bytes().to_vec()) { "present" } else { "duplicate" };
                Outcome { line, word: word.to_owned(), rule: None }
            }));
        }
        let (lanes, rejected) = blocking(move || in_lanes(sessions)).await?;
        prepared.lanes = lanes;
        prepared.rejected.extend(rejected);
        prepared.users_made = self.make(target, users).await?;
        Ok(())
    }

    /// Makes the users that nobody has seen yet; how many were missing.
    async fn make(&self, target: &mut Target<'_>, users: BTreeMap<String, bool>) -> Result<u64, Failure> {
        if users.is_empty() {
            return Ok(0);
        }
        let row = |(line, (name, active))| ImportRow::new(line, &json!({ "name": name, "active": active, "locked_out": false }));
        let rows: Vec<_> = (1..).zip(&users).map(row).collect::<Result<_, _>>().map_err(Error::failed)?;
        let outcomes = target.manager.store().import_users(&rows, self.way.rehearse, self.actor).await?;
        if target.users.len() + users.len() > KNOWN {
            target.users.clear();
        }
        // A rehearsal makes nobody, and says of each once that it would.
        target.users.extend(users.into_keys());
        Ok(outcomes.iter().filter(|outcome| outcome.word == "imported").count() as u64)
    }

    /// Users whom the source knows by number.
    async fn users(
        &self,
        foreign: &mut ForeignDatabase,
        decoded: &[(u64, Decoded)],
    ) -> Result<HashMap<i64, ForeignUser>, Failure> {
        let id = |(_, decoded): &(u64, Decoded)| if let Owner::Id(id) = decoded.owner { Some(id) } else { None };
        let ids: BTreeSet<i64> = decoded.iter().filter_map(id).collect();
        let Some(table) = self.users_table.as_ref().filter(|_| !ids.is_empty()) else { return Ok(HashMap::new()) };
        let users = foreign.users(table, &ids.into_iter().collect::<Vec<_>>()).await?;
        // A name that cannot be one here is as good as none: its sessions are left out, by line.
        let named = |(id, user): (i64, ForeignUser)| {
            Some((id, ForeignUser { name: crate::input::user_name(&user.name).ok()?, active: user.active }))
        };
        Ok(users.into_iter().filter_map(named).collect())
    }
}

fn decode_all(
    first: u64,
    rows: Vec<ForeignRow>,
    format: ForeignFormat,
    options: &DecodeOptions,
) -> Vec<Result<(u64, Decoded), Remark>> {
    (first..).zip(rows).map(|(line, row)| Ok((line, decode(line, row, format, options)?))).collect()
}

/// Sessions as they are sent, each in its lane, and those that cannot be.
fn in_lanes(sessions: Vec<(u64, Decoded, Option<String>)>) -> (Lanes, Vec<Remark>) {
    let (mut lanes, mut unwritten) = (Lanes::default(), Vec::new());
    for (line, decoded, user) in sessions {
        match ImportSession::foreign(line, &decoded.token, user, &decoded.facts) {
            Ok(session) => lanes[session.lane()].push(session),
            Err(error) => unwritten.push(Remark::unwritten(line, &error)),
        }
    }
    (lanes, unwritten)
}
