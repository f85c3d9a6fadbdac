//! X3: a maintenance that is set while sign-ins and sign-outs are under way leaves nobody behind, and keeps nobody waiting.

use chrono::{SecondsFormat, TimeDelta};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tenure::error::Error;
use tenure::input::CreateSession;
use tenure::store::{Actor, Expect, NewSession, Store};

use super::{pid, until_blocked, until_waiting};
use crate::support::Db;

const MAINTENANCE: &str = "tenure.maintenance_at";
const PAST: &str = "2020-01-01T00:00:00Z";
const LIVE: &str = "select count(*) from tenure.live";
const ENDED: &str = "select count(*) from tenure.ended_sessions where end_reason = 'maintenance'";

fn sign_in(user: &str) -> NewSession {
    CreateSession { kind: "user".into(), user: Some(user.into()), ..Default::default() }.validate().unwrap()
}

/// A sign-in by plain SQL, which a transaction can hold open.
fn by_sql(token: &str) -> String {
    format!(
        "select tenure.sign_in('user', 'abel.tuter', sha256('{token}'), null, 'desktop', null, null, null, null, false, null, null, '{{}}')"
    )
}

/// Runs statements; the code of a refusal, or else the SQLSTATE.
async fn run(connection: &mut PgConnection, statements: &str) -> Result<(), String> {
    let done = sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(connection).await;
    done.map(drop).map_err(|error| {
        let error = error.as_database_error().unwrap();
        error.constraint().map_or_else(|| error.code().unwrap().into_owned(), str::to_owned)
    })
}

/// So many seconds from now, as the property is written.
async fn ahead(db: &Db, seconds: i64) -> String {
    (db.now().await + TimeDelta::seconds(seconds)).to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Sets the maintenance; asks again when a sign-in under way kept it waiting for too long.
async fn announce(store: Store, at: String) -> Result<(), Error> {
    loop {
        match store.change_property(MAINTENANCE, Some(&at), false, &Expect::default(), Actor("operator")).await {
            Err(error) if error.code() == "sign_ins_under_way" => {}
            answer => return answer,
        }
    }
}

async fn begun() -> Db {
    let db = Db::new().await;
    db.user("abel.tuter").await;
    db
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_x3_a_maintenance_that_begins_at_once_ends_the_sign_ins_under_way() {
    let db = begun().await;
    let (mut under_way, mut watcher) = (db.connection().await, db.connection().await);
    run(&mut under_way, &format!("begin; {}", by_sql("x"))).await.unwrap();
    let change = tokio::spawn(announce(db.store.clone(), PAST.to_owned()));
    until_blocked(&mut watcher, pid(&mut under_way).await, &change).await;
    run(&mut under_way, "commit").await.unwrap();
    change.await.unwrap().unwrap();
    assert_eq!((db.count(LIVE).await, db.count(ENDED).await), (0, 1));
    let refused = db.store.create(&sign_in("abel.tuter"), Actor("race")).await.unwrap_err();
    assert_eq!(refused.code(), "maintenance");
}

/// An instant ahead when it was asked for, and past when the sign-ins under way are done: what they began after it ends as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_x3_a_maintenance_ahead_that_has_to_wait_begins_after_the_sign_ins_under_way() {
    let db = begun().await;
    let (mut under_way, mut watcher) = (db.connection().await, db.connection().await);
    run(&mut under_way, &format!("begin; {}", by_sql("before"))).await.unwrap();
    let change = tokio::spawn(announce(db.store.clone(), ahead(&db, 60).await));
    until_blocked(&mut watcher, pid(&mut under_way).await, &change).await;
    db.advance(TimeDelta::seconds(120)).await;
    run(&mut under_way, &format!("{}; commit", by_sql("after"))).await.unwrap();
    change.await.unwrap().unwrap();
    assert_eq!((db.count(LIVE).await, db.count(ENDED).await), (0, 2));
}

/// A sign-in that waits for a row holds nothing that a maintenance waits for, even one set by whoever holds the row; when its turn
/// comes, the maintenance has begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_x3_a_sign_in_that_waits_while_maintenance_is_set_is_refused() {
    for row in ["users", "sessions"] {
        let db = begun().await;
        db.sql("insert into tenure.properties (name, value) values ('tenure.user.max_sessions', '1')").await;
        db.store.create(&sign_in("abel.tuter"), Actor("race")).await.unwrap();
        let (mut holder, mut signing_in, mut watcher) = (db.connection().await, db.connection().await, db.connection().await);
        run(&mut holder, &format!("begin; select from tenure.{row} for update")).await.unwrap();
        let waiter = pid(&mut signing_in).await;
        let waiting = tokio::spawn(async move { run(&mut signing_in, &by_sql("x")).await });
        until_waiting(&mut watcher, waiter).await;
        let at = ahead(&db, 60).await;
        run(&mut holder, &format!("insert into tenure.properties (name, value) values ('{MAINTENANCE}', '{at}')")).await.unwrap();
        db.advance(TimeDelta::seconds(120)).await;
        run(&mut holder, "commit").await.unwrap();
        assert_eq!(waiting.await.unwrap(), Err("maintenance".to_owned()), "{row}");
        assert_eq!(db.count(LIVE).await, 0, "{row}");
    }
}

/// A snapshot from before the maintenance does not show it: the sign-in fails to serialize, and so does a sign-out that would leave
/// a guest session.
#[tokio::test]
async fn rule_x3_a_maintenance_that_an_old_snapshot_misses_is_not_missed() {
    let db = begun().await;
    db.sql("insert into tenure.users (name, roles) values ('night.shift', '{admin}')").await;
    let mut connection = db.connection().await;
    for level in ["repeatable read", "serializable"] {
        for kind in ["user", "guest", "sign-out"] {
            let session = db.store.create(&sign_in("night.shift"), Actor("race")).await.unwrap();
            run(&mut connection, &format!("begin isolation level {level}; select count(*) from tenure.policies")).await.unwrap();
            // Ahead, so that the session to be signed out lives.
            announce(db.store.clone(), ahead(&db, 60).await).await.unwrap();
            let statement = match kind {
                "sign-out" => format!("select tenure.sign_out('{}', sha256('x'))", session.id),
                kind => by_sql("x")
                    .replace("'user', 'abel.tuter'", if kind == "guest" { "'guest', null" } else { "'user', 'abel.tuter'" }),
            };
            assert_eq!(run(&mut connection, &statement).await, Err("40001".to_owned()), "{kind} at {level}");
            run(&mut connection, "rollback").await.unwrap();
            db.sql("delete from tenure.properties; select tenure.terminate(id) from tenure.sessions").await;
            // Nothing has been set since: it begins.
            run(&mut connection, &format!("begin isolation level {level}; {}; rollback", by_sql("x"))).await.unwrap();
        }
    }
}

/// While a maintenance waits for one sign-in, the others are refused; they do not queue behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_x3_nobody_queues_behind_a_maintenance_that_waits() {
    let db = begun().await;
    db.user("beth.anglin").await;
    let session = db.store.create(&sign_in("beth.anglin"), Actor("race")).await.unwrap();
    let (mut under_way, mut setting, mut watcher) = (db.connection().await, db.connection().await, db.connection().await);
    run(&mut under_way, &format!("begin; {}", by_sql("x"))).await.unwrap();
    // As tenure.close_admission does, for as long as this test needs.
    let waiter = pid(&mut setting).await;
    let close = "begin; select pg_advisory_xact_lock(hashtextextended('tenure.maintenance', 0)); commit";
    let closing = tokio::spawn(async move { run(&mut setting, close).await });
    until_waiting(&mut watcher, waiter).await;
    let refused = db.store.create(&sign_in("beth.anglin"), Actor("race")).await.unwrap_err();
    assert_eq!((refused.code(), refused.refusal().unwrap().status), ("maintenance", 503));
    assert!(db.store.sign_out(session.id, Actor("race")).await.unwrap().guest.is_none(), "it could outlive the maintenance");
    run(&mut under_way, "commit").await.unwrap();
    closing.await.unwrap().unwrap();
    db.store.create(&sign_in("beth.anglin"), Actor("race")).await.unwrap();
}

#[tokio::test]
async fn rule_x3_a_sign_in_that_stays_under_way_refuses_the_maintenance() {
    let db = begun().await;
    let mut under_way = db.connection().await;
    run(&mut under_way, &format!("begin; {}", by_sql("x"))).await.unwrap();
    let change = db.store.change_property(MAINTENANCE, Some(PAST), false, &Expect::default(), Actor("operator")).await;
    let refused = change.unwrap_err();
    assert_eq!((refused.code(), refused.refusal().unwrap().status), ("sign_ins_under_way", 503));
    assert_eq!(db.count("select count(*) from tenure.properties").await, 0);
    run(&mut under_way, "commit").await.unwrap();
    under_way.close().await.unwrap();
    assert_eq!(db.count(LIVE).await, 1);
    db.store.create(&sign_in("abel.tuter"), Actor("race")).await.unwrap();
}
