//! The limits of a session as instants: the twin of `tenure.limits` in `migrations/V5__limits.sql`.
//!
//! A property test holds the two together to the microsecond. Nothing else in the program adds a limit to an instant.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Device, EndReason, Kind, Session};

/// The limits in force for one kind, resolved from the properties: a row of `tenure.policies`.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

/// Every candidate deadline of a session; a limit that does not apply is `None`.
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
    /// The earliest of them.
    pub expires_at: DateTime<Utc>,
    /// Which one that is; on a tie `max_life` (A11).
    pub reason: EndReason,
}

impl Limits {
    /// The limits of a session under a policy.
    pub fn of(session: &Session, policy: &Policy) -> Self {
        let after = |from: DateTime<Utc>, seconds: i32| from + TimeDelta::seconds(seconds.into());
        let remembered = session.remember_me.then_some(policy.remember_me_seconds).flatten();
        let idle_limit = session.idle_limit_seconds.unwrap_or(policy.idle_seconds);

        let idle_seconds = match (session.kind, session.refresh_seconds) {
            (Kind::Mobile, _) => session.window_seconds,
            _ if remembered.is_some() => None,
            (_, Some(refresh)) if session.device == Some(Device::Desktop) && !policy.auto_refresh_extends => {
                Some(idle_limit + refresh)
            }
            _ => Some(idle_limit),
        };
        let idle = idle_seconds.map(|seconds| after(session.last_activity_at, seconds));
        let max_life = policy.max_life_seconds.map(|seconds| after(session.created_at, seconds));
        let remember_me = remembered.map(|seconds| after(session.created_at, seconds));
        let residue =
            session.residue.then_some(policy.residue_seconds).flatten().map(|seconds| after(session.created_at, seconds));

        // `min_by_key` keeps the first of equals, so the order here is the order of precedence on a tie.
        let (expires_at, reason) = [
            (max_life, EndReason::MaxLife),
            (remember_me, EndReason::RememberMe),
            (residue, EndReason::Residue),
            (idle, EndReason::Idle),
        ]
        .into_iter()
        .filter_map(|(at, reason)| at.map(|at| (at, reason)))
        .min_by_key(|(at, _)| *at)
        .unwrap_or((session.created_at, EndReason::Idle));

        Self {
            idle_deadline_at: idle,
            max_life_deadline_at: max_life,
            remember_me_deadline_at: remember_me,
            residue_deadline_at: residue,
            expires_at,
            reason,
        }
    }

    /// Whether more activity would move the end: the idle deadline is earlier than every other limit (A10).
    pub fn can_extend(&self) -> bool {
        self.reason == EndReason::Idle
    }

    /// From when "Extend your session" is offered (A10); `None` when it never is.
    pub fn prompt_at(&self, kind: Kind, policy: &Policy) -> Option<DateTime<Utc>> {
        if kind != Kind::User || policy.prompt_seconds == 0 || !self.can_extend() {
            return None;
        }
        self.idle_deadline_at.map(|at| at - TimeDelta::seconds(policy.prompt_seconds.into()))
    }
}
