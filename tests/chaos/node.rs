//! One node process: the store, a manager and the HTTP API as `tenure serve` runs them, and workers that check in process.
//!
//! The driver commands it by lines on stdin, and it tells what came of its checks by frames on stdout: a pipe outlives a
//! `kill -9`, so only what the last tenth of a second brought is lost with it.

mod ask;
mod pool;
mod rules;
mod workers;

use std::io::{BufRead, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tenure::Manager;
use tenure::store::{ConnectSettings, Registration, Store};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::tally::FRAME;
use pool::Pool;

/// The hidden first argument of a node process.
pub const ARGUMENT: &str = "--node";
/// The frame that tells the port has this instead of the number of a token.
pub const HELLO: u64 = u64::MAX;
/// Between two reports to the driver.
const REPORT: Duration = Duration::from_millis(100);
/// Connections to PostgreSQL of one node. Proving a password takes some 50 ms of a processor unless optimised, and after every
/// fault all nodes connect at once.
const CONNECTIONS: u32 = if cfg!(debug_assertions) { 4 } else { 12 };

/// The body of a node process: name, the database's URL, seed, and the rule to leave out.
pub fn main(mut arguments: impl Iterator<Item = String>) -> std::process::ExitCode {
    // A driver that dies must not leave its nodes behind, not even a stopped one.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let (Some(name), Some(url), Some(seed)) = (arguments.next(), arguments.next(), arguments.next()) else {
        eprintln!("a node needs its name, a database and a seed");
        return std::process::ExitCode::FAILURE;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let served = runtime.map(|runtime| runtime.block_on(run(&name, &url, seed.parse().unwrap_or(0), arguments.next())));
    match served {
        Ok(Ok(())) => std::process::ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("{name}: {error}");
            std::process::ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{name}: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn run(name: &str, url: &str, seed: u64, weaken: Option<String>) -> Result<(), Failure> {
    if std::env::var_os("TENURE_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_env("TENURE_LOG");
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    let manager = Arc::new(join(name, url, weaken.as_deref()).await?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let (stop, stopped) = oneshot::channel::<()>();
    let pool = Arc::new(Mutex::new(Pool::default()));
    report(Arc::clone(&pool), port);
    workers::start(&manager, &pool, seed);
    obey(pool, stop);
    tenure::server::serve(manager, listener, async {
        let _ = stopped.await;
    })
    .await?;
    sleep(REPORT * 2).await;
    Ok(())
}

/// Follows the driver's commands; when there are no more, the node stops.
fn obey(pool: Arc<Mutex<Pool>>, stop: oneshot::Sender<()>) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            pool.lock().unwrap_or_else(PoisonError::into_inner).obey(&line);
        }
        pool.lock().unwrap_or_else(PoisonError::into_inner).obey("rate 0");
        let _ = stop.send(());
    });
}

/// Joins the cluster as soon as there is a PostgreSQL to join at.
async fn join(name: &str, url: &str, weaken: Option<&str>) -> Result<Manager, Failure> {
    let settings = ConnectSettings {
        url: url.to_owned(),
        connections: CONNECTIONS,
        node: Some(name.to_owned()),
        allow_plaintext: true,
        allow_lossy: false,
    };
    loop {
        let joined: Result<Manager, Failure> = async {
            let store = Store::connect(&settings).await?;
            store.check_schema().await?;
            rules::start(store, Registration { name: name.to_owned(), address: None }, weaken).await
        }
        .await;
        match joined {
            Err(error) if error.is::<rules::NoSuchRule>() => return Err(error),
            // PostgreSQL is away, or the link to it: the run expects that.
            Err(_) => sleep(Duration::from_millis(200)).await,
            joined => return joined,
        }
    }
}

/// Writes what changed to the driver, from a thread of its own: a slow pipe must not hold a check.
fn report(pool: Arc<Mutex<Pool>>, port: u16) {
    std::thread::spawn(move || {
        let mut out = std::io::stdout();
        let mut hello = [0; FRAME];
        hello[..8].copy_from_slice(&HELLO.to_le_bytes());
        hello[8..16].copy_from_slice(&u64::from(port).to_le_bytes());
        let mut frames = hello.to_vec();
        while out.write_all(&frames).and_then(|()| out.flush()).is_ok() {
            std::thread::sleep(REPORT);
            frames = pool.lock().unwrap_or_else(PoisonError::into_inner).frames();
        }
    });
}
