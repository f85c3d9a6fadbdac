//! Checks in process, at the rate the driver asks for: from memory where that answers, else by tasks that wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tenure::Manager;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::ask;
use super::pool::Pool;
use crate::clock::now;

/// Between two bursts.
const TICK: Duration = Duration::from_millis(5);
/// A burst makes up for at most this much of a pause.
const CATCH_UP: Duration = Duration::from_millis(50);
/// Checks that may wait for the store at the same time: few, or PostgreSQL has no time left for those that come over HTTP.
const WAITING: usize = 2;

/// Starts checking, until the process ends.
pub(super) fn start(manager: &Arc<Manager>, pool: &Arc<Mutex<Pool>>, seed: u64) {
    held(pool).seed(seed);
    tokio::spawn(check(Arc::clone(manager), Arc::clone(pool)));
}

async fn check(manager: Arc<Manager>, pool: Arc<Mutex<Pool>>) {
    let room = Arc::new(Semaphore::new(WAITING));
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut owed) = (Instant::now(), 0.0);
    loop {
        ticks.tick().await;
        let rate = f64::from(u32::try_from(held(&pool).rate).unwrap_or(u32::MAX));
        owed = f64::min(owed + rate * last.elapsed().as_secs_f64(), f64::max(rate * CATCH_UP.as_secs_f64(), 1.0));
        last = Instant::now();
        // A burst ends early when everybody waits: then the store sets the pace.
        let mut turned_away = 0;
        while owed >= 1.0 && turned_away < 64 {
            let Some(choice) = held(&pool).choose() else { break };
            let invoked = now();
            if let Some(answer) = ask::at_once(&manager, &choice.token, choice.activity) {
                held(&pool).record(&choice, answer, invoked, now());
                owed -= 1.0;
            } else if let Ok(permit) = Arc::clone(&room).try_acquire_owned() {
                owed -= 1.0;
                let (manager, pool) = (Arc::clone(&manager), Arc::clone(&pool));
                tokio::spawn(async move {
                    let invoked = now();
                    let answer = ask::waiting(&manager, &choice.token, choice.activity).await;
                    held(&pool).record(&choice, answer, invoked, now());
                    drop(permit);
                });
            } else {
                turned_away += 1;
            }
        }
    }
}

fn held(pool: &Mutex<Pool>) -> MutexGuard<'_, Pool> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}
