//! Rows to domain.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::session::{EndReason, Ending, Kind, Limits, Loaded, Policy, Session, Timing, TokenHash};

/// What live and ended rows have in common.
#[derive(Debug, Clone, FromRow)]
struct FactsRow {
    id: Uuid,
    token_hash: Vec<u8>,
    kind: String,
    user_name: Option<String>,
    device: Option<String>,
    remember_me: bool,
    residue: bool,
    created_at: DateTime<Utc>,
    anchor_at: DateTime<Utc>,
    refresh_seconds: Option<i32>,
    idle_limit_seconds: Option<i32>,
    window_seconds: Option<i32>,
    oauth_entity: Option<String>,
    app_state: Option<String>,
    app_state_at: Option<DateTime<Utc>>,
    node: Option<String>,
    client_address: Option<IpAddr>,
    user_agent: Option<String>,
}

/// A row of `tenure.session_facts`: a session that has not been moved to the ended ones, over or not.
#[derive(Debug, Clone, FromRow)]
pub struct LiveRow {
    #[sqlx(flatten)]
    facts: FactsRow,
    active: bool,
    barred: Option<String>,
    now: DateTime<Utc>,
    #[sqlx(flatten)]
    policy: Policy,
}

/// A live row as a check reads it that counts in memory, by position: it is read far more often than any other.
#[derive(Debug)]
pub(super) struct LookRow {
    loaded: Loaded,
    admitted: bool,
}

impl FromRow<'_, PgRow> for LookRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let decoded = |error: String| sqlx::Error::Decode(error.into());
        let micros = |place: usize| row.try_get::<DateTime<Utc>, _>(place).map(|at| at.timestamp_micros());
        let user_id: Option<i64> = row.try_get(9)?;
        let user_name: Option<&str> = row.try_get(10)?;
        let loaded = Loaded {
            hash: TokenHash::stored(row.try_get(0)?),
            timing: Timing {
                kind: row.try_get::<&str, _>(1)?.parse().map_err(decoded)?,
                device: row.try_get::<Option<&str>, _>(2)?.map(str::parse).transpose().map_err(decoded)?,
                remember_me: row.try_get(3)?,
                residue: row.try_get(4)?,
                created_at: micros(5)?,
                refresh_seconds: row.try_get(7)?,
                idle_limit_seconds: row.try_get(8)?,
                window_seconds: None,
            },
            anchor: micros(6)?,
            user: user_id.zip(user_name.map(Into::into)),
            id: row.try_get(12)?,
        };
        Ok(Self { loaded, admitted: row.try_get(11)? })
    }
}

/// A row of `tenure.ended_sessions`.
#[derive(Debug, Clone, FromRow)]
pub(super) struct EndedRow {
    #[sqlx(flatten)]
    facts: FactsRow,
    ended_at: DateTime<Utc>,
    end_reason: String,
    ended_by: String,
    ended_on: Option<String>,
    oauth_hashes: Option<Vec<Vec<u8>>>,
}

/// By hand, because the domain does not know the driver.
impl FromRow<'_, PgRow> for Policy {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            idle_seconds: row.try_get("idle_seconds")?,
            max_life_seconds: row.try_get("max_life_seconds")?,
            remember_me_seconds: row.try_get("remember_me_seconds")?,
            residue_seconds: row.try_get("residue_seconds")?,
            prompt_seconds: row.try_get("prompt_seconds")?,
            auto_refresh_extends: row.try_get("auto_refresh_extends")?,
            ajax_prompt: row.try_get("ajax_prompt")?,
            ajax_resubmit: row.try_get("ajax_resubmit")?,
            maintenance_at: row.try_get("maintenance_at")?,
        })
    }
}

/// A word of a column, as the database's own constraints spell it.
pub(super) fn word<T: TryFrom<String, Error = String>>(column: &str, value: String) -> Result<T> {
    T::try_from(value).map_err(|error| Error::failed(format!("column {column} holds an unknown word: {error}")))
}

impl TryFrom<FactsRow> for Session {
    type Error = Error;

    fn try_from(row: FactsRow) -> Result<Self> {
        Ok(Self {
            id: row.id,
            kind: word("kind", row.kind)?,
            user: row.user_name,
            device: row.device.map(|device| word("device", device)).transpose()?,
            remember_me: row.remember_me,
            residue: row.residue,
            created_at: row.created_at,
            last_activity_at: row.anchor_at,
            refresh_seconds: row.refresh_seconds,
            idle_limit_seconds: row.idle_limit_seconds,
            window_seconds: row.window_seconds,
            oauth_entity: row.oauth_entity,
            app_state: row.app_state,
            app_state_at: row.app_state_at,
            node: row.node,
            client_address: row.client_address,
            user_agent: row.user_agent,
            active: false,
            ended: None,
        })
    }
}

impl LiveRow {
    /// SHA-256 of the token's secret.
    pub(super) fn token_hash(&self) -> &[u8] {
        &self.facts.token_hash
    }

    /// The session, its policy and the database's time of reading; over by deadline or user, it is shown as ended (A11).
    pub fn into_domain(self) -> Result<(Session, Policy, DateTime<Utc>)> {
        let mut session = Session::try_from(self.facts)?;
        session.active = self.active;
        let limits = Limits::of(&session, &self.policy);
        let over = if limits.expires_at <= self.now {
            Some((limits.reason, limits.expires_at))
        } else {
            self.barred.map(|reason| word("barred", reason)).transpose()?.map(|reason| (reason, self.now))
        };
        session.ended = over.map(|(reason, at)| Ending { reason, at, by: "tenure".to_owned(), on: None });
        Ok((session, self.policy, self.now))
    }
}

impl LookRow {
    /// What a node may remember of the session: nothing while its user is not admitted, because a change of U3's switch names
    /// no sessions, and nothing of a mobile one, whose state is more than an anchor (M3).
    pub(super) fn loaded(self) -> Option<Loaded> {
        (self.admitted && self.loaded.timing.kind != Kind::Mobile).then_some(self.loaded)
    }
}

impl EndedRow {
    /// Whether a token with this digest is the session's own, or was good when it ended.
    pub(super) fn is_held_by(&self, hash: &TokenHash) -> bool {
        hash.matches(&self.facts.token_hash) || self.oauth_hashes.iter().flatten().any(|held| hash.matches(held))
    }
}

impl EndedRow {
    /// Why it ended.
    pub(super) fn reason(&self) -> Result<EndReason> {
        word("end_reason", self.end_reason.clone())
    }
}

impl TryFrom<EndedRow> for Session {
    type Error = Error;

    fn try_from(row: EndedRow) -> Result<Self> {
        let reason = row.reason()?;
        let ended = Ending { reason, at: row.ended_at, by: row.ended_by, on: row.ended_on };
        Ok(Self { ended: Some(ended), ..Self::try_from(row.facts)? })
    }
}
