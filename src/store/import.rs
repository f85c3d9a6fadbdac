//! Writing what was elsewhere, in batches: each wholly or not at all, however often it is repeated.
//!
//! No position is kept: what came with a token is known by the token's digest, what came with an id by the id, and users, client
//! applications and properties by name. So the answer to an import that was killed is the same import again.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use sqlx::pool::PoolConnection;
use sqlx::types::Json;
use sqlx::{Postgres, Row};

use super::error::retrying;
use super::{Actor, Expect, Store};
use crate::error::{Error, Result};
use crate::session::ForeignToken;

/// Lanes that sessions are written in at once.
pub const LANES: usize = 3;

/// A row to be imported: an object of its columns, with the line it stands on in its source. JSON as it was written, because a
/// number of any length is to come out as it went in.
#[derive(Debug)]
pub struct ImportRow {
    line: u64,
    json: Box<RawValue>,
}

impl ImportRow {
    /// A row of these columns; `columns` is written as an object.
    pub fn new(line: u64, columns: &impl Serialize) -> serde_json::Result<Self> {
        #[derive(Serialize)]
        struct Numbered<'a, T> {
            line: u64,
            #[serde(flatten)]
            columns: &'a T,
        }
        Ok(Self { line, json: to_raw_value(&Numbered { line, columns })? })
    }
}

impl Serialize for ImportRow {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

/// A session to be imported, with everything that belongs to it.
#[derive(Debug)]
pub struct ImportSession {
    row: ImportRow,
    user: Option<String>,
    token: String,
    lane: usize,
}

impl Serialize for ImportSession {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.row.serialize(serializer)
    }
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
    pub fn foreign(line: u64, token: &ForeignToken, user: Option<String>, facts: &ForeignFacts) -> serde_json::Result<Self> {
        #[derive(Serialize)]
        struct Columns<'a> {
            foreign_hash: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            created_at: Option<DateTime<Utc>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            anchor_at: Option<DateTime<Utc>>,
        }
        #[derive(Serialize)]
        struct Place<'a> {
            attributes: &'a Map<String, Value>,
        }
        let hash = token.hash().as_text();
        let columns = Columns { foreign_hash: &hash, created_at: facts.created_at, anchor_at: facts.last_activity_at };
        let place = Place { attributes: &facts.attributes };
        Self::new(line, user, None, facts.expires_at, &hash, &columns, Some(&place), None::<&()>)
    }

    /// A session as an export of this store tells it: columns of `sessions` with its id, of `session_attributes`, and of its OAuth tokens.
    pub fn own(
        line: u64,
        user: Option<String>,
        oauth_entity: Option<&str>,
        token_hash: &str,
        columns: &impl Serialize,
        place: Option<&impl Serialize>,
        tokens: &impl Serialize,
    ) -> serde_json::Result<Self> {
        Self::new(line, user, oauth_entity, None, token_hash, columns, place, Some(tokens))
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of what is sent, each named where it is called")]
    fn new(
        line: u64,
        user: Option<String>,
        oauth_entity: Option<&str>,
        expires_at: Option<DateTime<Utc>>,
        token_hash: &str,
        session: &impl Serialize,
        place: Option<&impl Serialize>,
        tokens: Option<&impl Serialize>,
    ) -> serde_json::Result<Self> {
        #[derive(Serialize)]
        struct Sent<'a, S, P, T> {
            #[serde(skip_serializing_if = "Option::is_none")]
            user: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            oauth_entity: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            expires_at: Option<DateTime<Utc>>,
            session: &'a S,
            #[serde(skip_serializing_if = "Option::is_none")]
            place: Option<&'a P>,
            #[serde(skip_serializing_if = "Option::is_none")]
            tokens: Option<&'a T>,
        }
        let row = ImportRow::new(line, &Sent { user: user.as_deref(), oauth_entity, expires_at, session, place, tokens })?;
        // Sessions of one user in one lane, so that no two wait for the same user's row.
        let mut hasher = DefaultHasher::new();
        user.as_deref().map_or_else(|| token_hash.to_owned(), str::to_lowercase).hash(&mut hasher);
        Ok(Self { row, user, token: token_hash.to_owned(), lane: usize::try_from(hasher.finish() % LANES as u64).unwrap_or(0) })
    }

    /// The line it stands on in its source.
    pub const fn line(&self) -> u64 {
        self.row.line
    }

    /// The digest of its token, as PostgreSQL spells it.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The lane it goes in.
    pub const fn lane(&self) -> usize {
        self.lane
    }
}

/// Rows that a batch is halved by.
trait Numbered: Serialize {
    fn line(&self) -> u64;
}

impl Numbered for ImportRow {
    fn line(&self) -> u64 {
        self.line
    }
}

impl Numbered for ImportSession {
    fn line(&self) -> u64 {
        self.row.line
    }
}

/// A batch that is written whole; where a value of it breaks a rule of the tables, in halves, and so on until the one row is found
/// that is left out.
struct Parts<'a, T> {
    left: Vec<&'a [T]>,
    outcomes: Vec<Outcome>,
}

impl<'a, T: Numbered> Parts<'a, T> {
    fn of(batch: &'a [T]) -> Self {
        Self { left: vec![batch], outcomes: Vec::with_capacity(batch.len()) }
    }

    fn next(&mut self) -> Option<&'a [T]> {
        self.left.pop()
    }

    /// What came of writing this part.
    fn wrote(&mut self, part: &'a [T], written: Result<Vec<Outcome>>) -> Result<()> {
        let error = match written {
            Ok(outcomes) => {
                self.outcomes.extend(outcomes);
                return Ok(());
            }
            Err(error) => error,
        };
        let Some(rule) = broken_rule(&error) else { return Err(error) };
        match part {
            [] => {}
            [row] => self.outcomes.push(Outcome { line: row.line(), word: "unfit".to_owned(), rule: Some(rule) }),
            _ => {
                let (first, second) = part.split_at(part.len() / 2);
                self.left.extend([second, first]);
            }
        }
        Ok(())
    }
}

/// The constraint that a row broke, or what is the matter with a value of it; neither names a value.
fn broken_rule(error: &Error) -> Option<String> {
    let source = std::error::Error::source(error)?.downcast_ref::<sqlx::Error>()?;
    let database = source.as_database_error()?;
    let code = database.code()?;
    match &code[..2] {
        "22" => Some("a value is of another type or out of range".to_owned()),
        "54" => Some("a value is longer or nested deeper than PostgreSQL takes it".to_owned()),
        "23" => Some(database.constraint().unwrap_or("a column that must not be empty").to_owned()),
        _ => None,
    }
}

/// What came of a line: a word of the database, such as `imported`, `present` or `unknown_user`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The line.
    pub line: u64,
    /// The word.
    pub word: String,
    /// The rule of the tables that an `unfit` one broke.
    pub rule: Option<String>,
}

/// How sessions are imported.
#[derive(Debug, Clone, Copy)]
pub struct ImportWay<'a> {
    /// The source, for the events.
    pub source: &'a str,
    /// Whether a session that has been idle for too long is left out, instead of counting the import as its activity.
    pub strict_idle: bool,
    /// Whether a user of another store is the one here whose name differs from theirs in case.
    pub ignore_case: bool,
    /// Judge, and write nothing.
    pub rehearse: bool,
}

/// How properties are imported.
#[derive(Debug, Clone, Default)]
pub struct PropertyWay {
    /// Judge, and write nothing.
    pub rehearse: bool,
    /// Accept a maximum life that is not above its idle limit (P3).
    pub force_relations: bool,
    /// Accept more than 10,000 endings (P5).
    pub force_endings: bool,
    /// How many live sessions they end, as a rehearsal said; with another number nothing is written.
    pub expect: Expect,
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

    /// Those of these tokens of another store that sessions came with, live or ended.
    pub async fn foreign_present(&self, tokens: &[&ForeignToken]) -> Result<HashSet<Vec<u8>>> {
        let statement = "/* foreign_present */ select f from tenure.foreign_present($1) f";
        let mut present = HashSet::new();
        // A look at each month of history for each: on a slow disk many at once would take longer than a statement may.
        for some in tokens.chunks(1000) {
            let hashes: Vec<_> = some.iter().map(|token| token.hash().as_bytes()).collect();
            let ask = || async { sqlx::query_scalar::<_, Vec<u8>>(statement).bind(&hashes).fetch_all(&self.pool).await };
            present.extend(retrying(ask).await?);
        }
        Ok(present)
    }

    /// Imports a batch of sessions in a lane, all of them from that lane. A lock-out comes wholly before or wholly after (U4).
    pub async fn import_sessions(
        &self,
        lane: usize,
        batch: &[ImportSession],
        way: ImportWay<'_>,
        actor: Actor<'_>,
    ) -> Result<Vec<Outcome>> {
        let mut parts = Parts::of(batch);
        while let Some(part) = parts.next() {
            let mut users: Vec<&str> = part.iter().filter_map(|session| session.user.as_deref()).collect();
            users.sort_unstable();
            users.dedup();
            let written = retrying(|| async {
                let rows = sqlx::query(
                    "/* sessions_import */
                    with context as materialized (select tenure.act_as($1, $2) as set)
                    select i.line, i.outcome from context cross join lateral tenure.import_sessions($3, $4, $5, $6, $7, $8, $9) i where context.set",
                )
                .bind(actor.0)
                .bind(self.node.as_deref())
                .bind(i32::try_from(lane).unwrap_or(0))
                .bind(way.source)
                .bind(way.strict_idle)
                .bind(way.ignore_case)
                .bind(way.rehearse)
                .bind(&users)
                .bind(Json(part))
                .fetch_all(&self.pool)
                .await?;
                outcomes(&rows)
            })
            .await;
            parts.wrote(part, written)?;
        }
        Ok(parts.outcomes)
    }

    /// Imports a batch of users, as objects of their columns with `line`: those that are missing are made, others stay as they are.
    pub async fn import_users(&self, batch: &[ImportRow], rehearse: bool, actor: Actor<'_>) -> Result<Vec<Outcome>> {
        let statement = "/* users_import */ select i.line, i.outcome from tenure.import_users($1) i";
        self.import_rows(statement, batch, rehearse, actor).await
    }

    /// Imports client applications; those of a known name or id stay as they are. One whose secret stayed behind is confidential, and
    /// has a secret nobody knows until it is given a new one.
    pub async fn import_entities(&self, batch: &[ImportRow], rehearse: bool, actor: Actor<'_>) -> Result<Vec<Outcome>> {
        let statement = "/* oauth_entities_import */
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
              from given g left join made m on m.name = g.name";
        self.import_rows(statement, batch, rehearse, actor).await
    }

    /// Imports properties: all at once, because they are judged against each other (P3), and in one change: a broken relation, or a number of
    /// endings that is refused, refuses them all. What is not in the catalogue, maintenance, which no file announces, and a value that does not
    /// fit are answered as `ignored` and `invalid`, and leave the others alone. With it, how many live sessions they end.
    pub async fn import_properties(
        &self,
        batch: &[ImportRow],
        way: &PropertyWay,
        actor: Actor<'_>,
    ) -> Result<(Vec<Outcome>, i64)> {
        retrying(|| async {
            let mut transaction = self.begin_guarded(actor, way.force_relations || way.force_endings, &way.expect).await?;
            let rows = sqlx::query(
                "/* properties_import */ select i.line, i.outcome, i.ends_now from tenure.import_properties($1, $2) i",
            )
            .bind(Json(batch))
            .bind(way.force_endings)
            .fetch_all(&mut *transaction)
            .await?;
            let ends = rows.first().map_or(Ok(0), |row| row.try_get("ends_now"))?;
            let outcomes = outcomes(&rows)?;
            if way.rehearse {
                transaction.rollback().await?;
            } else {
                transaction.commit().await?;
            }
            Ok::<_, Error>((outcomes, ends))
        })
        .await
    }

    /// Imports ended sessions; those that are there, live or ended, stay.
    pub async fn import_ended(&self, batch: &[ImportRow], rehearse: bool, actor: Actor<'_>) -> Result<Vec<Outcome>> {
        let statement = "/* ended_sessions_import */
            with given as materialized (
                select (e.row ->> 'line')::bigint as line, r.*
                  from jsonb_array_elements($1) e (row)
                  left join tenure.users u on lower(u.name collate \"und-x-icu\") = lower(e.row ->> 'user_name' collate \"und-x-icu\")
                 cross join lateral jsonb_populate_record(null::tenure.ended_sessions, e.row || jsonb_build_object('user_id', u.id)) r
            ), made as (
                insert into tenure.ended_sessions
                      (id, token_hash, kind, user_id, user_name, device, remember_me, residue, created_at, anchor_at, refresh_seconds,
                       idle_limit_seconds, window_seconds, oauth_entity, app_state, app_state_at, node, client_address, user_agent,
                       ended_at, end_reason, ended_by, ended_on, oauth_hashes)
                select g.id, g.token_hash, g.kind, g.user_id, g.user_name, g.device, g.remember_me, g.residue, g.created_at, g.anchor_at, g.refresh_seconds,
                       g.idle_limit_seconds, g.window_seconds, g.oauth_entity, g.app_state, g.app_state_at, g.node, g.client_address, g.user_agent,
                       g.ended_at, g.end_reason, g.ended_by, g.ended_on, g.oauth_hashes
                  from given g
                 where not exists (select from tenure.sessions s where s.id = g.id)
                    on conflict do nothing
                returning id
            )
            select g.line, case when m.id is null then 'present' else 'imported' end as outcome
              from given g left join made m on m.id = g.id";
        self.import_rows(statement, batch, rehearse, actor).await
    }

    /// Imports events; those that are there stay.
    pub async fn import_events(&self, batch: &[ImportRow], rehearse: bool, actor: Actor<'_>) -> Result<Vec<Outcome>> {
        let statement = "/* session_events_import */
            with given as materialized (
                select (e.row ->> 'line')::bigint as line, r.*
                  from jsonb_array_elements($1) e (row)
                 cross join lateral jsonb_populate_record(null::tenure.session_events, e.row) r
            ), made as (
                insert into tenure.session_events (id, at, type, session_id, user_name, actor, reason, node, details)
                select g.id, g.at, g.type, g.session_id, g.user_name, g.actor, g.reason, g.node, g.details
                  from given g
                    on conflict do nothing
                returning id
            )
            select g.line, case when m.id is null then 'present' else 'imported' end as outcome
              from given g left join made m on m.id = g.id";
        self.import_rows(statement, batch, rehearse, actor).await
    }

    async fn import_rows(
        &self,
        statement: &'static str,
        batch: &[ImportRow],
        rehearse: bool,
        actor: Actor<'_>,
    ) -> Result<Vec<Outcome>> {
        let mut parts = Parts::of(batch);
        while let Some(part) = parts.next() {
            let written = retrying(|| async {
                let mut transaction = self.begin_long(actor, false).await?;
                let rows = sqlx::query(statement).bind(Json(part)).fetch_all(&mut *transaction).await?;
                let outcomes = outcomes(&rows)?;
                if rehearse {
                    transaction.rollback().await?;
                } else {
                    transaction.commit().await?;
                }
                Ok::<_, Error>(outcomes)
            })
            .await;
            parts.wrote(part, written)?;
        }
        Ok(parts.outcomes)
    }
}

fn outcomes(rows: &[sqlx::postgres::PgRow]) -> Result<Vec<Outcome>> {
    let outcome = |row: &sqlx::postgres::PgRow| -> sqlx::Result<Outcome> {
        Ok(Outcome { line: row.try_get::<i64, _>("line")?.unsigned_abs(), word: row.try_get("outcome")?, rule: None })
    };
    Ok(rows.iter().map(outcome).collect::<sqlx::Result<_>>()?)
}
