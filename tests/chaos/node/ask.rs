//! One check in process, and the step of the wall clock: the only places that call what the library does for it.

use tenure::Manager;
use tenure::manager::Verdict;
use tenure::session::Activity;
use tenure::store::Actor;

use crate::tally::{Answer, Reason};

/// Asks memory, without waiting; `None` when it cannot know. Nodes keep no session in memory, so it never can.
pub(super) fn at_once(_manager: &Manager, _token: &str, _activity: Activity) -> Option<Answer> {
    None
}

/// Asks the store.
pub(super) async fn waiting(manager: &Manager, token: &str, activity: Activity) -> Answer {
    match manager.check(token, Some(activity), false, Actor("chaos")).await {
        Ok(Verdict::Live(_)) => Answer::Accept,
        Ok(Verdict::Over(over)) => Answer::Reject(Reason::of("session_ended", over.ending.reason.as_str())),
        Ok(Verdict::Unknown) => Answer::Reject(Reason::Unknown),
        Err(_) => Answer::None,
    }
}

/// Steps this process's wall clock. Nothing in the library reads it, so there is nothing to step.
pub(super) fn step_wall_clock(_micros: i64) {}
