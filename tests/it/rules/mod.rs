//! One test per rule of `docs/SEMANTICS.md`, named after it, on a clock that stands still until a test sets it: so the
//! examples of that page can be written down as they are, to the microsecond.

mod activity;
mod admission;
mod cluster;
mod explain_audit;
mod history;
mod import;
mod kinds;
mod mobile;
mod over;
mod properties;
mod retention;
mod terminate;
mod users;
mod what_if;

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use sqlx::AssertSqlSafe;
use tenure::error::{Error, Refusal};
use tenure::input::CreateSession;
use tenure::manager::{CheckOptions, Checked, Created, Verdict};
use tenure::session::{Activity, Over, SessionView};
use tenure::store::{Actor, EntityPut, ListFilter, StateFilter};

use crate::support::Db;

/// Who acts in these tests.
const ADMIN: Actor<'static> = Actor("admin-key");

/// The day of the examples.
const DAY: &str = "2027-06-01";

/// A database whose clock stands at 09:00 of [`DAY`], with the user `abel.tuter`.
async fn stopped() -> Db {
    let db = Db::new().await;
    db.sql(&format!(
        "create table tenure_test.stopped (at timestamptz not null);
         insert into tenure_test.stopped values ('{DAY} 09:00:00+00');
         create or replace function tenure.now() returns timestamptz language sql volatile
             as $$ select at from tenure_test.stopped $$;"
    ))
    .await;
    db.user("abel.tuter").await;
    db
}

/// An instant: `10:00`, `10:00:40.000001`, or with a day before it, `2027-06-16 10:00`.
fn t(clock: &str) -> DateTime<Utc> {
    let text = if clock.contains('-') { clock.to_owned() } else { format!("{DAY} {clock}") };
    let text = if text.matches(':').count() == 1 { format!("{text}:00") } else { text };
    NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f").unwrap().and_utc()
}

/// Sets the clock of the database.
async fn at(db: &Db, clock: &str) {
    let instant = t(clock).to_rfc3339();
    db.sql(&format!(
        "with moved as (update tenure_test.stopped set at = '{instant}') insert into tenure.invalidations (kind) values ('g')"
    ))
    .await;
    db.manager.barrier().await;
}

/// A sign-in of `abel.tuter` by browser.
fn user() -> CreateSession {
    CreateSession { kind: "user".into(), user: Some("abel.tuter".into()), ..Default::default() }
}

/// A request without authentication.
fn guest() -> CreateSession {
    CreateSession { kind: "guest".into(), ..Default::default() }
}

/// An API client of `abel.tuter`.
fn integration() -> CreateSession {
    CreateSession { kind: "integration".into(), user: Some("abel.tuter".into()), ..Default::default() }
}

/// The client application `Mobile App` with these lifespans, seconds: access, then refresh.
async fn mobile_app(db: &Db, access: i32, refresh: i32) {
    let put = EntityPut { access_token_lifespan: Some(access), refresh_token_lifespan: Some(refresh), ..EntityPut::default() };
    db.manager.put_entity("Mobile App", &put, ADMIN).await.unwrap();
}

/// A sign-in of `abel.tuter` by the client application `Mobile App`.
fn mobile() -> CreateSession {
    CreateSession {
        kind: "mobile".into(),
        user: Some("abel.tuter".into()),
        oauth_entity: Some("Mobile App".into()),
        ..Default::default()
    }
}

async fn try_create(db: &Db, new: CreateSession) -> Result<Created, Error> {
    db.manager.create(&new.validate()?, ADMIN).await
}

async fn create(db: &Db, new: CreateSession) -> Created {
    try_create(db, new).await.unwrap()
}

async fn verdict(db: &Db, session: &Created, activity: Activity) -> Verdict {
    db.manager.check(session.token.reveal(), Some(activity), CheckOptions::default(), ADMIN).await.unwrap()
}

/// A check that must be accepted.
async fn check(db: &Db, session: &Created, activity: Activity) -> Checked {
    match verdict(db, session, activity).await {
        Verdict::Live(checked) => *checked,
        verdict => panic!("{activity} was not accepted: {verdict:?}"),
    }
}

/// A check that must say that the session is over.
async fn over(db: &Db, session: &Created, activity: Activity) -> Over {
    match verdict(db, session, activity).await {
        Verdict::Over(over) => *over,
        verdict => panic!("{activity} was not told of the end: {verdict:?}"),
    }
}

/// Reason and instant of the end, as a check of the token learns it.
async fn ending(db: &Db, session: &Created) -> (&'static str, DateTime<Utc>) {
    let over = over(db, session, Activity::User).await;
    (over.ending.reason.as_str(), over.ending.at)
}

/// The session as any reader sees it.
async fn view(db: &Db, session: &Created) -> SessionView {
    db.manager.session(session.session.id, ADMIN).await.unwrap()
}

async fn set(db: &Db, name: &str, value: &str) {
    db.manager.set_property(name, value, false, ADMIN).await.unwrap();
}

async fn force(db: &Db, name: &str, value: &str) {
    db.manager.set_property(name, value, true, ADMIN).await.unwrap();
}

async fn unset(db: &Db, name: &str) {
    db.manager.unset_property(name, false, ADMIN).await.unwrap();
}

async fn value(db: &Db, name: &str) -> Option<String> {
    db.manager.property(name).await.unwrap().value
}

/// Status, code and message of a refusal.
fn refusal<T>(result: Result<T, Error>) -> Refusal {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.refusal().unwrap_or_else(|| panic!("{error:?} is no refusal")).clone(),
    }
}

fn refused<T>(result: Result<T, Error>) -> (u16, String) {
    let refusal = refusal(result);
    (refusal.status, refusal.code.into_owned())
}

/// Runs one statement as an operator with psql would; SQLSTATE and constraint field of the refusal.
async fn refused_sql(db: &Db, statement: &str) -> (String, String) {
    let error = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(db.pool()).await.expect_err(statement);
    let sqlx::Error::Database(error) = error else { panic!("{statement}: {error}") };
    (error.code().unwrap_or_default().into_owned(), error.constraint().unwrap_or_default().to_owned())
}

async fn text(db: &Db, query: &str) -> String {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(db.pool()).await.unwrap()
}

/// Everything the store holds, as one digest: equal before and after means that nothing at all was changed.
async fn everything(db: &Db) -> String {
    text(
        db,
        "select md5(concat(
             (select string_agg(x::text, '|' order by x.id)   from tenure.sessions x),
             (select string_agg(x::text, '|' order by x.id)   from tenure.ended_sessions x),
             (select string_agg(x::text, '|' order by x.id)   from tenure.session_events x),
             (select string_agg(x::text, '|' order by x.id)   from tenure.users x),
             (select string_agg(x::text, '|' order by x.name) from tenure.properties x),
             (select string_agg(x::text, '|' order by x.kind) from tenure.policies x)))",
    )
    .await
}

async fn listed(db: &Db, state: StateFilter) -> Vec<SessionView> {
    db.store.list(&ListFilter { state, limit: 500, ..Default::default() }).await.unwrap().items
}

/// Waits until a statement of this database waits for a lock.
async fn blocked(db: &Db) {
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    tokio::time::timeout(Duration::from_secs(20), async {
        while db.count(waiting).await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("nothing waited for the lock");
}
