//! Findings about the partitions of history and its retention.

use super::{examined, findings, found, planted};
use crate::support::{Clock, Db};

#[tokio::test]
async fn partitions_of_the_coming_months_are_expected() {
    let drop = "do $$ begin execute format('drop table tenure.session_events_%s', to_char(tenure.now() at time zone 'UTC' + interval '2 months', 'YYYY_MM')); end $$";
    planted(drop, "warning", "partition_missing", "session_events_").await;
}

/// A month of 2020, as nodes made it then.
const OLD_MONTH: &str = "create table tenure.ended_sessions_2020_01 partition of tenure.ended_sessions
    for values from (tenure.uuid_v7_floor('2020-01-01Z')) to (tenure.uuid_v7_floor('2020-02-01Z'))";

/// Sessions that began in January 2020 and ended as long ago as this.
async fn old_sessions(db: &Db, number: i64, ended: &str) {
    db.sql(&format!(
        "insert into tenure.ended_sessions (id, token_hash, kind, user_name, remember_me, residue, created_at, anchor_at, ended_at, end_reason, ended_by)
         select tenure.uuid_v7('2020-01-15Z'), sha256(n::text::bytea), 'user', 'abel.tuter', false, false, '2020-01-15Z', '2020-01-15Z', tenure.now() - interval '{ended}', 'idle', 'tenure'
           from generate_series(1, {number}) n"
    ))
    .await;
}

#[tokio::test]
async fn rows_whose_month_was_never_made_are_counted() {
    let db = Db::with(Clock::Real).await;
    db.sql(
        "do $$ begin execute format('drop table tenure.session_events_%s', to_char(tenure.now() at time zone 'UTC' + interval '1 month', 'YYYY_MM')); end $$;
         insert into tenure.session_events (id, at, type, actor)
         select tenure.uuid_v7(date_trunc('month', tenure.now()) + interval '40 days'), tenure.now(), 'key_created', 'x'",
    )
    .await;
    let document = examined(&db.url);
    let (severity, advice) = found(&document, "rows_in_default_partition", "1 row lies in tenure.session_events_default");
    assert_eq!((severity, advice.contains("delete")), ("warning", false), "{advice}");
}

#[tokio::test]
async fn what_retention_keeps_of_a_month_that_it_dropped_lies_well() {
    let db = Db::with(Clock::Real).await;
    db.sql(OLD_MONTH).await;
    old_sessions(&db, 3, "1 day").await;
    db.sql("select tenure.retire_history()").await;
    assert_eq!(db.count("select count(*) from tenure.ended_sessions_default").await, 3);
    let document = examined(&db.url);
    assert!(
        findings(&document)
            .iter()
            .all(|finding| !["rows_in_default_partition", "retention_behind"].contains(&finding["code"].as_str().unwrap())),
        "{document:#}"
    );
}

#[tokio::test]
async fn a_month_that_outlives_its_retention_is_found_with_who_keeps_it() {
    let db = Db::with(Clock::Real).await;
    db.sql(OLD_MONTH).await;
    let document = examined(&db.url);
    let (severity, advice) = found(&document, "retention_behind", "tenure.ended_sessions_2020_01 is past retention for ");
    assert_eq!((severity, advice.starts_with("select tenure.retire_history();")), ("warning", true), "{advice}");

    db.sql("create view public.archive as select id, ended_at from tenure.ended_sessions_2020_01").await;
    let document = examined(&db.url);
    let (severity, advice) = found(&document, "retention_behind", "view public.archive depends on it");
    assert_eq!(severity, "warning");
    db.sql(advice).await;
    db.sql("select tenure.retire_history()").await;
    assert!(!examined(&db.url).to_string().contains("retention_behind"));

    db.sql(OLD_MONTH).await;
    assert_eq!(found(&examined(&db.url), "retention_behind", "ended_sessions_2020_01").0, "note", "a month was dropped just now");
    db.sql("insert into tenure.properties (name, value) values ('tenure.retention.ended_sessions_days', '0')").await;
    assert!(!examined(&db.url).to_string().contains("retention_behind"), "everything is kept");
}

#[tokio::test]
async fn a_month_that_waits_for_its_late_sessions_is_no_more_than_a_note() {
    let db = Db::with(Clock::Real).await;
    db.sql(OLD_MONTH).await;
    old_sessions(&db, 10_001, "1 day").await;
    db.sql("select tenure.retire_history()").await;
    assert_eq!(db.count("select count(*) from tenure.ended_sessions_2020_01").await, 10_001);
    assert_eq!(found(&examined(&db.url), "retention_behind", "more than 10,000 of its sessions ended since").0, "note");
}
