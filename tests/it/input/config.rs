//! Cases 88 to 98 and 102 to 108: databases this program does not work on, and histories that are not its own.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tenure::store::{ConnectError, ConnectSettings, MigrateError, Store, migrate, status};

use super::SECRET;
use crate::support::{Clock, Db, settings};

fn strict(url: &str) -> ConnectSettings {
    ConnectSettings { allow_plaintext: false, ..settings(url, "strict") }
}

#[test]
fn input_088_urls_that_cannot_be_read() {
    for url in [
        String::new(),
        "nonsense".to_owned(),
        format!("mysql://u:{SECRET}@h/d"),
        format!("postgres//u:{SECRET}@h/d"),
        format!("postgres://u:{SECRET}@h:port/d"),
        format!("postgres://u:{SECRET}@h:99999/d"),
        format!("postgres://u:{SECRET}@127.0.0.1/d?sslmode={SECRET}"),
        format!("postgres://u:{SECRET}@[::1/d"),
    ] {
        let error = Store::connect_lazily(&strict(&url)).err().unwrap_or_else(|| panic!("{url} was taken"));
        assert!(matches!(error, ConnectError::Url(_)), "{url}: {error}");
        let text = error.to_string();
        assert!(!text.contains(SECRET), "{text}");
        assert!(text.contains("postgres://USER:PASSWORD@HOST:PORT/DATABASE"), "{text}");
    }
}

#[tokio::test]
async fn input_089_links_to_another_machine_are_verified() {
    for host in ["db.example", "192.0.2.7", "127.0.0.1.example", "[2001:db8::7]"] {
        for mode in ["", "?sslmode=disable", "?sslmode=allow", "?sslmode=prefer", "?sslmode=require", "?sslmode=verify-ca"] {
            let url = format!("postgres://u:{SECRET}@{host}/d{mode}");
            let error = Store::connect_lazily(&strict(&url)).err().unwrap_or_else(|| panic!("{url} was taken"));
            assert!(matches!(error, ConnectError::Plaintext(_)), "{url}: {error}");
            let text = error.to_string();
            assert!(text.contains("verify-full") && !text.contains(SECRET), "{text}");
        }
        let url = format!("postgres://u:{SECRET}@{host}/d?sslmode=verify-full");
        assert!(Store::connect_lazily(&strict(&url)).is_ok(), "{url}");
        let url = format!("postgres://u:{SECRET}@{host}/d");
        assert!(Store::connect_lazily(&settings(&url, "private")).is_ok(), "--allow-plaintext-database");
    }
    for near in ["localhost", "127.0.0.1", "[::1]"] {
        assert!(Store::connect_lazily(&strict(&format!("postgres://u@{near}/d"))).is_ok(), "{near}");
    }
    // The host that counts is the one connected to, wherever the URL hides it.
    for hidden in ["host=192.0.2.7", "hostaddr=192.0.2.7"] {
        let url = format!("postgres://u@localhost/d?{hidden}");
        let error = Store::connect_lazily(&strict(&url)).err().unwrap_or_else(|| panic!("{url} was taken"));
        assert!(matches!(error, ConnectError::Plaintext(_)), "{url}: {error}");
    }
}

#[tokio::test]
async fn input_089_no_fall_back_to_plain_text() {
    let db = Db::new().await;
    let ssl: String = sqlx::query_scalar("select current_setting('ssl')").fetch_one(db.pool()).await.unwrap();
    if ssl == "off" {
        let error = Store::connect(&strict(&format!("{}?sslmode=verify-full", db.url))).await.err().unwrap();
        assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
    }
    let error = Store::connect(&strict(&format!("{}?sslmode=verify-full&sslrootcert=/nothing/there.pem", db.url))).await.err();
    assert!(error.is_some(), "an authority that cannot be read");
}

#[tokio::test]
async fn input_092_and_094_and_096_pools_and_servers() {
    let db = Db::new().await;
    for connections in [0, 1, 201, u32::MAX] {
        let error = Store::connect(&ConnectSettings { connections, ..settings(&db.url, "n") }).await.err().unwrap();
        assert!(matches!(error, ConnectError::Connections(_)), "{error}");
        assert!(error.to_string().contains("2 to 200"), "{error}");
    }
    let lossy =
        db.count("select count(*) from pg_settings where name in ('fsync', 'full_page_writes') and setting = 'off'").await > 0;
    let answer = Store::connect(&ConnectSettings { allow_lossy: false, ..settings(&db.url, "n") }).await;
    assert_eq!(matches!(answer, Err(ConnectError::Unsuitable(_))), lossy);
    if let Err(error) = answer {
        assert!(error.to_string().contains("--allow-lossy-database"), "{error}");
    }
    let ascii = Db::empty("SQL_ASCII").await;
    let error = Store::connect(&settings(&ascii, "n")).await.err().unwrap();
    assert!(matches!(&error, ConnectError::Unsuitable(text) if text.contains("UTF8")), "{error}");
}

/// Runs statements against the history, then both programs that read it.
async fn after(statements: &str) -> (Result<(), MigrateError>, Result<(), MigrateError>) {
    let db = Db::with(Clock::Real).await;
    db.sql(statements).await;
    let served = db.store.check_schema().await;
    (served, migrate(&settings(&db.url, "n"), &|_| {}).await.map(|_| ()))
}

#[tokio::test]
async fn input_102_to_105_histories() {
    let history = "public.refinery_schema_history";
    let (served, migrated) =
        after(&format!("insert into {history} select 99, 'later', applied_on, '1' from {history} limit 1")).await;
    for error in [served.unwrap_err(), migrated.unwrap_err()] {
        assert!(matches!(&error, MigrateError::Mismatch(text) if text.contains("99") && text.contains("newer")), "102: {error}");
    }
    let (served, _) = after(&format!("delete from {history} where version = (select max(version) from {history})")).await;
    assert!(matches!(served, Err(MigrateError::Mismatch(text)) if text.contains("tenure migrate")), "103");
    let (served, _) = after(&format!("drop table {history} cascade")).await;
    assert!(matches!(served, Err(MigrateError::Mismatch(text)) if text.contains("tenure migrate")), "103, no history");

    for (case, change) in [
        ("104 changed", format!("update {history} set checksum = '17' where version = 2")),
        ("104 missing", format!("delete from {history} where version = 2")),
        ("104 renamed", format!("update {history} set name = 'other' where version = 2")),
    ] {
        let (_, migrated) = after(&change).await;
        assert!(matches!(&migrated, Err(MigrateError::Mismatch(_))), "{case}: {migrated:?}");
    }
    for (case, change) in [
        ("105 checksum", format!("update {history} set checksum = 'x' where version = 2")),
        ("105 no checksum", format!("update {history} set checksum = null where version = 2")),
        ("105 instant", format!("update {history} set applied_on = 'yesterday' where version = 2")),
        ("105 no name", format!("update {history} set name = null where version = 2")),
        ("105 negative", format!("update {history} set version = -2 where version = 2")),
        ("105 other table", format!("alter table {history} rename column checksum to sum")),
    ] {
        let (_, migrated) = after(&change).await;
        let error = migrated.expect_err(case);
        assert!(matches!(&error, MigrateError::History(_) | MigrateError::Mismatch(_)), "{case}: {error:?}");
    }
}

#[tokio::test]
async fn input_107_a_migration_waits_for_another() {
    let url = Db::empty("UTF8").await;
    let mut other = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("select pg_advisory_lock(127978993709669)").execute(&mut other).await.unwrap();
    let told = std::sync::Mutex::new(Vec::new());
    let waiting = tokio::sync::Notify::new();
    let progress = |step: &str| {
        told.lock().unwrap().push(step.to_owned());
        waiting.notify_one();
    };
    let wanted = settings(&url, "n");
    let (migrated, ()) = tokio::join!(migrate(&wanted, &progress), async {
        waiting.notified().await;
        other.close().await.unwrap();
    });
    assert!(!migrated.unwrap().applied.is_empty());
    let told = told.into_inner().unwrap();
    assert!(told[0].starts_with("Waiting for another migration") && told[1].starts_with("Applying"), "{told:?}");
}

#[tokio::test]
async fn input_108_a_user_who_may_not() {
    let url = Db::empty("UTF8").await;
    let mut owner = PgConnection::connect(&url).await.unwrap();
    let role = format!("tenure_test_weak_{}", std::process::id());
    let run = async |connection: &mut PgConnection, sql: String| {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
    };
    run(&mut owner, format!("drop role if exists {role}; create role {role} login password '{SECRET}'")).await;
    let (_, place) = url.rsplit_once('@').unwrap();
    let error = migrate(&settings(&format!("postgres://{role}:{SECRET}@{place}"), "n"), &|_| {}).await;
    run(&mut owner, format!("drop role {role}")).await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("permission denied") && !text.contains(SECRET), "{text}");
    assert_eq!(status(&settings(&url, "n")).await.unwrap().version, None, "nothing half applied");
}

#[tokio::test]
async fn input_108_a_server_that_refuses_to_be_written() {
    let url = Db::empty("UTF8").await;
    let (_, name) = url.rsplit_once('/').unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let readonly = format!("alter database {name} set default_transaction_read_only = on");
    sqlx::raw_sql(AssertSqlSafe(readonly)).execute(&mut connection).await.unwrap();
    let error = migrate(&settings(&url, "n"), &|_| {}).await.unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
    let status = status(&settings(&url, "n")).await.unwrap();
    assert_eq!((status.version, status.applied.len()), (None, 0), "nothing half applied");
}
