//! Migrations: refinery's files and history, applied over the one driver, one process at a time.
//!
//! refinery takes no lock and checks and applies in separate transactions, so everything here happens on one connection
//! that holds an advisory lock, verified in `pg_locks`: behind a transaction pooler a session lock would be void.

use std::str::FromStr;
use std::time::Duration;

use refinery_core::traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction};
use refinery_core::{Migration, Runner};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::Store;
use super::connect::{ConnectError, ConnectSettings};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// Advisory lock of every Tenure migration: "tenure" in ASCII.
const LOCK: i64 = 0x7465_6e75_7265;
/// The body of the only clock, `tenure.now()`.
pub(super) const CLOCK_BODY: &str = "select clock_timestamp()";
const LOCK_WAIT: Duration = Duration::from_mins(1);

/// What stood in the way of a migration.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Someone else migrates, for too long.
    #[error(
        "Another migration has held the lock all the while ({0}). Wait for it, or end it with pg_terminate_backend, and try again."
    )]
    Locked(String),
    /// The lock does not hold: a transaction pooler.
    #[error(
        "The migration lock is not held by this connection: the URL leads to a pooler in transaction mode. \
         Give migrate a URL of the server itself."
    )]
    Pooler,
    /// The history was written by something else, or damaged.
    #[error(
        "public.refinery_schema_history cannot be read: {0}. Restore the row from a backup, or compare with a database that works."
    )]
    History(String),
    /// A migration changed after it was applied, is missing, or the database is newer than the program.
    #[error("{0}")]
    Mismatch(String),
    /// A migration failed; it and everything after it was not applied.
    #[error("{0}")]
    Failed(String),
}

/// What was done.
#[derive(Debug, Clone, Default)]
pub struct Migrated {
    /// Names of the migrations applied now, in order.
    pub applied: Vec<String>,
}

/// Where a database stands.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SchemaStatus {
    /// Version of the newest migration applied; null for an empty database.
    pub version: Option<i64>,
    /// Version this program brings.
    pub newest: i64,
    /// Migrations not applied yet, in order.
    pub pending: Vec<String>,
    /// When each applied one was applied.
    pub applied: Vec<String>,
}

/// The newest schema version this program knows, and the oldest it can serve.
fn newest() -> i64 {
    runner().get_migrations().iter().map(|migration| i64::from(migration.version())).max().unwrap_or(0)
}

fn runner() -> Runner {
    embedded::migrations::runner().set_abort_divergent(true).set_abort_missing(true)
}

/// The migrations of this program.
#[cfg(feature = "cli")]
pub(super) fn known() -> Vec<Migration> {
    runner().get_migrations().clone()
}

/// The migrations applied, in order, or what is wrong with their history; `None` without one.
#[cfg(feature = "cli")]
pub(super) async fn applied(connection: &mut PgConnection) -> Result<Option<Result<Vec<Migration>, String>>, sqlx::Error> {
    Ok(read_history(connection).await?.map(|rows| rows.iter().map(parse).collect()))
}

/// Applies what is pending. `progress` hears one sentence for every step. Waits up to a minute for another migration.
pub async fn migrate(settings: &ConnectSettings, progress: &(dyn Fn(&str) + Sync)) -> Result<Migrated, MigrateError> {
    migrate_within(settings, LOCK_WAIT, progress).await
}

/// As [`migrate`], waiting no longer than `wait` for another migration.
pub async fn migrate_within(
    settings: &ConnectSettings,
    wait: Duration,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Migrated, MigrateError> {
    let mut connection = History(connect(settings).await?);
    lock(&mut connection.0, wait, progress).await?;
    let status = read_status(&mut connection.0).await?;
    if let Some(version) = status.version.filter(|version| *version > status.newest) {
        return Err(newer(version, status.newest));
    }
    let mut done = Migrated::default();
    let count = status.pending.len();
    for (index, name) in status.pending.iter().enumerate() {
        progress(&format!("Applying {name} ({} of {count})", index + 1));
        let version = name[1..].split("__").next().and_then(|version| version.parse().ok()).unwrap_or(0);
        runner()
            .set_target(refinery_core::Target::Version(version))
            .run_async(&mut connection)
            .await
            .map_err(|error| explain(&error))?;
        done.applied.push(name.clone());
    }
    if count == 0 {
        // Nothing to apply, but checksums of what is applied are still compared.
        runner().run_async(&mut connection).await.map_err(|error| explain(&error))?;
    }
    let _ = connection.0.close().await;
    Ok(done)
}

/// Where the database stands, without changing anything.
pub async fn status(settings: &ConnectSettings) -> Result<SchemaStatus, MigrateError> {
    let mut connection = connect(settings).await?;
    let status = read_status(&mut connection).await;
    let _ = connection.close().await;
    status
}

/// Makes a database on the server of `settings`; the name is the caller's own, not a user's.
#[cfg(feature = "cli")]
pub async fn create_database(settings: &ConnectSettings, name: &str) -> Result<(), MigrateError> {
    run_alone(settings, format!("create database {name}")).await
}

/// Drops such a database, whoever is connected to it.
#[cfg(feature = "cli")]
pub async fn drop_database(settings: &ConnectSettings, name: &str) -> Result<(), MigrateError> {
    run_alone(settings, format!("drop database if exists {name} with (force)")).await
}

#[cfg(feature = "cli")]
async fn run_alone(settings: &ConnectSettings, statement: String) -> Result<(), MigrateError> {
    let mut connection = connect(settings).await?;
    let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await;
    let _ = connection.close().await;
    done.map(|_| ()).map_err(|error| MigrateError::Failed(error.to_string()))
}

impl Store {
    /// Refuses a schema this program does not know, and a clock that is not the database's.
    pub async fn check_schema(&self) -> Result<(), MigrateError> {
        let version = async {
            let exists = sqlx::query_scalar!(
                r#"/* schema_exists */ select to_regclass('public.refinery_schema_history') is not null as "exists!""#
            )
            .fetch_one(&self.pool)
            .await?;
            if !exists {
                return Ok(None);
            }
            sqlx::query_scalar::<_, Option<i64>>(
                "/* schema_version */ select max(version)::bigint from public.refinery_schema_history",
            )
            .fetch_one(&self.pool)
            .await
        }
        .await
        .map_err(|error| MigrateError::History(error.to_string()))?;
        let newest = newest();
        match version {
            None => {
                return Err(MigrateError::Mismatch(
                    "The database has no Tenure schema yet. Run `tenure migrate` once.".to_owned(),
                ));
            }
            Some(version) if version < newest => {
                return Err(MigrateError::Mismatch(format!(
                    "The schema is at version {version} and this program needs {newest}. Run `tenure migrate`."
                )));
            }
            Some(version) if version > newest => return Err(newer(version, newest)),
            Some(_) => {}
        }
        let genuine = sqlx::query_scalar!(
            r#"/* clock_check */ select btrim(p.prosrc) = $1 as "genuine!" from pg_proc p where p.oid = 'tenure.now()'::regprocedure"#,
            CLOCK_BODY
        )
        .fetch_one(&self.pool)
        .await
        .map_err(|error| MigrateError::History(error.to_string()))?;
        if !genuine && !cfg!(feature = "test-util") {
            return Err(MigrateError::Mismatch(format!(
                "tenure.now() was replaced: this database runs on a test's clock. Restore its body: {CLOCK_BODY}."
            )));
        }
        Ok(())
    }
}

fn newer(version: i64, newest: i64) -> MigrateError {
    MigrateError::Mismatch(format!(
        "The schema is at version {version}, newer than this program knows ({newest}). Run the newer program; going back means restoring a backup."
    ))
}

async fn connect(settings: &ConnectSettings) -> Result<PgConnection, MigrateError> {
    // The checks of an ordinary connection first: server, address, encryption.
    let store = Store::connect(&ConnectSettings { node: None, connections: 2, ..settings.clone() }).await?;
    store.close().await;
    let options = PgConnectOptions::from_str(&settings.url)
        .map_err(|_| ConnectError::Url("it is malformed".to_owned()))?
        .application_name("tenure migrate")
        .options([("search_path", "public"), ("lock_timeout", "10000"), ("TimeZone", "UTC")]);
    PgConnection::connect_with(&options).await.map_err(|error| MigrateError::Failed(error.to_string()))
}

async fn lock(connection: &mut PgConnection, wait: Duration, progress: &(dyn Fn(&str) + Sync)) -> Result<(), MigrateError> {
    let failed = |error: sqlx::Error| MigrateError::Failed(error.to_string());
    let deadline = Instant::now() + wait;
    let mut told = false;
    loop {
        let taken = sqlx::query_scalar!(r#"/* migrate_lock */ select pg_try_advisory_lock($1) as "taken!""#, LOCK)
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
        if taken {
            break;
        }
        if Instant::now() >= deadline {
            return Err(MigrateError::Locked(holder(connection).await));
        }
        if !told {
            progress("Waiting for another migration to finish");
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let held = sqlx::query_scalar!(
        r#"/* migrate_lock_check */
        select exists (select from pg_locks l
                        where l.locktype = 'advisory' and l.granted and l.pid = pg_backend_pid()
                          and l.classid::bigint = $1::bigint >> 32 and l.objid::bigint = $1::bigint & 4294967295) as "held!""#,
        LOCK
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(failed)?;
    if held { Ok(()) } else { Err(MigrateError::Pooler) }
}

async fn holder(connection: &mut PgConnection) -> String {
    sqlx::query_scalar!(
        r#"/* migrate_lock_holder */
        select format('process %s, %s, since %s', a.pid, a.application_name, a.backend_start::timestamptz(0)) as "holder!"
          from pg_locks l join pg_stat_activity a on a.pid = l.pid
         where l.locktype = 'advisory' and l.granted and l.classid::bigint = $1::bigint >> 32 and l.objid::bigint = $1::bigint & 4294967295
           and a.datname = current_database()
         limit 1"#,
        LOCK
    )
    .fetch_optional(connection)
    .await
    .ok()
    .flatten()
    .unwrap_or_else(|| "its holder is gone by now".to_owned())
}

async fn read_status(connection: &mut PgConnection) -> Result<SchemaStatus, MigrateError> {
    let rows = read_history(connection).await.map_err(|error| MigrateError::History(error.to_string()))?;
    let mut applied: Vec<(i64, String)> = Vec::new();
    for row in rows.unwrap_or_default() {
        let migration = parse(&row).map_err(MigrateError::History)?;
        let on = migration.applied_on().and_then(|on| on.format(&Rfc3339).ok()).unwrap_or_default();
        applied.push((migration.version().into(), format!("V{}__{} on {on}", migration.version(), migration.name())));
    }
    let known = runner();
    let version = applied.last().map(|(version, _)| *version);
    let mut pending: Vec<&Migration> = known
        .get_migrations()
        .iter()
        .filter(|migration| version.is_none_or(|version| i64::from(migration.version()) > version))
        .collect();
    pending.sort();
    Ok(SchemaStatus {
        version,
        newest: newest(),
        pending: pending.into_iter().map(|migration| format!("V{}__{}", migration.version(), migration.name())).collect(),
        applied: applied.into_iter().map(|(_, line)| line).collect(),
    })
}

/// The rows of the history in order; `None` when there is no such table.
async fn read_history(connection: &mut PgConnection) -> Result<Option<Vec<sqlx::postgres::PgRow>>, sqlx::Error> {
    let exists = sqlx::query_scalar!(
        r#"/* schema_exists */ select to_regclass('public.refinery_schema_history') is not null as "exists!""#
    )
    .fetch_one(&mut *connection)
    .await?;
    if !exists {
        return Ok(None);
    }
    let rows = sqlx::query(
        "/* schema_history */ select version::bigint, name, applied_on, checksum from public.refinery_schema_history order by version",
    )
    .fetch_all(connection)
    .await?;
    Ok(Some(rows))
}

/// One history row, checked where refinery itself would panic.
fn parse(row: &sqlx::postgres::PgRow) -> Result<Migration, String> {
    let version: i64 = row.try_get(0).map_err(|error| error.to_string())?;
    let column = |index: usize, name: &str| {
        row.try_get::<Option<String>, _>(index).ok().flatten().ok_or_else(|| format!("version {version} has no {name}"))
    };
    let applied_on = OffsetDateTime::parse(&column(2, "applied_on")?, &Rfc3339)
        .map_err(|_| format!("applied_on of version {version} is not an RFC 3339 instant"))?;
    let checksum = column(3, "checksum")?.parse().map_err(|_| format!("checksum of version {version} is not a number"))?;
    let version = version.try_into().map_err(|_| format!("version {version} is out of range"))?;
    Ok(Migration::applied(version, column(1, "name")?, applied_on, checksum))
}

/// refinery's errors as sentences that say what to do.
fn explain(error: &refinery_core::Error) -> MigrateError {
    use refinery_core::error::Kind;
    match error.kind() {
        Kind::DivergentVersion(applied, ours) => MigrateError::Mismatch(format!(
            "Migration {applied} in the database differs from the program's {ours}: it was edited after it was applied. Use the release that applied it."
        )),
        Kind::MissingVersion(missing) => MigrateError::Mismatch(format!(
            "Migration {missing} is in the database but not in this program, or was skipped. Use the release that applied it."
        )),
        kind => {
            let mut text = kind.to_string();
            let mut source = std::error::Error::source(kind);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            MigrateError::Failed(format!(
                "{text}. It was rolled back; what came before it stays. Mend the cause and run `tenure migrate` again."
            ))
        }
    }
}

/// The connection as refinery's traits want it.
struct History(PgConnection);

impl AsyncTransaction for History {
    type Error = sqlx::Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(&'a mut self, queries: T) -> Result<usize, Self::Error> {
        let mut transaction = self.0.begin().await?;
        let mut count = 0;
        for query in queries {
            sqlx::raw_sql(AssertSqlSafe(query.to_owned())).execute(&mut *transaction).await?;
            count += 1;
        }
        transaction.commit().await?;
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for History {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, Self::Error> {
        let rows = sqlx::query(AssertSqlSafe(query.replace("version,", "version::bigint,"))).fetch_all(&mut self.0).await?;
        rows.iter().map(|row| parse(row).map_err(sqlx::Error::Protocol)).collect()
    }
}

impl AsyncMigrate for History {}
