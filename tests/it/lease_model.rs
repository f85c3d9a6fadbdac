//! The protocol of the near-cache, searched exhaustively: one node, one session, one termination with a barrier.
//!
//! The node's part is the program's own: every step of it is a call of [`tenure::cache::Cache`], and the barrier's decision is
//! [`tenure::cluster::Barrier::settled`]. Around them everything that can happen happens in every order: time passes, polls and
//! loads are sent, answered late or lost with their connection, PostgreSQL crashes, the node is fenced, checks are made.
//!
//! *A check invoked after the barrier returned is accepted* is what must never be reached, and must be reached once a rule is
//! taken away. Some rules are the cache's own ([`Rule`]), others belong to what is around it ([`World`]).
//!
//! A hint only makes a poll come sooner. The search lets polls come at any time, so it covers hints that arrive; a search with
//! polls by the timer alone shows that nothing rests on them (C4).

mod core;
mod search;
mod world;

use tenure::cache::Rule;

use search::{Found, search};
use world::{Freeze, World};

#[track_caller]
fn holds(world: World) {
    match search(world) {
        Found::Nothing { states, cores } => println!("{states} states, {cores} of the cache: no bad one"),
        Found::Bad { states, path } => panic!("a bad run after {states} states:\n{}", path.join("\n")),
    }
}

/// The counter-example, once it is one.
#[track_caller]
fn bad(world: World) -> Vec<String> {
    match search(world) {
        Found::Nothing { states, .. } => panic!("no bad run in {states} states: this rule is not needed, or not tested"),
        Found::Bad { states, path } => {
            println!("a bad run of {} steps after {states} states:\n{}", path.len(), path.join("\n"));
            path
        }
    }
}

fn without(rule: Rule) -> World {
    World { without: Some(rule), ..World::default() }
}

#[test]
fn model_all_rules_hold() {
    holds(World::default());
}

#[test]
fn model_all_rules_hold_with_every_hint_lost() {
    holds(World { hints_lost: true, ..World::default() });
}

#[test]
fn model_without_lease_check_a_bad_run_is_found() {
    bad(without(Rule::LeaseChecked));
}

#[test]
fn model_without_lease_from_sending_a_bad_run_is_found() {
    bad(without(Rule::LeaseFromSending));
}

#[test]
fn model_without_rows_applied_a_bad_run_is_found() {
    bad(without(Rule::RowsApplied));
    bad(World { hints_lost: true, ..without(Rule::RowsApplied) });
}

#[test]
fn model_without_taint_a_bad_run_is_found() {
    bad(without(Rule::Taint));
}

/// Also the load that was remembered before the connection broke: nothing of it is re-read by a poll without a cursor.
#[test]
fn model_without_first_poll_empties_a_bad_run_is_found() {
    bad(without(Rule::FirstPollEmpties));
}

/// A cursor that outlives its connection outlives a crash of PostgreSQL, which hands out its transaction ids again (C26, C49).
#[test]
fn model_without_a_new_cursor_for_a_new_connection_a_bad_run_is_found() {
    let path = bad(World { cursor_kept: true, ..World::default() });
    assert!(path.iter().any(|step| step.contains("crashes")), "it takes a crash");
}

/// The cache lets nobody take the answer of somebody else's load; this is why.
#[test]
fn model_without_own_loads_a_bad_run_is_found() {
    bad(World { joins_loads: true, ..World::default() });
}

#[test]
fn model_without_snapshots_a_bad_run_is_found() {
    let path = bad(World { polls_by_number: true, ..World::default() });
    assert!(path.iter().any(|step| step.contains("numbered later")), "it takes two rows that commit in the other order");
}

#[test]
fn model_without_the_waiters_own_clock_a_bad_run_is_found() {
    bad(World { waits_by_a_clock_that_jumps: true, ..World::default() });
}

/// What C14 leaves: a guest that was paused with all its clocks cannot know.
#[test]
fn model_without_running_clocks_a_bad_run_is_found() {
    bad(World { freeze: Freeze::Unnoticed, ..World::default() });
}

/// From when the wall clock of such a guest is set right, it accepts nothing that it must not (C14).
#[test]
fn model_a_frozen_guest_accepts_nothing_once_its_wall_clock_is_right() {
    holds(World { freeze: Freeze::Corrected, ..World::default() });
}
