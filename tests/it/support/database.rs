//! A database per test, cloned from a template that was migrated once.

use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tenure::Manager;
use tenure::store::{ConnectSettings, Registration, Store};
use tokio::sync::OnceCell;

use super::server;

/// Which clock a database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Moved by [`Db::advance`].
    Moved,
    /// The one of production, for plans and measurements.
    Real,
}

/// A database of one test; dropped by the next run.
pub struct Db {
    /// Its URL.
    pub url: String,
    /// A store of node `node-1`, without background work.
    pub store: Store,
    /// The use cases over that store, without a node.
    pub manager: Manager,
}

const MOVED_CLOCK: &str = "
    create schema tenure_test;
    grant usage on schema tenure_test to public;
    alter default privileges in schema tenure_test grant select on tables to public;
    create table tenure_test.clock (moved interval not null);
    insert into tenure_test.clock values ('0');
    create or replace function tenure.now() returns timestamptz language sql volatile
        as $$ select clock_timestamp() + (select moved from tenure_test.clock) $$;
";

impl Db {
    /// A database whose clock tests move.
    pub async fn new() -> Self {
        Self::with(Clock::Moved).await
    }

    /// A database with the given clock.
    pub async fn with(clock: Clock) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let template = template(clock).await;
        let name = format!("tenure_test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        admin(&format!("create database {name} template {template}")).await;
        Self::open(named(&name), "node-1").await
    }

    /// The database that a URL leads to, migrated: on another server than that of the run.
    pub async fn on(url: String) -> Self {
        tenure::store::migrate(&settings(&url, "template"), &|_| {}).await.unwrap();
        Self::open(url, "node-1").await
    }

    /// A further handle on the same database, as another node.
    pub async fn another(&self, node: &str) -> Self {
        Self::open(self.url.clone(), node).await
    }

    /// URL of a database with nothing in it.
    pub async fn empty(encoding: &str) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("tenure_test_{}_empty_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        admin(&format!("create database {name} encoding '{encoding}' lc_collate 'C' lc_ctype 'C' template template0")).await;
        named(&name)
    }

    /// A database that was never migrated.
    pub async fn unmigrated() -> ConnectSettings {
        settings(&Self::empty("UTF8").await, "node-1")
    }

    async fn open(url: String, node: &str) -> Self {
        let store = Store::connect(&settings(&url, node)).await.unwrap();
        Self { manager: Manager::tool(store.clone()), store, url }
    }

    /// A store of its own on this database, with so many connections.
    pub async fn store_of(&self, connections: u32) -> Store {
        Store::connect(&ConnectSettings { connections, ..settings(&self.url, "node-1") }).await.unwrap()
    }

    /// A running node on this database: heartbeat, sweeper and all.
    pub async fn node(&self, name: &str) -> Manager {
        let store = Store::connect(&settings(&self.url, name)).await.unwrap();
        Manager::start(store, Registration { name: name.to_owned(), address: None }).await.unwrap()
    }

    /// A pool for statements of the test's own.
    pub fn pool(&self) -> &PgPool {
        self.store.pool()
    }

    /// A connection of its own, for transactions that hold locks.
    pub async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// Runs statements as an operator with psql would.
    pub async fn sql(&self, statements: &str) {
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(self.pool()).await.unwrap();
    }

    /// Moves the clock of this database for every node, trigger and psql at once; negative moves it back.
    pub async fn advance(&self, by: TimeDelta) {
        self.sql(&format!(
            "with moved as (update tenure_test.clock set moved = moved + interval '{} microseconds') insert into tenure.invalidations (kind) values ('g')",
            by.num_microseconds().unwrap()
        ))
        .await;
        self.manager.barrier().await;
    }

    /// The database's time.
    pub async fn now(&self) -> DateTime<Utc> {
        sqlx::query_scalar("select tenure.now()").fetch_one(self.pool()).await.unwrap()
    }

    /// One number from a query.
    pub async fn count(&self, query: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(self.pool()).await.unwrap()
    }

    /// Makes a user.
    pub async fn user(&self, name: &str) {
        sqlx::query("insert into tenure.users (name) values ($1)").bind(name).execute(self.pool()).await.unwrap();
    }
}

/// Settings of a test's store.
pub fn settings(url: &str, node: &str) -> ConnectSettings {
    ConnectSettings { url: url.to_owned(), connections: 8, node: Some(node.to_owned()), allow_plaintext: true, allow_lossy: true }
}

fn named(database: &str) -> String {
    let (server, _) = server::url().rsplit_once('/').unwrap();
    format!("{server}/{database}")
}

async fn admin(statement: &str) {
    let mut connection = PgConnection::connect(server::url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
}

async fn template(clock: Clock) -> &'static str {
    static MOVED: OnceCell<String> = OnceCell::const_new();
    static REAL: OnceCell<String> = OnceCell::const_new();
    match clock {
        Clock::Moved => MOVED.get_or_init(|| make_template("moved", MOVED_CLOCK)).await,
        Clock::Real => REAL.get_or_init(|| make_template("real", "")).await,
    }
}

async fn make_template(kind: &str, then: &str) -> String {
    drop_leftovers().await;
    let name = format!("tenure_template_{}_{kind}", std::process::id());
    admin(&format!("create database {name} encoding 'UTF8' template template0")).await;
    // Commits need not reach the disk: a test that needs a crash starts a server of its own.
    admin(&format!("alter database {name} set synchronous_commit = off")).await;
    tenure::store::migrate(&settings(&named(&name), "template"), &|_| {}).await.unwrap();
    let mut connection = PgConnection::connect(&named(&name)).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(then.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    name
}

/// Drops the databases of runs that have ended, once. There are hundreds, at fifty milliseconds each: nobody waits for them, except
/// for those of a run whose process id this one has been given again.
async fn drop_leftovers() {
    static DROPPED: OnceCell<()> = OnceCell::const_new();
    DROPPED
        .get_or_init(|| async {
            drop_those(|process| process == std::process::id().to_string()).await;
            // On a runtime of its own, since that of a test ends with the test.
            std::thread::spawn(|| {
                let gone = |process: &str| !std::path::Path::new("/proc").join(process).exists();
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(drop_those(gone));
            });
        })
        .await;
}

async fn drop_those(ended: impl Fn(&str) -> bool) {
    let mut connection = PgConnection::connect(server::url()).await.unwrap();
    let names: Vec<String> =
        sqlx::query_scalar("select datname from pg_database where datname ~ '^tenure_(test|template)_[0-9]+_'")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    for name in names {
        if ended(name.split('_').nth(2).unwrap()) {
            let _ = sqlx::raw_sql(AssertSqlSafe(format!("drop database if exists {name} with (force)")))
                .execute(&mut connection)
                .await;
        }
    }
}
