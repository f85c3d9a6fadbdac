//! The examination of a database: what stands in the way of the store's promises, with the number found and what to do.
//!
//! It reads and changes nothing, and must describe exactly the servers that a node refuses: so it connects lazily, and a question
//! that fails becomes a finding instead of an error.

mod bloat;
mod clock;
mod expected;
mod functions;
mod grants;
mod indexes;
mod nodes;
mod partitions;
mod policies;
mod schema;
mod server;

use serde::Serialize;
use sqlx::pool::PoolConnection;
use sqlx::{Connection, PgConnection, Postgres};

use super::Store;
use super::connect::{ConnectError, ConnectSettings};

/// How much a finding matters; the greater the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing has to be done.
    Note,
    /// Something will go wrong, or goes slower or later than it should.
    Warning,
    /// A promise of the store does not hold, or nodes refuse to work here.
    Problem,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Stable word, for instance `fsync_off`.
    pub code: &'static str,
    /// One sentence with the number found.
    pub message: String,
    /// The statement or setting that mends it, or where to look; empty when nothing has to be done.
    pub advice: String,
}

impl Finding {
    fn note(code: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity: Severity::Note, code, message: message.into(), advice: advice.into() }
    }

    fn warning(code: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::note(code, message, advice) }
    }

    fn problem(code: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, ..Self::note(code, message, advice) }
    }

    /// A question that was not answered; `what` stands within a sentence.
    fn unanswered(what: &str, allowed: &str, error: &sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default();
        let said = error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
        match &*code {
            // A prepared statement that is there already, or not any more: it was made on another server process.
            "42P05" | "26000" => Self::problem(
                "transaction_pooler",
                format!("The URL leads to a pooler in transaction mode without support for prepared statements: {said}."),
                "Give nodes and `tenure migrate` a URL of the server itself, or of a pooler in session mode.",
            ),
            "42501" => Self::note(
                "not_visible",
                format!("This role may not see {what}: {said}."),
                "Run doctor as the owner of schema tenure to have it examined.",
            ),
            _ if was_too_slow(error) => Self::warning(
                TOO_SLOW,
                format!("Looking at {what} took longer than the time allowed ({allowed})."),
                "Look for locks (pg_blocking_pids) and for load, and run doctor again.",
            ),
            // A table, column, function or schema that is not there.
            "42P01" | "42703" | "42883" | "3F000" => Self::warning(
                "not_examined",
                format!("Nothing could be found out about {what}: {said}."),
                "Bring the schema up to date with `tenure migrate`; if it is, an object was dropped: restore it from a backup.",
            ),
            _ => Self::problem(
                "examination_failed",
                format!("Looking at {what} failed: {said}."),
                "Look into PostgreSQL's log, and run doctor again.",
            ),
        }
    }
}

/// What was found in one area.
#[derive(Debug, Clone, Serialize)]
pub struct Area {
    /// `server`, `schema`, `indexes`, `clock`, `bloat`, `grants`, `nodes` or `policies`.
    pub area: &'static str,
    /// The worst of its findings; `ok` without any.
    pub severity: Severity,
    /// What was looked at, in one line.
    pub summary: String,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
}

impl Area {
    /// Whether anything could be said about it.
    pub fn was_examined(&self) -> bool {
        !self.findings.is_empty() || !self.summary.starts_with(NOT_EXAMINED)
    }

    fn new(area: &'static str) -> Self {
        Self { area, severity: Severity::Ok, summary: String::new(), findings: Vec::new() }
    }

    /// Adds the answer to one question: what was found, and a part of the summary.
    fn take(&mut self, answer: Answer) {
        if !answer.seen.is_empty() {
            if !self.summary.is_empty() {
                self.summary.push_str(", ");
            }
            self.summary.push_str(&answer.seen);
        }
        self.findings.extend(answer.found);
        self.judge();
    }

    fn judge(&mut self) {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        self.severity = self.findings.first().map_or(Severity::Ok, |finding| finding.severity);
    }
}

/// The answer to one question.
#[derive(Debug, Default)]
struct Answer {
    /// What was looked at, a few words; empty when there is nothing to say.
    seen: String,
    /// What was found.
    found: Vec<Finding>,
}

/// How the summary of an area begins about which nothing can be said.
const NOT_EXAMINED: &str = "not examined";

/// The whole examination.
#[derive(Debug, Clone, Serialize)]
pub struct Examination {
    /// The worst of all findings.
    pub severity: Severity,
    /// Questions without an answer: above 0, not everything was looked at.
    pub unanswered: usize,
    /// Every area, always in the same order.
    pub areas: Vec<Area>,
}

impl Examination {
    /// Whether a question was given up because its answer took too long.
    pub fn ran_out_of_time(&self) -> bool {
        self.areas.iter().flat_map(|area| &area.findings).any(|finding| finding.code == TOO_SLOW)
    }
}

/// What the examination has to be told.
pub struct ExamineSettings<'a> {
    /// How to reach the database; the address and encryption are judged as ever, the server is not.
    pub connect: &'a ConnectSettings,
    /// Connections of each node (`--connections`).
    pub node_connections: u32,
    /// This machine's wall clock, microseconds since 1970.
    pub wall: &'a (dyn Fn() -> i64 + Sync),
}

/// Examines a database. An error means that there was nobody to ask.
pub async fn examine(settings: &ExamineSettings<'_>) -> Result<Examination, ConnectError> {
    let store = Store::connect_lazily(&ConnectSettings { node: None, connections: 2, ..settings.connect.clone() })?;
    // All questions but one go over one connection: a pooler shows itself by what a connection forgets.
    let connection = store.pool.acquire().await.map_err(|error| store.refused(&error))?;
    let mut asker = Asker { store: &store, connection, hurried: None, unanswered: 0 };
    let areas = ask_everything(settings, &store, &mut asker).await;
    let unanswered = asker.unanswered;
    drop(asker);
    store.close().await;
    let severity = areas.iter().map(|area| area.severity).max().unwrap_or(Severity::Ok);
    Ok(Examination { severity, unanswered, areas })
}

/// Asks one question after the other.
struct Asker<'a> {
    store: &'a Store,
    connection: PoolConnection<Postgres>,
    /// For what is left once a question took too long: a lock or a load that stopped one stops others.
    hurried: Option<PgConnection>,
    /// Questions without an answer.
    unanswered: usize,
}

impl Asker<'_> {
    async fn ask(
        &mut self,
        area: &mut Area,
        what: &str,
        question: impl AsyncFnOnce(&mut PgConnection) -> Result<Answer, sqlx::Error>,
    ) {
        let allowed = if self.hurried.is_some() { "0.5 s" } else { "5 s" };
        let answer = match question(self.connection()).await {
            Ok(answer) => answer,
            Err(error) => {
                self.unanswered += 1;
                if was_too_slow(&error) && self.hurried.is_none() {
                    self.hurry().await;
                }
                Answer { seen: String::new(), found: vec![Finding::unanswered(what, allowed, &error)] }
            }
        };
        area.take(answer);
    }

    fn connection(&mut self) -> &mut PgConnection {
        self.hurried.as_mut().unwrap_or(&mut self.connection)
    }

    /// A connection of its own, because behind a pooler a setting made now would stay with whoever comes next.
    async fn hurry(&mut self) {
        let options = (*self.store.pool.connect_options()).clone().options([("statement_timeout", HURRIED)]);
        self.hurried = PgConnection::connect_with(&options).await.ok();
    }
}

/// Milliseconds for each question after one that took the time of an ordinary statement.
const HURRIED: &str = "500";

/// The code of a question that was given up.
const TOO_SLOW: &str = "too_slow";

fn was_too_slow(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some("57014")
}

async fn ask_everything(settings: &ExamineSettings<'_>, store: &Store, asker: &mut Asker<'_>) -> Vec<Area> {
    let mut server = Area::new("server");
    asker.ask(&mut server, "the settings of the server", async |c| server::settings(c, settings.connect.allow_lossy).await).await;
    asker.ask(&mut server, "the number of connections", async |c| server::connections(c, settings.node_connections).await).await;
    asker.ask(&mut server, "isolation levels", server::isolation).await;
    asker.ask(&mut server, "replication", server::replication).await;
    asker.ask(&mut server, "prepared transactions", server::prepared).await;
    asker.ask(&mut server, "the way to the server", async |c| server::pooler(c, &store.pool).await).await;

    let mut schema = Area::new("schema");
    asker.ask(&mut schema, "the history of migrations", schema::history).await;
    let present = schema::present(asker.connection()).await;
    let mut areas = vec![server];
    if let Ok(true) = present {
        asker.ask(&mut schema, "partitions", partitions::coming).await;
        asker.ask(&mut schema, "default partitions", partitions::default_partitions).await;
        asker.ask(&mut schema, "months past retention", partitions::retention).await;
        asker.ask(&mut schema, "functions", functions::compared).await;
        asker.ask(&mut schema, "triggers", schema::triggers).await;
        asker.ask(&mut schema, "constraints", schema::constraints).await;

        let mut indexes = Area::new("indexes");
        asker.ask(&mut indexes, "indexes", indexes::expected_indexes).await;
        asker.ask(&mut indexes, "further indexes", indexes::further).await;

        let mut clock = Area::new("clock");
        asker.ask(&mut clock, "the body of tenure.now()", clock::body).await;
        asker.ask(&mut clock, "the clock of the database", async |c| clock::distance(c, settings.wall).await).await;
        asker.ask(&mut clock, "the newest event", clock::newest).await;

        let mut bloat = Area::new("bloat");
        asker.ask(&mut bloat, "statistics of tables", bloat::tables).await;
        asker.ask(&mut bloat, "autovacuum", bloat::autovacuum).await;
        asker.ask(&mut bloat, "long transactions", bloat::long_transactions).await;
        asker.ask(&mut bloat, "replication slots", bloat::slots).await;

        let mut grants = Area::new("grants");
        asker.ask(&mut grants, "what everybody may do", grants::public).await;
        asker.ask(&mut grants, "the role tenure_reporter", grants::reporter).await;
        asker.ask(&mut grants, "rights on tables", grants::tables).await;
        asker.ask(&mut grants, "rights on functions", grants::functions).await;
        asker.ask(&mut grants, "the role of this connection", grants::own).await;

        let mut nodes = Area::new("nodes");
        asker.ask(&mut nodes, "the registry of nodes", nodes::registry).await;
        asker.ask(&mut nodes, "the log of invalidations", nodes::log).await;
        asker.ask(&mut nodes, "overdue sessions", nodes::overdue).await;
        asker.ask(&mut nodes, "the job after a tightened limit", nodes::lowering).await;

        let mut policies = Area::new("policies");
        asker.ask(&mut policies, "the limits in force", policies::follow).await;
        areas.extend([schema, indexes, clock, bloat, grants, nodes, policies]);
    } else {
        areas.push(schema);
        asker.unanswered += usize::from(present.is_err());
        let why = if present.is_ok() { "there is no schema yet" } else { "see above" };
        for area in ["indexes", "clock", "bloat", "grants", "nodes", "policies"] {
            areas.push(Area { summary: format!("{NOT_EXAMINED}: {why}"), ..Area::new(area) });
        }
    }
    once(&mut areas);
    areas
}

/// A pooler that loses statements fails every question alike: it is told once.
fn once(areas: &mut [Area]) {
    let mut told = false;
    for area in areas {
        let before = area.findings.len();
        area.findings.retain(|finding| finding.code != "transaction_pooler" || !std::mem::replace(&mut told, true));
        area.judge();
        if area.findings.is_empty() && before > 0 {
            area.summary = format!("{NOT_EXAMINED}: see above");
        }
    }
}

/// A number with its noun.
fn counted(number: i64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// A number in groups of three.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// How long, for people.
fn lasting(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} minutes", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} hours", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}
