//! One check in process, and the step of the wall clock: the only places that call what the library does for it.

use tenure::Manager;
use tenure::manager::{CheckOptions, Verdict};
use tenure::session::Activity;
use tenure::store::Actor;

use crate::tally::{Answer, Reason};

/// Asks memory, without waiting; `None` when it cannot know. Memory only ever accepts.
pub(super) fn at_once(manager: &Manager, token: &str, activity: Activity) -> Option<Answer> {
    manager.check_now(token, Some(activity)).map(|_| Answer::Accept)
}

/// Asks the store.
pub(super) async fn waiting(manager: &Manager, token: &str, activity: Activity) -> Answer {
    match manager.check(token, Some(activity), CheckOptions::default(), Actor("chaos")).await {
        Ok(Verdict::Live(_)) => Answer::Accept,
        Ok(Verdict::Over(over)) => Answer::Reject(Reason::of("session_ended", over.ending.reason.as_str())),
        Ok(Verdict::TokenExpired | Verdict::Unknown) => Answer::Reject(Reason::Unknown),
        Err(_) => Answer::None,
    }
}

/// Steps this process's wall clock.
pub(super) fn step_wall_clock(micros: i64) {
    tenure::clock::step_wall(micros);
}
