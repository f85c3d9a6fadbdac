//! What is around the cache: time, PostgreSQL, the connections in between, checks and the barrier. Each step is one instant;
//! any two of them may be far apart.

use tenure::cache::{LEASE, Rule};
use tenure::clock::Reading;
use tenure::cluster::Barrier;
use tenure::store::Applied;

use super::core::{Automaton, Call, State, reading};

/// Time goes in steps of half of what a barrier waits out, so that a lease ends just before the barrier returns.
const TICK: i64 = 1_035_000;
/// So long does time go on: three leases.
const END: u8 = 6;
/// A guest that is looked at to the end, its clocks making each state many, gets two.
const END_OF_FREEZES: u8 = 4;
/// A guest stands still for at most so many ticks.
const LONGEST_FREEZE: u8 = 3;
/// A beat that stands still so long gets its node fenced: in truth a minute, in any case longer than a lease.
const SILENCE: u8 = 3;

const _: () = assert!(LEASE < 2 * TICK && SILENCE as i64 * TICK > LEASE);

/// Whether the guest can be paused together with its clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Freeze {
    /// It cannot.
    #[default]
    Never,
    /// It can, and its wall clock stays wrong.
    Unnoticed,
    /// It can, its wall clock is set right at some later time, and only what it accepts with a right one counts.
    Corrected,
}

/// Which of the rules around the cache are broken.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools)]
pub struct World {
    /// The cache's own rule that is taken away.
    pub without: Option<Rule>,
    /// Polls come by the timer alone, once a tick.
    pub hints_lost: bool,
    /// A check takes the answer of a load that is in flight.
    pub joins_loads: bool,
    /// The log is read by the highest number seen.
    pub polls_by_number: bool,
    /// A new connection goes on with the old one's cursor.
    pub cursor_kept: bool,
    /// The waiter trusts a clock that can jump.
    pub waits_by_a_clock_that_jumps: bool,
    /// Whether the guest can be paused.
    pub freeze: Freeze,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Poll {
    None,
    Sent,
    /// PostgreSQL has answered; the answer is on its way.
    Answered,
    /// PostgreSQL answered that the node was fenced.
    Refused,
    /// The node is empty and about to register anew.
    Registering,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    None,
    Sent,
    /// The load saw the session live, or gone.
    SawLive,
    SawGone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    None,
    Invoked,
    Joined,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    NotYet,
    Waits,
    Returned,
}

/// One state of everything.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools)]
pub struct Everything {
    pub cache: State,
    /// True time, ticks.
    pub time: u8,
    /// How far the node's clocks are behind it, and by how much of that its wall clock was set right.
    lag: u8,
    wall: u8,
    /// The termination has committed, and for how many ticks the barrier has waited since.
    ended: bool,
    waited: u8,
    barrier: Waiting,
    /// What the registry says of the node.
    acknowledged: bool,
    fenced: bool,
    /// Ticks since its last beat; none is counted past the silence that gets it fenced.
    silent: u8,
    /// The snapshot the node has applied shows the termination.
    applied: bool,
    /// The next poll is the first of its connection.
    first: bool,
    polled: bool,
    poll: Poll,
    sent: u8,
    sent_wall: u8,
    poll_first: bool,
    row: bool,
    shows: bool,
    shows_other: bool,
    load: Step,
    check: Check,
    /// The check was invoked after the barrier had returned.
    late: bool,
    /// A row numbered after the termination's has committed; the node has seen it.
    other: bool,
    seen_other: bool,
    crashed: bool,
    /// The cursor is from before the crash.
    outdated: bool,
}

/// One thing that can happen.
pub struct Event {
    pub name: &'static str,
    pub call: Option<Call>,
    pub then: Everything,
    /// It must not.
    pub bad: bool,
}

impl Everything {
    pub const BEGIN: Self = Self {
        cache: 0,
        time: 0,
        lag: 0,
        wall: 0,
        ended: false,
        waited: 0,
        barrier: Waiting::NotYet,
        acknowledged: false,
        fenced: false,
        silent: 0,
        applied: false,
        first: true,
        polled: false,
        poll: Poll::None,
        sent: 0,
        sent_wall: 0,
        poll_first: false,
        row: false,
        shows: false,
        shows_other: false,
        load: Step::None,
        check: Check::None,
        late: false,
        other: false,
        seen_other: false,
        crashed: false,
        outdated: false,
    };

    /// All of it in one word, to be recognised by.
    pub fn word(&self) -> u128 {
        let small = [
            self.time,
            self.lag,
            self.wall,
            self.waited,
            self.silent,
            self.sent,
            self.sent_wall,
            self.barrier as u8,
            self.poll as u8,
            self.load as u8,
            self.check as u8,
        ];
        let flags = [
            self.ended,
            self.acknowledged,
            self.fenced,
            self.applied,
            self.first,
            self.polled,
            self.poll_first,
            self.row,
            self.shows,
            self.shows_other,
            self.late,
            self.other,
            self.seen_other,
            self.crashed,
            self.outdated,
        ];
        let word = small.iter().fold(u128::from(self.cache), |word, part| word << 3 | u128::from(*part));
        flags.iter().fold(word, |word, flag| word << 1 | u128::from(*flag))
    }

    /// The node's clocks.
    fn clocks(&self) -> Reading {
        clocks(self.time - self.lag, self.wall)
    }

    fn tick(&mut self) {
        self.time += 1;
        self.polled = false;
        self.silent = SILENCE.min(self.silent + 1);
        if self.barrier == Waiting::Waits {
            self.waited += 1;
        }
    }

    fn break_connection(&mut self, world: World) {
        self.poll = Poll::None;
        if !world.cursor_kept {
            self.first = true;
            self.applied = false;
            self.seen_other = false;
        }
        self.forget_poll();
    }

    /// What an answered or lost poll leaves must not make two states of one.
    fn forget_poll(&mut self) {
        (self.sent, self.sent_wall) = (0, 0);
        (self.poll_first, self.row, self.shows, self.shows_other) = (false, false, false, false);
    }
}

fn clocks(ticks: u8, wall: u8) -> Reading {
    reading(i64::from(ticks) * TICK, i64::from(wall) * TICK)
}

/// Everything that can happen next.
pub fn next(world: World, now: &Everything, core: &mut Automaton, events: &mut Vec<Event>) {
    events.clear();
    let mut add = |name, call: Option<Call>, change: &dyn Fn(&mut Everything)| {
        let mut then = *now;
        change(&mut then);
        let mut accepted = false;
        if let Some(call) = call {
            (then.cache, accepted) = core.step(now.cache, call);
        }
        let joined = now.check == Check::Joined && now.load == Step::SawLive && then.check == Check::None;
        // Only what is accepted with a right wall clock counts when it is set right at all.
        let excused = world.freeze == Freeze::Corrected && now.wall != now.lag;
        events.push(Event { name, call, then, bad: (accepted || joined) && now.late && !excused });
    };
    let end = if world.freeze == Freeze::Corrected { END_OF_FREEZES } else { END };
    if now.time < end {
        add("time passes", None, &Everything::tick);
        if world.freeze != Freeze::Never && now.lag < LONGEST_FREEZE {
            add("time passes, the guest stands still", None, &|then| {
                then.tick();
                then.lag += 1;
            });
        }
    }
    if world.freeze == Freeze::Corrected && now.wall < now.lag {
        add("the wall clock is set right", None, &|then| then.wall = now.lag);
    }

    // PostgreSQL.
    if !now.ended {
        add("the termination commits", None, &|then| {
            (then.ended, then.barrier) = (true, Waiting::Waits);
        });
        if world.polls_by_number && !now.other {
            add("another row, numbered later, commits first", None, &|then| then.other = true);
        }
        if !now.crashed {
            let lost = (now.load != Step::None).then_some(Call::DropLoad);
            add("PostgreSQL crashes and will hand out ids again", lost, &|then| {
                (then.crashed, then.outdated, then.load) = (true, world.cursor_kept && !now.first, Step::None);
                if then.check == Check::Joined {
                    then.check = Check::Invoked;
                }
                then.break_connection(world);
            });
        }
    }

    // The barrier.
    if now.barrier == Waiting::Waits {
        let nodes = [Applied { name: String::new(), applied: now.acknowledged }];
        let nodes = if now.fenced { &[][..] } else { &nodes[..] };
        let jump = if world.waits_by_a_clock_that_jumps { END } else { 0 };
        if Barrier::settled(0, i64::from(now.waited + jump) * TICK, Some(nodes)).is_some() {
            add("the barrier returns", None, &|then| (then.barrier, then.waited) = (Waiting::Returned, 0));
        }
    }

    // Polls.
    match now.poll {
        Poll::None if !(world.hints_lost && now.polled) => add("a poll is sent", None, &|then| {
            then.poll = Poll::Sent;
            (then.sent, then.sent_wall, then.poll_first) = (now.time - now.lag, now.wall, now.first);
            then.polled = world.hints_lost;
        }),
        Poll::None => {}
        Poll::Sent if now.fenced => add("PostgreSQL refuses the poll", None, &|then| {
            then.poll = Poll::Refused;
            then.forget_poll();
        }),
        Poll::Sent => add("PostgreSQL answers the poll", None, &|then| {
            then.poll = Poll::Answered;
            let hidden = now.outdated || (world.polls_by_number && now.seen_other);
            then.row = now.ended && !now.poll_first && !now.applied && !hidden;
            (then.shows, then.shows_other) = (now.ended, now.other);
            then.silent = 0;
            then.acknowledged |= now.applied && !now.poll_first;
        }),
        Poll::Answered => {
            let sent = clocks(now.sent, now.sent_wall);
            let (time, received) = (i64::from(now.time) * TICK, now.clocks().boot);
            let call = Call::Apply { sent, first: now.poll_first, row: now.row, now: time, received };
            add("the answer is applied", Some(call), &|then| {
                (then.poll, then.first, then.outdated) = (Poll::None, false, false);
                (then.applied, then.seen_other) = (now.shows, now.shows_other);
                then.forget_poll();
            });
        }
        Poll::Refused => add("the node empties its cache", Some(Call::Fenced), &|then| then.poll = Poll::Registering),
        Poll::Registering => add("the node registers anew", None, &|then| {
            (then.poll, then.fenced, then.silent, then.acknowledged) = (Poll::None, false, 0, now.ended);
            (then.first, then.applied, then.outdated) = (true, false, false);
        }),
    }
    if now.poll == Poll::Sent || now.poll == Poll::Answered || (now.poll == Poll::None && !now.first) {
        add("the connection of the polls is lost", None, &|then| then.break_connection(world));
    }
    if !now.fenced && now.silent == SILENCE {
        add("another node fences this one", None, &|then| then.fenced = true);
    }

    // A load.
    match now.load {
        Step::None => add("a load is sent", Some(Call::BeginLoad), &|then| then.load = Step::Sent),
        Step::Sent => add("PostgreSQL answers the load", None, &|then| {
            then.load = if now.ended { Step::SawGone } else { Step::SawLive };
        }),
        Step::SawLive | Step::SawGone => {
            let call = if now.load == Step::SawLive { Call::FinishLoad(now.clocks()) } else { Call::DropLoad };
            add("the load is over", Some(call), &|then| {
                then.load = Step::None;
                if now.check == Check::Joined {
                    (then.check, then.late) = (Check::None, false);
                }
            });
        }
    }

    // A check.
    match now.check {
        Check::None => add("a check is invoked", None, &|then| {
            (then.check, then.late) = (Check::Invoked, now.barrier == Waiting::Returned);
        }),
        Check::Invoked => {
            // Accepted from memory or answered by PostgreSQL: the check is over either way.
            add("the check is answered", Some(Call::Hit(now.clocks())), &|then| {
                (then.check, then.late) = (Check::None, false);
            });
            if world.joins_loads && now.load != Step::None {
                add("the check joins the load", None, &|then| then.check = Check::Joined);
            }
        }
        Check::Joined => {}
    }
}
