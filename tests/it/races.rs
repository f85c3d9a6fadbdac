//! Races over a real PostgreSQL: sign-in against lock-out, sweepers against activity, writers against each other.

mod concurrent;
mod importing;
mod lock_out;
mod maintenance;
mod redeeming;
mod sweeping;
mod writers;

use sqlx::{Connection, PgConnection, Row};
use tokio::task::JoinHandle;

use crate::support::Db;

/// Returns once the connection of that process waits for a lock: the other side has come to the critical point.
async fn until_waiting(watcher: &mut PgConnection, pid: i32) {
    loop {
        let waits: bool =
            sqlx::query_scalar("select cardinality(pg_blocking_pids($1)) > 0").bind(pid).fetch_one(&mut *watcher).await.unwrap();
        if waits {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Returns once somebody waits for the connection of that process; `waiter` is not done before.
async fn until_blocked<T>(watcher: &mut PgConnection, blocker: i32, waiter: &JoinHandle<T>) {
    loop {
        let waits = "select exists (select from pg_stat_activity where $1 = any (pg_blocking_pids(pid)))";
        if sqlx::query_scalar(waits).bind(blocker).fetch_one(&mut *watcher).await.unwrap() {
            return;
        }
        assert!(!waiter.is_finished(), "it did not wait");
        tokio::task::yield_now().await;
    }
}

async fn pid(connection: &mut PgConnection) -> i32 {
    sqlx::query_scalar("select pg_backend_pid()").fetch_one(connection).await.unwrap()
}

/// Deadlocks of this database so far; a server process reports its own when it ends, so pools are closed first.
async fn deadlocks(db: &Db) -> i64 {
    let mut connection = PgConnection::connect(&db.url).await.unwrap();
    sqlx::query("select deadlocks from pg_stat_database where datname = current_database()")
        .fetch_one(&mut connection)
        .await
        .unwrap()
        .get(0)
}
