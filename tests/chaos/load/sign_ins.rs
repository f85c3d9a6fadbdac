//! Users, and their sign-ins: as many sessions in use as the run wants, however many are ended.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::json;
use uuid::Uuid;

use super::call::{Caller, Outcome, odd};
use super::pause;
use crate::history::{Limit, User};
use crate::postgres::Failure;
use crate::world::{Use, World};

/// Sessions that are checked often, and others.
const WANTED: [(Use, usize); 2] = [(Use::Hot, 24), (Use::Cold, 240)];
/// Users who may sign in at a time.
const OPEN: usize = 60;
/// The idle limit of users, who sign in without one of their own.
const USER_LIMIT: Limit = Limit::Own(30 * 60 * crate::clock::SECOND);

/// The users of a run: some who may sign in, and a reserve for those who were locked out.
pub struct Users {
    open: Mutex<Vec<usize>>,
    next: AtomicUsize,
}

impl Users {
    /// Puts all of them into the database.
    pub(super) async fn make(world: &World) -> Result<Self, Failure> {
        let count = OPEN + 40 + usize::try_from(world.options.time.as_secs() * 4)?;
        let mut connection = world.postgres.connect().await?;
        sqlx::query("insert into tenure.users (name) select 'u' || n from generate_series(0, $1) n union all select 'watched'")
            .bind(i32::try_from(count)?)
            .execute(&mut connection)
            .await?;
        world.history().users.resize_with(count, User::default);
        Ok(Self { open: Mutex::new((0..OPEN).collect()), next: AtomicUsize::new(OPEN) })
    }

    /// Somebody who may sign in.
    fn any(&self, random: &mut StdRng) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open[random.random_range(0..open.len())]
    }

    /// Replaces a user who is about to be locked out; `false` when somebody else does that, or nobody is left.
    pub(super) fn close(&self, user: usize, all: usize) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = open.iter().position(|other| *other == user) else { return false };
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        if next < all {
            open[place] = next;
        }
        next < all
    }
}

/// Signs users in until enough sessions are in use, and again when they were ended.
pub(super) async fn keep_up(world: Arc<World>, users: Arc<Users>, mut random: StdRng) {
    let mut caller = Caller::default();
    while !world.is_over() {
        match WANTED.iter().find(|(used, wanted)| world.undoomed(*used) < *wanted) {
            Some((used, _)) => sign_in(&world, &mut caller, users.any(&mut random), *used, &mut random).await,
            None => pause(&mut random, 10, 30).await,
        }
    }
}

/// One sign-in; without an acknowledgement there may be a session nobody knows of.
pub(super) async fn sign_in(world: &World, caller: &mut Caller, user: usize, used: Use, random: &mut StdRng) {
    let body = json!({ "kind": "user", "user": format!("u{user}") }).to_string();
    let (outcome, invoked, answered) = caller.change(world, random, "POST", "/v1/sessions", &body, |_| ()).await;
    match outcome {
        Outcome::Definite(created) if created.status == 201 => {
            let id = created.body["session"]["id"].as_str().and_then(|id| Uuid::try_parse(id).ok()).unwrap_or_default();
            world.enter(id, created.text("token"), Some(user), USER_LIMIT, used, (invoked, answered));
        }
        // Locked out meanwhile, as it should be.
        Outcome::Definite(refused) if refused.status == 403 => {}
        Outcome::Definite(other) => odd(world, "sign-in", &other),
        Outcome::Unsent | Outcome::Unknown => pause(random, 20, 60).await,
    }
}
