//! The limits of a session as instants: the twin of `tenure.limits` in `migrations/V13__admission.sql`.
//!
//! A property test holds the two together to the microsecond. Nothing else in the program adds a limit to an instant.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Device, EndReason, Kind, Session};

/// The limits in force for one kind, resolved from the properties: a row of `tenure.policies`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Policy {
    /// Idle limit, seconds.
    pub idle_seconds: i32,
    /// Maximum life, seconds; `None` when off.
    pub max_life_seconds: Option<i32>,
    /// How long Remember Me keeps a session, seconds; `None` while it is off for everyone.
    pub remember_me_seconds: Option<i32>,
    /// Life of the guest session a sign-out leaves, seconds; `None` when off.
    pub residue_seconds: Option<i32>,
    /// How long before the idle deadline the prompt begins, seconds; 0 never.
    pub prompt_seconds: i32,
    /// `glide.ui.auto_req.extend.session`.
    pub auto_refresh_extends: bool,
    /// `glide.security.csrf.handle.ajax.timeout`.
    pub ajax_prompt: bool,
    /// `glide.security.auto.resubmit.ajax`.
    pub ajax_resubmit: bool,
    /// When every session begun before it ends; `None` without maintenance.
    pub maintenance_at: Option<DateTime<Utc>>,
}

/// What decides a session's deadlines, besides its activity anchor and the policy. Small and `Copy`: it is what a node
/// remembers of a session. Instants are microseconds since 1970, the resolution of PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Kind.
    pub kind: Kind,
    /// Device.
    pub device: Option<Device>,
    /// Remember Me was asked for.
    pub remember_me: bool,
    /// The guest session a sign-out left.
    pub residue: bool,
    /// When it began.
    pub created_at: i64,
    /// Homepage refresh interval, seconds.
    pub refresh_seconds: Option<i32>,
    /// Its own idle limit (K5), seconds.
    pub idle_limit_seconds: Option<i32>,
    /// Mobile window (M2), seconds.
    pub window_seconds: Option<i32>,
}

/// Every candidate deadline of a session, microseconds since 1970; a limit that does not apply is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Anchor plus idle limit, or plus the window for mobile (A2, A6, K5, M3).
    pub idle: Option<i64>,
    /// Creation plus maximum life (A9).
    pub max_life: Option<i64>,
    /// Creation plus the Remember Me life span (A8).
    pub remember_me: Option<i64>,
    /// Sign-out plus the residue's life (K4).
    pub residue: Option<i64>,
    /// Maintenance, for a session begun before it (X3).
    pub maintenance: Option<i64>,
    /// The earliest of them.
    pub expires_at: i64,
    /// Which one that is; on a tie `max_life` (A11).
    pub reason: EndReason,
}

const fn after(from: i64, seconds: i32) -> i64 {
    from.saturating_add(seconds as i64 * 1_000_000)
}

impl Deadlines {
    /// The deadlines of a session whose activity anchor is `anchor`, under a policy.
    pub fn of(timing: &Timing, anchor: i64, policy: &Policy) -> Self {
        let remembered = if timing.remember_me { policy.remember_me_seconds } else { None };
        let idle_limit = timing.idle_limit_seconds.unwrap_or(policy.idle_seconds);

        let idle_seconds = match (timing.kind, timing.refresh_seconds) {
            (Kind::Mobile, _) => timing.window_seconds,
            _ if remembered.is_some() => None,
            (_, Some(refresh)) if timing.device == Some(Device::Desktop) && !policy.auto_refresh_extends => {
                Some(idle_limit + refresh)
            }
            _ => Some(idle_limit),
        };
        let idle = idle_seconds.map(|seconds| after(anchor, seconds));
        let max_life = policy.max_life_seconds.map(|seconds| after(timing.created_at, seconds));
        let remember_me = remembered.map(|seconds| after(timing.created_at, seconds));
        let residue = if timing.residue { policy.residue_seconds } else { None }.map(|seconds| after(timing.created_at, seconds));
        let maintenance = policy.maintenance_at.map(|at| at.timestamp_micros()).filter(|at| timing.created_at < *at);

        // `min_by_key` keeps the first of equals, so the order here is the order of precedence on a tie.
        let (expires_at, reason) = [
            (max_life, EndReason::MaxLife),
            (remember_me, EndReason::RememberMe),
            (residue, EndReason::Residue),
            (maintenance, EndReason::Maintenance),
            (idle, EndReason::Idle),
        ]
        .into_iter()
        .filter_map(|(at, reason)| at.map(|at| (at, reason)))
        .min_by_key(|(at, _)| *at)
        .unwrap_or((timing.created_at, EndReason::Idle));

        Self { idle, max_life, remember_me, residue, maintenance, expires_at, reason }
    }

    /// Whether more activity would move the end: the idle deadline is earlier than every other limit (A10).
    pub fn can_extend(&self) -> bool {
        self.reason == EndReason::Idle
    }

    /// From when "Extend your session" is offered (A10); `None` when it never is.
    pub fn prompt_at(&self, kind: Kind, policy: &Policy) -> Option<i64> {
        if kind != Kind::User || policy.prompt_seconds == 0 || !self.can_extend() {
            return None;
        }
        self.idle.map(|at| after(at, -policy.prompt_seconds))
    }
}

/// Every candidate deadline of a session as instants, for documents and explanations; a limit that does not apply is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Anchor plus idle limit, or plus the window for mobile (A2, A6, K5, M3).
    pub idle_deadline_at: Option<DateTime<Utc>>,
    /// Creation plus maximum life (A9).
    pub max_life_deadline_at: Option<DateTime<Utc>>,
    /// Creation plus the Remember Me life span (A8).
    pub remember_me_deadline_at: Option<DateTime<Utc>>,
    /// Sign-out plus the residue's life (K4).
    pub residue_deadline_at: Option<DateTime<Utc>>,
    /// Maintenance, for a session begun before it (X3).
    pub maintenance_at: Option<DateTime<Utc>>,
    /// The earliest of them.
    pub expires_at: DateTime<Utc>,
    /// Which one that is; on a tie `max_life` (A11).
    pub reason: EndReason,
}

impl Limits {
    /// The limits of a session under a policy.
    pub fn of(session: &Session, policy: &Policy) -> Self {
        Deadlines::of(&session.timing(), session.last_activity_at.timestamp_micros(), policy).into()
    }
}

impl From<Deadlines> for Limits {
    fn from(deadlines: Deadlines) -> Self {
        Self {
            idle_deadline_at: deadlines.idle.map(instant),
            max_life_deadline_at: deadlines.max_life.map(instant),
            remember_me_deadline_at: deadlines.remember_me.map(instant),
            residue_deadline_at: deadlines.residue.map(instant),
            maintenance_at: deadlines.maintenance.map(instant),
            expires_at: instant(deadlines.expires_at),
            reason: deadlines.reason,
        }
    }
}

/// Microseconds since 1970 as an instant; the furthest one for what lies beyond every calendar.
pub fn instant(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
