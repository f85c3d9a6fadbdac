//! One attempt at starting the server: its log, its port, its settings.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::Path;

use tokio::time::Instant;

use super::cluster::Cluster;
use super::error::EmbeddedError;
use super::postmaster::{self, State};
use super::waiting::with_progress;
use super::{Progress, locks, tool};

/// A log of this size is put aside at the next start.
const LOG_LIMIT: u64 = 16 << 20;

/// Where a port is looked for: below those that systems give to outgoing connections, any of which could take the port of a
/// server that crashed before it comes back.
const PORTS: Range<u16> = 20_000..32_768;
/// Ports looked at before one from anywhere will do.
const PORT_ATTEMPTS: u32 = 64;

/// Given on the command line, where nothing that is stored in the cluster can override it. Statements
/// stay out of the log even when they fail, since they carry what sessions hold.
const SETTINGS: &str = "-c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c max_connections=200 -c shared_buffers=256MB -c fsync=on -c full_page_writes=on \
    -c timezone=UTC -c log_timezone=UTC -c logging_collector=off -c log_destination=stderr \
    -c log_statement=none -c log_min_error_statement=panic -c cluster_name=tenure";

/// Opens the log and holds it alone, which only succeeds when no process of a server lives: a server
/// inherits this very file, lock included. None when one lives. That also sees what process numbers
/// cannot tell, a server in another container.
pub(super) fn claim_log(cluster: &Cluster) -> Result<Option<File>, EmbeddedError> {
    let path = cluster.layout.log();
    let failed = |error| EmbeddedError::io("open", &path, error);
    let log = locks::open(&path)?;
    if !locks::try_lock(&log, &path)? {
        return Ok(None);
    }
    if log.metadata().map_err(failed)?.len() < LOG_LIMIT {
        return Ok(Some(log));
    }
    fs::rename(&path, path.with_extension("log.old")).map_err(failed)?;
    let log = locks::open(&path)?;
    Ok(locks::try_lock(&log, &path)?.then_some(log))
}

/// Starts the server once. Ok does not mean that it runs: a failure that another attempt may mend
/// comes back as a word on what was in the way.
pub(super) async fn launch(
    cluster: &mut Cluster,
    log: File,
    deadline: Instant,
    progress: Progress<'_>,
) -> Result<String, EmbeddedError> {
    let folder = cluster.layout.cluster();
    if postmaster::is_misleading(&folder) {
        postmaster::forget(&folder)?;
    }
    let port = choose_port(cluster)?;
    let path = cluster.layout.log();
    let failed = |error| EmbeddedError::io("use", &path, error);
    let begin = log.metadata().map_err(failed)?.len();

    let mut command = tool::command(&cluster.binaries, &cluster.user, "pg_ctl", &folder);
    let left = deadline.saturating_duration_since(Instant::now()).as_secs() + 1;
    command.args(["start", "--silent", "--wait", "--timeout", &left.to_string()]);
    command.arg("--options").arg(format!("-p {port} {SETTINGS}"));
    tool::write_to(&mut command, log).map_err(failed)?;
    let doing = format!("Starting PostgreSQL in {}", folder.display());
    let status = with_progress(command.status(), progress, &doing).await;
    // Our own copies of the log go now; from here on only the server's processes hold its lock.
    drop(command);
    let status = status.map_err(|e| tool::cannot_run("pg_ctl", "start the server", &folder, &e))?;
    if status.success() || postmaster::state(&folder)? != State::Stopped {
        return Ok("it is starting".to_owned());
    }
    let output = read_from(&path, begin).map_err(failed)?;
    if output.contains("could not bind") {
        cluster.record.port = None;
        return Ok(format!("port {port} is taken"));
    }
    if output.contains("pre-existing shared memory block") {
        return Ok("processes of a killed server still run".to_owned());
    }
    Err(EmbeddedError::Tool {
        program: "pg_ctl".to_owned(),
        what: "start the server",
        place: folder,
        status: status.to_string(),
        output: tool::last_lines(&output),
    })
}

/// The port of last time when it is free, so that clients of a server that crashed find it again;
/// else another one, which is written down.
fn choose_port(cluster: &mut Cluster) -> Result<u16, EmbeddedError> {
    if let Some(port) = cluster.record.port
        && bind(port).is_ok()
    {
        return Ok(port);
    }
    let free = free_port()?;
    cluster.record.port = Some(free);
    cluster.record.save(&cluster.layout)?;
    Ok(free)
}

fn free_port() -> Result<u16, EmbeddedError> {
    for _ in 0..PORT_ATTEMPTS {
        let mut random = [0; 2];
        getrandom::fill(&mut random).map_err(EmbeddedError::Random)?;
        let port = PORTS.start + u16::from_ne_bytes(random) % (PORTS.end - PORTS.start);
        if bind(port).is_ok() {
            return Ok(port);
        }
    }
    bind(0).map_err(EmbeddedError::NoPort)
}

fn bind(port: u16) -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr()?.port())
}

fn read_from(path: &Path, begin: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
