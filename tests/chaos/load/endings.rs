//! Operators who end sessions in every way that waits for the barrier, through whichever node answers, until one acknowledges.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::Row;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::call::{Caller, Outcome, odd};
use super::sign_ins::{Users, sign_in};
use super::{aging, pause};
use crate::clock::now;
use crate::postgres::Failure;
use crate::world::{InUse, Use, World};

/// How often an ending without an acknowledgement is asked for again.
const TRIES: usize = 4;
/// How long plain SQL waits until its change was applied everywhere. A dead node is waited for until a node that itself was not
/// restarted for a minute has seen it stand still for that long, and here nodes and PostgreSQL are restarted all the time.
const APPLIED: Duration = Duration::from_mins(5);

/// One operator.
pub(super) async fn run(world: Arc<World>, users: Arc<Users>, mut random: StdRng) {
    let mut caller = Caller::default();
    while !world.is_over() {
        pause(&mut random, 50, 500).await;
        let Some(victim) = world.victim(&mut random) else { continue };
        world.doom(victim.number);
        // Nodes begin to look at it; at times long enough for a slow link to have a load of it under way.
        let looking = if random.random_range(0..2) == 0 { 0 } else { 1_000 };
        pause(&mut random, 0, looking).await;
        match (random.random_range(0..100), victim.user) {
            (45..60, _) => sign_out(&world, &mut caller, &victim, &mut random).await,
            (60..80, _) => rotate(&world, &mut caller, &victim, &mut random).await,
            (80..90, Some(user)) if users.close(user, world.history().users.len()) => {
                lock_out(&world, &mut caller, user, &mut random).await;
            }
            (90..100, Some(user)) if users.close(user, world.history().users.len()) => {
                lock_out_by_sql(&world, user).await;
            }
            _ => terminate(&world, &mut caller, &victim, &mut random).await,
        }
    }
}

fn doom_all(world: &World, user: usize) {
    for entry in world.of_user(user) {
        world.doom(entry.number);
    }
}

async fn terminate(world: &World, caller: &mut Caller, victim: &InUse, random: &mut StdRng) {
    for _ in 0..TRIES {
        let begin = |at| world.history().ending(victim.session, at);
        let path = format!("/v1/sessions/{}", victim.id);
        let (outcome, invoked, answered) = caller.change(world, random, "DELETE", &path, "", begin).await;
        match outcome {
            Outcome::Definite(done) if done.status == 200 => {
                return world.history().ended(victim.session, invoked, answered);
            }
            Outcome::Definite(other) => return odd(world, "termination", &other),
            Outcome::Unsent | Outcome::Unknown => pause(random, 50, 200).await,
        }
    }
}

async fn sign_out(world: &World, caller: &mut Caller, victim: &InUse, random: &mut StdRng) {
    for _ in 0..TRIES {
        let begin = |at| world.history().ending(victim.session, at);
        let path = format!("/v1/sessions/{}/sign-out", victim.id);
        let (outcome, invoked, answered) = caller.change(world, random, "POST", &path, "", begin).await;
        match outcome {
            Outcome::Definite(left) if left.status == 200 => {
                world.history().ended(victim.session, invoked, answered);
                let guest = left.body["guest"]["id"].as_str().and_then(|id| Uuid::try_parse(id).ok());
                if let Some(guest) = guest {
                    world.enter(guest, left.text("token"), None, crate::history::Limit::Guest, Use::Cold, (invoked, answered));
                }
                return;
            }
            Outcome::Definite(other) => return odd(world, "sign-out", &other),
            Outcome::Unsent | Outcome::Unknown => pause(random, 50, 200).await,
        }
    }
}

async fn rotate(world: &World, caller: &mut Caller, victim: &InUse, random: &mut StdRng) {
    for _ in 0..TRIES {
        let begin = |at| world.history().retiring(victim.number, at);
        let path = format!("/v1/sessions/{}/rotate", victim.id);
        let (outcome, invoked, answered) = caller.change(world, random, "POST", &path, "", begin).await;
        match outcome {
            Outcome::Definite(rotated) if rotated.status == 200 => {
                let number = {
                    let mut history = world.history();
                    history.retired(victim.number, invoked, answered);
                    history.token(victim.session)
                };
                world.put(InUse { number, token: rotated.text("token").into(), doomed: false, ..victim.clone() });
                return;
            }
            // Over by its deadline, or by its user's lock-out, meanwhile.
            Outcome::Definite(over) if over.status == 409 => return,
            Outcome::Definite(other) => return odd(world, "rotation", &other),
            Outcome::Unsent | Outcome::Unknown => pause(random, 50, 200).await,
        }
    }
}

/// A lock-out by the API, with a sign-in that races with it.
async fn lock_out(world: &World, caller: &mut Caller, user: usize, random: &mut StdRng) {
    doom_all(world, user);
    for _ in 0..TRIES {
        let (mut rival, mut chance) = (Caller::default(), StdRng::seed_from_u64(random.random()));
        let begin = |at| world.history().locking_out(user, at);
        let path = format!("/v1/users/u{user}");
        let locking = caller.change(world, random, "PATCH", &path, r#"{"locked_out":true}"#, begin);
        let racing = sign_in(world, &mut rival, user, Use::Cold, &mut chance);
        let ((outcome, invoked, answered), ()) = tokio::join!(locking, racing);
        match outcome {
            Outcome::Definite(done) if done.status == 200 => {
                return world.history().locked_out(user, invoked, answered);
            }
            Outcome::Definite(other) => return odd(world, "lock-out", &other),
            Outcome::Unsent | Outcome::Unknown => pause(random, 50, 200).await,
        }
    }
}

/// A lock-out by plain SQL, as an operator does it who then waits until every node knows.
async fn lock_out_by_sql(world: &World, user: usize) {
    doom_all(world, user);
    let invoked = now();
    world.history().locking_out(user, invoked);
    // What fails here failed because PostgreSQL went away: nobody knows whether the change was made.
    if let Ok(true) = commit_and_wait(world, user).await {
        world.history().locked_out(user, invoked, now());
    }
}

async fn commit_and_wait(world: &World, user: usize) -> Result<bool, Failure> {
    let mut connection = world.postgres.connect().await?;
    let xid: String =
        sqlx::query("update tenure.users set locked_out = true where name = $1 returning pg_current_xact_id()::text")
            .bind(format!("u{user}"))
            .fetch_one(&mut connection)
            .await?
            .get(0);
    let begun = Instant::now();
    while begun.elapsed() < APPLIED {
        if world.is_over() {
            return Ok(false);
        }
        let applied: Result<bool, _> =
            sqlx::query_scalar("select tenure.applied_everywhere($1::text::xid8)").bind(&xid).fetch_one(&mut connection).await;
        match applied {
            Ok(true) => return Ok(true),
            Ok(false) => sleep(Duration::from_millis(20)).await,
            Err(_) => match world.postgres.connect().await {
                Ok(again) => connection = again,
                Err(_) => aging::rest().await,
            },
        }
    }
    let what = format!("plain SQL waited for {} s and was not applied everywhere", APPLIED.as_secs());
    *world.history().odd.entry(what).or_default() += 1;
    Ok(false)
}
