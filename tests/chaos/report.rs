//! What a run says: a line now and then, a table at the end, and the offending histories in full.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::checker::Violation;
use crate::clock::{Micros, SECOND, seconds};
use crate::history::{Counts, History, Way};
use crate::schedule::Kind;
use crate::world::World;

/// Troubles show for a while after they were healed: leases lapse, connections are made anew.
const AFTERGLOW: Micros = 3 * SECOND;
/// The longest that a killed node stays registered.
const FENCING: Micros = 65 * SECOND;
/// How many violations are told in full.
const TOLD: usize = 20;

/// The table at the end.
pub fn table(world: &World, history: &History, found: &[Violation], drift: Micros) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<28} {value}");
    };
    let options = &world.options;
    row("seed", options.seed.to_string());
    row("seconds", options.time.as_secs().to_string());
    row("nodes", options.nodes.to_string());
    if let Some(rule) = &options.weaken {
        row("left out", rule.clone());
    }
    for (name, way, goal) in [("over HTTP", Way::Http, options.goals.0), ("in process", Way::InProcess, options.goals.1)] {
        let by_node: Vec<_> = (0..options.nodes).map(|node| answers(history, way, node).to_string()).collect();
        row(&format!("answers {name}"), format!("{} of {goal}  (by node: {})", history.answers(way), by_node.join(" ")));
    }
    let all = history.counts.values().fold(Counts::default(), |sum, counts| Counts {
        accepts: sum.accepts + counts.accepts,
        rejects: sum.rejects + counts.rejects,
        unanswered: sum.unanswered + counts.unanswered,
    });
    row("accepts, rejects, no answer", format!("{}, {}, {}", all.accepts, all.rejects, all.unanswered));
    row("sessions, tokens", format!("{}, {}", history.sessions.len(), history.tokens.len()));
    for (name, state) in [
        ("barriers, all healthy", State::Healthy),
        ("barriers, a dead node waits", State::DeadNode),
        ("barriers, something broken", State::Broken),
    ] {
        let of_state = history.barriers.iter().filter(|(from, to)| state_of(history, *from, *to) == state);
        row(name, spread(&of_state.copied().collect::<Vec<_>>()));
    }
    for kind in Kind::ALL {
        row(kind.words(), count(history, kind).to_string());
    }
    row("clocks moved apart by", format!("{:.1} ms", seconds(drift) * 1e3));
    row("violations", found.len().to_string());
    text
}

/// How often a kind of fault happened.
pub fn count(history: &History, kind: Kind) -> usize {
    history.troubles.iter().filter(|trouble| trouble.kind == kind).count()
}

fn answers(history: &History, way: Way, node: usize) -> u64 {
    history.counts.get(&(way, node)).map_or(0, |counts| counts.accepts + counts.rejects)
}

/// How the cluster was while something waited for a barrier.
#[derive(PartialEq, Eq)]
enum State {
    Healthy,
    /// A killed node is still registered: the others fence it only after a minute, and until then a barrier waits its lease out.
    DeadNode,
    Broken,
}

fn state_of(history: &History, from: Micros, to: Micros) -> State {
    let within = |after: Micros, kinds: fn(Kind) -> bool| {
        let mut troubles = history.troubles.iter().filter(|trouble| kinds(trouble.kind));
        troubles.any(|trouble| trouble.from <= to && trouble.to.saturating_add(after) >= from)
    };
    if within(AFTERGLOW, |kind| kind != Kind::StepClock) {
        State::Broken
    } else if within(FENCING, |kind| kind == Kind::KillNode) {
        State::DeadNode
    } else {
        State::Healthy
    }
}

fn spread(barriers: &[(Micros, Micros)]) -> String {
    let mut took: Vec<Micros> = barriers.iter().map(|(from, to)| to - from).collect();
    took.sort_unstable();
    let at = |share: usize| took.get(took.len() * share / 100).or(took.last()).map_or(0.0, |took| seconds(*took) * 1e3);
    format!("{}, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", took.len(), at(50), at(99), at(100))
}

/// Writes the violations down, tells the first of them, and says where they are.
pub fn tell(history: &History, found: &[Violation], seed: u64) -> std::io::Result<PathBuf> {
    let mut text = format!("seed {seed}\n");
    for violation in found {
        text.push_str(&story(history, violation));
    }
    for violation in found.iter().take(TOLD) {
        eprint!("{}", story(history, violation));
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("chaos");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{seed}.txt"));
    std::fs::write(&path, text)?;
    Ok(path)
}

/// One violation with the history of its session, in seconds since the first of all sessions was created.
fn story(history: &History, violation: &Violation) -> String {
    let zero = history.sessions.iter().map(|session| session.created).filter(|at| *at > 0).min().unwrap_or(0);
    let at = |micros: Micros| match micros {
        Micros::MAX => "never".to_owned(),
        before if before < zero => format!("-{:.6}", seconds(zero - before)),
        after => format!("{:.6}", seconds(after - zero)),
    };
    let mut text = format!("\n{}: {}\n", violation.rule.words(), violation.what);
    let mut line = |what: String| {
        let _ = writeln!(text, "    {what}");
    };
    let Some(session) = violation.session.map(|number| &history.sessions[number]) else { return text };
    line(format!("session {} ({:?}), creation invoked {}", session.id, session.limit, at(session.created)));
    line(format!("ending invoked {}, acknowledged {}", at(session.ending.invoked), at(session.ending.acknowledged)));
    if let Some(user) = session.user {
        let lock_out = history.users[user].lock_out;
        line(format!("lock-out of user u{user} invoked {}, acknowledged {}", at(lock_out.invoked), at(lock_out.acknowledged)));
    }
    for span in &session.spans {
        let what = if span.sure { "activity counted" } else { "activity perhaps counted" };
        line(format!("{what} from {} to {}", at(span.from), at(span.to)));
    }
    line(format!("activity on record for good: {}", at(session.settled)));
    for mark in session.marks.iter().rev().take(8).rev() {
        line(format!("activity invoked {}, answered {} by node-{}", at(mark.invoked), at(mark.answered), mark.node + 1));
    }
    for number in &session.tokens {
        let token = &history.tokens[*number];
        let mark = if violation.token == Some(*number) { "token (this one)" } else { "token" };
        let (retired, (accept, by), (reject, from, why)) = (token.retiring, token.last_accept, token.first_reject);
        line(format!("{mark} {number}: {} accepts, {} rejects", token.answers.0, token.answers.1));
        line(format!("  replacement invoked {}, acknowledged {}", at(retired.invoked), at(retired.acknowledged)));
        line(format!("  last accept invoked {} by node-{}", at(accept), by + 1));
        line(format!("  first reject answered {} by node-{} ({why:?})", at(reject), from + 1));
    }
    for trouble in &history.troubles {
        let place = trouble.node.map_or_else(String::new, |node| format!(" (node-{})", node + 1));
        line(format!("{}{place} from {} to {}", trouble.kind.words(), at(trouble.from), at(trouble.to)));
    }
    text
}
