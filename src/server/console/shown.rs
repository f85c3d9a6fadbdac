//! Facts as people read them. Instants are UTC on every page, so that two administrators speak of the same one.

use chrono::{DateTime, TimeDelta, Utc};

use crate::session::{EndReason, Kind, SessionView};

/// An instant to the second.
pub(super) fn instant(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A span of seconds by its two largest units, rounded down; nothing is negative.
pub(super) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {:02} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes:02} min"),
        _ => format!("{days} d {hours:02} h"),
    }
}

/// A word of the API as people write it.
pub(super) fn words(word: &str) -> String {
    match word {
        "max_life" => "maximum life".to_owned(),
        "remember_me" => "Remember Me".to_owned(),
        word => word.replace('_', " "),
    }
}

/// A refusal as a page says it: the field that it begins with is called as the page calls it.
pub(super) fn refusal(message: &str) -> String {
    let message = message.strip_prefix("The parameter ").unwrap_or(message);
    match message.split_once(": ") {
        Some((field, rest)) if !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') => {
            format!("{}: {rest}", capital(&words(field)))
        }
        _ => message.to_owned(),
    }
}

/// Where a value comes from.
pub(super) fn source(word: &str) -> String {
    if word == "row" { "set here".to_owned() } else { words(word) }
}

/// With a capital, for a heading.
pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Why somebody is at the sign-in page again, in a sentence for them.
pub(super) fn ended_because(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Idle => "Your session ended because you were not active for the time that is allowed.",
        EndReason::MaxLife => "Your session reached the longest time that is allowed, whatever the activity.",
        EndReason::RememberMe => "The time that Remember Me keeps a session has passed.",
        EndReason::Residue | EndReason::SignedOut | EndReason::SignedIn => "You are signed out.",
        EndReason::Terminated => "An administrator terminated this session. You are not locked out.",
        EndReason::LockedOut => "Your user is locked out. An administrator can unlock it.",
        EndReason::Inactivated => "Your user is no longer active.",
        EndReason::TokenReuse => "Your session ended because one of its tokens was used twice.",
        EndReason::Maintenance => "Your session ended for maintenance.",
        EndReason::ConcurrentLimit => "Your session ended because you signed in elsewhere and may have no more sessions.",
    }
}

/// A session as a line of a list.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: String,
    pub(super) user: Option<String>,
    pub(super) kind: Kind,
    pub(super) node: Option<String>,
    pub(super) address: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) active: bool,
    pub(super) created: String,
    /// How long without activity.
    pub(super) idle: String,
    /// The way of the idle time to its deadline, seconds; `None` without one.
    pub(super) way: Option<Way>,
    /// Time left until the earliest deadline.
    pub(super) left: Option<String>,
    /// The deadline that comes first, when it is not idleness.
    pub(super) binds: Option<&'static str>,
    /// Whether it is the session of who looks.
    pub(super) own: bool,
}

/// How far something is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) done: i64,
    pub(super) whole: i64,
}

impl Line {
    /// A session as it is at `now`; `own` is the session of who looks.
    pub(super) fn of(session: SessionView, now: DateTime<Utc>, own: uuid::Uuid) -> Self {
        let (node, address, agent) =
            session.place.map(|place| (place.node, place.client_address, place.user_agent)).unwrap_or_default();
        let seconds = |span: TimeDelta| span.num_seconds().max(0);
        let last = session.last_activity_at;
        let way = session.idle_deadline_at.map(|deadline| {
            let whole = seconds(deadline - last).max(1);
            Way { done: seconds(now - last).min(whole), whole }
        });
        let first = |deadline: Option<DateTime<Utc>>| deadline.is_some() && deadline == session.expires_at;
        let binds = if first(session.max_life_deadline_at) {
            Some("maximum life")
        } else if first(session.idle_deadline_at) {
            None
        } else if first(session.remember_me_deadline_at) {
            Some("Remember Me")
        } else if first(session.residue_deadline_at) {
            Some("residue")
        } else {
            session.expires_at.map(|_| "maintenance")
        };
        Self {
            own: session.id == own,
            id: session.id.to_string(),
            user: session.user,
            kind: session.kind,
            node,
            address,
            agent,
            active: session.active,
            created: instant(session.created_at),
            idle: span(seconds(now - last)),
            way,
            left: session.expires_at.map(|at| span(seconds(at - now))),
            binds,
        }
    }

    /// What a screen reader and a question call it.
    pub(super) fn name(&self) -> String {
        let user = self.user.as_deref().map_or_else(|| "a guest".to_owned(), |user| format!("user {user}"));
        let from = self.address.as_deref().map(|address| format!(" from {address}")).unwrap_or_default();
        format!("{} session of {user}{from}, created {} UTC", self.kind, self.created)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_calls_a_field_as_the_page_does() {
        for (message, said) in [
            ("refresh_token_lifespan: 0 is not enough.", "Refresh token lifespan: 0 is not enough."),
            ("The parameter address: this is not an IP address.", "Address: this is not an IP address."),
            ("glide.ui.session_timeout: too much.", "glide.ui.session_timeout: too much."),
            ("There is no user of this name.", "There is no user of this name."),
        ] {
            assert_eq!(refusal(message), said);
        }
    }

    #[test]
    fn a_span_shows_its_two_largest_units() {
        for (seconds, shown) in [
            (-5, "0 s"),
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 00 s"),
            (1799, "29 min 59 s"),
            (3600, "1 h 00 min"),
            (86_399, "23 h 59 min"),
            (1_296_000, "15 d 00 h"),
        ] {
            assert_eq!(span(seconds), shown);
        }
    }
}
