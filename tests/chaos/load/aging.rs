//! Sessions that run out: with the smallest idle limit, touched at known instants and then only looked at around their
//! deadline; and guests, whose limit is tightened and loosened. Most are put in aged, so that a short run meets deadlines too.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::time::sleep;

use super::call::{Caller, Outcome, odd};
use super::pause;
use crate::clock::{MILLISECOND, Micros, SECOND, now};
use crate::history::Limit;
use crate::postgres::{Aged, Failure, to_ours};
use crate::tally::Answer;
use crate::world::{InUse, Use, World};

/// The smallest idle limit.
const MINUTE: Micros = 60 * SECOND;
/// How many of them, and how many guests, are put in at a time.
const BATCH: (usize, usize) = (16, 10);
/// Minutes the guests' limit takes, the default first.
const GUEST_MINUTES: [u64; 5] = [30, 2, 3, 2, 60];
const GUEST_PROPERTY: &str = "glide.guest.session_timeout";
/// How far around its deadline a session is looked at.
const AROUND: (Micros, Micros) = (120 * MILLISECOND, 400 * MILLISECOND);

/// A moment for PostgreSQL to come back.
pub(super) async fn rest() {
    sleep(Duration::from_millis(100)).await;
}

/// Puts in sessions, all the time.
pub(super) async fn keep_up(world: Arc<World>, offset: (i64, Micros), mut random: StdRng) {
    while !world.is_over() {
        if batch(&world, offset, &mut random).await.is_err() {
            rest().await;
        }
        pause(&mut random, 1_500, 3_500).await;
    }
}

async fn batch(world: &Arc<World>, offset: (i64, Micros), random: &mut StdRng) -> Result<(), Failure> {
    for aged in world.postgres.age(Some("watched"), BATCH.0, (2.0, 57.0)).await? {
        let entry = enter(world, &aged, offset, Limit::Own(MINUTE), Use::Watched);
        let deadline = to_ours(aged.anchor, offset.0) + MINUTE;
        tokio::spawn(run_out(Arc::clone(world), entry, deadline, StdRng::seed_from_u64(random.random())));
    }
    for aged in world.postgres.age(None, BATCH.1, (20.0, 110.0)).await? {
        enter(world, &aged, offset, Limit::Guest, Use::Watched);
    }
    Ok(())
}

fn enter(world: &World, aged: &Aged, (offset, width): (i64, Micros), limit: Limit, used: Use) -> InUse {
    let anchor = to_ours(aged.anchor, offset);
    world.enter(aged.id, &aged.token, None, limit, used, (anchor - width, anchor + width))
}

/// Lets a session run out: at times after one activity at a known instant.
async fn run_out(world: Arc<World>, entry: InUse, mut deadline: Micros, mut random: StdRng) {
    let mut caller = Caller::default();
    if random.random_range(0..2) == 0 {
        let left = deadline.saturating_sub(now());
        until(now() + random.random_range(0..=left)).await;
        let node = random.random_range(0..world.nodes.len());
        let (answer, invoked, _) = caller.check(&world, node, &entry, true).await;
        if answer == Answer::Accept {
            deadline = invoked + MINUTE;
        }
    }
    until(deadline.saturating_sub(AROUND.0)).await;
    while !world.is_over() && now() < deadline + AROUND.1 {
        let node = random.random_range(0..world.nodes.len());
        caller.check(&world, node, &entry, false).await;
        pause(&mut random, 10, 60).await;
    }
}

async fn until(at: Micros) {
    sleep(Duration::from_micros(at.saturating_sub(now()))).await;
}

/// Tightens and loosens the guests' limit.
pub(super) async fn change_limits(world: Arc<World>, mut random: StdRng) {
    let mut caller = Caller::default();
    {
        let mut history = world.history();
        let first = history.limiting(GUEST_MINUTES[0] * MINUTE, 0);
        history.limited(first, 0);
    }
    while !world.is_over() {
        pause(&mut random, 3_000, 9_000).await;
        let minutes = GUEST_MINUTES[random.random_range(0..GUEST_MINUTES.len())];
        let body = json!({ "value": minutes.to_string() }).to_string();
        let path = format!("/v1/properties/{GUEST_PROPERTY}");
        let mut change = 0;
        let begin = |at| change = world.history().limiting(minutes * MINUTE, at);
        let (outcome, _, answered) = caller.change(&world, &mut random, "PUT", &path, &body, begin).await;
        match outcome {
            Outcome::Definite(set) if set.status == 200 => world.history().limited(change, answered),
            Outcome::Definite(other) => odd(&world, "property", &other),
            Outcome::Unsent | Outcome::Unknown => {}
        }
    }
}
