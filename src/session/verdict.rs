//! What a check answers: accepted with the time left, or over with the reason and what to do (SEMANTICS 5).

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Activity, Deadlines, EndReason, Ending, Kind, Limits, Policy, Session, instant};

/// An accepted check.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The session after the activity was counted.
    pub session: Session,
    /// Its limits.
    pub limits: Limits,
    /// Whole seconds left, rounded down.
    pub seconds_left: i64,
    /// Whether to show "Extend your session" now (A10).
    pub prompt: bool,
    /// From when to show it; `None` when never.
    pub prompt_at: Option<DateTime<Utc>>,
    /// Whether activity would move the end.
    pub can_extend: bool,
    /// The database's time of the check.
    pub now: DateTime<Utc>,
}

impl Accepted {
    /// The answer for a session that lives at `now`.
    pub fn at(session: Session, policy: &Policy, now: DateTime<Utc>) -> Self {
        let deadlines = Deadlines::of(&session.timing(), session.last_activity_at.timestamp_micros(), policy);
        let limits = Limits::from(deadlines);
        let prompt_at = deadlines.prompt_at(session.kind, policy).map(instant);
        Self {
            seconds_left: (limits.expires_at - now).num_seconds().max(0),
            prompt: prompt_at.is_some_and(|at| at <= now),
            prompt_at,
            can_extend: deadlines.can_extend(),
            now,
            session,
            limits,
        }
    }
}

/// What the client should do about a session that is over (E1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Enter credentials again.
    AuthenticateAgain,
    /// Begin a new guest session.
    StartGuestSession,
    /// Show the sign-in page.
    RedirectToLogin,
    /// Ask "continue?", sign in, send the request again.
    ResubmitAfterLogin,
    /// Say that it ended and offer sign-in; send nothing again.
    PromptToContinue,
    /// Nothing.
    None,
}

/// A session that is over, for the holder of its token.
#[derive(Debug, Clone)]
pub struct Over {
    /// The session.
    pub session: Session,
    /// Why, when, by whom.
    pub ending: Ending,
    /// What to do.
    pub action: Action,
}

impl Action {
    /// The word as JSON and headers spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthenticateAgain => "authenticate_again",
            Self::StartGuestSession => "start_guest_session",
            Self::RedirectToLogin => "redirect_to_login",
            Self::ResubmitAfterLogin => "resubmit_after_login",
            Self::PromptToContinue => "prompt_to_continue",
            Self::None => "none",
        }
    }

    /// The action for an activity that met an ended session (E1).
    pub fn after(kind: Kind, remember_me: bool, reason: EndReason, activity: Activity, policy: &Policy) -> Self {
        let timed_out = matches!(reason, EndReason::Idle | EndReason::MaxLife | EndReason::RememberMe);
        match kind {
            Kind::Integration | Kind::Mobile => Self::AuthenticateAgain,
            Kind::Guest => Self::StartGuestSession,
            Kind::User if activity == Activity::Ajax && timed_out => {
                if policy.ajax_resubmit && remember_me {
                    Self::ResubmitAfterLogin
                } else if policy.ajax_prompt {
                    Self::PromptToContinue
                } else {
                    Self::None
                }
            }
            Kind::User => Self::RedirectToLogin,
        }
    }
}
