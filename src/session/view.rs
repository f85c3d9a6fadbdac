//! SESSION as JSON shows it: one shape for the HTTP API and the command line.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{Device, EndReason, Kind, Limits, Session};

/// A session as documents show it. Times are RFC 3339 in UTC; a deadline that does not apply is null.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct SessionView {
    /// Public id.
    pub id: Uuid,
    /// Kind.
    pub kind: Kind,
    /// User name; null for guests.
    pub user: Option<String>,
    /// `live` or `ended`.
    pub state: &'static str,
    /// A transaction is open right now.
    pub active: bool,
    /// Where it was used and from; left out of the answer to a check.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// Device.
    pub device: Option<Device>,
    /// Remember Me was asked for.
    pub remember_me: bool,
    /// Left by a sign-out.
    pub residue: bool,
    /// Homepage refresh interval, minutes.
    pub homepage_refresh_minutes: Option<i32>,
    /// Its own idle limit, minutes.
    pub idle_limit_minutes: Option<i32>,
    /// Client application of a mobile session.
    pub oauth_entity: Option<String>,
    /// Mobile window, seconds.
    pub window_seconds: Option<i32>,
    /// Last state the mobile app reported.
    pub app_state: Option<String>,
    /// When it reported it.
    pub app_state_at: Option<DateTime<Utc>>,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// Last counted activity.
    pub last_activity_at: DateTime<Utc>,
    /// When it ends without further activity.
    pub idle_deadline_at: Option<DateTime<Utc>>,
    /// When it ends whatever the activity.
    pub max_life_deadline_at: Option<DateTime<Utc>>,
    /// When Remember Me ends it.
    pub remember_me_deadline_at: Option<DateTime<Utc>>,
    /// When the residue of a sign-out ends.
    pub residue_deadline_at: Option<DateTime<Utc>>,
    /// The earliest deadline that applies.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it ended.
    pub end_reason: Option<EndReason>,
    /// Who ended it.
    pub ended_by: Option<String>,
}

/// Where a session was used and from.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Place {
    /// Node that last counted activity.
    pub node: Option<String>,
    /// Client address at sign-in.
    pub client_address: Option<String>,
    /// User agent at sign-in.
    pub user_agent: Option<String>,
}

impl SessionView {
    /// The whole document.
    pub fn new(session: Session, limits: Option<&Limits>) -> Self {
        let limits = limits.filter(|_| session.ended.is_none());
        Self {
            id: session.id,
            kind: session.kind,
            user: session.user,
            state: if session.ended.is_some() { "ended" } else { "live" },
            active: session.active && session.ended.is_none(),
            place: Some(Place {
                node: session.node,
                client_address: session.client_address.map(|address| address.to_string()),
                user_agent: session.user_agent,
            }),
            device: session.device,
            remember_me: session.remember_me,
            residue: session.residue,
            homepage_refresh_minutes: session.refresh_seconds.map(|seconds| seconds / 60),
            idle_limit_minutes: session.idle_limit_seconds.map(|seconds| seconds / 60),
            oauth_entity: session.oauth_entity,
            window_seconds: session.window_seconds,
            app_state: session.app_state,
            app_state_at: session.app_state_at,
            created_at: session.created_at,
            last_activity_at: session.last_activity_at,
            idle_deadline_at: limits.and_then(|limits| limits.idle_deadline_at),
            max_life_deadline_at: limits.and_then(|limits| limits.max_life_deadline_at),
            remember_me_deadline_at: limits.and_then(|limits| limits.remember_me_deadline_at),
            residue_deadline_at: limits.and_then(|limits| limits.residue_deadline_at),
            expires_at: limits.map(|limits| limits.expires_at),
            ended_at: session.ended.as_ref().map(|ending| ending.at),
            end_reason: session.ended.as_ref().map(|ending| ending.reason),
            ended_by: session.ended.map(|ending| ending.by),
        }
    }

    /// The document without node, address and agent, as a check answers it.
    #[must_use]
    pub fn without_place(mut self) -> Self {
        self.place = None;
        self
    }
}
