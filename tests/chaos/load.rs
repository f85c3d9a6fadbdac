//! The load: sign-ins, checks, endings of every kind, changed limits and sessions left to run out, while faults run.

mod aging;
mod call;
mod checks;
mod endings;
mod sign_ins;

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::clock::{SECOND, now};
use crate::history::Way;
use crate::postgres::Failure;
use crate::world::World;

pub use sign_ins::Users;

/// Connections for checks to each node.
const CONNECTIONS: usize = 4;
/// Who ends sessions, at the same time.
const OPERATORS: usize = 24;
/// How long a refused token is still checked: long enough for any lease to have lapsed several times.
const WATCHED_ON: u64 = 6 * SECOND;

/// Starts everything that makes load; each task ends when the load is over.
pub async fn start(world: &Arc<World>, offset: (i64, u64)) -> Result<Vec<JoinHandle<()>>, Failure> {
    let seed = world.options.seed;
    let mut streams = 0;
    let mut random = || {
        streams += 1;
        StdRng::seed_from_u64(seed ^ (0x5eed_0000 + streams))
    };
    let users = Arc::new(Users::make(world).await?);
    let room = Arc::new(Semaphore::new(0));
    let mut tasks = vec![
        tokio::spawn(pace(Arc::clone(world), Arc::clone(&room))),
        tokio::spawn(reap(Arc::clone(world))),
        tokio::spawn(sign_ins::keep_up(Arc::clone(world), Arc::clone(&users), random())),
        tokio::spawn(aging::keep_up(Arc::clone(world), offset, random())),
        tokio::spawn(aging::change_limits(Arc::clone(world), random())),
    ];
    for node in 0..world.nodes.len() {
        for _ in 0..CONNECTIONS {
            tasks.push(tokio::spawn(checks::run(Arc::clone(world), node, Arc::clone(&room), random())));
        }
    }
    for _ in 0..OPERATORS {
        tasks.push(tokio::spawn(endings::run(Arc::clone(world), Arc::clone(&users), random())));
    }
    Ok(tasks)
}

/// Lets as many checks through as the goals need, spread over the time that is left.
async fn pace(world: Arc<World>, room: Arc<Semaphore>) {
    let begun = Instant::now();
    let (mut told, mut owed) = (None, 0.0);
    let mut last = begun;
    while !world.is_over() {
        sleep(Duration::from_millis(10)).await;
        let left = world.options.time.saturating_sub(begun.elapsed()).as_secs_f64().max(1.0);
        let needed = |goal: u64, way: Way| {
            let given = world.history().answers(way);
            (to_f64(goal) * world.options.surplus - to_f64(given)).max(0.0) / left
        };
        let http = needed(world.options.goals.0, Way::Http);
        owed = (owed + http * last.elapsed().as_secs_f64()).min(http);
        last = Instant::now();
        while owed >= 1.0 && room.available_permits() < 256 {
            room.add_permits(1);
            owed -= 1.0;
        }
        if told.is_none_or(|told: Instant| told.elapsed() > Duration::from_secs(1)) {
            let rate = needed(world.options.goals.1, Way::InProcess) / to_f64(world.nodes.len() as u64);
            world.tell(&format!("rate {rate:.0}"));
            told = Some(Instant::now());
        }
    }
    world.tell("rate 0");
    room.close();
}

fn to_f64(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Takes tokens out of use that were refused some time ago.
async fn reap(world: Arc<World>) {
    while !world.is_over() {
        sleep(Duration::from_secs(1)).await;
        let gone: Vec<usize> = {
            let (history, before) = (world.history(), now() - WATCHED_ON);
            world.in_use().into_iter().filter(|number| history.tokens[*number].first_reject.0 < before).collect()
        };
        for number in gone {
            world.leave(number);
        }
    }
}

/// A pause of between so many milliseconds.
async fn pause(random: &mut StdRng, low: u64, high: u64) {
    sleep(Duration::from_millis(random.random_range(low..=high))).await;
}
