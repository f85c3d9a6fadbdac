//! What is known of one session.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Device, EndReason, Kind, Timing, TokenHash};

/// The facts of a session, live or ended, as the store keeps them; deadlines are computed from them by [`super::Limits`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Public id, a UUID version 7; it may be logged.
    pub id: Uuid,
    /// Kind.
    pub kind: Kind,
    /// User name; `None` for guests.
    pub user: Option<String>,
    /// What the client runs on.
    pub device: Option<Device>,
    /// Remember Me was asked for.
    pub remember_me: bool,
    /// The guest session a sign-out left.
    pub residue: bool,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// The activity anchor (A2).
    pub last_activity_at: DateTime<Utc>,
    /// Homepage refresh interval, frozen at sign-in, seconds.
    pub refresh_seconds: Option<i32>,
    /// Its own idle limit (K5), seconds.
    pub idle_limit_seconds: Option<i32>,
    /// Mobile window (M2), seconds.
    pub window_seconds: Option<i32>,
    /// Client application of a mobile session.
    pub oauth_entity: Option<String>,
    /// Last state the mobile app reported.
    pub app_state: Option<String>,
    /// When it reported it.
    pub app_state_at: Option<DateTime<Utc>>,
    /// Node that last counted activity.
    pub node: Option<String>,
    /// Client address at sign-in.
    pub client_address: Option<IpAddr>,
    /// User agent at sign-in.
    pub user_agent: Option<String>,
    /// A transaction is open right now (C2).
    pub active: bool,
    /// How it ended; `None` while it lives.
    pub ended: Option<Ending>,
}

impl Session {
    /// What decides its deadlines.
    pub fn timing(&self) -> Timing {
        Timing {
            kind: self.kind,
            device: self.device,
            remember_me: self.remember_me,
            residue: self.residue,
            created_at: self.created_at.timestamp_micros(),
            refresh_seconds: self.refresh_seconds,
            idle_limit_seconds: self.idle_limit_seconds,
            window_seconds: self.window_seconds,
        }
    }
}

/// What a node remembers of a live session: what decides over a check, and nothing that is only shown.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Public id.
    pub id: Uuid,
    /// Digest of the token's secret.
    pub hash: TokenHash,
    /// What decides its deadlines.
    pub timing: Timing,
    /// Its anchor in the database, microseconds since 1970.
    pub anchor: i64,
    /// Whose it is.
    pub user: Option<(i64, Box<str>)>,
}

/// Why, when, by whom and where a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub reason: EndReason,
    /// The deadline that passed, or the moment of the act.
    pub at: DateTime<Utc>,
    /// Who; `tenure` is the store itself.
    pub by: String,
    /// The node it went through, when one did.
    pub on: Option<String>,
}
