//! Rows to domain.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::session::{EndReason, Ending, Limits, Policy, Session};

/// A row of `tenure.session_facts`: a session that has not been moved to the ended ones, over or not.
#[derive(Debug, Clone, FromRow)]
#[allow(clippy::struct_excessive_bools)] // the row's own columns
pub struct LiveRow {
    /// SHA-256 of the token's secret.
    pub(super) token_hash: Vec<u8>,
    id: Uuid,
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
    active: bool,
    barred: Option<String>,
    now: DateTime<Utc>,
    idle_seconds: i32,
    max_life_seconds: Option<i32>,
    remember_me_seconds: Option<i32>,
    residue_seconds: Option<i32>,
    prompt_seconds: i32,
    auto_refresh_extends: bool,
    ajax_prompt: bool,
    ajax_resubmit: bool,
}

/// A row of `tenure.ended_sessions`.
#[derive(Debug, Clone, FromRow)]
pub(super) struct EndedRow {
    pub(super) token_hash: Vec<u8>,
    id: Uuid,
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
    ended_at: DateTime<Utc>,
    end_reason: String,
    ended_by: String,
    ended_on: Option<String>,
}

fn word<T: TryFrom<String, Error = String>>(column: &str, value: String) -> Result<T> {
    T::try_from(value).map_err(|error| Error::failed(format!("column {column} holds an unknown word: {error}")))
}

impl LiveRow {
    /// The session, its policy and the database's time of reading; over by deadline or user, it is shown as ended (A11).
    pub fn into_domain(self) -> Result<(Session, Policy, DateTime<Utc>)> {
        let policy = Policy {
            idle_seconds: self.idle_seconds,
            max_life_seconds: self.max_life_seconds,
            remember_me_seconds: self.remember_me_seconds,
            residue_seconds: self.residue_seconds,
            prompt_seconds: self.prompt_seconds,
            auto_refresh_extends: self.auto_refresh_extends,
            ajax_prompt: self.ajax_prompt,
            ajax_resubmit: self.ajax_resubmit,
        };
        let mut session = Session {
            id: self.id,
            kind: word("kind", self.kind)?,
            user: self.user_name,
            device: self.device.map(|device| word("device", device)).transpose()?,
            remember_me: self.remember_me,
            residue: self.residue,
            created_at: self.created_at,
            last_activity_at: self.anchor_at,
            refresh_seconds: self.refresh_seconds,
            idle_limit_seconds: self.idle_limit_seconds,
            window_seconds: self.window_seconds,
            oauth_entity: self.oauth_entity,
            app_state: self.app_state,
            app_state_at: self.app_state_at,
            node: self.node,
            client_address: self.client_address,
            user_agent: self.user_agent,
            active: self.active,
            ended: None,
        };
        let limits = Limits::of(&session, &policy);
        let over = if limits.expires_at <= self.now {
            Some((limits.reason, limits.expires_at))
        } else {
            self.barred.map(|reason| word("barred", reason)).transpose()?.map(|reason| (reason, self.now))
        };
        session.ended = over.map(|(reason, at)| Ending { reason, at, by: "tenure".to_owned(), on: None });
        Ok((session, policy, self.now))
    }
}

impl TryFrom<EndedRow> for Session {
    type Error = Error;

    fn try_from(row: EndedRow) -> Result<Self> {
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
            ended: Some(Ending {
                reason: word::<EndReason>("end_reason", row.end_reason)?,
                at: row.ended_at,
                by: row.ended_by,
                on: row.ended_on,
            }),
        })
    }
}
