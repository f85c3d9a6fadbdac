//! A property changes while a node remembers a million sessions: nothing is forgotten and no burst of checks reaches PostgreSQL.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tenure::Manager;
use tenure::store::Actor;

use crate::crowd::Tokens;
use crate::near;
use crate::rounds::Random;
use crate::table::{Goal, Row, Table};

/// Between two looks at the counters.
const STEP: Duration = Duration::from_millis(100);
/// Steps before the change and after it.
const STEPS: usize = 30;
/// A burst would be a share near one.
const MOST_MISSED: f64 = 0.01;

/// Adds the lines. The limit grows: a tightened one would also have due dates lowered, which measures something else.
pub fn measure(table: &mut Table, manager: &Manager, tokens: &Tokens) {
    let (asked, missed, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let mut worst = [0.0_f64; 2];
    std::thread::scope(|scope| {
        let checker = scope.spawn(|| {
            let mut random = Random::new(7);
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..64 {
                    let remembered = near::hit(manager, tokens.get(random.below(tokens.len())));
                    missed.fetch_add(u64::from(!remembered), Ordering::Relaxed);
                }
                asked.fetch_add(64, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let mut last = (0, 0);
                for step in 0..2 * STEPS {
                    if step == STEPS {
                        manager.set_property("glide.ui.session_timeout", "240", false, Actor("bench")).await.unwrap();
                    }
                    tokio::time::sleep(STEP).await;
                    let now = (asked.load(Ordering::Relaxed), missed.load(Ordering::Relaxed));
                    let share = (now.1 - last.1) as f64 / (now.0 - last.0).max(1) as f64;
                    worst[step / STEPS] = worst[step / STEPS].max(share);
                    last = now;
                }
            });
        });
        stop.store(true, Ordering::Relaxed);
        checker.join().unwrap();
    });
    let missed: Vec<usize> = (0..tokens.len()).filter(|number| !near::hit(manager, tokens.get(*number))).collect();
    // A node that came too late with its polls trusts its memory again by then.
    std::thread::sleep(Duration::from_secs(1));
    let lost = missed.into_iter().filter(|number| !near::hit(manager, tokens.get(*number))).count();
    let sessions = tokens.len();
    table.add(Row::limit("G9", format!("sessions forgotten of {sessions}, property changed"), lost as f64, 0.0, "limit"));
    let [before, after] = worst;
    table.add(Row::limit("G9", "worst share of misses in 100 ms, 3 s from the change", after, MOST_MISSED, "limit"));
    let mut row = Row::limit("R", "worst share of misses in 100 ms, 3 s before the change", before, MOST_MISSED, "limit");
    row.goal = Goal::None;
    table.add(row);
}
