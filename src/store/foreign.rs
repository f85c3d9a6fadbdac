//! Reading the session tables of others, a page at a time out of one snapshot. Nothing is written there.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::{ConnectError, ConnectSettings, Store};
use crate::error::{Error, Result};

/// Most rows of a page.
const PAGE: usize = 4000;
/// Bytes of data after which a page is full: some pages are in memory at once.
const PAGE_BYTES: usize = 16 << 20;
/// Rows that are fetched at once, each of [`FOREIGN_DATA`] at most: so much may a page be larger than it should be.
const FETCH: usize = 100;
/// Most bytes of a session's data that are fetched: 16 times what this store keeps of one.
pub const FOREIGN_DATA: usize = 1 << 20;
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

    /// The column that says until when a session is kept.
    const fn expires(self) -> &'static str {
        match self {
            Self::Connect => "expire",
            Self::Django => "expire_date",
            Self::Tower => "expiry_date",
            Self::Spring => "expiry_time",
        }
    }

    /// The same where it is an instant; Spring counts milliseconds.
    const fn expiry(self) -> Option<&'static str> {
        if matches!(self, Self::Spring) { None } else { Some(self.expires()) }
    }

    /// The columns of a page, in one shape for all. Instants stay where every program can say them: infinity is for ever, what is
    /// before 1970 is 1970, and nothing is after the year 9999.
    fn columns(self) -> String {
        let expires_at = self.expiry().map_or_else(
            || "case when t.max_inactive_interval >= 0 then to_timestamp(greatest(least(t.expiry_time, 253370764800000), 0) / 1000.0) end".to_owned(),
            |column| format!("case when t.{column} < 'infinity' then greatest(least(t.{column}::timestamptz, '9999-12-31 00:00Z'), 'epoch') end"),
        );
        // What nobody will keep does not leave the source.
        let bounded = |value: &str| format!("case when octet_length({value}) <= {FOREIGN_DATA} then {value} end");
        let (text, data, length) = match self {
            Self::Connect => (bounded("t.sess::text"), "null::bytea".to_owned(), "octet_length(t.sess::text)"),
            Self::Django => (bounded("t.session_data::text"), "null::bytea".to_owned(), "octet_length(t.session_data::text)"),
            Self::Tower => ("null::text".to_owned(), bounded("t.data"), "octet_length(t.data)"),
            Self::Spring => ("null::text".to_owned(), "null::bytea".to_owned(), "0"),
        };
        let (created, active, principal) = match self {
            Self::Spring => ("t.creation_time::bigint", "t.last_access_time::bigint", "left(t.principal_name::text, 1000)"),
            _ => ("null::bigint", "null::bigint", "null::text"),
        };
        format!(
            "{text} as body, {data} as data, coalesce({length} > {FOREIGN_DATA}, false) as too_long, {expires_at} as expires_at,
             {created} as created, {active} as active, {principal} as principal"
        )
    }
}

/// A row of such a table. Debug prints nothing of its key, which is what a client presents.
pub struct ForeignRow {
    /// The key.
    pub key: String,
    /// The data as text: JSON, or Django's.
    pub text: Option<String>,
    /// The data as bytes.
    pub data: Option<Vec<u8>>,
    /// Whether the data is longer than [`FOREIGN_DATA`], and was not fetched.
    pub too_long: bool,
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

/// A user of another application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignUser {
    /// The name.
    pub name: String,
    /// Whether that application takes them for active.
    pub active: bool,
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
    /// Connects; the same links are refused as for this store's own database. `zone` is what timestamps without one were written in;
    /// without it a table that has such timestamps is refused, because nothing in it says what they mean.
    pub async fn connect(
        settings: &ConnectSettings,
        format: ForeignFormat,
        table: Option<&str>,
        zone: Option<&str>,
    ) -> Result<Self> {
        let unsuitable = |error: ConnectError| Error::refused(422, "source_refused", error.to_string(), "");
        let options = Store::connect_lazily(settings).map_err(unsuitable)?.pool.connect_options();
        let mut connection = PgConnection::connect_with(&options).await.map_err(|error| match error {
            // The server's own words name the database and its user, never the password.
            sqlx::Error::Database(error) => {
                Error::refused(422, "source_refused", format!("The source refused: {}", error.message()), "")
            }
            error => Error::unavailable(error),
        })?;
        let name = table.unwrap_or(format.table());
        let table = quoted(name).ok_or_else(|| {
            Error::refused(
                422,
                "invalid_table",
                "The table's name has letters, digits, underscores and one dot at most.",
                "Give SCHEMA.TABLE.",
            )
        })?;
        let begin = "begin isolation level repeatable read read only;
             set local statement_timeout = 0;
             set local idle_in_transaction_session_timeout = 0";
        sqlx::raw_sql(begin).execute(&mut connection).await.map_err(source)?;
        if let Some(zone) = zone {
            // Within the transaction: before it, a pooler could set it for somebody else.
            sqlx::query("/* foreign_zone */ select set_config('TimeZone', $1, true)")
                .bind(zone)
                .execute(&mut connection)
                .await
                .map_err(source)?;
        } else if let Some(column) = format.expiry()
            && zoneless(&mut connection, &table, column).await?
        {
            return Err(Error::refused(
                422,
                "time_zone_required",
                format!("Nothing says in which time zone {column} was written: the column has none."),
                "Give it with --time-zone: what `show timezone` answers the application, such as UTC.",
            ));
        }
        let (key, expires) = (format.key(), format.expires());
        // What was touched together was mostly written together there, and gets neighbouring ids and deadlines here: in the order of
        // expiry both sides read and write few pages.
        let order = if expiry_orders(&mut connection, &table, key, expires).await? {
            format!("t.{expires}, t.{key}")
        } else {
            format!("t.{key}")
        };
        // A cursor, because keys are of any type and need no index; the snapshot stays as it is while others write. A key that is cut
        // off is none: no client presents so long a one.
        let statement = format!(
            "declare foreign_rows no scroll cursor for select left(t.{key}::text, 1000) as key, {columns} from {table} t order by {order}",
            columns = format.columns(),
        );
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.map_err(source)?;
        Ok(Self { connection, table })
    }

    /// How many rows there are.
    pub async fn count(&mut self) -> Result<u64> {
        let statement = format!("/* foreign_count */ select count(*) from {}", self.table);
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&mut self.connection).await.map_err(source)?;
        Ok(count.unsigned_abs())
    }

    /// The next page; empty at the end. It is bounded by rows and by bytes.
    pub async fn page(&mut self) -> Result<Vec<ForeignRow>> {
        let (mut page, mut bytes) = (Vec::with_capacity(PAGE), 0);
        while page.len() < PAGE && bytes < PAGE_BYTES {
            let rows = self.fetch().await?;
            let end = rows.len() < FETCH;
            let length = |row: &ForeignRow| row.text.as_ref().map_or(0, String::len) + row.data.as_ref().map_or(0, Vec::len);
            bytes += rows.iter().map(length).sum::<usize>();
            page.extend(rows);
            if end {
                break;
            }
        }
        Ok(page)
    }

    async fn fetch(&mut self) -> Result<Vec<ForeignRow>> {
        let statement = format!("/* foreign_page */ fetch forward {FETCH} from foreign_rows");
        let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(&mut self.connection).await.map_err(source)?;
        let millis = |at: Option<i64>| at.filter(|at| (0..=LATEST).contains(at)).and_then(DateTime::from_timestamp_millis);
        let read = |row: &sqlx::postgres::PgRow| -> sqlx::Result<ForeignRow> {
            Ok(ForeignRow {
                key: row.try_get("key")?,
                text: row.try_get("body")?,
                data: row.try_get("data")?,
                too_long: row.try_get("too_long")?,
                expires_at: row.try_get("expires_at")?,
                created_at: millis(row.try_get("created")?),
                last_activity_at: millis(row.try_get("active")?),
                principal: row.try_get("principal")?,
            })
        };
        rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(source)
    }

    /// Django's users by their ids. A table of users without `is_active` has active ones only, as for Django itself.
    pub async fn users(&mut self, table: &str, ids: &[i64]) -> Result<HashMap<i64, ForeignUser>> {
        let table = quoted(table)
            .ok_or_else(|| Error::refused(422, "invalid_table", "The table of users has no such name.", "Give SCHEMA.TABLE."))?;
        let statement = format!(
            "/* foreign_users */ select u.id::bigint, left(u.username::text, 1000), coalesce(to_jsonb(u) -> 'is_active', 'true') = 'true'
               from {table} u where u.id = any ($1)"
        );
        let rows: Vec<(i64, String, bool)> =
            sqlx::query_as(AssertSqlSafe(statement)).bind(ids).fetch_all(&mut self.connection).await.map_err(source)?;
        Ok(rows.into_iter().map(|(id, name, active)| (id, ForeignUser { name, active })).collect())
    }
}

/// Whether a column holds instants without a time zone.
async fn zoneless(connection: &mut PgConnection, table: &str, column: &str) -> Result<bool> {
    let statement = "/* foreign_zoneless */
        select exists (select from pg_attribute a
                        where a.attrelid = to_regclass($1) and a.attname = $2 and a.atttypid <> 'timestamptz'::regtype)";
    sqlx::query_scalar(statement).bind(table).bind(column).fetch_one(connection).await.map_err(source)
}

/// Whether rows can be read in the order of expiry: by an index, so that a large table is not sorted first, and where no key comes
/// twice, because a view may name one with two expiries, and both have to be on one page.
async fn expiry_orders(connection: &mut PgConnection, table: &str, key: &str, expires: &str) -> Result<bool> {
    let statement = "/* foreign_indexes */
        with index as (
            select i.indkey[0] as first, i.indisunique and i.indnkeyatts = 1 as alone
              from pg_index i
             where i.indrelid = to_regclass($1) and i.indisvalid and i.indpred is null and i.indexprs is null
        ), named as (
            select a.attname, a.attnum from pg_attribute a where a.attrelid = to_regclass($1)
        )
        select exists (select from index i join named n on n.attnum = i.first where n.attname = $2 and i.alone)
           and exists (select from index i join named n on n.attnum = i.first where n.attname = $3)";
    sqlx::query_scalar(statement).bind(table).bind(key).bind(expires).fetch_one(connection).await.map_err(source)
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
