//! The fault driver: a cluster of real processes on one PostgreSQL, everything broken by a schedule drawn from a seed, and a
//! checker that holds millions of answers against what the store promises.
//!
//! ```text
//! cargo test --test chaos -- --seconds 600 --seed 7
//! ```
//!
//! The driver starts this program again as node processes, each behind a link of its own to PostgreSQL. Every operation is
//! stamped before it is invoked and after it was answered, with the one clock that all processes of a machine share. Before
//! anything else the checker has to find what is wrong with histories written by hand. A run fails, and says with which seed it
//! began, when a history is impossible, when too few answers came, or when a kind of fault never happened.
#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::similar_names)]

mod checker;
mod clock;
mod faults;
mod history;
mod http;
mod link;
mod load;
mod node;
mod nodes;
mod options;
mod postgres;
mod records;
mod report;
mod schedule;
mod selftest;
mod tally;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use checker::{Rule, Violation};
use clock::{now, seconds};
use history::Way;
use options::{Command, Options};
use postgres::{Failure, Postgres};
use schedule::Kind;
use world::World;

/// Between two lines about the progress.
const PROGRESS: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == node::ARGUMENT).is_some() {
        return node::main(arguments);
    }
    let options = match options::read(arguments) {
        Command::Run(options) => options,
        Command::List => {
            println!("chaos: test");
            return ExitCode::SUCCESS;
        }
        Command::Nothing => return ExitCode::SUCCESS,
        Command::Usage(why) => {
            eprintln!(
                "{why}\nusage: chaos [--seed N] [--seconds S] [--nodes 3..5] [--http-answers N] [--inprocess-answers N] [--weaken RULE [--expect-violation]]"
            );
            return ExitCode::from(2);
        }
    };
    selftest::run();
    let done = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(Failure::from);
    let done = done.and_then(|runtime| {
        runtime.block_on(async {
            tokio::select! {
                done = run(&options) => done,
                _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
            }
        })
    });
    match done {
        Ok(found) => {
            // That too little happened proves nothing against a weakened protocol.
            let proof = found.iter().any(|violation| violation.rule != Rule::Weak);
            let as_expected = if options.expect_violation { proof } else { found.is_empty() };
            if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("chaos: seed {}: the run could not be finished: {error}", options.seed);
            ExitCode::from(2)
        }
    }
}

/// One run, and what it found.
async fn run(options: &Options) -> Result<Vec<Violation>, Failure> {
    let faults = schedule::draw(options.seed, options.time, options.nodes);
    println!("chaos: seed {}, {} nodes, {} s", options.seed, options.nodes, options.time.as_secs());
    for fault in &faults {
        println!("  {fault}");
    }
    let (postgres, key) = Postgres::start("chaos").await?;
    let offset = postgres.clock_offset().await?;
    let mut places = Vec::new();
    for number in 0..options.nodes {
        places.push(nodes::Node::new(number, link::Link::to(&postgres.url).await?));
    }
    let world = Arc::new(World::new(options.clone(), postgres, key, places));
    for (node, seed) in world.nodes.iter().zip(options.seed..) {
        node.start(&world, seed)?;
    }
    nodes::all_listen(&world).await;

    let load = load::start(&world, offset).await?;
    let mut broken = tokio::spawn({
        let world = Arc::clone(&world);
        async move { faults::run(&world, faults).await }
    });
    let stopped_early = watch(&world, &mut broken).await?;
    world.over.store(true, Ordering::Relaxed);
    broken.await??;
    for task in load {
        task.await?;
    }
    for node in &world.nodes {
        node.stop().await;
    }

    let drift = world.postgres.clock_offset().await?.0.abs_diff(offset.0);
    let records = world.postgres.records().await?;
    world.postgres.stop().await?;
    let history = world.history();
    let mut found = checker::check(&history, drift);
    found.extend(records::check(&history, &records));
    if !stopped_early {
        found.extend(too_little(&world, &history));
    }
    println!("{}", report::table(&world, &history, &found, drift));
    if !found.is_empty() {
        let path = report::tell(&history, &found, options.seed)?;
        eprintln!("chaos: seed {}: {} violations, in {}", options.seed, found.len(), path.display());
    }
    Ok(found)
}

/// Lets the time pass; `true` when an ended session was accepted, which nothing can excuse any more.
async fn watch(world: &Arc<World>, broken: &mut tokio::task::JoinHandle<Result<(), Failure>>) -> Result<bool, Failure> {
    let (begun, mut told) = (Instant::now(), Instant::now());
    let start = now();
    while begun.elapsed() < world.options.time {
        sleep(Duration::from_millis(500)).await;
        if broken.is_finished() && begun.elapsed() + Duration::from_secs(30) < world.options.time {
            // It ends when everything was carried out, or when something could not be.
            broken.await??;
            return Err("the faults were over long before the load".into());
        }
        if let Some(node) = world.nodes.iter().position(nodes::Node::has_failed) {
            return Err(format!("node-{} ended although nobody killed it", node + 1).into());
        }
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            let history = world.history();
            let broken_barriers = checker::broken_barriers(&history);
            eprintln!(
                "chaos: {:3.0} s, {} answers over HTTP, {} in process, {} faults, {} endings acknowledged, {} violations",
                seconds(now() - start),
                history.answers(Way::Http),
                history.answers(Way::InProcess),
                history.troubles.len(),
                history.barriers.len(),
                broken_barriers.len()
            );
            if !broken_barriers.is_empty() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// What a run must have seen to mean anything.
fn too_little(world: &World, history: &history::History) -> Vec<Violation> {
    let weak = |what: String| Violation { rule: Rule::Weak, token: None, session: None, what };
    let goals = [("over HTTP", Way::Http, world.options.goals.0), ("in process", Way::InProcess, world.options.goals.1)];
    let answers = goals.into_iter().filter_map(|(name, way, goal)| {
        let given = history.answers(way);
        (given < goal).then(|| weak(format!("{given} definitive answers {name}, and {goal} were asked for")))
    });
    let faults = Kind::ALL.into_iter().filter(|kind| report::count(history, *kind) == 0);
    answers.chain(faults.map(|kind| weak(format!("never: {}", kind.words())))).collect()
}
