//! X3: many sessions ended together, as the list shows them, as previewed, and no others.

use std::ops::ControlFlow;

use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::Connection;
use tenure::session::Kind;
use tenure::store::{Bulk, BulkOrder, BulkReason};
use uuid::Uuid;

use super::what_if::populate;
use super::*;
use crate::support::rounds;

const SEED: u64 = 20_270_603;

fn go_on(_: i64, _: i64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A filter with each condition by chance.
fn filter(rng: &mut StdRng, now: DateTime<Utc>) -> ListFilter {
    let maybe = |rng: &mut StdRng| rng.random_bool(0.25);
    let ago = |rng: &mut StdRng| now - TimeDelta::minutes(rng.random_range(0..120));
    ListFilter {
        user: maybe(rng).then(|| format!("U{}", rng.random_range(1..=4))),
        kind: maybe(rng).then(|| Kind::ALL[rng.random_range(0..Kind::ALL.len())]),
        node: rng.random_bool(0.05).then(|| "node-1".to_owned()),
        active: rng.random_bool(0.1).then(|| rng.random_bool(0.3)),
        idle_minutes_min: maybe(rng).then(|| rng.random_range(0..60)),
        created_from: maybe(rng).then(|| ago(rng)),
        created_to: maybe(rng).then(|| ago(rng)),
        last_activity_from: rng.random_bool(0.1).then(|| ago(rng)),
        last_activity_to: rng.random_bool(0.1).then(|| ago(rng)),
        limit: 500,
        ..ListFilter::default()
    }
}

#[tokio::test]
async fn rule_x3_an_order_ends_what_the_list_shows_and_its_preview_counts() {
    println!("seed {SEED}");
    let mut rng = StdRng::seed_from_u64(SEED);
    let db = stopped().await;
    mobile_app(&db, 1_800, 86_400).await;
    db.sql("insert into tenure.users (name) select 'u' || n from generate_series(1, 4) n").await;
    let (mut some, mut none) = (0, 0);
    for round in 0..rounds(300) {
        let minutes = rng.random_range(0..20);
        db.sql(&format!("update tenure_test.stopped set at = at + make_interval(mins => {minutes})")).await;
        populate(&db, &mut rng, 20).await;
        let bulk = Bulk { filter: filter(&mut rng, db.now().await), ..Bulk::default() };
        let mut shown: Vec<Uuid> = db.store.list(&bulk.filter).await.unwrap().items.iter().map(|session| session.id).collect();
        let except: Vec<Uuid> = if rng.random_bool(0.3) { shown.drain(..shown.len() / 3).collect() } else { Vec::new() };
        let bulk = Bulk { except, ..bulk };
        let case = format!("round {round}: {bulk:?}");

        let unchanged = everything(&db).await;
        let forecast = db.manager.rehearse_bulk(&bulk).await.unwrap();
        assert_eq!(usize::try_from(forecast.ends_now).unwrap(), shown.len(), "{case}");
        assert_eq!(forecast.sessions.iter().map(|place| place.sessions).sum::<i64>(), forecast.ends_now, "{case}");
        let newest: Vec<_> = forecast.examples.iter().map(|example| example.id).collect();
        assert_eq!(newest, shown[..shown.len().min(5)], "{case}");
        let reason = if rng.random_bool(0.5) { BulkReason::Maintenance } else { BulkReason::Terminated };
        let order = |expect| BulkOrder { bulk: bulk.clone(), reason, expect, all: true };
        if forecast.ends_now > 0 {
            for expect in [None, Some(forecast.ends_now - 1)] {
                let refusal = refusal(db.manager.terminate_many(order(expect), go_on, ADMIN).await);
                assert_eq!((refusal.status, refusal.count), (409, Some(forecast.ends_now)), "{case}");
            }
        }
        assert_eq!(everything(&db).await, unchanged, "{case}: nothing changes");

        db.sql("delete from tenure.ended_sessions; delete from tenure.session_events").await;
        let done = db.manager.terminate_many(order(forecast.guard.expect), go_on, ADMIN).await.unwrap();
        assert_eq!((done.terminated, done.remaining), (forecast.ends_now, 0), "{case}");
        let ended = format!(
            "select string_agg(id::text, ' ' order by id desc) from tenure.ended_sessions where ended_by = 'admin-key' and end_reason = '{}'",
            reason.as_str()
        );
        let ended: Option<String> = sqlx::query_scalar(AssertSqlSafe(ended)).fetch_one(db.pool()).await.unwrap();
        let expected = shown.iter().map(Uuid::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(ended.unwrap_or_default(), expected, "{case}");
        if shown.is_empty() { none += 1 } else { some += 1 }
    }
    assert!(some > 0 && none > 0, "{some} rounds with sessions, {none} without");
}

/// What was chosen is judged again under its locks: activity that came meanwhile counts.
#[tokio::test]
async fn rule_x3_what_no_longer_meets_the_filter_lives() {
    let db = stopped().await;
    let (first, second) = (create(&db, guest()).await, create(&db, guest()).await);
    at(&db, "09:20").await;
    let filter = ListFilter { idle_minutes_min: Some(20), ..ListFilter::default() };
    let order = |expect| BulkOrder {
        bulk: Bulk { filter: filter.clone(), ..Bulk::default() },
        expect: Some(expect),
        ..BulkOrder::default()
    };
    let mut connection = db.connection().await;
    let mut checking = connection.begin().await.unwrap();
    sqlx::query("update tenure.sessions set anchor_at = tenure.now() where id = $1")
        .bind(first.session.id)
        .execute(&mut *checking)
        .await
        .unwrap();
    let (ended, ()) = tokio::join!(db.manager.terminate_many(order(2), go_on, ADMIN), async {
        blocked(&db).await;
        checking.commit().await.unwrap();
    });
    let refusal = refusal(ended);
    assert_eq!((&*refusal.code, refusal.count), ("preview_changed", Some(1)));
    assert_eq!(db.count("select count(*) from tenure.sessions").await, 2, "nothing changed");

    assert_eq!(db.manager.terminate_many(order(1), go_on, ADMIN).await.unwrap().terminated, 1);
    check(&db, &first, Activity::Passive).await;
    assert_eq!(ending(&db, &second).await, ("terminated", t("09:20")));
}

/// More than 10,000 end in batches; who stops between two is told what is left.
#[tokio::test]
async fn rule_x3_many_end_in_batches_that_can_be_stopped() {
    let db = stopped().await;
    db.sql(
        "insert into tenure.sessions (id, token_hash, kind, created_at, anchor_at, due_at)
         select tenure.uuid_v7(n.at), sha256('x'), 'guest', n.at, n.at, n.at
           from (select tenure.now() as at) n, generate_series(1, 10001)",
    )
    .await;
    let order = |expect| BulkOrder { expect: Some(expect), all: true, ..BulkOrder::default() };
    let at_once = |_, _| ControlFlow::Break(());
    let done = db.manager.terminate_many(order(10_001), at_once, ADMIN).await.unwrap();
    assert_eq!((done.terminated, done.remaining), (0, 10_001), "whoever stops it before the first batch ends nothing");
    let mut told = Vec::new();
    let stop = |ended, left| {
        told.push((ended, left));
        if ended > 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let done = db.manager.terminate_many(order(10_001), stop, ADMIN).await.unwrap();
    assert_eq!((done.terminated, done.remaining), (10_000, 1));
    assert_eq!(told, [(0, 10_001), (10_000, 1), (10_000, 1)]);
    assert_eq!(refusal(db.manager.terminate_many(order(10_001), go_on, ADMIN).await).count, Some(1));
    let done = db.manager.terminate_many(order(1), go_on, ADMIN).await.unwrap();
    assert_eq!((done.terminated, done.remaining), (1, 0));
}

/// Somebody signs in between preview and order: it would end another number. Who signs in while it is carried out is spared.
#[tokio::test]
async fn rule_x3_who_comes_between_preview_and_order_is_counted_and_later_spared() {
    let db = stopped().await;
    let first = create(&db, guest()).await;
    let bulk = Bulk { filter: ListFilter { kind: Some(Kind::Guest), ..ListFilter::default() }, ..Bulk::default() };
    let previewed = db.manager.rehearse_bulk(&bulk).await.unwrap().guard.expect;
    let second = create(&db, guest()).await;
    let order = |expect| BulkOrder { bulk: bulk.clone(), expect, ..BulkOrder::default() };
    let refusal = refusal(db.manager.terminate_many(order(previewed), go_on, ADMIN).await);
    assert_eq!((&*refusal.code, refusal.count), ("preview_changed", Some(2)));
    assert_eq!(db.count("select count(*) from tenure.sessions").await, 2, "nothing changed");

    let mut connection = db.connection().await;
    let mut holding = connection.begin().await.unwrap();
    sqlx::query("select from tenure.sessions where id = $1 for update")
        .bind(first.session.id)
        .execute(&mut *holding)
        .await
        .unwrap();
    let (ended, third) = tokio::join!(db.manager.terminate_many(order(Some(2)), go_on, ADMIN), async {
        blocked(&db).await;
        let third = create(&db, guest()).await;
        holding.rollback().await.unwrap();
        third
    });
    assert_eq!(ended.unwrap().terminated, 2);
    assert_eq!(ending(&db, &second).await.0, "terminated");
    check(&db, &third, Activity::Passive).await;
}

/// By plain SQL the guard is a statement before; a transaction with an older snapshot gets a serialization error, not a stale answer.
#[tokio::test]
async fn rule_x3_plain_sql_is_guarded_and_never_stale() {
    let db = stopped().await;
    let (first, second) = (create(&db, guest()).await, create(&db, guest()).await);
    let ids = format!("array['{}', '{}']::uuid[]", first.session.id, second.session.id);
    let mut connection = db.connection().await;
    let wrong = format!("begin; select tenure.expect(3); select tenure.terminate_many({ids}); commit");
    let error = sqlx::raw_sql(AssertSqlSafe(wrong)).execute(&mut connection).await.unwrap_err();
    assert!(error.to_string().contains("It would end 2 live sessions now"), "{error}");
    sqlx::raw_sql("rollback").execute(&mut connection).await.unwrap();

    sqlx::raw_sql("begin isolation level repeatable read; select count(*) from tenure.sessions")
        .execute(&mut connection)
        .await
        .unwrap();
    db.sql(&format!("select tenure.terminate('{}')", first.session.id)).await;
    let stale = sqlx::raw_sql(AssertSqlSafe(format!("select tenure.terminate_many({ids})"))).execute(&mut connection).await;
    assert_eq!(stale.unwrap_err().as_database_error().unwrap().code().as_deref(), Some("40001"));
    sqlx::raw_sql("rollback").execute(&mut connection).await.unwrap();
    assert_eq!(db.count("select count(*) from tenure.sessions").await, 1, "the second lives");

    // The setting ends with its transaction, and what is over already counts no more.
    assert_eq!(db.count(&format!("select tenure.terminate_many({ids})")).await, 1);
    assert_eq!(db.count(&format!("select tenure.terminate_many({ids})")).await, 0);
}
