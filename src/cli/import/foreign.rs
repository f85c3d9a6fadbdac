//! How the session table of another application is imported: while one page is written, the next is read, decoded, and its users are made.

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

/// A page that is ready to be written, and what is to be said of its rows.
#[derive(Default)]
struct Prepared {
    rows: u64,
    lanes: Lanes,
    guests: u64,
    users_made: u64,
    partly: Vec<Remark>,
    rejected: Vec<Remark>,
    inactive: Vec<Outcome>,
}

impl Prepared {
    /// Reports the rows that are not to be written.
    fn tell(&mut self, report: &mut Report) -> Result<(), Failure> {
        report.guests(self.guests);
        self.partly.drain(..).try_for_each(|remark| report.partly(remark))?;
        self.rejected.drain(..).try_for_each(|remark| report.rejected(remark))?;
        report.outcomes(std::mem::take(&mut self.inactive))
    }
}

/// Where the reading stands.
struct Source<'a> {
    foreign: &'a mut ForeignDatabase,
    /// The number of the next row.
    line: u64,
    /// Names of users that were made, or found, on earlier pages.
    known: HashSet<String>,
}

impl Import<'_> {
    /// Every page, until somebody stops it between two.
    pub(super) async fn all(
        &self,
        manager: &Manager,
        foreign: &mut ForeignDatabase,
        stop: &Stop,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let bar = progress(foreign.count().await?);
        let mut source = Source { foreign, line: 1, known: HashSet::new() };
        let mut next = self.prepare(manager, &mut source).await;
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
            let (after, written) = tokio::join!(self.prepare(manager, &mut source), write);
            next = after;
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

    /// The next page, and whether it was got ready; what was found before something failed is in it.
    async fn prepare(&self, manager: &Manager, source: &mut Source<'_>) -> (Prepared, Result<(), Failure>) {
        let mut page = Prepared::default();
        let prepared = self.fill(&mut page, manager, source).await;
        (page, prepared)
    }

    /// Reads a page, and sorts it into lanes; without rows at the end.
    async fn fill(&self, page: &mut Prepared, manager: &Manager, source: &mut Source<'_>) -> Result<(), Failure> {
        let rows = source.foreign.page().await?;
        let first = source.line;
        page.rows = rows.len() as u64;
        source.line += page.rows;
        let (format, options) = (self.format, Arc::clone(&self.options));
        let decoded = blocking(move || decode_all(first, rows, format, &options)).await?;
        let mut taken = Vec::with_capacity(decoded.len());
        for row in decoded {
            match row {
                Ok((line, mut row)) => {
                    page.partly.extend(row.remark.take());
                    taken.push((line, row));
                }
                Err(remark) => page.rejected.push(remark),
            }
        }
        let known = self.users(source.foreign, &taken).await?;
        let mut users = BTreeMap::new();
        let mut sessions = Vec::with_capacity(taken.len());
        for (line, decoded) in taken {
            let user = match &decoded.owner {
                Owner::Guest => {
                    page.guests += 1;
                    None
                }
                Owner::Name(name) => Some(ForeignUser { name: name.clone(), active: true }),
                Owner::Id(id) => {
                    let Some(user) = known.get(id) else {
                        page.rejected.push(Remark::new(line, "user", "The source has no user of its number any more."));
                        continue;
                    };
                    Some(user.clone())
                }
            };
            if let (true, Some(user)) = (self.args.create_users, &user)
                && !source.known.contains(&user.name)
            {
                users.insert(user.name.clone(), user.active);
            }
            // Nobody is let in again whom the source no longer lets in, whatever is known of them here.
            if user.as_ref().is_some_and(|user| !user.active) {
                page.inactive.push(Outcome { line, word: "user_inactive".to_owned(), rule: None });
                continue;
            }
            sessions.push((line, decoded, user.map(|user| user.name)));
        }
        let (lanes, unwritten) = blocking(move || in_lanes(sessions)).await?;
        page.lanes = lanes;
        page.rejected.extend(unwritten);
        page.users_made = self.make(manager, users, source).await?;
        Ok(())
    }

    /// Makes the users that nobody has seen yet; how many were missing.
    async fn make(&self, manager: &Manager, users: BTreeMap<String, bool>, source: &mut Source<'_>) -> Result<u64, Failure> {
        if users.is_empty() {
            return Ok(0);
        }
        let row = |(line, (name, active))| ImportRow::new(line, &json!({ "name": name, "active": active, "locked_out": false }));
        let rows: Vec<_> = (1..).zip(&users).map(row).collect::<Result<_, _>>().map_err(Error::failed)?;
        let outcomes = manager.store().import_users(&rows, self.way.rehearse, self.actor).await?;
        if source.known.len() + users.len() > KNOWN {
            source.known.clear();
        }
        // A rehearsal makes nobody, and says of each once that it would.
        source.known.extend(users.into_keys());
        Ok(outcomes.iter().filter(|outcome| outcome.word == "imported").count() as u64)
    }

    /// Users whom the source knows by number.
    async fn users(&self, foreign: &mut ForeignDatabase, taken: &[(u64, Decoded)]) -> Result<HashMap<i64, ForeignUser>, Failure> {
        let id = |(_, decoded): &(u64, Decoded)| if let Owner::Id(id) = decoded.owner { Some(id) } else { None };
        let ids: BTreeSet<i64> = taken.iter().filter_map(id).collect();
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
