//! *Explain* (X1): every candidate deadline, whether it applies and why, where its limit comes from, and which one binds.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{Device, EndReason, Kind, Limits, Policy, Session};

/// One candidate deadline.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Candidate {
    /// `idle`, `max_life`, `remember_me`, `residue`, `mobile_window`, or `maintenance` while there is any.
    pub limit: &'static str,
    /// Whether it can end this session.
    pub applies: bool,
    /// Why it applies, or why not.
    pub why: String,
    /// When it would end the session.
    pub deadline_at: Option<DateTime<Utc>>,
    /// `row`, `default`, `release_profile`, `override`, `oauth_entity` or `frozen`.
    pub source: &'static str,
    /// The property, or the field of the session, the limit comes from.
    pub name: &'static str,
    /// Its value.
    pub value: Option<String>,
    /// Its unit.
    pub unit: Option<&'static str>,
    /// Other facts the deadline was computed from, as `name=value`.
    pub inputs: Vec<String>,
}

/// Why, by whom, when and where an ended session ended.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Recorded {
    /// Why.
    pub reason: EndReason,
    /// Who.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
    /// On which node; null for plain SQL.
    pub node: Option<String>,
}

/// The whole explanation.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Explanation {
    /// The session.
    pub session_id: Uuid,
    /// `live` or `ended`.
    pub state: &'static str,
    /// The limit that binds: the earliest that applies. For an ended session, the limit that ended it, or null when somebody did.
    pub binding: Option<&'static str>,
    /// Every limit there is for this kind of session.
    pub candidates: Vec<Candidate>,
    /// How it ended; null while it lives.
    pub ended: Option<Recorded>,
}

/// The effective value of a property and where it comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Effective value; `None` when unset.
    pub value: Option<String>,
    /// `row`, `default` or `release_profile`.
    pub source: &'static str,
}

/// Property values by name, as the catalogue resolves them.
pub type Origins = BTreeMap<String, Origin>;

impl Explanation {
    /// Explains a session under a policy; `origins` says where the policy's values come from.
    pub fn of(session: &Session, policy: &Policy, origins: &Origins) -> Self {
        let limits = Limits::of(session, policy);
        let mut candidates = vec![idle(session, policy, &limits, origins), max_life(session, &limits, origins)];
        match session.kind {
            Kind::User => candidates.push(remember_me(session, policy, &limits, origins)),
            Kind::Guest => candidates.push(residue(session, policy, &limits, origins)),
            Kind::Integration | Kind::Mobile => {}
        }
        if policy.maintenance_at.is_some() {
            candidates.push(maintenance(session, &limits, origins));
        }
        let mut binding = Some(name_of(session.kind, limits.reason));
        if let Some(ending) = &session.ended {
            // Whatever is no limit was somebody's decision, and so is maintenance when it was not set, or had not begun.
            let reason = name_of(session.kind, ending.reason);
            let begun = policy.maintenance_at.is_some_and(|at| session.created_at < at && at <= ending.at);
            binding = candidates
                .iter()
                .map(|candidate| candidate.limit)
                .find(|limit| *limit == reason && (*limit != "maintenance" || begun));
            for candidate in &mut candidates {
                let ended_it = binding == Some(candidate.limit);
                candidate.applies = false;
                candidate.deadline_at = ended_it.then_some(ending.at);
                candidate.why = if ended_it {
                    "It ended the session; value and source are today's.".to_owned()
                } else {
                    "The session is over.".to_owned()
                };
            }
        }
        Self {
            session_id: session.id,
            state: if session.ended.is_some() { "ended" } else { "live" },
            binding,
            candidates,
            ended: session.ended.as_ref().map(|ending| Recorded {
                reason: ending.reason,
                by: ending.by.clone(),
                at: ending.at,
                node: ending.on.clone(),
            }),
        }
    }
}

fn name_of(kind: Kind, reason: EndReason) -> &'static str {
    match reason {
        EndReason::Idle if kind == Kind::Mobile => "mobile_window",
        reason => reason.as_str(),
    }
}

fn from_property(limit: &'static str, name: &'static str, unit: &'static str, origins: &Origins) -> Candidate {
    let origin = origins.get(name);
    Candidate {
        limit,
        applies: false,
        why: String::new(),
        deadline_at: None,
        source: origin.map_or("default", |origin| origin.source),
        name,
        value: origin.and_then(|origin| origin.value.clone()),
        unit: Some(unit),
        inputs: Vec::new(),
    }
}

fn input(name: &str, origins: &Origins) -> String {
    format!("{name}={}", origins.get(name).and_then(|origin| origin.value.as_deref()).unwrap_or("unset"))
}

fn idle(session: &Session, policy: &Policy, limits: &Limits, origins: &Origins) -> Candidate {
    let name = match session.kind {
        Kind::User => "glide.ui.session_timeout",
        Kind::Guest => "glide.guest.session_timeout",
        Kind::Integration => "glide.integration.session_timeout",
        Kind::Mobile => {
            return Candidate {
                limit: "mobile_window",
                applies: true,
                why: "Activity moves it on; the window was frozen at sign-in.".to_owned(),
                deadline_at: limits.idle_deadline_at,
                source: "frozen",
                name: "window_seconds",
                value: session.window_seconds.map(|seconds| seconds.to_string()),
                unit: Some("seconds"),
                inputs: vec![
                    format!("last_activity_at={}", session.last_activity_at.to_rfc3339()),
                    format!("oauth_entity={}", session.oauth_entity.as_deref().unwrap_or("deleted")),
                ],
            };
        }
    };
    let mut candidate = from_property("idle", name, "minutes", origins);
    candidate.deadline_at = limits.idle_deadline_at;
    candidate.applies = limits.idle_deadline_at.is_some();
    candidate.why = if candidate.applies {
        "Counted from the last activity.".to_owned()
    } else {
        "Remember Me sessions have no idle limit.".to_owned()
    };
    candidate.inputs.push(format!("last_activity_at={}", session.last_activity_at.to_rfc3339()));
    if let Some(seconds) = session.idle_limit_seconds {
        candidate.source = "override";
        candidate.name = "idle_limit_minutes";
        candidate.value = Some((seconds / 60).to_string());
        if candidate.applies {
            candidate.why.push_str(" The sign-in gave the session its own idle limit.");
        }
    }
    if let (Some(seconds), false, Some(Device::Desktop)) = (session.refresh_seconds, policy.auto_refresh_extends, session.device)
    {
        candidate.inputs.push(format!("homepage_refresh_minutes={}", seconds / 60));
        candidate.inputs.push(input("glide.ui.auto_req.extend.session", origins));
        if candidate.applies {
            candidate.why.push_str(" One homepage refresh interval is added, because the reload itself does not count.");
        }
    }
    if session.remember_me && candidate.applies {
        candidate.inputs.push(input("glide.ui.forgetme", origins));
    }
    if candidate.source == "release_profile" {
        candidate.inputs.push(input("tenure.release_profile", origins));
    }
    candidate
}

fn max_life(session: &Session, limits: &Limits, origins: &Origins) -> Candidate {
    let name = match session.kind {
        Kind::User => "glide.ui.active.session.life_span",
        Kind::Guest => "glide.guest.active.session.life_span",
        Kind::Integration => "glide.integrations.active.session.life_span",
        Kind::Mobile => "tenure.mobile.active.session.life_span",
    };
    let mut candidate = from_property("max_life", name, "minutes", origins);
    candidate.deadline_at = limits.max_life_deadline_at;
    candidate.applies = limits.max_life_deadline_at.is_some();
    candidate.why = if candidate.applies {
        "Counted from the creation, whatever the activity.".to_owned()
    } else if session.kind == Kind::Integration && candidate.value.as_deref() != Some("0") {
        "Switched off by glide.active.session.timeout.invalidate.session.".to_owned()
    } else {
        "Off: the life span is 0.".to_owned()
    };
    if session.kind == Kind::Integration {
        candidate.inputs.push(input("glide.active.session.timeout.invalidate.session", origins));
    }
    candidate.inputs.push(format!("created_at={}", session.created_at.to_rfc3339()));
    candidate
}

fn remember_me(session: &Session, policy: &Policy, limits: &Limits, origins: &Origins) -> Candidate {
    let mut candidate = from_property("remember_me", "glide.ui.user_cookie.life_span_in_days", "days", origins);
    candidate.deadline_at = limits.remember_me_deadline_at;
    candidate.applies = limits.remember_me_deadline_at.is_some();
    candidate.why = if candidate.applies {
        "Remember Me was chosen: counted from the creation, in place of the idle limit.".to_owned()
    } else if session.remember_me && policy.remember_me_seconds.is_none() {
        "Remember Me was chosen, but glide.ui.forgetme switches it off for everyone.".to_owned()
    } else {
        "Remember Me was not chosen.".to_owned()
    };
    candidate.inputs.push(input("glide.ui.forgetme", origins));
    candidate.inputs.push(format!("created_at={}", session.created_at.to_rfc3339()));
    candidate
}

fn residue(session: &Session, policy: &Policy, limits: &Limits, origins: &Origins) -> Candidate {
    let mut candidate = from_property("residue", "glide.unauthorized.session_timeout", "minutes", origins);
    candidate.deadline_at = limits.residue_deadline_at;
    candidate.applies = limits.residue_deadline_at.is_some();
    candidate.why = if candidate.applies {
        "Left by a sign-out: counted from it, whatever the activity.".to_owned()
    } else if session.residue && policy.residue_seconds.is_none() {
        "Left by a sign-out, but the property is unset or switched off.".to_owned()
    } else {
        "Only the guest session that a sign-out leaves has it.".to_owned()
    };
    candidate.inputs.push(input("glide.session.unauthorized.timeout.enabled", origins));
    candidate.inputs.push(format!("created_at={}", session.created_at.to_rfc3339()));
    candidate
}

fn maintenance(session: &Session, limits: &Limits, origins: &Origins) -> Candidate {
    let mut candidate = from_property("maintenance", "tenure.maintenance_at", "", origins);
    candidate.unit = None;
    candidate.deadline_at = limits.maintenance_at;
    candidate.applies = limits.maintenance_at.is_some();
    candidate.why = if candidate.applies {
        "Maintenance: every session begun before it ends then, whatever the activity.".to_owned()
    } else {
        "Maintenance ends what began before it; this session began later.".to_owned()
    };
    candidate.inputs.push(format!("created_at={}", session.created_at.to_rfc3339()));
    candidate
}
