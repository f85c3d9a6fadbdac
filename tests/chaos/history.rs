//! The history of a run: what was asked of each session and what was answered, folded so that it stays small.
//!
//! A session is a register that only moves unborn, alive, dead. So a few instants decide whether its history is possible:
//! the last accept, the first rejection, the first ending asked for and the first acknowledged, and the spans in which
//! activity was counted.

use std::collections::HashMap;

use uuid::Uuid;

use crate::clock::{Micros, SECOND};
use crate::schedule::Kind;
use crate::tally::{Reason, Tally};

/// Activity closer together than this is one span: no limit is shorter than three times as long.
const JOIN: Micros = 20 * SECOND;
/// How long after its invocation an unanswered operation may still take effect: a stopped node (10 s) takes the request
/// from its socket, gives it 10 s, and a frozen link (8 s) delivers its statement, which may run for 5 s.
pub const AFTERMATH: Micros = 60 * SECOND;
/// How much recorded activity a death may cost (C6).
pub const LOST: Micros = 3 * SECOND;
/// Older activity is settled: no death to come can cost it.
const SETTLED: Micros = 15 * SECOND;

/// Which limit a session has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// So long an idle limit of its own.
    Own(Micros),
    /// The idle limit of guests, which the run changes.
    Guest,
}

/// A span in which activity was counted, or perhaps was.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// The first invocation.
    pub from: Micros,
    /// The last instant it may have been counted at.
    pub to: Micros,
    /// Whether it was accepted.
    pub sure: bool,
}

/// Accepted activity that a death may still cost.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// When the last of it was invoked.
    pub invoked: Micros,
    /// When the last of it was answered.
    pub answered: Micros,
    /// Through which node.
    pub node: usize,
}

/// First invocation and first acknowledgement of what ends something.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    /// From here on it may have happened.
    pub invoked: Micros,
    /// From here on it must have happened, everywhere.
    pub acknowledged: Micros,
}

impl Default for Ending {
    fn default() -> Self {
        Self { invoked: Micros::MAX, acknowledged: Micros::MAX }
    }
}

impl Ending {
    fn invoke(&mut self, at: Micros) {
        self.invoked = self.invoked.min(at);
    }

    fn acknowledge(&mut self, at: Micros) {
        self.acknowledged = self.acknowledged.min(at);
    }
}

/// A session.
#[derive(Debug)]
pub struct Session {
    /// Its id.
    pub id: Uuid,
    /// Its user, by number.
    pub user: Option<usize>,
    /// When its creation was invoked.
    pub created: Micros,
    /// Its limit.
    pub limit: Limit,
    /// Its tokens, by number.
    pub tokens: Vec<usize>,
    /// Whether nodes report activity of it in process: then a killed node may have counted some it never told of.
    pub busy: bool,
    /// Terminations and sign-outs.
    pub ending: Ending,
    /// In order of arrival, joined where close.
    pub spans: Vec<Span>,
    /// Activity on record for good.
    pub settled: Micros,
    /// Activity that may yet be lost.
    pub marks: Vec<Mark>,
}

/// A token of a session; a rotation makes a new one.
#[derive(Debug)]
pub struct Token {
    /// Of which session, by number.
    pub session: usize,
    /// Its replacement by rotation.
    pub retiring: Ending,
    /// When the last accepted check was invoked, and through which node.
    pub last_accept: (Micros, usize),
    /// When the first rejection arrived, through which node, and why.
    pub first_reject: (Micros, usize, Reason),
    /// Checks accepted and rejected.
    pub answers: (u64, u64),
}

/// A user.
#[derive(Debug, Default)]
pub struct User {
    /// Lock-outs.
    pub lock_out: Ending,
}

/// A time in which something was broken.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    /// What.
    pub kind: Kind,
    /// Which node; none for all.
    pub node: Option<usize>,
    /// From.
    pub from: Micros,
    /// Until it worked again; `Micros::MAX` while it does not.
    pub to: Micros,
}

/// A value of the guests' idle limit.
#[derive(Debug, Clone, Copy)]
pub struct GuestLimit {
    /// The value.
    pub limit: Micros,
    /// May be in force from here on.
    pub from: Micros,
    /// Until a later change was acknowledged.
    pub to: Micros,
    /// When it was acknowledged itself.
    pub acknowledged: Micros,
}

/// Answers in all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Accepted.
    pub accepts: u64,
    /// Rejected.
    pub rejects: u64,
    /// 503, errors, lost connections.
    pub unanswered: u64,
}

/// By which way a check came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// Over HTTP.
    Http,
    /// In process.
    InProcess,
}

/// Everything the checker needs.
#[derive(Debug, Default)]
pub struct History {
    /// Sessions, by number.
    pub sessions: Vec<Session>,
    /// Tokens, by number.
    pub tokens: Vec<Token>,
    /// Users, by number.
    pub users: Vec<User>,
    /// Faults that happened.
    pub troubles: Vec<Trouble>,
    /// Values of the guests' idle limit.
    pub guest_limits: Vec<GuestLimit>,
    /// Sign-ins that were accepted although their user's lock-out had been acknowledged before: sessions by number.
    pub let_in: Vec<usize>,
    /// Operations that end something and wait for the barrier: invocation and answer.
    pub barriers: Vec<(Micros, Micros)>,
    /// By way and node.
    pub counts: HashMap<(Way, usize), Counts>,
    /// Answers that fit no document, counted by what they were.
    pub odd: HashMap<String, u64>,
}

impl History {
    /// A session that was created with an acknowledgement, and its first token; both numbers.
    pub fn create(
        &mut self,
        id: Uuid,
        user: Option<usize>,
        limit: Limit,
        busy: bool,
        invoked: Micros,
        answered: Micros,
    ) -> (usize, usize) {
        let session = self.sessions.len();
        if user.is_some_and(|user| self.users[user].lock_out.acknowledged < invoked) {
            self.let_in.push(session);
        }
        let born = Span { from: invoked, to: answered, sure: true };
        let ending = Ending::default();
        let (spans, marks, tokens) = (vec![born], Vec::new(), Vec::new());
        self.sessions.push(Session { id, user, created: invoked, limit, tokens, busy, ending, spans, settled: invoked, marks });
        (session, self.token(session))
    }

    /// A further token of a session; its number.
    pub fn token(&mut self, session: usize) -> usize {
        self.tokens.push(Token {
            session,
            retiring: Ending::default(),
            last_accept: (0, 0),
            first_reject: (Micros::MAX, 0, Reason::Unknown),
            answers: (0, 0),
        });
        let token = self.tokens.len() - 1;
        self.sessions[session].tokens.push(token);
        token
    }

    /// Checks of a token.
    pub fn add(&mut self, way: Way, node: usize, token: usize, tally: &Tally) {
        let counts = self.counts.entry((way, node)).or_default();
        counts.accepts += tally.accepts;
        counts.rejects += tally.rejects;
        counts.unanswered += tally.unanswered;
        let Some(token) = self.tokens.get_mut(token) else { return };
        token.answers.0 += tally.accepts;
        token.answers.1 += tally.rejects;
        if tally.last_accept > token.last_accept.0 {
            token.last_accept = (tally.last_accept, node);
        }
        if tally.first_reject < token.first_reject.0 {
            token.first_reject = (tally.first_reject, node, tally.reason);
        }
        let session = &mut self.sessions[token.session];
        let (from, last, to) = tally.activity;
        if last > 0 {
            session.span(Span { from, to, sure: true });
            session.marks.push(Mark { invoked: last, answered: to, node });
            session.settle(to.saturating_sub(SETTLED), &self.troubles, &self.guest_limits);
        }
        let (from, to) = tally.perhaps;
        if to > 0 {
            session.span(Span { from, to: to + AFTERMATH, sure: false });
        }
    }

    /// Something that ends a session is about to be asked for.
    pub fn ending(&mut self, session: usize, at: Micros) {
        self.sessions[session].ending.invoke(at);
    }

    /// It was acknowledged.
    pub fn ended(&mut self, session: usize, invoked: Micros, at: Micros) {
        self.sessions[session].ending.acknowledge(at);
        self.barriers.push((invoked, at));
    }

    /// A rotation is about to be asked for.
    pub fn retiring(&mut self, token: usize, at: Micros) {
        self.tokens[token].retiring.invoke(at);
    }

    /// It was acknowledged.
    pub fn retired(&mut self, token: usize, invoked: Micros, at: Micros) {
        self.tokens[token].retiring.acknowledge(at);
        self.barriers.push((invoked, at));
    }

    /// A lock-out is about to be asked for.
    pub fn locking_out(&mut self, user: usize, at: Micros) {
        self.users[user].lock_out.invoke(at);
    }

    /// It was acknowledged.
    pub fn locked_out(&mut self, user: usize, invoked: Micros, at: Micros) {
        self.users[user].lock_out.acknowledge(at);
        self.barriers.push((invoked, at));
    }

    /// The guests' limit is about to change; the number of the change.
    pub fn limiting(&mut self, limit: Micros, at: Micros) -> usize {
        self.guest_limits.push(GuestLimit { limit, from: at, to: Micros::MAX, acknowledged: Micros::MAX });
        self.guest_limits.len() - 1
    }

    /// The change was acknowledged: what was in force before is so no more, unless an unanswered change may yet come late.
    pub fn limited(&mut self, change: usize, at: Micros) {
        let invoked = self.guest_limits[change].from;
        self.guest_limits[change].acknowledged = at;
        for earlier in &mut self.guest_limits[..change] {
            if earlier.acknowledged < Micros::MAX || earlier.from + AFTERMATH < invoked {
                earlier.to = earlier.to.min(at);
            }
        }
    }

    /// A fault begins; its number.
    pub fn trouble(&mut self, kind: Kind, node: Option<usize>, from: Micros) -> usize {
        self.troubles.push(Trouble { kind, node, from, to: Micros::MAX });
        self.troubles.len() - 1
    }

    /// It is over.
    pub fn healed(&mut self, trouble: usize, at: Micros) {
        self.troubles[trouble].to = at;
    }

    /// Answers by a way.
    pub fn answers(&self, way: Way) -> u64 {
        self.counts.iter().filter(|((by, _), _)| *by == way).map(|(_, counts)| counts.accepts + counts.rejects).sum()
    }
}

impl Session {
    fn span(&mut self, span: Span) {
        let near = |other: &&mut Span| {
            other.sure == span.sure && span.from <= other.to.saturating_add(JOIN) && other.from <= span.to.saturating_add(JOIN)
        };
        match self.spans.iter_mut().rev().find(near) {
            Some(other) => (other.from, other.to) = (other.from.min(span.from), other.to.max(span.to)),
            None => self.spans.push(span),
        }
    }

    /// Forgets the marks from before an instant that no fault to come can reach any more, and keeps the best of them.
    fn settle(&mut self, before: Micros, troubles: &[Trouble], limits: &[GuestLimit]) {
        if self.marks.len() < 32 {
            return;
        }
        let kept = |mark: &&Mark| mark.answered < before && self.keeps(mark, troubles, limits);
        let best = self.marks.iter().filter(kept).map(|mark| mark.invoked).max();
        self.settled = self.settled.max(best.unwrap_or(0));
        self.marks.retain(|mark| mark.answered >= before);
    }

    /// The latest activity until an instant that is on record for certain.
    pub fn kept(&self, until: Micros, troubles: &[Trouble], limits: &[GuestLimit]) -> Micros {
        let kept = self.marks.iter().filter(|mark| mark.invoked <= until && self.keeps(mark, troubles, limits));
        kept.map(|mark| mark.invoked).max().unwrap_or(0).max(self.settled)
    }

    /// Whether an activity is on record for certain. A change of a limit judges by what is on record at that moment, and the last
    /// activity may not be yet (A11).
    fn keeps(&self, mark: &Mark, troubles: &[Trouble], limits: &[GuestLimit]) -> bool {
        let amid =
            |change: &GuestLimit| mark.answered + LOST >= change.from && mark.invoked <= change.acknowledged.min(change.to);
        let judged = self.limit == Limit::Guest && limits.iter().skip(1).any(amid);
        !judged && mark.is_kept(troubles)
    }
}

impl Mark {
    /// Whether no death can have cost it.
    fn is_kept(&self, troubles: &[Trouble]) -> bool {
        !troubles.iter().any(|trouble| {
            let costs = match trouble.kind {
                Kind::KillNode | Kind::KillPostgres => true,
                // A link that stood still for long, or a node, writes what it holds late; the margin of write-through is 10 s.
                Kind::StopNode | Kind::HalfOpen | Kind::Cut | Kind::RestartPostgres | Kind::Delay => {
                    trouble.to.saturating_sub(trouble.from) > 5 * SECOND
                }
                Kind::StepClock => false,
            };
            costs
                && trouble.node.is_none_or(|node| node == self.node)
                && self.answered + LOST >= trouble.from
                && self.invoked <= trouble.to.saturating_add(if trouble.kind == Kind::KillNode { 0 } else { LOST })
        })
    }
}
