//! The command line. Data goes to stdout, everything else to stderr; `--json` prints exactly one document.

mod bench;
mod database;
mod demo;
mod doctor;
mod events;
mod export;
mod import;
mod keys;
mod maintenance;
mod migrate;
mod nodes;
mod oauth_entities;
mod output;
mod password;
mod properties;
mod serve;
mod sessions;
mod users;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand};

use crate::error::Error;
use crate::store::{ConnectError, MigrateError};
use output::note;

/// A persistent, multi-node session store on PostgreSQL.
#[derive(Debug, Parser)]
#[command(
    name = "tenure",
    version,
    about,
    after_help = "Try it: `tenure demo` starts three nodes on a PostgreSQL of their own and shows sessions shared between them.\n\
                  Start for real: set DATABASE_URL, then `tenure migrate`, `tenure keys create --name app --role admin`, `tenure serve`.\n\
                  Exit codes: 0 done, 2 usage, 3 configuration, 4 not found, 5 conflict or refused, 6 PostgreSQL unavailable, 7 bad data.\n\
                  `tenure doctor` exits with 5 when it found a problem, with 6 when it had no time to look for all, and with 0 when it found none."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// postgres://USER:PASSWORD@HOST:PORT/DATABASE; better in the environment than on the command line, which others can read.
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// Where the embedded PostgreSQL lives, which is used when there is no database URL: ./tenure-data, or
    /// /var/lib/tenure-data for root in a folder that others may not enter.
    #[arg(long, global = true, env = "TENURE_DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Accept an unencrypted link to a database on another machine.
    #[arg(long, global = true, env = "TENURE_ALLOW_PLAINTEXT_DATABASE", value_parser = BoolishValueParser::new())]
    allow_plaintext_database: bool,
    /// Accept a database with fsync off, which may bring ended sessions back after a crash.
    #[arg(long, global = true, env = "TENURE_ALLOW_LOSSY_DATABASE", value_parser = BoolishValueParser::new())]
    allow_lossy_database: bool,
    /// Print one JSON document on stdout.
    #[arg(long, global = true)]
    json: bool,
}

impl Global {
    /// The folder of the embedded PostgreSQL.
    fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| crate::embedded::default_data_dir("tenure-data".as_ref()))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show three nodes sharing sessions: real traffic on an embedded PostgreSQL.
    Demo(demo::DemoArgs),
    /// Run a node: the HTTP API, what it remembers, the sweeper.
    Serve(serve::ServeArgs),
    /// Bring the schema of the database up to date.
    Migrate(migrate::MigrateArgs),
    /// List, show, explain, end, create and check sessions.
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
    /// List, create, lock out, unlock, deactivate and activate users; set their passwords.
    #[command(subcommand)]
    Users(users::UsersCommand),
    /// List, get, set and unset properties: time-outs and rules.
    #[command(subcommand)]
    Properties(properties::PropertiesCommand),
    /// Announce, lift and show maintenance: no sign-ins, and every session ends at an instant.
    #[command(subcommand)]
    Maintenance(maintenance::MaintenanceCommand),
    /// List, set and unset the client applications of mobile sessions.
    #[command(subcommand)]
    OauthEntities(oauth_entities::OauthEntitiesCommand),
    /// List the nodes of the cluster.
    #[command(subcommand)]
    Nodes(nodes::NodesCommand),
    /// List what happened: sessions, users, properties, keys.
    Events(events::EventsArgs),
    /// Create, list and revoke API keys.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Examine the database: server, schema, clock, bloat, rights, nodes; what was found and what to do. Changes nothing.
    Doctor(doctor::DoctorArgs),
    /// Move in: take the sessions of another store, with the tokens their clients hold.
    ///
    /// Begin with --dry-run: it reads everything, says what would be imported and what would be left out and why, and writes nothing.
    /// An import that was stopped or killed is begun again as it was: what is there already is skipped. The table or file that is
    /// imported from is only read.
    #[command(
        subcommand,
        after_help = "Examples:\n  \
        tenure import connect env:OTHER_DATABASE_URL --user-path passport.user --cookie-secret env:SESSION_SECRET --dry-run\n  \
        tenure import django env:OTHER_DATABASE_URL --create-users --report left-out.ndjson\n  \
        tenure import servicenow sys_user.csv --table sys_user\n  \
        tenure import tenure sessions.ndjson\n\
        Exit codes: 0 everything was taken, was there or had ended; 7 something was left out, and said by line; 130 stopped by Ctrl-C\n\
        after the page under way. docs/MIGRATIONS.md says what comes along, and how to cut over."
    )]
    Import(import::ImportCommand),
    /// Write users, properties, client applications and live sessions into a file that `tenure import tenure` takes; no raw tokens.
    #[command(after_help = "Examples:\n  \
        tenure export --output sessions.ndjson.gz --gzip\n  \
        tenure export --ended --events --output everything.ndjson\n  \
        tenure export | ssh elsewhere 'cat > sessions.ndjson'\n\
        One snapshot, in one order: the same store makes the same bytes. It holds digests of tokens and passwords: keep it as a backup.\n\
        API keys, nodes and open transactions stay behind.")]
    Export(export::ExportArgs),
    /// Measure sign-ins and checks on this PostgreSQL, in a database of its own.
    Bench(bench::BenchArgs),
}

/// Why a command failed; the exit code tells the kinds apart.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    #[error(transparent)]
    Embedded(#[from] crate::embedded::EmbeddedError),
    #[error("{}", sentence(.0))]
    Store(#[from] Error),
    #[error("{0}")]
    Data(String),
    #[error("Output failed: {0}")]
    Output(#[from] std::io::Error),
    /// The answer was printed; only the code is left to say.
    #[error("")]
    Answered(u8),
}

fn sentence(error: &Error) -> String {
    match error.refusal() {
        Some(refusal) if !refusal.advice.is_empty() => format!("{} {}", refusal.message, refusal.advice),
        _ => error.to_string(),
    }
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Connect(ConnectError::Refused { .. }) | Self::Migrate(MigrateError::Connect(ConnectError::Refused { .. })) => 6,
            Self::Migrate(MigrateError::Locked(_)) => 5,
            Self::Config(_) | Self::Embedded(_) | Self::Connect(_) | Self::Migrate(_) => 3,
            Self::Store(error) => match error.refusal().map(|refusal| refusal.status) {
                Some(404) => 4,
                Some(400 | 422) => 2,
                Some(_) => 5,
                None if error.is_unavailable() => 6,
                None => 1,
            },
            Self::Data(_) => 7,
            Self::Output(_) => 1,
            Self::Answered(code) => *code,
        }
    }
}

/// Runs the program.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            note(&format!("error: The runtime did not start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(dispatch(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.to_string();
            if !text.is_empty() {
                note(&format!("error: {text}"));
            }
            ExitCode::from(failure.code())
        }
    }
}

/// Whether `--database-url` was given with a password in it.
fn password_in_arguments() -> bool {
    let has_password =
        |url: &str| url.split_once("://").and_then(|(_, rest)| rest.split_once('@')).is_some_and(|(user, _)| user.contains(':'));
    // A file's name may have bytes that are no text.
    let arguments: Vec<String> = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let joined = arguments.iter().filter_map(|argument| argument.strip_prefix("--database-url="));
    let apart = arguments.windows(2).filter(|pair| pair[0] == "--database-url").map(|pair| pair[1].as_str());
    joined.chain(apart).any(has_password)
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    let global = cli.global;
    if password_in_arguments() {
        note("warning: other users of this machine can read the password on the command line; put the URL into DATABASE_URL.");
    }
    match cli.command {
        Command::Demo(args) => demo::run(&global, &args).await,
        Command::Serve(args) => serve::run(&global, args).await,
        Command::Migrate(args) => migrate::run(&global, &args).await,
        Command::Sessions(command) => sessions::run(&global, command).await,
        Command::Users(command) => users::run(&global, command).await,
        Command::Properties(command) => properties::run(&global, command).await,
        Command::Maintenance(command) => maintenance::run(&global, command).await,
        Command::OauthEntities(command) => oauth_entities::run(&global, command).await,
        Command::Nodes(command) => nodes::run(&global, command).await,
        Command::Events(args) => events::run(&global, args).await,
        Command::Keys(command) => keys::run(&global, command).await,
        Command::Doctor(args) => doctor::run(&global, &args).await,
        Command::Import(command) => import::run(&global, command).await,
        Command::Export(args) => export::run(&global, args).await,
        Command::Bench(args) => bench::run(&global, &args).await,
    }
}
