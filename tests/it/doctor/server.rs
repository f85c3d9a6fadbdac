//! Findings about the server and the database as a whole.

use serde_json::Value;

use super::{doctor, examined, found, problems};
use crate::support::{Clock, Db};

#[tokio::test]
async fn a_server_without_a_schema_is_described() {
    let run = doctor(&Db::empty("UTF8").await, &[], true);
    assert_eq!(run.code, 5, "{}", run.out);
    assert!(run.out.contains("Run `tenure migrate` once.") && run.out.contains("policies  -        not examined"), "{}", run.out);
}

#[tokio::test]
async fn an_encoding_that_nodes_refuse_is_described() {
    let document = examined(&Db::empty("SQL_ASCII").await);
    assert_eq!(found(&document, "encoding", "SQL_ASCII").0, "problem");
    assert_eq!(found(&document, "no_schema", "no Tenure schema").0, "problem");
}

#[tokio::test]
async fn a_lossy_server_is_a_problem_unless_it_was_accepted() {
    let db = Db::with(Clock::Real).await;
    let lossy = db.count("select (current_setting('fsync') = 'off')::int::bigint").await == 1;
    let strict: Value = serde_json::from_str(&doctor(&db.url, &["--json"], false).out).unwrap();
    let lenient = examined(&db.url);
    if lossy {
        assert_eq!(found(&strict, "fsync_off", "fsync").0, "problem");
        assert_eq!(found(&lenient, "fsync_off", "fsync").0, "warning");
    }
    assert_eq!(problems(&strict).contains(&"fsync_off"), lossy);
    let name = db.url.rsplit_once('/').unwrap().1;
    db.sql(&format!("alter database {name} set synchronous_commit = off")).await;
    let lenient = examined(&db.url);
    assert_eq!(found(&lenient, "synchronous_commit_off", "synchronous_commit").0, "warning");
}

#[tokio::test]
async fn a_database_that_refuses_writes_is_described() {
    let db = Db::with(Clock::Real).await;
    let name = db.url.rsplit_once('/').unwrap().1;
    db.sql(&format!("alter database {name} set default_transaction_read_only = on")).await;
    assert_eq!(found(&examined(&db.url), "read_only", "cannot write").0, "problem");
}

#[tokio::test]
async fn too_few_connections_for_the_pools_are_a_problem() {
    let db = Db::with(Clock::Real).await;
    let name = db.url.rsplit_once('/').unwrap().1;
    db.sql(&format!("alter database {name} connection limit 15")).await;
    assert_eq!(found(&examined(&db.url), "too_few_connections", "the connection limit of the database leaves 15").0, "problem");
    let run = doctor(&db.url, &["--json", "--connections", "5"], true);
    assert!(!run.out.contains("too_few_connections"), "{}", run.out);
}

#[tokio::test]
async fn another_isolation_level_than_the_rules_were_written_for_is_told() {
    let db = Db::with(Clock::Real).await;
    let name = db.url.rsplit_once('/').unwrap().1;
    db.sql(&format!("alter database {name} set default_transaction_isolation = 'repeatable read'")).await;
    let document = examined(&db.url);
    let (severity, advice) = found(&document, "default_isolation", "repeatable read for this database");
    assert_eq!(severity, "note");
    db.sql(advice).await;
    let role = format!("doctor_serial_{}", std::process::id());
    db.sql(&format!("drop role if exists {role}; create role {role}; alter role {role} in database {name} set default_transaction_isolation = serializable"))
        .await;
    let document = examined(&db.url);
    db.sql(&format!("drop role {role}")).await;
    let (_, advice) = found(&document, "default_isolation", &format!("serializable for the role {role} in this database"));
    assert_eq!(advice, format!("alter role {role} in database {name} reset default_transaction_isolation;"));
    assert_eq!(document.to_string().matches("default_isolation").count(), 1, "{document:#}");
}
