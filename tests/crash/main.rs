//! Crash rounds: real node processes and PostgreSQL are killed at any moment, and what was acknowledged before is held against
//! what the database says after. The journal of what was asked and answered is kept outside, by this process, which nobody kills.
//!
//! In each round workers sign users in, end sessions, lock users out, let them in again and set a property, until a node or
//! PostgreSQL is killed under them. Then everything is started again, and nothing acknowledged may be lost, nothing may be half
//! done, and nothing may have ended twice. `TENURE_TEST_LONG=1` makes the rounds a hundred; `TENURE_CRASH_SEED` replays others.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

// The clock and the killing of PostgreSQL are those of the fault driver, which uses more of them.
#[allow(dead_code)]
#[path = "../chaos/clock.rs"]
mod clock;
mod cluster;
mod facts;
mod journal;
mod judge;
#[allow(dead_code)]
#[path = "../chaos/postgres.rs"]
mod postgres;
mod workers;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use cluster::{Cluster, Victim};
use facts::Facts;
use workers::Crew;

/// Rounds at full size.
const ROUNDS: u32 = 100;
/// Drawn from when nobody asks for another.
const SEED: u64 = 30;
/// The latest moment of a kill, in milliseconds from the beginning of a round, unless too little was done by then.
const LATEST: u64 = 400;
/// Operations acknowledged for each round so far, at the least: what nobody was promised cannot be lost.
const PER_ROUND: u64 = 20;
/// How long the survivors go on after it, in milliseconds.
const AFTER: u64 = 150;

fn seed() -> u64 {
    std::env::var("TENURE_CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED)
}

/// One round, whose kill waits for so many operations; what it found.
async fn round(cluster: &mut Cluster, crew: &mut Crew, random: &mut StdRng, victim: Victim, least: u64) -> Vec<String> {
    let moment = Duration::from_millis(random.random_range(0..LATEST));
    let begun = Instant::now();
    let going = crew.begin(cluster, random);
    tokio::join!(tokio::time::sleep(moment), going.reach(least));
    let moment = begun.elapsed();
    cluster.kill(victim).await;
    tokio::time::sleep(Duration::from_millis(random.random_range(0..AFTER))).await;
    cluster.mend();
    let mut found = going.finish(crew).await;
    cluster.all_ready().await;
    found.extend(crew.ask_again(cluster).await);
    let facts = Facts::read(&cluster.postgres).await;
    found.extend(judge::consistent(&facts));
    for journal in &mut crew.journals {
        found.extend(judge::settle(journal, &facts));
    }
    found.extend(judge::unknown(&crew.journals, &facts));
    found.extend(crew.check_some(cluster, random).await);
    eprintln!(
        "crash: {victim} killed after {} ms, {} operations acknowledged so far, {} live, {} ended",
        moment.as_millis(),
        crew.acknowledged(),
        facts.live.len(),
        facts.ended.len()
    );
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_half_done_or_ended_twice_whatever_is_killed() {
    let rounds = if std::env::var_os("TENURE_TEST_LONG").is_some() { ROUNDS } else { ROUNDS / 10 };
    let mut random = StdRng::seed_from_u64(seed());
    let mut cluster = Cluster::start("crash").await;
    let mut crew = Crew::hire(&cluster).await;
    for number in 1..=rounds {
        let victim = Victim::draw(number, &mut random);
        let least = (u64::from(number) * PER_ROUND).saturating_sub(crew.acknowledged());
        let found = round(&mut cluster, &mut crew, &mut random, victim, least).await;
        assert!(found.is_empty(), "seed {}, round {number}, {victim} killed:\n{}", seed(), found.join("\n"));
    }
    let acknowledged = crew.acknowledged();
    assert!(acknowledged >= u64::from(rounds) * PER_ROUND, "only {acknowledged} operations in {rounds} rounds prove little");
    cluster.stop().await;
}

/// A server that acknowledges before its log is on disk: with it a round must find something missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_wait_for_its_log_is_found_out() {
    let mut random = StdRng::seed_from_u64(seed());
    let mut cluster = Cluster::start("forgetful").await;
    cluster.let_postgres_forget().await;
    let mut crew = Crew::hire(&cluster).await;
    for _ in 0..20 {
        let found = round(&mut cluster, &mut crew, &mut random, Victim::AllOfPostgres, 0).await;
        if found.iter().any(|what| what.contains("acknowledged")) {
            return cluster.stop().await;
        }
    }
    panic!("twenty kills of a server that forgets cost nothing: the judge is blind");
}
