//! The checker's own test, before every run: histories written by hand, some possible, some not. A checker that cannot fail
//! shows nothing.

use uuid::Uuid;

use crate::checker::{self, Rule};
use crate::clock::{MILLISECOND, Micros, SECOND};
use crate::history::{History, Limit, User, Way};
use crate::postgres::Records;
use crate::records;
use crate::schedule::Kind;
use crate::tally::{Answer, FRAME, Reason, Tally};

const MINUTE: Micros = 60 * SECOND;
/// When the histories begin.
const T: Micros = 1_000 * SECOND;

/// A history of one user's session with an idle limit of a minute, created at `T`.
struct Case {
    history: History,
    session: usize,
    token: usize,
}

impl Case {
    fn new() -> Self {
        Self::with(Limit::Own(MINUTE), false)
    }

    fn with(limit: Limit, busy: bool) -> Self {
        let mut history = History::default();
        history.users.push(User::default());
        let first = history.limiting(30 * MINUTE, 0);
        history.limited(first, 0);
        let (session, token) = history.create(Uuid::from_u128(1), Some(0), limit, busy, T, T + MILLISECOND);
        Self { history, session, token }
    }

    /// A check that takes a millisecond, at node 0.
    fn check(&mut self, after: Micros, answer: Answer, counts: bool) -> &mut Self {
        let tally = Tally::of(answer, counts, T + after, T + after + MILLISECOND);
        self.history.add(Way::InProcess, 0, self.token, &tally);
        self
    }

    fn accept(&mut self, after: Micros) -> &mut Self {
        self.check(after, Answer::Accept, false)
    }

    fn activity(&mut self, after: Micros) -> &mut Self {
        self.check(after, Answer::Accept, true)
    }

    fn reject(&mut self, after: Micros, reason: Reason) -> &mut Self {
        self.check(after, Answer::Reject(reason), false)
    }

    fn end(&mut self, invoked: Micros, acknowledged: Option<Micros>) -> &mut Self {
        self.history.ending(self.session, T + invoked);
        if let Some(at) = acknowledged {
            self.history.ended(self.session, T + invoked, T + at);
        }
        self
    }

    fn trouble(&mut self, kind: Kind, from: Micros, to: Micros) -> &mut Self {
        let number = self.history.trouble(kind, kind.is_of_a_node().then_some(0), T + from);
        self.history.healed(number, T + to);
        self
    }

    fn rules(&self) -> Vec<Rule> {
        checker::check(&self.history, 0).into_iter().map(|violation| violation.rule).collect()
    }

    #[track_caller]
    fn expect(&self, rules: &[Rule]) {
        assert_eq!(self.rules(), rules, "{:?}", checker::check(&self.history, 0));
    }
}

/// Runs all of them; panics when the checker errs.
pub fn run() {
    let s = SECOND;
    frames();
    barriers(s);
    deadlines(s);
    refusals(s);
    guests(s);
    rows();
}

fn frames() {
    let tally = Tally::of(Answer::Reject(Reason::Key), false, 3, 5);
    let frame = tally.frame(7);
    assert_eq!(frame.len(), FRAME);
    assert_eq!(Tally::unframe(&frame), (7, tally));
    let mut both = Tally::of(Answer::Accept, true, 10, 20);
    both.add(Answer::None, true, 15, 40);
    assert_eq!((both.activity, both.perhaps, both.last_accept), ((10, 10, 20), (15, 15), 10));
}

fn barriers(s: Micros) {
    // Accepted while the ending was under way, and by a check invoked before its acknowledgement.
    Case::new().end(2 * s, Some(3 * s)).accept(2 * s).accept(3 * s).reject(4 * s, Reason::Decided).expect(&[]);
    Case::new().end(2 * s, Some(3 * s)).accept(3 * s + 1).expect(&[Rule::Barrier]);
    // Without an acknowledgement it may have happened, or not.
    Case::new().end(2 * s, None).accept(9 * s).expect(&[]);
    Case::new().end(2 * s, None).reject(3 * s, Reason::Decided).expect(&[]);

    let mut locked = Case::new();
    locked.history.locking_out(0, T + s);
    locked.history.locked_out(0, T + s, T + 2 * s);
    locked.accept(2 * s).expect(&[]);
    locked.accept(2 * s + 1).expect(&[Rule::Barrier]);
    let mut let_in = Case::new();
    let_in.history.locking_out(0, T + s);
    let_in.history.locked_out(0, T + s, T + 2 * s);
    let_in.history.create(Uuid::from_u128(2), Some(0), Limit::Own(MINUTE), false, T + 3 * s, T + 3 * s);
    let_in.expect(&[Rule::Barrier]);

    // The old token of a rotation, and the new one.
    let mut rotated = Case::new();
    rotated.history.retiring(rotated.token, T + s);
    rotated.history.retired(rotated.token, T + s, T + 2 * s);
    let old = rotated.token;
    rotated.token = rotated.history.token(rotated.session);
    rotated.accept(5 * s).expect(&[]);
    rotated.token = old;
    rotated.reject(3 * s, Reason::Unknown).expect(&[]);
    rotated.accept(2 * s + 1).expect(&[Rule::Barrier]);
}

fn deadlines(s: Micros) {
    Case::new().accept(60 * s + 40 * MILLISECOND).reject(61 * s, Reason::Due).expect(&[]);
    Case::new().accept(60 * s + 70 * MILLISECOND).expect(&[Rule::Deadline]);
    Case::new().activity(30 * s).accept(89 * s).expect(&[]);
    Case::new().activity(30 * s).accept(90 * s + 80 * MILLISECOND).expect(&[Rule::Deadline]);
    // An activity beyond the deadline does not excuse itself.
    Case::new().activity(61 * s).expect(&[Rule::Deadline]);
    // One without an answer may have been counted, if it came in time.
    Case::new().check(50 * s, Answer::None, true).accept(100 * s).expect(&[]);
    Case::new().check(61 * s, Answer::None, true).accept(100 * s).expect(&[Rule::Deadline]);
    // A killed node may have counted what it could not tell; but not of a session that it only looked at.
    let with_kill = |busy| {
        let mut case = Case::with(Limit::Own(MINUTE), busy);
        case.trouble(Kind::KillNode, 40 * s, 40 * s).accept(95 * s);
        case.rules()
    };
    assert_eq!(with_kill(true), []);
    assert_eq!(with_kill(false), [Rule::Deadline]);
    // Refused, then accepted: within a lease somebody may not have heard of it.
    Case::new().end(s, None).reject(2 * s, Reason::Decided).accept(4 * s).expect(&[]);
    Case::new().end(s, None).reject(2 * s, Reason::Decided).accept(5 * s).expect(&[Rule::Revived]);
}

fn refusals(s: Micros) {
    Case::new().reject(5 * s, Reason::Unknown).expect(&[Rule::Early]);
    Case::new().reject(59 * s, Reason::Due).expect(&[Rule::Early]);
    Case::new().reject(60 * s, Reason::Due).expect(&[]);
    Case::new().reject(60 * s, Reason::Unknown).expect(&[Rule::Early]);
    Case::new().end(s, None).reject(2 * s, Reason::Key).expect(&[Rule::Early]);
    // Asked to end only after it was refused.
    Case::new().reject(5 * s, Reason::Decided).end(6 * s, Some(7 * s)).expect(&[Rule::Early]);
    Case::new().activity(30 * s).reject(80 * s, Reason::Due).expect(&[Rule::Early]);
    // A kill may cost the last three seconds of activity, and no more.
    Case::new().activity(30 * s).trouble(Kind::KillNode, 32 * s, 32 * s).reject(80 * s, Reason::Due).expect(&[]);
    Case::new().activity(30 * s).trouble(Kind::KillPostgres, 32 * s, 34 * s).reject(80 * s, Reason::Due).expect(&[]);
    Case::new().activity(30 * s).trouble(Kind::KillNode, 34 * s, 34 * s).reject(80 * s, Reason::Due).expect(&[Rule::Early]);
    Case::new().activity(30 * s).trouble(Kind::StopNode, 31 * s, 33 * s).reject(80 * s, Reason::Due).expect(&[Rule::Early]);
    Case::new().activity(30 * s).trouble(Kind::StepClock, 31 * s, 31 * s).reject(80 * s, Reason::Due).expect(&[Rule::Early]);
    // Activity of long ago stays on record however much came after it.
    let mut busy = Case::new();
    for step in 1..=100 {
        busy.activity(step * s / 2);
    }
    busy.trouble(Kind::KillNode, 51 * s, 51 * s).reject(105 * s, Reason::Due).expect(&[Rule::Early]);
    busy.reject(109 * s, Reason::Due);
}

fn guests(s: Micros) {
    let tightened = |answered: bool| {
        let mut case = Case::with(Limit::Guest, false);
        let change = case.history.limiting(2 * MINUTE, T + 10 * s);
        if answered {
            case.history.limited(change, T + 11 * s);
        }
        case
    };
    tightened(true).accept(119 * s).reject(120 * s, Reason::Due).expect(&[]);
    tightened(true).accept(121 * s).expect(&[Rule::Deadline]);
    tightened(true).reject(119 * s, Reason::Due).expect(&[Rule::Early]);
    // A change without an answer may be in force, or not.
    tightened(false).accept(121 * s).expect(&[]);
    tightened(false).reject(121 * s, Reason::Due).expect(&[]);
    // Loosened before anybody was due: the tighter limit has no claim; and what was due under it stays over.
    let loosened = |at: Micros| {
        let mut case = tightened(true);
        let change = case.history.limiting(30 * MINUTE, T + at);
        case.history.limited(change, T + at + s);
        case
    };
    loosened(20 * s).reject(130 * s, Reason::Due).expect(&[Rule::Early]);
    loosened(20 * s).accept(130 * s).expect(&[]);
    loosened(125 * s).reject(130 * s, Reason::Due).expect(&[]);
}

fn rows() {
    let case = || Case::new().history;
    let id = Uuid::from_u128(1);
    let found = |history: &History, live: &[Uuid], ended: &[Uuid], events: &[(Uuid, i64)]| {
        let records = Records { live: live.to_vec(), ended: ended.to_vec(), events: events.to_vec() };
        records::check(history, &records).len()
    };
    assert_eq!(found(&case(), &[id], &[], &[]), 0);
    assert_eq!(found(&case(), &[], &[id], &[(id, 1)]), 0);
    assert_eq!(found(&case(), &[], &[], &[]), 1, "lost");
    assert_eq!(found(&case(), &[], &[id], &[(id, 2)]), 1, "ended twice");
    assert_eq!(found(&case(), &[], &[id], &[]), 1, "ended without an event");
    assert_eq!(found(&case(), &[id], &[], &[(id, 1)]), 1, "live with an event of its end");
    let mut over = Case::new();
    over.end(SECOND, Some(2 * SECOND));
    assert_eq!(found(&over.history, &[id], &[], &[]), 1, "still live");
}
