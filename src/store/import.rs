//! Writing what was elsewhere, in batches: each wholly or not at all, however often it is repeated.
//!
//! No position is kept: what came with a token is known by the token's digest, what came with an id by the id, and users, client
//! applications and properties by name. So the answer to an import that was killed is the same import again.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sqlx::pool::PoolConnection;
use sqlx::{Postgres, Row};

use super::error::retrying;
use super::{Actor, Store};
use crate::error::{Error, Result};
use crate::session::ForeignToken;

/// Lanes that sessions are written in at once.
pub const LANES: usize = 2;

/// A session to be imported.
#[derive(Debug, Serialize)]
pub struct ImportSession {
    /// Where it stands in its source, for the report.
    pub line: u64,
    /// Whose it is; `None` for guests.
    pub user: Option<String>,
    /// The client application of a mobile one.
    pub oauth_entity: Option<String>,
    /// Until when its own store would have kept it.
    pub expires_at: Option<DateTime<Utc>>,
    /// Columns of `sessions`; with an id it is this store's own.
    session: Value,
    /// Columns of `session_attributes`.
    place: Value,
    /// OAuth tokens of a mobile one, as objects of their columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<Value>,
}

/// What another store says of a session; its instants may be unknown.
#[derive(Debug, Default)]
pub struct ForeignFacts {
    /// When it began.
    pub created_at: Option<DateTime<Utc>>,
    /// Its last activity.
    pub last_activity_at: Option<DateTime<Utc>>,
    /// Until when that store would have kept it.
    pub expires_at: Option<DateTime<Utc>>,
    /// The app's payload, validated.
    pub attributes: Map<String, Value>,
}

impl ImportSession {
    /// A session of another store.
    pub fn foreign(line: u64, token: &ForeignToken, user: Option<String>, facts: &ForeignFacts) -> Self {
        let hash = hex(token.hash().as_bytes());
        Self {
            line,
            oauth_entity: None,
            expires_at: facts.expires_at,
            session: json!({
                "token_hash": hash, "foreign_hash": hash, "kind": if user.is_some() { "user" } else { "guest" }, "device": "desktop",
                "remember_me": false, "residue": false, "created_at": facts.created_at, "anchor_at": facts.last_activity_at,
            }),
            place: json!({ "attributes": facts.attributes }),
            tokens: None,
            user,
        }
    }

    /// A session that an export of this store holds.
    pub fn own(
        line: u64,
        user: Option<String>,
        oauth_entity: Option<String>,
        session: Value,
        place: Value,
        tokens: Value,
    ) -> Self {
        Self { line, user, oauth_entity, expires_at: None, session, place, tokens: Some(tokens) }
    }

    /// The lane it goes in: sessions of one user in one lane, so that no two wait for the same user's row.
    pub fn lane(&self) -> usize {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        match &self.user {
            Some(user) => user.to_lowercase().hash(&mut hasher),
            None => self.session["token_hash"].as_str().hash(&mut hasher),
        }
        usize::try_from(hasher.finish() % LANES as u64).unwrap_or(0)
    }
}

/// PostgreSQL's text for bytes.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold("\\x".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What came of a line: a word of the database, such as `imported`, `present` or `unknown_user`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The line.
    pub line: u64,
    /// The word.
    pub word: String,
}

/// How sessions are imported.
#[derive(Debug, Clone, Copy)]
pub struct ImportWay<'a> {
    /// The source, for the events.
    pub source: &'a str,
    /// Whether a session that has been idle for too long is left out, instead of counting the import as its activity.
    pub strict_idle: bool,
    /// Judge, and write nothing.
    pub rehearse: bool,
}

/// The right to import, held while it lives.
#[derive(Debug)]
pub struct ImportClaim(PoolConnection<Postgres>);

impl ImportClaim {
    /// Gives the right back.
    pub async fn release(self) {
        // The lock belongs to the connection and ends with it.
        let _ = sqlx::Connection::close(self.0.detach()).await;
    }
}

impl Store {
    /// Takes the right to import; refused while another import runs (86).
    pub async fn claim_import(&self) -> Result<ImportClaim> {
        let mut connection = self.pool.acquire().await?;
        sqlx::query("/* import_claim */ select tenure.claim_import()").execute(&mut *connection).await?;
        let held = sqlx::query_scalar::<_, bool>(
            "/* import_claim_held */ select exists (select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() and granted)",
        )
        .fetch_one(&mut *connection)
        .await?;
        if !held {
            return Err(Error::refused(
                409,
                "pooler",
                "The lock of imports is not held by this connection: the URL leads to a pooler in transaction mode.",
                "Give a URL of the server itself.",
            ));
        }
        Ok(ImportClaim(connection))
    }

    /// Imports a batch of sessions in a lane, all of them from that lane. A lock-out comes wholly before or wholly after (U4).
    pub async fn import_sessions(
        &self,
        lane: usize,
        batch: &[ImportSession],
        way: ImportWay<'_>,
        actor: Actor<'_>,
    ) -> Result<Vec<Outcome>> {
        let mut users: Vec<&str> = batch.iter().filter_map(|session| session.user.as_deref()).collect();
        users.sort_unstable();
        users.dedup();
        let rows = serde_json::to_value(batch).map_err(Error::failed)?;
        retrying(|| async {
            let rows = sqlx::query(
                "/* sessions_import */
                with context as materialized (select tenure.act_as($1, $2) as set)
                select i.line, i.outcome from context cross join lateral tenure.import_sessions($3, $4, $5, $6, $7, $8) i where context.set",
            )
            .bind(actor.0)
            .bind(self.node.as_deref())
            .bind(i32::try_from(lane).unwrap_or(0))
            .bind(way.source)
            .bind(way.strict_idle)
            .bind(way.rehearse)
            .bind(&users)
            .bind(&rows)
            .fetch_all(&self.pool)
            .await?;
            outcomes(&rows)
        })
        .await
    }

    /// Imports a batch of users, as objects of their columns with `line`: those that are missing are made, others stay as they are.
    pub async fn import_users(&self, batch: &[Value], rehearse: bool, actor: Actor<'_>) -> Result<Vec<Outcome>> {
        retrying(|| {
            self.import_rows("/* users_import */ select i.line, i.outcome from tenure.import_users($1) i", batch, rehearse, actor)
        })
        .await
    }

    /// Imports client applications; those of a known name or id stay as they are. One whose secret stayed behind is confidential, and
    /// has a secret nobody knows until it is given a new one.
    pub async fn import_entities(&self, batch: &[Value], rehearse: bool, actor: Actor<'_>) -> Result<Vec<Outcome>> {
        retrying(|| {
            self.import_rows(
                "/* oauth_entities_import */
                with given as materialized (
                    select * from jsonb_to_recordset($1) as r (line bigint, name text, client_id text, confidential boolean,
                                  client_secret_hash bytea, access_token_lifespan int, refresh_token_lifespan int)
                ), made as (
                    insert into tenure.oauth_entities (name, client_id, client_secret_hash, access_token_lifespan, refresh_token_lifespan)
                    select g.name, g.client_id,
                           coalesce(g.client_secret_hash, case when g.confidential then sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) end),
                           coalesce(g.access_token_lifespan, 1800), coalesce(g.refresh_token_lifespan, 8640000)
                      from given g order by g.line
                        on conflict do nothing
                    returning name
                )
                select g.line, case when m.name is null then 'present' else 'imported' end as outcome
                  from given g left join made m on m.name = g.name",
                batch,
                rehearse,
                actor,
            )
        })
        .await
    }

    /// Imports properties: all at once, because they are judged against each other (P3). A name that is not in the catalogue, and a value that
    /// does not fit, are answered as `ignored` and `invalid` and leave the others alone; a broken relation refuses them all.
    pub async fn import_properties(&self, batch: &[Value], rehearse: bool, actor: Actor<'_>) -> Result<Vec<Outcome>> {
        retrying(|| {
            self.import_rows(
                "/* properties_import */
                with given as materialized (
                    select r.*, c.name is not null as known, tenure.property_problem(r.name, r.value) is not null as wrong,
                           row_number() over (partition by r.name order by r.line) as place
                      from jsonb_to_recordset($1) as r (line bigint, name text, value text)
                      left join tenure.property_catalogue c on c.name = r.name
                ), written as (
                    insert into tenure.properties (name, value)
                    select g.name, g.value from given g where g.known and not g.wrong and g.place = 1
                        on conflict (name) do update set value = excluded.value where properties.value <> excluded.value
                    returning name
                )
                select g.line, case when not g.known then 'ignored' when g.place > 1 then 'duplicate' when g.wrong then 'invalid'
                                    when w.name is null then 'present' else 'imported' end as outcome
                  from given g left join written w on w.name = g.name",
                batch,
                rehearse,
                actor,
            )
        })
        .await
    }

    /// Imports history, as objects of its columns; what is there stays.
    pub async fn import_history(&self, table: HistoryTable, batch: &[Value], actor: Actor<'_>) -> Result<u64> {
        let statement = match table {
            HistoryTable::Ended => {
                "/* ended_sessions_import */
                insert into tenure.ended_sessions
                select (jsonb_populate_record(null::tenure.ended_sessions, e.row || jsonb_build_object('user_id', u.id))).*
                  from jsonb_array_elements($1) e (row)
                  left join tenure.users u on lower(u.name collate \"und-x-icu\") = lower(e.row ->> 'user_name' collate \"und-x-icu\")
                 where not exists (select from tenure.sessions s where s.id = (e.row ->> 'id')::uuid)
                    on conflict do nothing"
            }
            HistoryTable::Events => {
                "/* session_events_import */
                insert into tenure.session_events (id, at, type, session_id, user_name, actor, reason, node, details)
                select r.id, r.at, r.type, r.session_id, r.user_name, r.actor, r.reason, r.node, r.details
                  from jsonb_populate_recordset(null::tenure.session_events, $1) r
                    on conflict do nothing"
            }
        };
        let mut transaction = self.begin_long(actor, false).await?;
        let done = sqlx::query(statement).bind(Value::Array(batch.to_vec())).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected())
    }

    async fn import_rows(
        &self,
        statement: &'static str,
        batch: &[Value],
        rehearse: bool,
        actor: Actor<'_>,
    ) -> Result<Vec<Outcome>> {
        let mut transaction = self.begin_long(actor, false).await?;
        let rows = sqlx::query(statement).bind(Value::Array(batch.to_vec())).fetch_all(&mut *transaction).await?;
        let outcomes = outcomes(&rows)?;
        if rehearse {
            transaction.rollback().await?;
        } else {
            transaction.commit().await?;
        }
        Ok(outcomes)
    }
}

/// What an export of this store holds besides users, properties, client applications and sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryTable {
    /// Ended sessions.
    Ended,
    /// Events.
    Events,
}

fn outcomes(rows: &[sqlx::postgres::PgRow]) -> Result<Vec<Outcome>> {
    let outcome = |row: &sqlx::postgres::PgRow| -> sqlx::Result<Outcome> {
        Ok(Outcome { line: row.try_get::<i64, _>("line")?.unsigned_abs(), word: row.try_get("outcome")? })
    };
    Ok(rows.iter().map(outcome).collect::<sqlx::Result<_>>()?)
}
