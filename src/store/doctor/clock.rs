//! The clock: sessions follow the database's alone, so what matters is that it is genuine and does not go back.

use sqlx::PgConnection;

use super::expected::expected;
use super::functions::CLOCK;
use super::{Answer, Finding, lasting, schema};

/// Whether `tenure.now()` is the one of the migrations.
pub(super) async fn body(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let body = sqlx::query_scalar!(
        r#"/* doctor_clock_body */
        select btrim(p.prosrc) as "body!" from pg_proc p join pg_namespace n on n.oid = p.pronamespace
         where n.nspname = 'tenure' and p.proname = 'now' and p.pronargs = 0"#
    )
    .fetch_optional(&mut *connection)
    .await?;
    let expected = expected(schema::version(connection).await?);
    let made = expected.functions.iter().find(|function| function.signature() == CLOCK);
    let found = match body.as_deref() {
        Some(crate::store::migrate::CLOCK_BODY) => None,
        Some(_) => Some(Finding::problem(
            "clock_replaced",
            "tenure.now() was replaced: this database runs on another clock.",
            made.map(|made| made.statement.clone()).unwrap_or_default(),
        )),
        None => Some(Finding::problem(
            "clock_missing",
            "tenure.now() is missing.",
            made.map(|made| made.anew(expected.is_reporters(&made.name))).unwrap_or_default(),
        )),
    };
    Ok(Answer { seen: String::new(), found: found.into_iter().collect() })
}

/// How far the database's clock is from this machine's, as nearly as the way there and back can tell.
pub(super) async fn distance(connection: &mut PgConnection, wall: &(dyn Fn() -> i64 + Sync)) -> Result<Answer, sqlx::Error> {
    let sent = wall();
    let theirs = sqlx::query_scalar!(r#"/* doctor_clock */ select (extract(epoch from tenure.now()) * 1e6)::bigint as "at!""#)
        .fetch_one(connection)
        .await?;
    let answered = wall();
    // The answer was made at some moment between: what lies outside of these two is certain.
    let certain = if theirs < sent { theirs - sent } else { (theirs - answered).max(0) };
    #[allow(clippy::cast_precision_loss, reason = "a distance shown to a tenth of a second")]
    let seconds = certain as f64 / 1e6;
    let way = if certain < 0 { "behind" } else { "ahead of" };
    let message = format!("The database's clock is {} {way} this machine's.", lasting(seconds.abs()));
    let advice = "Synchronise both machines (chrony, systemd-timesyncd). Sessions follow the database's clock alone; logs and people do not.";
    let found = match seconds.abs() {
        s if s >= 5.0 => Some(Finding::warning("clock_differs", message, advice)),
        s if s >= 0.5 => Some(Finding::note("clock_differs", message, advice)),
        _ => None,
    };
    let seen = if found.is_none() { "database and this machine agree within 0.5 s".to_owned() } else { String::new() };
    Ok(Answer { seen, found: found.into_iter().collect() })
}

/// An event of the future: the clock was set back since, and every session lives longer by as much.
pub(super) async fn newest(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let ahead = sqlx::query_scalar!(
        r#"/* doctor_newest_event */
        select extract(epoch from e.at - tenure.now())::double precision as "ahead!"
          from tenure.session_events e order by e.id desc limit 1"#
    )
    .fetch_optional(connection)
    .await?
    .unwrap_or(0.0);
    let mut found = Vec::new();
    // Less is the way of an event that another machine's transaction is writing just now.
    if ahead > 1.0 {
        found.push(Finding::warning(
            "clock_went_back",
            format!("The newest event lies {} in the future: the database's clock has been set back by at least as much.", lasting(ahead)),
            "Find out why (a failover, a restored machine, a clock set by hand), and let clocks slew instead of step. Sessions end later by as much.",
        ));
    }
    Ok(Answer { seen: String::new(), found })
}
