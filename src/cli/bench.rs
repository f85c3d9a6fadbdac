//! `tenure bench`: what this PostgreSQL gives, in a database of its own that is dropped afterwards.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::database::{Database, actor, operator, with_own_database};
use super::{Failure, Global, output};
use crate::error::Error;
use crate::input::CreateSession;
use crate::session::SessionToken;
use crate::store::{Actor, CheckOutcome, ConnectSettings, Store, User};

/// Users the sessions belong to.
const USERS: usize = 100;

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// Sessions to sign in before the checks, 1 to 1,000,000.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sessions: u32,
    /// Clients at once, 2 to 100; each has a connection.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(2..=100))]
    clients: u32,
    /// How long to check, 1 to 600 seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    sessions: u32,
    clients: u32,
    sign_ins_per_second: f64,
    checks: usize,
    checks_per_second: f64,
    check_p50_ms: f64,
    check_p99_ms: f64,
}

pub(super) async fn run(global: &Global, args: &BenchArgs) -> Result<(), Failure> {
    let database = Database::find(global).await?;
    let measured = with_own_database(&database.settings, "bench", async |settings| {
        let settings = ConnectSettings { connections: args.clients, node: Some("bench".to_owned()), ..settings };
        let store = Store::connect(&settings).await?;
        let measured = measure(&store, args).await;
        store.close().await;
        measured
    })
    .await;
    database.close().await?;
    let measured = measured?;
    if global.json {
        return output::document(&measured);
    }
    output::line(&format!("sign-ins  {:>10.0} a second, {} sessions", measured.sign_ins_per_second, measured.sessions))?;
    output::line(&format!("checks    {:>10.0} a second, {} clients", measured.checks_per_second, measured.clients))?;
    output::line(&format!(
        "          {:>10.2} ms at the median, {:.2} ms at the 99th percentile",
        measured.check_p50_ms, measured.check_p99_ms
    ))
}

async fn measure(store: &Store, args: &BenchArgs) -> Result<Measured, Failure> {
    let operator = operator();
    for number in 0..USERS {
        let user = User {
            name: format!("bench.{number}"),
            display_name: None,
            active: true,
            locked_out: false,
            roles: Vec::new(),
            homepage_refresh_minutes: None,
        };
        store.put_user(&user, actor(&operator)).await?;
    }

    let bar = ProgressBar::new(args.sessions.into()).with_style(
        ProgressStyle::with_template("signing in {wide_bar} {pos}/{len} {eta}").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..args.clients {
        let (store, bar, sessions, step) = (store.clone(), bar.clone(), args.sessions, args.clients as usize);
        clients.spawn(async move {
            let mut tokens = Vec::new();
            for number in (client..sessions).step_by(step) {
                let user = Some(format!("bench.{}", number as usize % USERS));
                let request = CreateSession { kind: "user".to_owned(), user, ..CreateSession::default() };
                tokens.push(store.create(&request.validate()?, Actor("bench")).await?.token);
                bar.inc(1);
            }
            Ok::<_, Error>(tokens)
        });
    }
    let tokens: Arc<[SessionToken]> = joined(clients).await?.into();
    let sign_ins_per_second = f64::from(args.sessions) / started.elapsed().as_secs_f64();
    bar.finish_and_clear();

    let until = Instant::now() + Duration::from_secs(args.seconds);
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..args.clients {
        let (store, tokens) = (store.clone(), Arc::clone(&tokens));
        clients.spawn(async move {
            let mut times = Vec::new();
            while Instant::now() < until {
                let token = &tokens[getrandom::u32().map_or(0, |random| random as usize) % tokens.len()];
                let asked = Instant::now();
                let outcome = store.check(token.reveal(), None, Actor("bench")).await?;
                times.push(asked.elapsed());
                if !matches!(outcome, CheckOutcome::Accepted(_)) {
                    return Err(Error::failed("a session ended during the measurement"));
                }
            }
            Ok::<_, Error>(times)
        });
    }
    let mut times = joined(clients).await?;
    let seconds = started.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    Ok(Measured {
        sessions: args.sessions,
        clients: args.clients,
        sign_ins_per_second,
        checks: times.len(),
        checks_per_second: f64::from(u32::try_from(times.len()).unwrap_or(u32::MAX)) / seconds,
        check_p50_ms: at(50),
        check_p99_ms: at(99),
    })
}

async fn joined<T: 'static>(mut clients: JoinSet<Result<Vec<T>, Error>>) -> Result<Vec<T>, Failure> {
    let mut all = Vec::new();
    while let Some(done) = clients.join_next().await {
        all.extend(done.map_err(Error::failed)??);
    }
    Ok(all)
}
