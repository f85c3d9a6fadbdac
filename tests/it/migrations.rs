//! Migrations: many starters, killed starters, and databases that must be refused (FAULTS E5, 102 to 107).

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tenure::store::{ConnectSettings, Store, migrate, migrate_within};

use crate::support::{Db, Process, settings};

mod files {
    refinery::embed_migrations!("migrations");
}

const DATABASE: &str = "TENURE_TEST_MIGRATE";

/// Not a test: one starter, run by the tests in a process of its own.
#[tokio::test]
#[ignore = "a process that migrates, started by the tests"]
async fn starter() {
    let Ok(url) = std::env::var(DATABASE) else { return };
    migrate(&settings(&url, "starter"), &|_| {}).await.unwrap();
}

fn start(settings: &ConnectSettings) -> Process {
    Process::start("migrations::starter", &[(DATABASE, &settings.url)])
}

async fn open(settings: &ConnectSettings) -> PgConnection {
    PgConnection::connect(&settings.url).await.unwrap()
}

async fn run(settings: &ConnectSettings, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut open(settings).await).await.unwrap();
}

/// The history is refinery's own: every version once, in its format, with its checksums (E5).
async fn expect_complete(settings: &ConnectSettings) {
    let rows = sqlx::query("select version, name, applied_on, checksum from public.refinery_schema_history order by version")
        .fetch_all(&mut open(settings).await)
        .await
        .unwrap();
    let mut expected = files::migrations::runner().get_migrations().clone();
    expected.sort();
    assert_eq!(rows.len(), expected.len(), "each version is applied once");
    for (row, migration) in rows.iter().zip(&expected) {
        assert_eq!(i64::from(row.get::<i32, _>(0)), i64::from(migration.version()));
        assert_eq!(row.get::<String, _>(1), migration.name());
        chrono::DateTime::parse_from_rfc3339(&row.get::<String, _>(2)).unwrap();
        assert_eq!(row.get::<String, _>(3), migration.checksum().to_string());
    }
}

#[tokio::test]
async fn measured_e5_twenty_processes_migrate_an_empty_database_at_once() {
    let database = Db::unmigrated().await;
    let starters: Vec<_> = (0..20).map(|_| start(&database)).collect();
    let failures: Vec<_> = starters.into_iter().filter_map(|starter| starter.finish().err()).collect();
    assert!(failures.is_empty(), "{} of 20 failed, the first: {}", failures.len(), failures[0]);
    expect_complete(&database).await;
    Store::connect(&database).await.unwrap().check_schema().await.unwrap();
}

#[tokio::test]
async fn measured_e5_starters_killed_in_the_middle_leave_a_database_the_others_finish() {
    let mut random = StdRng::seed_from_u64(5);
    for _ in 0..3 {
        let database = Db::unmigrated().await;
        let mut starters: Vec<_> = (0..10).map(|_| start(&database)).collect();
        let mut watcher = open(&database).await;
        // Whoever holds the lock is in the middle: it dies once it has come so far, and another takes over.
        for killed in 0..4 {
            let goal = killed + random.random_range(0..2);
            loop {
                let exists: bool = sqlx::query_scalar("select to_regclass('public.refinery_schema_history') is not null")
                    .fetch_one(&mut watcher)
                    .await
                    .unwrap();
                let applied: i64 = if exists {
                    sqlx::query_scalar("select count(*) from public.refinery_schema_history")
                        .fetch_one(&mut watcher)
                        .await
                        .unwrap()
                } else {
                    0
                };
                if applied >= goal {
                    break;
                }
            }
            let victim = random.random_range(0..starters.len());
            starters.swap_remove(victim).kill();
            // Its server process may outlive it by one statement; ended as by an administrator, it dies mid-migration.
            let _ = sqlx::query(
                "select pg_terminate_backend(a.pid) from pg_locks l join pg_stat_activity a on a.pid = l.pid
                  where l.locktype = 'advisory' and l.granted and a.datname = current_database() and $1",
            )
            .bind(killed == 0)
            .execute(&mut watcher)
            .await;
        }
        let failures: Vec<_> = starters.into_iter().filter_map(|starter| starter.finish().err()).collect();
        // At most the one whose connection was ended may say so; its message is not a half-applied schema.
        assert!(failures.len() <= 1, "{failures:#?}");
        migrate(&database, &|_| {}).await.unwrap();
        expect_complete(&database).await;
    }
}

#[tokio::test]
async fn input_103_an_empty_or_older_database_is_told_to_migrate() {
    let database = Db::unmigrated().await;
    let store = Store::connect(&database).await.unwrap();
    let refused = store.check_schema().await.unwrap_err().to_string();
    assert!(refused.contains("tenure migrate"), "{refused}");
    assert!(tenure::store::status(&database).await.unwrap().version.is_none());

    migrate(&database, &|_| {}).await.unwrap();
    store.check_schema().await.unwrap();
    run(
        &database,
        "delete from public.refinery_schema_history where version = (select max(version) from public.refinery_schema_history)",
    )
    .await;
    let refused = store.check_schema().await.unwrap_err().to_string();
    assert!(refused.contains("tenure migrate"), "{refused}");
}

#[tokio::test]
async fn input_102_104_a_newer_schema_and_a_changed_migration_are_refused() {
    let database = Db::unmigrated().await;
    migrate(&database, &|_| {}).await.unwrap();
    run(&database, "update public.refinery_schema_history set checksum = '1' where version = 3").await;
    let refused = migrate(&database, &|_| {}).await.unwrap_err().to_string();
    assert!(refused.contains("edited after it was applied") && refused.contains("V3"), "{refused}");

    let database = Db::unmigrated().await;
    migrate(&database, &|_| {}).await.unwrap();
    run(&database, "insert into public.refinery_schema_history select 999, 'later', applied_on, checksum from public.refinery_schema_history where version = 1").await;
    for refused in [
        migrate(&database, &|_| {}).await.unwrap_err().to_string(),
        Store::connect(&database).await.unwrap().check_schema().await.unwrap_err().to_string(),
    ] {
        assert!(refused.contains("999") && refused.contains("newer"), "{refused}");
    }
}

#[tokio::test]
async fn input_105_a_corrupt_history_row_is_named_and_not_a_panic() {
    for (damage, named) in [
        ("set applied_on = 'yesterday' where version = 2", "applied_on of version 2"),
        ("set checksum = 'x' where version = 2", "checksum of version 2"),
        ("set name = null where version = 2", "version 2 has no name"),
    ] {
        let database = Db::unmigrated().await;
        migrate(&database, &|_| {}).await.unwrap();
        run(&database, &format!("update public.refinery_schema_history {damage}")).await;
        for refused in [
            migrate(&database, &|_| {}).await.unwrap_err().to_string(),
            tenure::store::status(&database).await.unwrap_err().to_string(),
        ] {
            assert!(refused.contains(named) && refused.contains("backup"), "{refused}");
        }
    }
}

#[tokio::test]
async fn input_107_a_lock_held_by_another_migration_says_who_holds_it() {
    let database = Db::unmigrated().await;
    let mut holder = open(&database).await;
    let holder_pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut holder).await.unwrap();
    sqlx::query("select set_config('application_name', 'the other one', false), pg_advisory_lock($1)")
        .bind(0x7465_6e75_7265_i64)
        .execute(&mut holder)
        .await
        .unwrap();
    let refused = migrate_within(&database, Duration::ZERO, &|_| {}).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("process {holder_pid}")) && refused.contains("the other one"), "{refused}");
    assert!(tenure::store::status(&database).await.unwrap().version.is_none(), "nothing was applied");

    // Another database of the same server is another lock: its migration does not wait.
    let other = Db::unmigrated().await;
    migrate_within(&other, Duration::ZERO, &|_| {}).await.unwrap();
    expect_complete(&other).await;
}
