//! Where it all runs: one PostgreSQL for us and the peers, a Redis, and the processes started beside this one.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tenure::embedded::{Embedded, default_data_dir};
use tenure::store::{ConnectSettings, Store};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::crowd::run;

/// Connections of a store, and tasks that use them.
pub const CONNECTIONS: u32 = 16;

/// The server, and the databases made on it.
pub struct Place {
    embedded: Option<Embedded>,
    admin: PgConnection,
    server: String,
    databases: Vec<String>,
}

impl Place {
    /// `TEST_DATABASE_URL`, else an embedded server with everything on that keeps data safe.
    pub async fn open() -> Self {
        let (embedded, url) = if let Ok(url) = std::env::var("TEST_DATABASE_URL") {
            (None, url)
        } else {
            let data_dir = default_data_dir(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("tenure-benches"));
            let embedded = Embedded::start(&data_dir, &|step| eprintln!("{step}")).await.unwrap();
            let url = embedded.url();
            (Some(embedded), url)
        };
        let mut admin = PgConnection::connect(&url).await.unwrap();
        drop_leftovers(&mut admin).await;
        let server = url.rsplit_once('/').unwrap().0.to_owned();
        Self { embedded, admin, server, databases: Vec::new() }
    }

    /// What a reader has to know of the server.
    pub async fn description(&mut self) -> String {
        let settings = "select 'PostgreSQL ' || current_setting('server_version') || ', fsync ' || current_setting('fsync')
                               || ', synchronous_commit ' || current_setting('synchronous_commit')";
        sqlx::query_scalar(settings).fetch_one(&mut self.admin).await.unwrap()
    }

    /// An empty database; its URL.
    pub async fn empty(&mut self, name: &str) -> String {
        let name = format!("tenure_compare_{}_{name}", std::process::id());
        run(&mut self.admin, &format!("create database {name} encoding 'UTF8' template template0")).await;
        let url = format!("{}/{name}", self.server);
        self.databases.push(name);
        url
    }

    /// A migrated database whose sessions outlast the measurement.
    pub async fn migrated(&mut self, name: &str) -> String {
        let url = self.empty(name).await;
        tenure::store::migrate(&settings(&url, "bench"), &|_| {}).await.unwrap();
        let mut connection = PgConnection::connect(&url).await.unwrap();
        run(&mut connection, "insert into tenure.properties (name, value) values ('glide.ui.session_timeout', '200')").await;
        // There was no session whose due instant it could lower, and no node here does that job.
        run(&mut connection, "update tenure.policies set lowering_pass = 0").await;
        url
    }

    /// Drops the databases and gives the server back.
    pub async fn close(mut self) {
        for name in std::mem::take(&mut self.databases) {
            run(&mut self.admin, &format!("drop database if exists {name} with (force)")).await;
        }
        drop(self.admin);
        if let Some(embedded) = self.embedded {
            embedded.stop().await.unwrap();
        }
    }
}

/// Databases of runs that did not get to their end.
async fn drop_leftovers(admin: &mut PgConnection) {
    let names: Vec<String> = sqlx::query_scalar("select datname from pg_database where datname ~ '^tenure_compare_[0-9]+_'")
        .fetch_all(&mut *admin)
        .await
        .unwrap();
    for name in names {
        if !Path::new("/proc").join(name.split('_').nth(2).unwrap()).exists() {
            let _ =
                sqlx::raw_sql(AssertSqlSafe(format!("drop database if exists {name} with (force)"))).execute(&mut *admin).await;
        }
    }
}

/// How a store of this node connects.
pub fn settings(url: &str, node: &str) -> ConnectSettings {
    ConnectSettings {
        url: url.to_owned(),
        connections: CONNECTIONS,
        node: Some(node.to_owned()),
        allow_plaintext: true,
        allow_lossy: true,
    }
}

/// A store of a node of this name.
pub async fn store(url: &str, node: &str) -> Store {
    Store::connect(&settings(url, node)).await.unwrap()
}

/// Whether a program is installed.
pub fn installed(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|folder| folder.join(program).is_file())
}

/// A process that answers one line of JSON to each line it is told, and ends with its stdin.
pub struct Helper {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Helper {
    /// Starts it and waits until it says that it is ready; what it said.
    pub async fn start(command: &mut Command) -> (Self, Value) {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
        let mut helper = Self { child, input, output };
        let ready = helper.answer().await;
        (helper, ready)
    }

    /// Tells it something.
    pub async fn tell(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Its next answer.
    pub async fn answer(&mut self) -> Value {
        let line = self.output.next_line().await.unwrap().expect("the process goes on");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Tells it something and waits for the answer.
    pub async fn ask(&mut self, line: &str) -> Value {
        self.tell(line).await;
        self.answer().await
    }

    /// Ends it as `kill -9` does.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Lets it end by itself.
    pub async fn finish(mut self) {
        drop(self.input);
        self.child.wait().await.unwrap();
    }
}

/// A Redis of this run's own. It appends to its log and syncs it every second: then a crash loses about as much activity
/// as it does here, and neither side waits for the disk.
pub struct Redis {
    /// Its port.
    pub port: u16,
    _child: Child,
    _folder: TempDir,
}

impl Redis {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "yes"])
            .args(["--appendfsync", "everysec", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Self { port, _child: child, _folder: folder }
    }
}
