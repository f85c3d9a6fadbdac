//! `tenure import ...`: moving in. What is there already is skipped, so an import that was stopped is begun again as it was.

mod flow;
mod report;
mod servicenow;
mod source;
mod tenure;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::database::{actor, operator};
use super::{Failure, Global};
use crate::error::Error;
use crate::import::{DecodeOptions, Decoded, Owner, Remark, decode};
use crate::input::expect_parameters;
use crate::manager::Manager;
use crate::store::{
    Actor, ConnectSettings, ForeignDatabase, ForeignFormat, ForeignRow, ForeignUser, ImportRow, ImportSession, ImportWay, LANES,
    Outcome, PropertyWay,
};
use flow::{Stop, claimed, progress, write_lanes};
use report::Report;
use source::secret;

#[derive(Debug, Subcommand)]
pub(super) enum ImportCommand {
    /// Sessions of connect-pg-simple (Express), table `session`.
    Connect {
        #[command(flatten)]
        args: ForeignArgs,
        /// Where the secret is that signs the cookies, as env:NAME or a file: then the cookie itself is the token. Without it the bare
        /// session id is, and the application must verify the signature before it asks.
        #[arg(long, value_name = "SOURCE")]
        cookie_secret: Option<String>,
    },
    /// Sessions of Django, table `django_session`; their users are found in `auth_user`.
    Django {
        #[command(flatten)]
        args: ForeignArgs,
        /// The table that has `id`, `username` and `is_active` of users.
        #[arg(long, value_name = "SCHEMA.TABLE", default_value = "public.auth_user")]
        users_table: String,
    },
    /// Sessions of tower-sessions' `PostgresStore`, table `tower_sessions.session`.
    TowerSessions {
        #[command(flatten)]
        args: ForeignArgs,
    },
    /// Sessions of Spring Session JDBC, table `spring_session`; their attributes, serialised Java objects, stay behind.
    Spring {
        #[command(flatten)]
        args: ForeignArgs,
    },
    /// A file that ServiceNow exported: users, properties or OAuth entities, as XML, CSV or JSON.
    Servicenow(servicenow::ServicenowArgs),
    /// An export of this store: users, properties, client applications, sessions, and history if it holds any.
    Tenure(tenure::TenureArgs),
}

/// Options of every import of sessions.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that stands by itself")]
pub(super) struct ForeignArgs {
    /// Where the other database's URL is: env:NAME, or a file that only its owner can read.
    source: String,
    /// The table, when it has another name.
    #[arg(long, value_name = "SCHEMA.TABLE")]
    table: Option<String>,
    /// Where in a session's data the user's name is, such as passport.user; a session without one is a guest's.
    #[arg(long, value_name = "NAME.NAME")]
    user_path: Option<String>,
    /// The time zone that instants without one were written in: what `show timezone` answers the application. Required for a table
    /// that has such instants, as connect's has.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Create users that are missing, instead of leaving their sessions out.
    #[arg(long)]
    create_users: bool,
    /// The source does not tell users apart by case: ADMIN there is admin here.
    #[arg(long)]
    ignore_case: bool,
    /// Leave out what has been idle for too long, instead of counting the import as its activity.
    #[arg(long)]
    strict_idle: bool,
    /// Say what would be imported, and write nothing. Sessions of users who are yet to be created are not judged.
    #[arg(long)]
    dry_run: bool,
    /// Write a line of JSON into this file for each row that was left out or taken in part. The report of an earlier run goes on.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What the properties of a file may do to the live sessions here.
#[derive(Debug, Args)]
pub(super) struct PropertyArgs {
    /// Accept properties that end more than 10,000 live sessions at once, and a maximum life not above its idle limit.
    #[arg(long)]
    force: bool,
    /// How many live sessions the properties end, as the dry run said; with another number none is set.
    #[arg(long, value_name = "N")]
    expect_count: Option<String>,
}

impl PropertyArgs {
    fn way(&self, rehearse: bool) -> Result<PropertyWay, Failure> {
        let expect = expect_parameters("expect-count", self.expect_count.as_deref(), "expect-basis", None)?;
        Ok(PropertyWay { rehearse, force_relations: self.force, force_endings: self.force, expect })
    }
}

/// Everything that one import needs to know.
struct Import<'a> {
    args: &'a ForeignArgs,
    format: ForeignFormat,
    options: DecodeOptions,
    users_table: Option<String>,
    way: ImportWay<'static>,
    actor: Actor<'a>,
}

pub(super) async fn run(global: &Global, command: ImportCommand) -> Result<(), Failure> {
    let operator = operator();
    let (format, source, args, users_table, cookie_secret) = match &command {
        ImportCommand::Connect { args, cookie_secret } => {
            (ForeignFormat::Connect, "connect", args, None, cookie_secret.as_deref())
        }
        ImportCommand::Django { args, users_table } => (ForeignFormat::Django, "django", args, Some(users_table.clone()), None),
        ImportCommand::TowerSessions { args } => (ForeignFormat::Tower, "tower-sessions", args, None, None),
        ImportCommand::Servicenow(args) => return servicenow::run(global, args).await,
        ImportCommand::Tenure(args) => return tenure::run(global, args).await,
        ImportCommand::Spring { args } => (ForeignFormat::Spring, "spring", args, None, None),
    };
    let user_path: Vec<String> = args.user_path.iter().flat_map(|path| path.split('.')).map(str::to_owned).collect();
    // Without it everybody would become a guest, and nothing would say so.
    if user_path.is_empty() && matches!(format, ForeignFormat::Connect | ForeignFormat::Tower) {
        return Err(Failure::Usage(
            "Say with --user-path where in a session the user's name is, such as passport.user.".to_owned(),
        ));
    }
    if user_path.iter().any(String::is_empty) {
        return Err(Failure::Usage("--user-path is names with a dot between them, such as passport.user.".to_owned()));
    }
    let cookie_secret = cookie_secret.map(secret).transpose()?.map(String::into_bytes);
    let import = Import {
        args,
        format,
        options: DecodeOptions { user_path, cookie_secret },
        users_table,
        way: ImportWay { source, strict_idle: args.strict_idle, ignore_case: args.ignore_case, rehearse: args.dry_run },
        actor: actor(&operator),
    };
    let settings = ConnectSettings {
        url: secret(&args.source)?,
        connections: 2,
        node: None,
        allow_plaintext: global.allow_plaintext_database,
        // Nothing is written there.
        allow_lossy: true,
    };
    let report = Report::new(args.report.as_deref(), args.dry_run);
    claimed(global, report, async |manager, stop, report| {
        let mut foreign = ForeignDatabase::connect(&settings, format, args.table.as_deref(), args.time_zone.as_deref()).await?;
        import.all(manager, &mut foreign, stop, report).await
    })
    .await
}

impl Import<'_> {
    /// Every page, until somebody stops it between two: while one is written the next is read.
    async fn all(
        &self,
        manager: &Manager,
        foreign: &mut ForeignDatabase,
        stop: &Stop,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let bar = progress(foreign.count().await?);
        let mut first = 1;
        let mut page = foreign.page().await?;
        while !page.is_empty() && !stop.asked() {
            let rows = page.len() as u64;
            let lanes = self.prepare(manager, foreign, report, first, page).await?;
            // Who is to be created is there by then.
            let absent = if self.args.create_users { "imported" } else { "unknown_user" };
            let (next, written) = tokio::join!(foreign.page(), write_lanes(manager, lanes, self.way, self.actor, report, absent));
            written?;
            first += rows;
            report.read(rows);
            bar.inc(rows);
            page = next?;
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Reads a page, and sorts it into lanes.
    async fn prepare(
        &self,
        manager: &Manager,
        foreign: &mut ForeignDatabase,
        report: &mut Report,
        first: u64,
        page: Vec<ForeignRow>,
    ) -> Result<[Vec<ImportSession>; LANES], Failure> {
        let mut taken: Vec<(u64, Decoded)> = Vec::with_capacity(page.len());
        for (line, row) in (first..).zip(page) {
            match decode(line, row, self.format, &self.options) {
                Ok(mut decoded) => {
                    if let Some(remark) = decoded.remark.take() {
                        report.partly(remark)?;
                    }
                    taken.push((line, decoded));
                }
                Err(remark) => report.rejected(remark)?,
            }
        }
        let known = self.users(foreign, &taken).await?;
        let mut batches = [const { Vec::new() }; LANES];
        let mut users = BTreeMap::new();
        let mut inactive = Vec::new();
        for (line, decoded) in taken {
            let user = match decoded.owner {
                Owner::Guest => {
                    report.guest();
                    None
                }
                Owner::Name(name) => Some(ForeignUser { name, active: true }),
                Owner::Id(id) => {
                    let Some(user) = known.get(&id) else {
                        report.rejected(Remark::new(line, "user", "The source has no user of its number any more."))?;
                        continue;
                    };
                    Some(user.clone())
                }
            };
            if let (true, Some(user)) = (self.args.create_users, &user) {
                users.insert(user.name.clone(), user.active);
            }
            // Nobody is let in again whom the source no longer lets in, whatever is known of them here.
            if user.as_ref().is_some_and(|user| !user.active) {
                inactive.push(Outcome { line, word: "user_inactive".to_owned(), rule: None });
                continue;
            }
            let user = user.map(|user| user.name);
            match ImportSession::foreign(line, &decoded.token, user, &decoded.facts) {
                Ok(session) => batches[session.lane()].push(session),
                Err(error) => report.rejected(Remark::unwritten(line, &error))?,
            }
        }
        if !users.is_empty() {
            let row =
                |(line, (name, active))| ImportRow::new(line, &json!({ "name": name, "active": active, "locked_out": false }));
            let rows: Vec<_> = (first..).zip(&users).map(row).collect::<Result<_, _>>().map_err(Error::failed)?;
            let outcomes = manager.store().import_users(&rows, self.way.rehearse, self.actor).await?;
            report.users(outcomes.iter().filter(|outcome| outcome.word == "imported").count() as u64);
        }
        report.outcomes(inactive)?;
        Ok(batches)
    }

    /// Users whom the source knows by number.
    async fn users(&self, foreign: &mut ForeignDatabase, taken: &[(u64, Decoded)]) -> Result<HashMap<i64, ForeignUser>, Failure> {
        let ids: BTreeSet<i64> = taken
            .iter()
            .filter_map(|(_, decoded)| match decoded.owner {
                Owner::Id(id) => Some(id),
                _ => None,
            })
            .collect();
        let Some(table) = self.users_table.as_ref().filter(|_| !ids.is_empty()) else { return Ok(HashMap::new()) };
        let users = foreign.users(table, &ids.into_iter().collect::<Vec<_>>()).await?;
        // A name that cannot be one here is as good as none: its sessions are left out, by line.
        let named = |(id, user): (i64, ForeignUser)| {
            Some((id, ForeignUser { name: crate::input::user_name(&user.name).ok()?, active: user.active }))
        };
        Ok(users.into_iter().filter_map(named).collect())
    }
}
