//! Every question of docs/REPORTING.md over 1,000,000 live and 5,000,000 ended sessions; a hundredth of each in ordinary runs.
//! What is held here are pages read, which do not depend on the machine; what it took is printed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tenure::store::{Actor, Expect, Store};
use tokio::sync::Barrier;
use uuid::Uuid;

use crate::support::{CALM, Clock, Crowd, Db, rounds};

/// Over so many days, today included, the ended sessions ended.
const DAYS: u32 = 90;

/// What a question may take without saying why, on a machine that has nothing else to do.
const SECOND: Duration = Duration::from_secs(1);

/// Ended sessions in the order of their ending, as they come to lie: most lived for half an hour, one in twenty for up to ten days.
/// Every month of them has its partition, as it had when nodes ran all the while.
async fn history(db: &Db, ended: u32, users: u32) {
    let _loading = CALM.read().await;
    let mut connection = db.connection().await;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "do $$
         declare
             v_month timestamp;
         begin
             for v_month in select date_trunc('month', now() at time zone 'UTC') - make_interval(months => n) from generate_series(1, 5) n loop
                 execute format('create table tenure.%I partition of tenure.ended_sessions for values from (%L) to (%L)',
                                'ended_sessions_' || to_char(v_month, 'YYYY_MM'), tenure.uuid_v7_floor(v_month at time zone 'UTC'),
                                tenure.uuid_v7_floor((v_month + interval '1 month') at time zone 'UTC'));
             end loop;
         end
         $$;
         insert into tenure.ended_sessions (id, token_hash, kind, user_id, user_name, device, remember_me, residue, created_at, anchor_at,
                                            node, client_address, user_agent, ended_at, end_reason, ended_by)
         select tenure.uuid_v7(e.ended_at - e.life), sha256(e.n::text::bytea), case e.n % 10 when 0 then 'integration' when 1 then 'guest' else 'user' end,
                case when e.n % 10 <> 1 then u.id end, case when e.n % 10 <> 1 then u.name end, 'desktop', e.n % 20 = 2, false,
                e.ended_at - e.life, e.ended_at - least(e.life, interval '30 minutes'), 'node-1',
                ('198.51.' || e.n % 250 || '.' || e.n / 250 % 250)::inet, 'Mozilla/5.0 (X11; Linux x86_64)', e.ended_at,
                case when e.n % 100 = 7 then 'terminated' when e.n % 3 = 0 and e.n % 10 <> 1 then 'signed_out' else 'idle' end,
                case when e.n % 100 = 7 then 'operator' when e.n % 3 = 0 and e.n % 10 <> 1 then 'shop' else 'tenure' end
           from (select n, now() - interval '{DAYS} days' * ({ended} - n) / {ended} as ended_at,
                        case when n % 20 = 2 then interval '1 day' * (1 + n / 20 % 10) else interval '30 minutes' + interval '1 second' * (n % 3600) end as life
                   from generate_series(1, {ended}) n) e
           join tenure.users u on u.name = 'u' || (1 + e.n % {users})"
    )))
    .execute(&mut connection)
    .await
    .unwrap();
    // What autovacuum does in time.
    sqlx::raw_sql("vacuum analyze tenure.ended_sessions, tenure.session_events").execute(&mut connection).await.unwrap();
}

fn pages(plan: &Value) -> i64 {
    let plan = &plan[0]["Plan"];
    plan["Shared Hit Blocks"].as_i64().unwrap() + plan["Shared Read Blocks"].as_i64().unwrap()
}

/// Pages that a counting check of a live session reads; the first run fills the caches of the connection.
async fn check_pages(connection: &mut PgConnection, id: Uuid) -> i64 {
    let mut read = 0;
    for _ in 0..2 {
        let mut transaction = connection.begin().await.unwrap();
        let statement = format!("explain (analyze, buffers, format json) {}", Store::check_statement());
        let plan: Value = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(id)
            .bind(None::<Vec<u8>>)
            .bind("user")
            .bind("node-1")
            .bind(["user", "guest", "integration"].as_slice())
            .bind(false)
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        read = pages(&plan);
        transaction.rollback().await.unwrap();
    }
    read
}

/// Pages a statement reads as the reporter, and what it took.
async fn ask(reporter: &mut PgConnection, statement: &str) -> (i64, Duration) {
    let asked = Instant::now();
    let plan: Value =
        sqlx::query_scalar(AssertSqlSafe(format!("explain (analyze, buffers, timing off, format json) {statement}")))
            .fetch_one(reporter)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{statement}"));
    (pages(&plan), asked.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_question_is_answered_over_millions_and_checks_do_not_notice_the_history() {
    // A tenth of a tenth in ordinary runs.
    let percent = rounds(10) * rounds(10);
    let (live, ended, users) = (percent * 10_000, percent * 50_000, percent * 200);
    let db = crowded(live, users).await;
    let middle: Uuid = sqlx::query_scalar(
        "select id from tenure.sessions order by id offset (select count(*) / 2 from tenure.sessions) limit 1",
    )
    .fetch_one(db.pool())
    .await
    .unwrap();
    let mut connection = db.connection().await;
    let before = check_pages(&mut connection, middle).await;
    history(&db, ended, users).await;
    let mut connection = db.connection().await;
    let after = check_pages(&mut connection, middle).await;
    println!("a check reads {before} pages with no ended session, {after} with {ended}");
    assert!(after <= before + 1, "a check read {before} pages, and {after} beside {ended} ended sessions");

    let table = db.count("select sum(pg_relation_size(inhrelid))::bigint / 8192 from pg_inherits where inhparent = 'tenure.ended_sessions'::regclass").await;
    for (index, shape) in [("ended_at", "ended_at"), ("user_id", "user_id"), ("id", "pkey")] {
        let size = format!(
            "select coalesce(sum(pg_relation_size(i.indexrelid)), 0)::bigint / 8192 from pg_inherits h join pg_index i on i.indrelid = h.inhrelid
               join pg_class c on c.oid = i.indexrelid where h.inhparent = 'tenure.ended_sessions'::regclass and c.relname like '%{shape}%'"
        );
        println!("the index by {index} has {} pages, the table {table}", db.count(&size).await);
    }

    let mut reporter = super::reporter(&db).await;
    sqlx::raw_sql("set jit = off").execute(&mut reporter).await.unwrap();
    for (heading, statement) in super::questions::questions() {
        let statement = statement
            .replace("01a205fb-7e88-7c68-b49f-eb29cd1b461e", &middle.to_string())
            .replace("abel.tuter", "u7")
            .replace("203.0.113.7", "198.51.7.7")
            // A day and a morning that lie in this history.
            .replace("2026-03-02 09:30+00", &text(&db, "select (now() - interval '20 days')::text").await)
            .replace(
                "2026-03-02 00:00+00",
                &text(&db, "select (date_trunc('day', now(), 'UTC') - interval '20 days')::text").await,
            )
            .replace(
                "2026-03-03 00:00+00",
                &text(&db, "select (date_trunc('day', now(), 'UTC') - interval '19 days')::text").await,
            );
        let (read, took) = ask(&mut reporter, &statement).await;
        println!("{took:>12.1?} {read:>9} pages  {heading}");
        let warned = statement.starts_with("--");
        assert!(percent < 100 || warned || took < SECOND, "{heading} took {took:?}, and its first line does not say why");
        match &*heading {
            // An index leads to one user's or one day's.
            "Is this user logged in, from where, and until when?" | "Which sessions did this user have, now and then?"
                if statement.contains("sessions_of") =>
            {
                assert!(read < 5_000, "{heading} {read} pages");
            }
            "Who ended whose session, and why?" => assert!(read < table / 5, "{heading} {read} pages of {table}"),
            _ => {}
        }
    }
}

async fn text(db: &Db, query: &str) -> String {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(db.pool()).await.unwrap()
}

/// A database with live sessions that stay so however long the rest takes to load.
async fn crowded(sessions: u32, users: u32) -> Db {
    let db = Db::with(Clock::Real).await;
    db.store
        .change_property("glide.ui.session_timeout", Some("240"), false, &Expect::default(), Actor("operator"))
        .await
        .unwrap();
    db.crowd(Crowd { sessions, users, oldest: 1_500, youngest: 1 }).await;
    db
}

/// Runs a statement for one id after the other until `stop`, and says when it has begun: how often, and how long the longest took.
async fn all_the_while(
    mut connection: PgConnection,
    statement: &'static str,
    ids: Vec<Uuid>,
    stop: Arc<AtomicBool>,
    begun: Arc<Barrier>,
) -> (u32, Duration) {
    let (mut count, mut longest) = (0, Duration::ZERO);
    for id in ids.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let asked = Instant::now();
        let done = sqlx::query(statement).bind(id).execute(&mut connection).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{id}");
        longest = longest.max(asked.elapsed());
        count += 1;
        if count == 1 {
            begun.wait().await;
        }
    }
    (count, longest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_ups_and_endings_go_on_while_months_are_dropped() {
    let percent = rounds(10) * rounds(10);
    let db = crowded(20_000, 100).await;
    history(&db, percent * 50_000, 100).await;
    let ids = async |query: &str| -> Vec<Uuid> {
        sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_all(db.pool()).await.unwrap()
    };
    let live = ids("select id from tenure.sessions order by id").await;
    let recent = ids("select id from tenure.ended_sessions where ended_at > now() - interval '10 days' and created_at > now() - interval '10 days' limit 1000").await;
    // Of the history, not of what is ended meanwhile.
    let since = text(&db, "select (now() - interval '29 days')::text").await;
    let keep = format!(
        "select count(*) from tenure.ended_sessions where ended_at > '{since}' and (end_reason <> 'terminated' or ended_by = 'operator')"
    );
    let kept = db.count(&keep).await;
    db.store
        .change_property("tenure.retention.ended_sessions_days", Some("30"), false, &Expect::default(), Actor("operator"))
        .await
        .unwrap();

    let (stop, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(3)));
    let look_up = "select end_reason from tenure.ended_sessions where id = $1";
    let reads = tokio::spawn(all_the_while(db.connection().await, look_up, recent, stop.clone(), begun.clone()));
    let ends =
        tokio::spawn(all_the_while(db.connection().await, "select tenure.terminate($1)", live, stop.clone(), begun.clone()));
    begun.wait().await;
    let mut dropped = 0;
    let mut slowest = Duration::ZERO;
    // Somebody is always in the way for a moment: it takes the calls it takes.
    for _ in 0..200 {
        let asked = Instant::now();
        let retired = db.store.retire_history().await.unwrap();
        slowest = slowest.max(asked.elapsed());
        dropped += retired.months;
        let due = "select count(*) from tenure.history_partitions() where until_at <= keep_from";
        if db.count(due).await == 0 {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let ((reads, longest_read), (ends, longest_end)) = (reads.await.unwrap(), ends.await.unwrap());
    println!(
        "{dropped} months dropped, the slowest in {slowest:?}; {reads} look-ups, the longest {longest_read:?}; {ends} endings, the longest {longest_end:?}"
    );
    assert!(dropped >= 2, "{dropped} months were dropped");
    assert_eq!(db.count(&keep).await, kept, "sessions were lost that are not past retention");
}
