//! `tenure serve`: one node of the cluster.

use std::io::ErrorKind;
use std::sync::Arc;

use clap::Args;
use ipnet::IpNet;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::database::Database;
use super::output::note;
use super::{Failure, Global};
use crate::input;
use crate::manager::{Manager, NodeOptions};
use crate::server::{self, ServeOptions};
use crate::store::{ConnectSettings, Registration, Store};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Address and port of the HTTP API; port 0 picks a free one.
    #[arg(long, env = "TENURE_LISTEN", default_value = "127.0.0.1:7080", value_name = "ADDRESS:PORT")]
    listen: String,
    /// Name of this node in lists; the host's name when left out.
    #[arg(long, env = "TENURE_NODE", value_name = "NAME")]
    node: Option<String>,
    /// Connections to PostgreSQL, 2 to 200.
    #[arg(long, env = "TENURE_CONNECTIONS", default_value_t = 10)]
    connections: u32,
    /// Sessions this node remembers at most, 0 to 100,000,000; each takes some 200 bytes. Checks of further ones ask PostgreSQL.
    #[arg(long, env = "TENURE_REMEMBERED_SESSIONS", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(0..=100_000_000))]
    remembered_sessions: u32,
    /// Address that other nodes and the console show; the listening address when left out.
    #[arg(long, env = "TENURE_ADVERTISE", value_name = "URL")]
    advertise: Option<String>,
    /// Networks of proxies whose X-Forwarded-For is believed, with commas between; none by default.
    #[arg(long, env = "TENURE_TRUSTED_PROXIES", value_delimiter = ',', value_parser = input::network, value_name = "NETWORK")]
    trusted_proxies: Vec<IpNet>,
    /// Write the log as JSON lines.
    #[arg(long, env = "TENURE_LOG_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    log_json: bool,
}

pub(super) async fn run(global: &Global, args: ServeArgs) -> Result<(), Failure> {
    start_log(args.log_json);
    let name = match &args.node {
        Some(name) => input::label("node", name)?,
        None => host_name(),
    };
    if args.advertise.as_ref().is_some_and(|url| url.is_empty() || url.chars().count() > 255) {
        return Err(Failure::Usage("--advertise has 1 to 255 characters: the URL others reach this node by.".to_owned()));
    }
    let listener = TcpListener::bind(&args.listen).await.map_err(|error| cannot_listen(&args.listen, &error))?;
    let address = listener.local_addr().map_err(Failure::Output)?;

    let database = Database::find(global).await?;
    let served = node(&database, &args, name, listener, address).await;
    database.close().await?;
    served
}

async fn node(
    database: &Database,
    args: &ServeArgs,
    name: String,
    listener: TcpListener,
    address: std::net::SocketAddr,
) -> Result<(), Failure> {
    let settings = ConnectSettings { connections: args.connections, node: Some(name.clone()), ..database.settings.clone() };
    let store = Store::connect(&settings).await?;
    store.check_schema().await?;
    let advertised = args.advertise.clone().unwrap_or_else(|| format!("http://{address}"));
    // Before it registers: from then on a signal has to take it out of the registry again.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Output)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Output)?;
    let registration = Registration { name: name.clone(), address: Some(advertised) };
    let options = NodeOptions { remembered_sessions: args.remembered_sessions as usize, ..NodeOptions::default() };
    let manager = Manager::start_with(store, registration, options).await?;
    note(&format!("tenure: node {name} listens on http://{address}"));
    let stop = async move {
        tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
        note("tenure: finishing what is in flight; a second signal stops at once");
        tokio::spawn(async move {
            tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
            std::process::exit(130);
        });
    };
    let mut options = ServeOptions { trusted_proxies: args.trusted_proxies.clone(), ..ServeOptions::default() };
    let room = files().saturating_sub(args.connections as usize + SPARE_FILES);
    if room < options.connections {
        tracing::warn!(connections = room, "the limit of open files allows no more connections; raise it (ulimit -Hn)");
        options.connections = room.max(1);
    }
    server::serve_with(Arc::new(manager), listener, stop, options).await.map_err(Failure::Output)
}

/// Files that are neither connections of clients nor of the pool.
const SPARE_FILES: usize = 64;

/// How many files the process may open: as many as the system lets it. Without one PostgreSQL could not be reached either.
fn files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { raised.current } else { limit.current };
    current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

fn start_log(json: bool) {
    let filter = EnvFilter::try_from_env("TENURE_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    // A log whose reader went away is lost; reporting that on stderr would panic in the task that logs.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    if json { log.json().init() } else { log.init() }
}

fn cannot_listen(address: &str, error: &std::io::Error) -> Failure {
    let advice = match error.kind() {
        ErrorKind::AddrInUse => "Another program uses it: choose another --listen, or port 0 for a free one.",
        ErrorKind::PermissionDenied => "Ports below 1024 need privileges: choose a higher one.",
        _ => "Write --listen as ADDRESS:PORT, for instance 127.0.0.1:7080.",
    };
    Failure::Config(format!("Cannot listen on {address}: {error}. {advice}"))
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    input::label("node", &name).unwrap_or_else(|_| "node".to_owned())
}
