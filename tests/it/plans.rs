//! Plans of what runs all the time: which index, how many buffers, which functions; and that none of it grows with the table.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tenure::store::{Actor, ListFilter, StateFilter, Store, SweepPosition};
use uuid::Uuid;

use crate::support::{CALM, Clock, Crowd, Db, rounds};

const LARGE: u32 = 50_000;
const SMALL: u32 = 5_000;

/// What a statement read and called.
#[derive(Debug)]
struct Cost {
    buffers: i64,
    /// Tables of ours it scanned from end to end.
    scanned: Vec<String>,
    /// Functions of ours it called; one written into the statement is not called.
    called: Vec<String>,
    report: String,
}

impl Cost {
    fn expect(&self, name: &str, most: i64) {
        println!("--- {name}: {} buffers, calls {:?}\n{}", self.buffers, self.called, self.report);
        assert!(self.scanned.is_empty(), "{name} scans {:?} from end to end\n{}", self.scanned, self.report);
        assert!(self.buffers <= most, "{name} reads {} buffers, at most {most}\n{}", self.buffers, self.report);
    }
}

/// A connection with counters per transaction and caches that are warm.
async fn observer(db: &Db) -> PgConnection {
    let mut connection = db.connection().await;
    sqlx::raw_sql("set track_functions = 'all'; set jit = off").execute(&mut connection).await.unwrap();
    connection
}

fn outline(plan: &Value, depth: usize, into: &mut String) {
    let text = |key: &str| plan.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let index = text("Index Name");
    let _ = writeln!(
        into,
        "{:depth$}{} {}{} rows={} loops={} buffers={}",
        "",
        text("Node Type"),
        text("Relation Name"),
        if index.is_empty() { index } else { format!(" using {index}") },
        plan["Actual Rows"],
        plan["Actual Loops"],
        plan["Shared Hit Blocks"].as_i64().unwrap_or(0) + plan["Shared Read Blocks"].as_i64().unwrap_or(0),
    );
    for child in plan["Plans"].as_array().into_iter().flatten() {
        outline(child, depth + 2, into);
    }
}

/// Runs an `explain (analyze, buffers, format json)` in a transaction that is rolled back and compares the connection's
/// counters, which include what functions do inside. Run twice: the first run fills the caches of the connection.
macro_rules! cost {
    ($connection:expr, $query:expr) => {{
        let mut last = None;
        for _ in 0..2 {
            let mut transaction = $connection.begin().await.unwrap();
            let before = Counters::read(&mut transaction).await;
            let plan: Value = $query.fetch_one(&mut *transaction).await.unwrap().get(0);
            last = Some(before.cost(&mut transaction, &plan[0]["Plan"]).await);
            transaction.rollback().await.unwrap();
        }
        last.unwrap()
    }};
}

/// Rows read by scans from end to end, by table, and calls, by function.
struct Counters {
    scanned: HashMap<String, i64>,
    called: HashMap<String, i64>,
}

impl Counters {
    async fn read(connection: &mut PgConnection) -> Self {
        let scanned = "select relname::text, seq_tup_read from pg_stat_xact_user_tables
                        where schemaname = 'tenure' and relname ~ '^(sessions|ended_sessions|users|session_events|session_attributes)'";
        let called = "select funcname::text, calls from pg_stat_xact_user_functions where schemaname = 'tenure'";
        Self { scanned: pairs(connection, scanned).await, called: pairs(connection, called).await }
    }

    /// What was added since.
    async fn cost(&self, connection: &mut PgConnection, plan: &Value) -> Cost {
        let now = Self::read(connection).await;
        let grown = |then: &HashMap<String, i64>, now: HashMap<String, i64>| {
            let mut names: Vec<_> =
                now.into_iter().filter(|(name, n)| *n > then.get(name).copied().unwrap_or(0)).map(|(name, _)| name).collect();
            names.sort();
            names
        };
        let mut report = String::new();
        outline(plan, 2, &mut report);
        let buffers = ["Shared Hit Blocks", "Shared Read Blocks"].iter().filter_map(|key| plan[key].as_i64()).sum();
        Cost { buffers, scanned: grown(&self.scanned, now.scanned), called: grown(&self.called, now.called), report }
    }
}

async fn pairs(connection: &mut PgConnection, query: &'static str) -> HashMap<String, i64> {
    sqlx::query(query).fetch_all(connection).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

const EXPLAIN: &str = "explain (analyze, buffers, format json) ";

async fn check_cost(connection: &mut PgConnection, id: Uuid) -> Cost {
    let kinds = ["user", "guest", "integration"];
    cost!(
        connection,
        sqlx::query(AssertSqlSafe(format!("{EXPLAIN}{}", Store::check_statement())))
            .bind(id)
            .bind(None::<Vec<u8>>)
            .bind("user")
            .bind("node-1")
            .bind(kinds.as_slice())
            .bind(false)
    )
}

async fn list_cost(connection: &mut PgConnection, filter: &ListFilter, over: usize) -> Cost {
    cost!(connection, {
        let [live, ended] = filter.statements(EXPLAIN);
        let mut query = if over == 0 { live } else { ended };
        // The text must outlive the borrow of the builder.
        let query: &mut sqlx::QueryBuilder<sqlx::Postgres> = Box::leak(Box::new(std::mem::take(&mut query)));
        query.build()
    })
}

async fn sweep_cost(connection: &mut PgConnection, from: &str) -> Cost {
    let statement = format!("{EXPLAIN}select * from tenure.sweep({from}, '00000000-0000-0000-0000-000000000000', 1000)");
    cost!(connection, sqlx::query(AssertSqlSafe(statement.clone())))
}

/// A database with a crowd, and ended sessions of several months beside it.
async fn crowded(sessions: u32) -> Db {
    let db = Db::with(Clock::Real).await;
    db.crowd(Crowd { sessions: 2_000, users: sessions / 10, oldest: 7200, youngest: 3600 }).await;
    let mut at = SweepPosition::START;
    loop {
        let swept = db.store.sweep(at, 1_000).await.unwrap();
        at = swept.reached;
        if swept.ended == 0 {
            break;
        }
    }
    db.sql(
        "insert into tenure.ended_sessions
         select tenure.uuid_v7(e.created_at + m * interval '31 days'), token_hash, kind, user_id, user_name, device, remember_me, residue,
                created_at + m * interval '31 days', anchor_at + m * interval '31 days', refresh_seconds, idle_limit_seconds, window_seconds,
                oauth_entity, app_state, app_state_at, node, client_address, user_agent, ended_at + m * interval '31 days', end_reason, ended_by, ended_on
           from tenure.ended_sessions e, generate_series(-1, 1) m where m <> 0",
    )
    .await;
    db.crowd(Crowd { sessions, users: sessions / 10, oldest: 1500, youngest: 1 }).await;
    let tables =
        "vacuum analyze tenure.sessions, tenure.session_attributes, tenure.users, tenure.ended_sessions, tenure.session_events";
    sqlx::raw_sql(tables).execute(&mut db.connection().await).await.unwrap();
    db
}

async fn middle(db: &Db) -> (Uuid, String) {
    let row = sqlx::query("select s.id, u.name from tenure.sessions s join tenure.users u on u.id = s.user_id order by s.id offset (select count(*) / 2 from tenure.sessions) limit 1")
        .fetch_one(db.pool())
        .await
        .unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn a_check_reads_by_primary_key_and_calls_no_limits() {
    let db = crowded(LARGE).await;
    let (id, _) = middle(&db).await;
    let mut connection = observer(&db).await;
    let cost = check_cost(&mut connection, id).await;
    cost.expect("check", 30);
    assert!(
        !cost.called.iter().any(|name| name == "limits" || name == "barred" || name == "now"),
        "{:?} are not inlined",
        cost.called
    );

    let miss = cost!(
        &mut connection,
        sqlx::query(AssertSqlSafe(format!("{EXPLAIN}select e.* from tenure.ended_sessions e where e.id = $1"))).bind(id)
    );
    miss.expect("look-up among the ended", 4);
    assert!(!miss.report.contains("Append"), "a look-up by id reads one partition\n{}", miss.report);
}

#[tokio::test]
async fn lists_walk_an_index_and_stop_when_the_page_is_full() {
    let db = crowded(LARGE).await;
    let (id, user) = middle(&db).await;
    let mut connection = observer(&db).await;
    let page = |change: &dyn Fn(&mut ListFilter)| {
        let mut filter = ListFilter { limit: 50, ..Default::default() };
        change(&mut filter);
        filter
    };
    // Page 100 is the one after 5,000 sessions.
    let deep: Uuid = sqlx::query_scalar("select id from tenure.sessions order by id desc offset 4999 limit 1")
        .fetch_one(db.pool())
        .await
        .unwrap();
    let from =
        sqlx::query_scalar("select created_at from tenure.sessions where id = $1").bind(id).fetch_one(db.pool()).await.unwrap();
    list_cost(&mut connection, &page(&|_| {}), 0).await.expect("live, first page", 1_300);
    list_cost(&mut connection, &page(&|filter| filter.after = Some(deep)), 0).await.expect("live, page 100", 1_300);
    list_cost(&mut connection, &page(&|filter| filter.user = Some(user.clone())), 0).await.expect("live, by user", 400);
    let range = page(&|filter| {
        filter.created_from = Some(from);
        filter.created_to = Some(from + chrono::TimeDelta::seconds(5));
    });
    list_cost(&mut connection, &range, 0).await.expect("live, by time", 1_300);
    let ended = page(&|filter| filter.state = StateFilter::Ended);
    list_cost(&mut connection, &ended, 1).await.expect("ended, first page", 400);
    let ended = page(&|filter| {
        filter.state = StateFilter::Ended;
        filter.user = Some(user.clone());
    });
    list_cost(&mut connection, &ended, 1).await.expect("ended, by user", 60);
}

#[tokio::test]
async fn a_sign_in_and_a_sweep_touch_rows_by_index_only() {
    let db = crowded(LARGE).await;
    let mut connection = observer(&db).await;
    let statement = format!(
        "{EXPLAIN}select tenure.sign_in('user', 'u7', sha256('x'), false, 'desktop', null, null, null, null, false, null, null, '{{}}')"
    );
    cost!(&mut connection, sqlx::query(AssertSqlSafe(statement.clone()))).expect("sign-in", 120);

    let sweep = sweep_cost(&mut connection, "(select tenure.now())").await;
    sweep.expect("idle sweep", 12);
    assert!(!sweep.called.iter().any(|name| name == "limits" || name == "barred"), "{:?}", sweep.called);
    db.sql("update tenure.sessions set anchor_at = anchor_at - interval '1 hour', due_at = due_at - interval '1 hour' where id in (select id from tenure.sessions order by id limit 1000)").await;
    let sweep = sweep_cost(&mut connection, "'epoch'").await;
    // Deleting one row, its attributes, and writing it and its event: about 40 buffers.
    sweep.expect("sweep of 1,000 due sessions", 60_000);
    assert!(!sweep.called.iter().any(|name| name == "limits" || name == "barred"), "{:?}", sweep.called);

    // The scan of a policy change may read the table, but writes the deadline function into its statement.
    let mut transaction = connection.begin().await.unwrap();
    let before = Counters::read(&mut transaction).await;
    sqlx::query("insert into tenure.properties values ('glide.ui.session_timeout', '29')")
        .execute(&mut *transaction)
        .await
        .unwrap();
    let cost = before.cost(&mut transaction, &Value::Null).await;
    assert!(cost.called.iter().any(|name| name == "settle_policy_change"), "{:?}", cost.called);
    let inlined = ["limits", "moved", "effect", "foreseen"];
    assert!(!cost.called.iter().any(|name| inlined.contains(&name.as_str())), "called row by row: {:?}", cost.called);
    transaction.rollback().await.unwrap();

    // Its rehearsal is the same scan.
    let mut transaction = connection.begin().await.unwrap();
    let before = Counters::read(&mut transaction).await;
    sqlx::query(r#"select * from tenure.rehearse_policies('{"glide.ui.session_timeout": "29"}')"#)
        .execute(&mut *transaction)
        .await
        .unwrap();
    let cost = before.cost(&mut transaction, &Value::Null).await;
    assert!(cost.called.iter().any(|name| name == "rehearse_policies"), "{:?}", cost.called);
    assert!(!cost.called.iter().any(|name| inlined.contains(&name.as_str())), "called row by row: {:?}", cost.called);
    transaction.rollback().await.unwrap();
}

#[tokio::test]
async fn what_runs_all_the_time_does_not_grow_with_the_number_of_sessions() {
    let mut seen = Vec::new();
    for sessions in [SMALL, LARGE] {
        let db = crowded(sessions).await;
        let (id, _) = middle(&db).await;
        let mut connection = observer(&db).await;
        let filter = ListFilter { limit: 50, ..Default::default() };
        seen.push([
            ("check", check_cost(&mut connection, id).await.buffers, 2),
            ("idle sweep", sweep_cost(&mut connection, "(select tenure.now())").await.buffers, 2),
            ("first page", list_cost(&mut connection, &filter, 0).await.buffers, 2),
        ]);
    }
    for ((name, small, room), (_, large, _)) in seen[0].into_iter().zip(seen[1]) {
        println!("{name}: {small} buffers at {SMALL} sessions, {large} at {LARGE}");
        assert!(large <= small + room, "{name} grows: {small} buffers at {SMALL} sessions, {large} at {LARGE}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counting_checks_stay_hot() {
    let db = Db::with(Clock::Real).await;
    let (sessions, checks) = (10_000, rounds(100_000));
    db.crowd(Crowd { sessions, users: 100, oldest: 60, youngest: 1 }).await;
    let tokens = db.tokens(sessions).await;
    // The best of some: a long transaction of someone else on the server keeps rows from being pruned.
    let mut most = 0;
    for _ in 0..5 {
        let _calm = CALM.write().await;
        let before = updates(&db).await;
        touch(&db, &tokens, checks as usize).await;
        let after = loop {
            let after = updates(&db).await;
            if after.0 - before.0 >= i64::from(checks) {
                break after;
            }
        };
        most = most.max((after.1 - before.1) * 1_000 / (after.0 - before.0));
        if most >= 990 {
            break;
        }
    }
    println!("{most} of 1,000 updates of {checks} checks were HOT");
    assert!(most >= 990, "{most} of 1,000 updates were HOT");
}

async fn touch(db: &Db, tokens: &[(Uuid, String)], checks: usize) {
    let store = db.store_of(4).await;
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            let (store, tokens) = (store.clone(), tokens.to_vec());
            tokio::spawn(async move {
                for round in (worker..checks).step_by(4) {
                    // A step that shares no factor with the number of sessions meets every one of them.
                    let (_, token) = &tokens[round * 7_919 % tokens.len()];
                    store.check(token, None, Actor("load")).await.unwrap();
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    // A server process reports its counters when it ends.
    store.close().await;
}

/// Updates of sessions so far, and how many of them were HOT.
async fn updates(db: &Db) -> (i64, i64) {
    let query = "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relid = 'tenure.sessions'::regclass";
    let row = sqlx::query(query).fetch_one(&mut db.connection().await).await.unwrap();
    (row.get(0), row.get(1))
}
