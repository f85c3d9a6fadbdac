//! The interval checker: whether a history is one that a store which keeps its promises can have.
//!
//! Every rule compares two stamps of one clock, taken on the outside: before an operation was invoked and after it was
//! answered. An operation without an answer may have happened from its invocation on. So no rule needs to know in which
//! order things happened inside, and none accuses without proof.

use crate::clock::{MILLISECOND, Micros, SECOND};
use crate::history::{History, Limit, Session, Span, Token};
use crate::schedule::Kind;
use crate::tally::Reason;

/// How far a node's estimate of database time may be off (C5).
const ESTIMATE: Micros = 50 * MILLISECOND;
/// How far apart the stamps of one clock may seem: the database's wall clock is slewed, the boot-time clock is not.
const STAMPS: Micros = 5 * MILLISECOND;
/// How long an ended session may be accepted somewhere although a node has refused it, before any barrier returned: the lease,
/// the wait-out's surplus, and some time to read a clock.
const LEASE: Micros = 2_500 * MILLISECOND;
/// The longest an answered check takes: a stop of 10 s and the node's own bound.
const LONGEST: Micros = 20 * SECOND;

/// What a history shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Accepted after an acknowledged ending (C3, U4).
    Barrier,
    /// Accepted past the deadline (C5).
    Deadline,
    /// Accepted although it had been refused for longer than a lease (A11).
    Revived,
    /// Refused before anything ended it (C6, E3).
    Early,
    /// Lost, or ended twice, in the database (C4, C6).
    Record,
    /// An answer that fits no document.
    Odd,
    /// The run itself was too weak to show anything.
    Weak,
}

impl Rule {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Barrier => "accepted after an acknowledged ending",
            Self::Deadline => "accepted past its deadline",
            Self::Revived => "accepted again after a refusal",
            Self::Early => "refused before anything ended it",
            Self::Record => "lost, or ended twice, in the database",
            Self::Odd => "an answer that fits no document",
            Self::Weak => "too little happened",
        }
    }
}

/// One impossible history.
#[derive(Debug, Clone)]
pub struct Violation {
    /// What it breaks.
    pub rule: Rule,
    /// Which token shows it, by number.
    pub token: Option<usize>,
    /// Which session, by number.
    pub session: Option<usize>,
    /// In words.
    pub what: String,
}

/// What can be said while the run goes on: a late answer cannot excuse it any more.
pub fn broken_barriers(history: &History) -> Vec<Violation> {
    let accepted_late = |(number, token): (usize, &Token)| {
        let session = &history.sessions[token.session];
        let lock_out = session.user.map_or(Micros::MAX, |user| history.users[user].lock_out.acknowledged);
        let over = session.ending.acknowledged.min(token.retiring.acknowledged).min(lock_out);
        let (accepted, node) = token.last_accept;
        (accepted > over).then(|| Violation {
            rule: Rule::Barrier,
            token: Some(number),
            session: Some(token.session),
            what: format!("a check invoked {} after the acknowledgement was accepted by node-{}", ms(accepted - over), node + 1),
        })
    };
    let let_in = history.let_in.iter().map(|&session| Violation {
        rule: Rule::Barrier,
        token: None,
        session: Some(session),
        what: "a sign-in invoked after the acknowledged lock-out of its user was accepted".to_owned(),
    });
    history.tokens.iter().enumerate().filter_map(accepted_late).chain(let_in).collect()
}

/// Everything that the answers alone show. `drift` is how far the database's clock moved against ours.
pub fn check(history: &History, drift: Micros) -> Vec<Violation> {
    let mut found = broken_barriers(history);
    for (number, session) in history.sessions.iter().enumerate() {
        found.extend(past_deadline(history, number, session, drift));
    }
    for (number, token) in history.tokens.iter().enumerate() {
        found.extend(revived(number, token));
        found.extend(early(history, number, token, drift));
    }
    found.extend(history.odd.iter().map(|(what, count)| Violation {
        rule: Rule::Odd,
        token: None,
        session: None,
        what: format!("{what}: {count} times"),
    }));
    found
}

/// Follows the latest possible deadline from the creation on; an accepted activity beyond it, or a last accept, is one too many.
fn past_deadline(history: &History, number: usize, session: &Session, drift: Micros) -> Option<Violation> {
    let mut spans: Vec<Span> = session.spans.clone();
    if session.busy {
        // What a killed node counted within its last moments and could not tell.
        let kills = history.troubles.iter().filter(|trouble| trouble.kind == Kind::KillNode);
        spans.extend(kills.map(|kill| Span { from: kill.from.saturating_sub(SECOND), to: kill.from + LONGEST, sure: false }));
    }
    spans.sort_by_key(|span| span.from);
    let shown_by = session.tokens.iter().copied().max_by_key(|token| history.tokens[*token].last_accept)?;
    let (last, node) = history.tokens[shown_by].last_accept;
    let mut latest = spans.first()?.to;
    let slack = ESTIMATE + STAMPS + drift;
    let late = |at: Micros, latest: Micros, what: String| Violation {
        rule: Rule::Deadline,
        token: Some(shown_by),
        session: Some(number),
        what: format!("{what}, {} after the latest activity that can have counted", ms(at.saturating_sub(latest))),
    };
    for span in &spans[1..] {
        let until = latest.saturating_add(longest_limit(history, session.limit, span.from) + slack);
        if span.from <= until {
            latest = latest.max(span.to);
        } else if span.sure {
            return Some(late(span.from, latest, "an activity was accepted".to_owned()));
        }
    }
    let until = latest.saturating_add(longest_limit(history, session.limit, last) + slack);
    (last > until).then(|| late(last, latest, format!("a check was accepted by node-{}", node + 1)))
}

fn revived(number: usize, token: &Token) -> Option<Violation> {
    let (accepted, accepting) = token.last_accept;
    let (rejected, rejecting, _) = token.first_reject;
    (accepted > rejected.saturating_add(LEASE)).then(|| Violation {
        rule: Rule::Revived,
        token: Some(number),
        session: Some(token.session),
        what: format!(
            "node-{} accepted a check invoked {} after node-{} had refused the token",
            accepting + 1,
            ms(accepted - rejected),
            rejecting + 1
        ),
    })
}

/// A refusal needs a cause: an ending that was asked for, or a deadline that has passed by the activity on record for certain.
fn early(history: &History, number: usize, token: &Token, drift: Micros) -> Option<Violation> {
    let (rejected, node, reason) = token.first_reject;
    if rejected == Micros::MAX {
        return None;
    }
    let session = &history.sessions[token.session];
    let found = |what: String| {
        let what = format!("node-{} refused it ({reason:?}) {what}", node + 1);
        Some(Violation { rule: Rule::Early, token: Some(number), session: Some(token.session), what })
    };
    if reason == Reason::Key {
        return found("for its API key, which is good".to_owned());
    }
    let lock_out = session.user.map_or(Micros::MAX, |user| history.users[user].lock_out.invoked);
    if session.ending.invoked.min(token.retiring.invoked).min(lock_out) <= rejected {
        return None;
    }
    let kept = session.kept(rejected, &history.troubles, &history.guest_limits);
    if !may_be_due(history, session.limit, kept, rejected + STAMPS + drift) {
        return found(format!(
            "{} after activity on record, before any limit, and nobody had asked to end it",
            ms(rejected - kept)
        ));
    }
    if reason != Reason::Due {
        return found("although only its deadline had passed".to_owned());
    }
    None
}

/// The longest idle limit that may have been in force while a check invoked at an instant was answered.
fn longest_limit(history: &History, limit: Limit, invoked: Micros) -> Micros {
    match limit {
        Limit::Own(limit) => limit,
        Limit::Guest => {
            let possible = history.guest_limits.iter().filter(|value| value.from <= invoked + LONGEST && value.to >= invoked);
            possible.map(|value| value.limit).max().unwrap_or(Micros::MAX / 4)
        }
    }
}

/// Whether activity of one instant may have been too long ago for a limit that was in force by another: what was due under a
/// limit stays over when that is loosened.
fn may_be_due(history: &History, limit: Limit, activity: Micros, by: Micros) -> bool {
    match limit {
        Limit::Own(limit) => activity + limit <= by,
        Limit::Guest => history.guest_limits.iter().any(|value| (activity + value.limit).max(value.from) <= value.to.min(by)),
    }
}

fn ms(micros: Micros) -> String {
    format!("{:.1} ms", crate::clock::seconds(micros) * 1e3)
}
