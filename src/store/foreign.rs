//! Reading the session tables of others, a page at a time out of one snapshot, in the order of their keys. Nothing is written there.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::{ConnectError, ConnectSettings, Store};
use crate::error::{Error, Result};

/// Rows of a page.
const PAGE: i64 = 4000;
/// Latest instant that is believed, milliseconds since 1970: the end of the year 9998.
const LATEST: i64 = 253_370_764_800_000;

/// Whose table it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignFormat {
    /// connect-pg-simple: `sid`, `sess`, `expire`.
    Connect,
    /// `django_session`: `session_key`, `session_data`, `expire_date`.
    Django,
    /// tower-sessions: `id`, `data`, `expiry_date`.
    Tower,
    /// Spring Session JDBC: `spring_session`.
    Spring,
}

impl ForeignFormat {
    /// The table it has unless somebody chose another.
    pub const fn table(self) -> &'static str {
        match self {
            Self::Connect => "public.session",
            Self::Django => "public.django_session",
            Self::Tower => "tower_sessions.session",
            Self::Spring => "public.spring_session",
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Connect => "sid",
            Self::Django => "session_key",
            Self::Tower => "id",
            Self::Spring => "session_id",
        }
    }

    /// The columns of a page, in one shape for all. Instants stay where every program can say them: infinity is for ever, what is
    /// before 1970 is 1970, and nothing is after the year 9999.
    fn columns(self) -> String {
        let expiry = |column: &str| {
            format!(
                "case when t.{column} < 'infinity' then greatest(least(t.{column}::timestamptz, '9999-12-31 00:00Z'), 'epoch') end"
            )
        };
        match self {
            Self::Connect => columns("t.sess::text", "null::bytea", &expiry("expire"), None),
            Self::Django => columns("t.session_data::text", "null::bytea", &expiry("expire_date"), None),
            Self::Tower => columns("null::text", "t.data", &expiry("expiry_date"), None),
            Self::Spring => columns(
                "null::text",
                "null::bytea",
                "case when t.max_inactive_interval >= 0 then to_timestamp(greatest(least(t.expiry_time, 253370764800000), 0) / 1000.0) end",
                Some(("t.creation_time::bigint", "t.last_access_time::bigint", "t.principal_name::text")),
            ),
        }
    }
}

fn columns(text: &str, data: &str, expires_at: &str, rest: Option<(&str, &str, &str)>) -> String {
    let (created, active, principal) = rest.unwrap_or(("null::bigint", "null::bigint", "null::text"));
    format!(
        "{text} as body, {data} as data, {expires_at} as expires_at, {created} as created, {active} as active, {principal} as principal"
    )
}

/// A row of such a table. Debug prints nothing of its key, which is what a client presents.
pub struct ForeignRow {
    /// The key.
    pub key: String,
    /// The data as text: JSON, or Django's.
    pub text: Option<String>,
    /// The data as bytes.
    pub data: Option<Vec<u8>>,
    /// Until when that store keeps it; `None` for ever.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it began.
    pub created_at: Option<DateTime<Utc>>,
    /// Its last activity.
    pub last_activity_at: Option<DateTime<Utc>>,
    /// Whose it is, where the table says so.
    pub principal: Option<String>,
}

impl std::fmt::Debug for ForeignRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForeignRow").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// A database of another application.
#[derive(Debug)]
pub struct ForeignDatabase {
    connection: PgConnection,
    table: String,
}

/// `schema.table` or `table`, quoted; `None` for anything but names.
fn quoted(name: &str) -> Option<String> {
    let part = |part: &str| {
        let fits =
            !part.is_empty() && part.len() <= 63 && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$'));
        fits.then(|| format!("\"{part}\""))
    };
    match name.split_once('.') {
        Some((schema, table)) => Some(format!("{}.{}", part(schema)?, part(table)?)),
        None => Some(format!("public.{}", part(name)?)),
    }
}

impl ForeignDatabase {
    /// Connects; the same links are refused as for this store's own database. `zone` is what timestamps without one were written in.
    pub async fn connect(settings: &ConnectSettings, format: ForeignFormat, table: Option<&str>, zone: &str) -> Result<Self> {
        let unsuitable = |error: ConnectError| Error::refused(422, "source_refused", error.to_string(), "");
        let options = Store::connect_lazily(settings).map_err(unsuitable)?.pool.connect_options();
        let mut connection = PgConnection::connect_with(&options).await.map_err(|error| match error {
            // The server's own words name the database and its user, never the password.
            sqlx::Error::Database(error) => {
                Error::refused(422, "source_refused", format!("The source refused: {}", error.message()), "")
            }
            error => Error::unavailable(error),
        })?;
        sqlx::query("/* foreign_zone */ select set_config('TimeZone', $1, false), set_config('default_transaction_read_only', 'on', false)")
            .bind(zone)
            .execute(&mut connection)
            .await
            .map_err(source)?;
        let name = table.unwrap_or(format.table());
        let table = quoted(name).ok_or_else(|| {
            Error::refused(
                422,
                "invalid_table",
                "The table's name has letters, digits, underscores and one dot at most.",
                "Give SCHEMA.TABLE.",
            )
        })?;
        // A cursor, because keys are of any type and need no index; the snapshot stays as it is while others write.
        let statements = format!(
            "begin isolation level repeatable read read only;
             set local statement_timeout = 0;
             set local idle_in_transaction_session_timeout = 0;
             declare foreign_rows no scroll cursor for select t.{key}::text as key, {columns} from {table} t order by t.{key}",
            key = format.key(),
            columns = format.columns(),
        );
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await.map_err(source)?;
        Ok(Self { connection, table })
    }

    /// How many rows there are.
    pub async fn count(&mut self) -> Result<u64> {
        let statement = format!("/* foreign_count */ select count(*) from {}", self.table);
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&mut self.connection).await.map_err(source)?;
        Ok(count.unsigned_abs())
    }

    /// The next page; empty at the end.
    pub async fn page(&mut self) -> Result<Vec<ForeignRow>> {
        let statement = format!("/* foreign_page */ fetch forward {PAGE} from foreign_rows");
        let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(&mut self.connection).await.map_err(source)?;
        let millis = |at: Option<i64>| at.filter(|at| (0..=LATEST).contains(at)).and_then(DateTime::from_timestamp_millis);
        let read = |row: &sqlx::postgres::PgRow| -> sqlx::Result<ForeignRow> {
            Ok(ForeignRow {
                key: row.try_get("key")?,
                text: row.try_get("body")?,
                data: row.try_get("data")?,
                expires_at: row.try_get("expires_at")?,
                created_at: millis(row.try_get("created")?),
                last_activity_at: millis(row.try_get("active")?),
                principal: row.try_get("principal")?,
            })
        };
        rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(source)
    }

    /// Names of Django's users by their ids.
    pub async fn user_names(&mut self, table: &str, ids: &[i64]) -> Result<std::collections::HashMap<i64, String>> {
        let table = quoted(table)
            .ok_or_else(|| Error::refused(422, "invalid_table", "The table of users has no such name.", "Give SCHEMA.TABLE."))?;
        let statement = format!("/* foreign_users */ select u.id::bigint, u.username::text from {table} u where u.id = any ($1)");
        let rows: Vec<(i64, String)> =
            sqlx::query_as(AssertSqlSafe(statement)).bind(ids).fetch_all(&mut self.connection).await.map_err(source)?;
        Ok(rows.into_iter().collect())
    }
}

/// What the other database said, as a refusal: it is the operator's to correct.
fn source(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(error) => Error::refused(
            422,
            "source_refused",
            format!("The source said: {}.", error.message()),
            "Look at the table's name, its columns and this user's rights.",
        ),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Error::refused(
            422,
            "source_refused",
            "A column of the source has another type than this format writes.",
            "Look at the format and the table.",
        ),
        error => error.into(),
    }
}
