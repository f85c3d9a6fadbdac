//! Carries out the schedule. Faults overlap as drawn; only PostgreSQL itself has one at a time.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::clock::now;
use crate::link::{Share, State};
use crate::postgres::Failure;
use crate::schedule::{Fault, Kind};
use crate::world::World;

/// How late a slow link delivers, by variant: within the patience of a poll, and beyond it.
const SLOW: [Duration; 6] = [
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(1_100),
    Duration::from_millis(300),
];
/// How long a link is slow before it freezes, in some variants: its last answers are old when they arrive.
const SLOWING: Duration = Duration::from_millis(2_500);
/// How slow: there and back still within the patience of a poll.
const SLOWLY: Duration = Duration::from_millis(400);
/// A fault that takes so much longer to heal than it should is worth a line.
const SLOW_HEALING: Duration = Duration::from_secs(4);
/// How far a wall clock steps, microseconds.
const STEP: i64 = 5 * 60 * 1_000_000;

/// Lets every fault of the schedule happen at its time, and returns when all is whole again.
pub async fn run(world: &Arc<World>, faults: Vec<Fault>) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut going = JoinSet::new();
    for fault in faults {
        sleep_until(begun + fault.at).await;
        if world.is_over() {
            break;
        }
        let world = Arc::clone(world);
        going.spawn(async move { happen(&world, fault).await });
    }
    while let Some(done) = going.join_next().await {
        done??;
    }
    Ok(())
}

async fn happen(world: &Arc<World>, fault: Fault) -> Result<(), Failure> {
    // A link that is broken already goes on as it was begun: the fault takes the next one.
    let of_a_link = matches!(fault.kind, Kind::Cut | Kind::HalfOpen | Kind::Delay);
    let nodes = (0..world.nodes.len()).map(|step| (fault.node + step) % world.nodes.len());
    let place = nodes.into_iter().find(|place| !of_a_link || world.nodes[*place].link.is_up()).unwrap_or(fault.node);
    let node = &world.nodes[place];
    let place = fault.kind.is_of_a_node().then_some(place);
    let begun = Instant::now();
    let share =
        if fault.variant % 3 == 1 || (fault.kind == Kind::Delay && fault.variant % 3 == 2) { Share::Half } else { Share::All };
    let trouble = world.history().trouble(fault.kind, place, now());
    match fault.kind {
        Kind::KillNode => {
            node.kill().await;
            // What could still be lost was lost by now; the node is merely away for a while.
            let dead = now();
            sleep(fault.lasts).await;
            node.start(world, world.options.seed ^ dead)?;
            world.history().healed(trouble, dead);
        }
        Kind::StopNode => {
            let stopped = node.signal(Signal::STOP, None);
            sleep(fault.lasts).await;
            node.signal(Signal::CONT, stopped);
        }
        Kind::KillPostgres => world.postgres.crash(fault.variant, fault.lasts).await?,
        Kind::RestartPostgres => world.postgres.restart(fault.lasts).await?,
        Kind::Cut => {
            node.link.set(State::Down);
            sleep(fault.lasts).await;
            node.link.set(State::Up);
        }
        Kind::HalfOpen => {
            if fault.variant >= 3 {
                node.link.set(State::Slow(SLOWLY, Share::All));
                sleep(SLOWING).await;
            }
            node.link.set(State::Frozen(share));
            sleep(fault.lasts).await;
            // The route comes back and delivers what waited, or the connections turn out to be dead.
            if fault.variant.is_multiple_of(2) {
                node.link.set(State::Down);
                sleep(Duration::from_millis(20)).await;
            }
            node.link.set(State::Up);
        }
        Kind::Delay => {
            node.link.set(State::Slow(SLOW[usize::from(fault.variant) % SLOW.len()], share));
            sleep(fault.lasts).await;
            node.link.set(State::Up);
        }
        Kind::StepClock => node.tell(&format!("step {}", if fault.variant.is_multiple_of(2) { STEP } else { -STEP })),
    }
    if fault.kind != Kind::KillNode {
        world.history().healed(trouble, now());
    }
    let took = begun.elapsed();
    if took > fault.lasts + SLOW_HEALING {
        eprintln!("chaos: {}: whole again only after {:.1} s", fault.kind.words(), took.as_secs_f64());
    }
    Ok(())
}
