//! Section 8: X4, how long history is kept.

use tenure::session::EndReason;
use tenure::store::Retired;

use super::*;

const ENDED: &str = "tenure.retention.ended_sessions_days";
const EVENTS: &str = "tenure.retention.events_days";

/// The partitions there are besides the default ones, both parents', in order.
async fn months(db: &Db) -> Vec<String> {
    sqlx::query_scalar("select name from tenure.history_partitions() where from_at is not null order by name")
        .fetch_all(db.pool())
        .await
        .unwrap()
}

/// A database whose clock stands in June 2027, with the partitions that a node would have made then.
async fn in_june() -> Db {
    let db = stopped().await;
    // The template was made on today's clock; its months are not this test's.
    for name in months(&db).await {
        db.sql(&format!("drop table tenure.{name}")).await;
    }
    db.sql("delete from tenure.session_events; select tenure.make_partitions()").await;
    db
}

async fn retire(db: &Db) -> (i32, i64) {
    let Retired { months, removed } = db.store.retire_history().await.unwrap();
    (months, removed)
}

async fn day(db: &Db, day: &str) {
    at(db, &format!("{day} 09:00")).await;
}

#[tokio::test]
async fn rule_x4_history_is_kept_as_long_as_the_properties_say_and_goes_by_months() {
    let db = in_june().await;
    let made = [
        "ended_sessions_2027_06",
        "ended_sessions_2027_07",
        "ended_sessions_2027_08",
        "session_events_2027_06",
        "session_events_2027_07",
        "session_events_2027_08",
    ];
    assert_eq!(months(&db).await, made);
    let session = create(&db, user()).await;
    db.manager.terminate(session.session.id, false, ADMIN).await.unwrap();
    set(&db, ENDED, "30").await;
    set(&db, EVENTS, "60").await;

    // Thirty days after the month, to the microsecond.
    at(&db, "2027-07-30 23:59:59.999999").await;
    assert_eq!(retire(&db).await, (0, 0));
    assert_eq!(view(&db, &session).await.end_reason.map(EndReason::as_str), Some("terminated"));
    at(&db, "2027-07-31 00:00").await;
    assert_eq!(retire(&db).await, (1, 0));
    assert_eq!(months(&db).await, made[1..]);
    assert_eq!(db.count("select count(*) from tenure.ended_sessions").await, 0);
    assert_eq!(refused(db.manager.session(session.session.id, ADMIN).await), (404, "unknown_session".into()));
    assert!(
        db.count("select count(*) from tenure.session_events where type = 'session_ended'").await == 1,
        "events have a retention of their own"
    );
    assert_eq!(retire(&db).await, (0, 0));

    at(&db, "2027-08-30 00:00").await;
    assert_eq!(retire(&db).await, (1, 0));
    assert_eq!(db.count("select count(*) from tenure.session_events where type = 'session_ended'").await, 0);

    // What was dropped, by whom and when is an event itself.
    let told = text(&db, "select string_agg(concat_ws(' ', actor, node, details), '; ' order by at) from tenure.session_events where type = 'history_dropped'").await;
    assert_eq!(
        told,
        r#"tenure node-1 {"rows": 0, "partitions": ["ended_sessions_2027_06"]}; tenure node-1 {"rows": 0, "partitions": ["session_events_2027_06"]}"#
    );
}

#[tokio::test]
async fn rule_x4_one_month_of_each_goes_at_a_time_and_never_one_that_is_used() {
    let db = in_june().await;
    day(&db, "2027-10-01").await;
    set(&db, ENDED, "1").await;
    set(&db, EVENTS, "1").await;
    assert_eq!(retire(&db).await, (2, 0));
    assert_eq!(retire(&db).await, (2, 0));
    // August ended a month ago: only what is not a day old yet stands, and what is made ahead.
    assert_eq!(retire(&db).await, (2, 0));
    assert_eq!(retire(&db).await.0, 0);
    db.sql("select tenure.make_partitions()").await;
    let session = create(&db, user()).await;
    db.manager.terminate(session.session.id, false, ADMIN).await.unwrap();
    assert_eq!(retire(&db).await.0, 0);
    assert_eq!(view(&db, &session).await.end_reason.map(EndReason::as_str), Some("terminated"));
}

#[tokio::test]
async fn rule_x4_by_default_400_days_are_kept_and_0_keeps_everything() {
    let db = in_june().await;
    // The first month ends on 2027-07-01; 400 days of 24 hours later it is 2028-08-04.
    day(&db, "2028-08-03").await;
    assert_eq!(retire(&db).await, (0, 0));
    day(&db, "2028-08-04").await;
    assert_eq!(retire(&db).await, (2, 0));
    set(&db, ENDED, "0").await;
    set(&db, EVENTS, "0").await;
    day(&db, "2040-01-01").await;
    assert_eq!(retire(&db).await, (0, 0));
    let kept = "select count(*) from tenure.history_partitions() where keep_from is not null";
    assert_eq!(db.count(kept).await, 0);
    for bad in ["-1", "3651", "30 days", "0.5"] {
        assert_eq!(refused(db.manager.set_property(ENDED, bad, true, ADMIN).await).1, "invalid_value", "{bad:?}");
    }
}

#[tokio::test]
async fn rule_e2_a_session_that_lived_for_months_outlives_the_month_it_began_in() {
    let db = in_june().await;
    set(&db, ENDED, "1").await;
    let long = create(&db, integration()).await;
    let short = create(&db, user()).await;
    let still = create(&db, guest()).await;
    db.manager.terminate(short.session.id, false, ADMIN).await.unwrap();
    // Both were used all the while.
    db.sql("update tenure.sessions set anchor_at = '2027-08-10 08:59:00+00', due_at = '2027-08-10 09:00:00+00'").await;
    day(&db, "2027-08-10").await;
    db.manager.terminate(long.session.id, false, ADMIN).await.unwrap();
    assert_eq!(retire(&db).await, (1, 0));
    assert_eq!(refused(db.manager.session(short.session.id, ADMIN).await), (404, "unknown_session".into()));
    assert_eq!(ending(&db, &long).await.0, "terminated", "who holds its token is told for a day");
    assert_eq!(db.count("select count(*) from tenure.ended_sessions_default").await, 1);

    // And what ends after the month is gone finds a place.
    db.manager.terminate(still.session.id, false, ADMIN).await.unwrap();
    assert_eq!(ending(&db, &still).await.0, "terminated");
    at(&db, "2027-08-11 08:59:59.999999").await;
    assert_eq!(retire(&db).await.1, 0);
    at(&db, "2027-08-11 09:00").await;
    assert_eq!(retire(&db).await.1, 2);
    assert_eq!(db.count("select count(*) from tenure.ended_sessions").await, 0);
}

#[tokio::test]
async fn rule_x4_whoever_is_in_the_way_is_let_pass_and_a_second_node_does_nothing() {
    let db = in_june().await;
    set(&db, ENDED, "1").await;
    day(&db, "2027-07-10").await;
    let mut reader = db.connection().await;
    sqlx::raw_sql("begin; select count(*) from tenure.ended_sessions").execute(&mut reader).await.unwrap();
    assert_eq!(retire(&db).await, (0, 0), "a reader of the table");
    sqlx::raw_sql("rollback").execute(&mut reader).await.unwrap();
    // The lock that making partitions takes: another node is at it.
    sqlx::raw_sql("begin; select pg_advisory_xact_lock(hashtextextended('tenure.make_partitions', 0))")
        .execute(&mut reader)
        .await
        .unwrap();
    assert_eq!(retire(&db).await, (0, 0), "another node");
    sqlx::raw_sql("rollback").execute(&mut reader).await.unwrap();
    assert_eq!(retire(&db).await, (1, 0));
    assert_eq!(db.count("select count(*) from tenure.session_events where type = 'history_dropped'").await, 1);
}

#[tokio::test]
async fn rule_x4_a_reader_keeps_nobody_from_house_keeping() {
    let db = in_june().await;
    db.sql("drop table tenure.session_events_2027_08").await;
    set(&db, ENDED, "1").await;
    let mut reader = db.connection().await;
    sqlx::raw_sql("begin; select count(*) from tenure.session_events").execute(&mut reader).await.unwrap();
    day(&db, "2027-07-10").await;
    db.store.keep_house().await.unwrap();
    let (made, waits): (Vec<_>, Vec<_>) = months(&db).await.into_iter().partition(|name| name.starts_with("ended_sessions"));
    assert_eq!(
        made,
        ["ended_sessions_2027_07", "ended_sessions_2027_08", "ended_sessions_2027_09"],
        "June is past its retention"
    );
    assert_eq!(waits, ["session_events_2027_06", "session_events_2027_07"], "the reader is in the way of these");
    sqlx::raw_sql("rollback").execute(&mut reader).await.unwrap();
    db.store.keep_house().await.unwrap();
    assert_eq!(months(&db).await.len(), 3 + 4);
}

#[tokio::test]
async fn rule_x4_what_depends_on_a_month_keeps_that_month_only() {
    let db = in_june().await;
    db.sql("create view public.mine as select id from tenure.ended_sessions_2027_06").await;
    set(&db, ENDED, "1").await;
    day(&db, "2027-08-10").await;
    assert_eq!(retire(&db).await, (1, 0));
    assert!(!months(&db).await.contains(&"ended_sessions_2027_07".to_owned()));
    db.sql("drop view public.mine").await;
    assert_eq!(retire(&db).await, (1, 0));
}

#[tokio::test]
async fn rule_x4_nothing_is_dropped_by_an_older_snapshot() {
    let db = in_june().await;
    set(&db, ENDED, "1").await;
    day(&db, "2027-07-10").await;
    for level in ["repeatable read", "serializable"] {
        let mut client = db.connection().await;
        sqlx::raw_sql(AssertSqlSafe(format!("begin isolation level {level}"))).execute(&mut client).await.unwrap();
        let refusal = sqlx::raw_sql("select tenure.retire_history()").execute(&mut client).await.unwrap_err();
        assert_eq!(refusal.as_database_error().unwrap().constraint(), Some("isolation_level"), "{level}");
    }
    // Nodes say what they need, whatever the database was told.
    db.sql("do $$ begin execute format('alter database %I set default_transaction_isolation = serializable', current_database()); end $$").await;
    let store = db.store_of(2).await;
    assert_eq!(store.retire_history().await.unwrap().months, 1);
}

#[tokio::test]
async fn rule_x4_rows_without_a_month_go_in_batches() {
    let db = in_june().await;
    db.sql("insert into tenure.ended_sessions (id, token_hash, kind, remember_me, residue, created_at, anchor_at, ended_at, end_reason, ended_by)
            select tenure.uuid_v7(t.at), sha256('x'), 'guest', false, false, t.at, t.at, t.at, 'idle', 'tenure'
              from (select '2020-01-01 00:00+00'::timestamptz + make_interval(secs => n) as at from generate_series(1, 12000) n) t;
            insert into tenure.session_events (id, at, type, actor)
            select tenure.uuid_v7(t.at), t.at, 'session_ended', 'tenure'
              from (select '2020-01-01 00:00+00'::timestamptz + make_interval(secs => n) as at from generate_series(1, 50) n) t").await;
    assert_eq!(retire(&db).await, (0, 10_050));
    assert_eq!(retire(&db).await, (0, 2_000));
    assert_eq!(retire(&db).await, (0, 0));
    assert_eq!(db.count("select count(*) from tenure.ended_sessions").await, 0);
}

#[tokio::test]
async fn rule_x4_an_ids_instant_is_the_one_it_was_made_of() {
    let db = stopped().await;
    let wrong = "select count(*) from generate_series('2027-06-01'::timestamptz, '2060-06-01', '77 days 1 hour 0.123 seconds') t
                  where tenure.instant_of(tenure.uuid_v7(t)) <> t or tenure.instant_of(tenure.uuid_v7_floor(t)) <> t";
    assert_eq!(db.count(wrong).await, 0);
}
