//! Values of the domain to begin from: a test writes down only what it is about.

use tenure::session::{Kind, Policy, Timing};

/// Half an hour idle and no other limit, no prompt.
pub fn half_an_hour() -> Policy {
    Policy {
        idle_seconds: 1_800,
        max_life_seconds: None,
        remember_me_seconds: None,
        residue_seconds: None,
        prompt_seconds: 0,
        auto_refresh_extends: true,
        ajax_prompt: true,
        ajax_resubmit: false,
        maintenance_at: None,
    }
}

/// A session begun at this instant (microseconds since 1970) with nothing of its own.
pub fn begun(kind: Kind, created_at: i64) -> Timing {
    Timing {
        kind,
        device: None,
        remember_me: false,
        residue: false,
        created_at,
        refresh_seconds: None,
        idle_limit_seconds: None,
        window_seconds: None,
    }
}
