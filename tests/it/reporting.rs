//! What analysts are promised: the views' columns, the rights of `tenure_reporter`, and the questions of docs/REPORTING.md.

mod dashboard;
mod questions;
mod scale;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::{Clock, Crowd, Db};

async fn lines(db: &Db, query: &str) -> Vec<String> {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_all(db.pool()).await.unwrap()
}

/// A connection of the role that analysts get.
async fn reporter(db: &Db) -> PgConnection {
    let mut connection = db.connection().await;
    sqlx::raw_sql("set role tenure_reporter").execute(&mut connection).await.unwrap();
    connection
}

/// Every column of every view, and every function, as they were promised.
const CONTRACT: &str = include_str!("reporting/contract.txt");

#[tokio::test]
async fn large_reports_may_be_worked_on_by_several_processes() {
    let db = Db::with(Clock::Real).await;
    db.crowd(Crowd { sessions: 2_000, users: 20, oldest: 1_500, youngest: 1 }).await;
    let mut reporter = reporter(&db).await;
    sqlx::raw_sql("set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0")
        .execute(&mut reporter)
        .await
        .unwrap();
    for from in ["reporting.live_sessions", "reporting.sessions", "reporting.logged_in_at(now())", "reporting.logged_in_users"] {
        let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("explain select count(*) from {from}")))
            .fetch_all(&mut reporter)
            .await
            .unwrap();
        assert!(plan.iter().any(|line| line.contains("Gather")), "{from}: {plan:#?}");
    }
}

#[tokio::test]
async fn views_keep_their_columns_their_types_and_their_order() {
    let db = Db::with(Clock::Real).await;
    let columns = lines(
        &db,
        "select format('%s.%s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod))
           from pg_class c
           join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
          where c.relnamespace = 'reporting'::regnamespace
          order by c.relname collate \"C\", a.attnum",
    )
    .await;
    let functions = lines(
        &db,
        "select format('%s(%s) %s', p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid))
           from pg_proc p where p.pronamespace = 'reporting'::regnamespace order by p.proname collate \"C\"",
    )
    .await;
    let now: Vec<_> = columns.into_iter().chain(functions).collect();
    let promised: Vec<_> = CONTRACT.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let gone: Vec<_> = promised.iter().filter(|line| !now.iter().any(|new| new == *line)).collect();
    assert!(gone.is_empty(), "people's queries and dashboards count on these: {gone:#?}");
    assert_eq!(now, promised, "add the new lines to tests/it/reporting/contract.txt: from then on they are promised too");
}

#[tokio::test]
async fn the_reporter_has_no_right_on_any_table_and_only_reads_the_views() {
    let db = Db::with(Clock::Real).await;
    let rights = "select format('%s %s', c.oid::regclass, r.name)
           from pg_class c
          cross join unnest('{select,insert,update,delete,truncate,references,trigger}'::text[]) r (name)
          where c.relnamespace in ('tenure'::regnamespace, 'reporting'::regnamespace) and c.relkind in ('r', 'p', 'v', 'm', 'f')
            and (has_table_privilege('tenure_reporter', c.oid, r.name)
                 or r.name in ('select', 'insert', 'update', 'references') and has_any_column_privilege('tenure_reporter', c.oid, r.name))
            and not (c.relnamespace = 'reporting'::regnamespace and r.name = 'select')";
    assert_eq!(lines(&db, rights).await, [] as [&str; 0]);
    let creates = "select nspname::text from pg_namespace
                    where nspname in ('tenure', 'reporting') and has_schema_privilege('tenure_reporter', oid, 'create')";
    assert_eq!(lines(&db, creates).await, [] as [&str; 0]);
    // The scan finds a right that is there.
    db.sql("grant update (locked_out) on tenure.users to tenure_reporter").await;
    assert_eq!(lines(&db, rights).await, ["tenure.users update"]);
}

/// What the reporter may call, because its views do or because it answers a question.
const CALLABLE: [&str; 11] = [
    "reporting.logged_in_at(timestamp with time zone)",
    "reporting.sessions_of(text)",
    "tenure.barred(tenure.sessions,tenure.users,tenure.policies)",
    "tenure.explain(uuid)",
    "tenure.heard(tenure.sessions,tenure.policies,timestamp with time zone)",
    "tenure.lease_interval()",
    "tenure.limits(tenure.sessions,tenure.policies)",
    "tenure.node_state(tenure.nodes)",
    "tenure.now()",
    "tenure.shown_app_state(tenure.sessions,tenure.policies,timestamp with time zone)",
    "tenure.uuid_v7_floor(timestamp with time zone)",
];

#[tokio::test]
async fn the_reporter_can_call_nothing_that_changes_anything_or_shows_a_secret() {
    let db = Db::with(Clock::Real).await;
    let callable = "from pg_proc p where p.pronamespace in ('tenure'::regnamespace, 'reporting'::regnamespace)
                     and has_function_privilege('tenure_reporter', p.oid, 'execute')";
    let found = lines(&db, &format!("select p.oid::regprocedure::text {callable} order by 1")).await;
    assert_eq!(found, CALLABLE);
    // PostgreSQL refuses writes in what says it is stable; these two read the clock, which is all they do.
    let volatile = lines(&db, &format!("select p.proname::text {callable} and p.provolatile = 'v' order by 1")).await;
    assert_eq!(volatile, ["node_state", "now"]);
    let definers = lines(&db, &format!("select p.proname::text {callable} and p.prosecdef order by 1")).await;
    assert_eq!(definers, ["explain", "sessions_of"]);
    let unpinned = format!(
        "select p.proname::text {callable} and p.prosecdef and not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false)"
    );
    assert_eq!(lines(&db, &unpinned).await, [] as [&str; 0]);
    let named = "select p.oid::regprocedure || ': ' || n.name from pg_proc p cross join unnest(p.proargnames) n (name)
          where p.pronamespace in ('tenure'::regnamespace, 'reporting'::regnamespace)
            and has_function_privilege('tenure_reporter', p.oid, 'execute') and n.name ~* 'hash|secret|password|token|key'";
    assert_eq!(lines(&db, named).await, [] as [&str; 0]);
    let bytes = format!(
        "select p.proname::text {callable} and 'bytea'::regtype = any (array_append(coalesce(p.proallargtypes, p.proargtypes::oid[]), p.prorettype))"
    );
    assert_eq!(lines(&db, &bytes).await, [] as [&str; 0]);
}

#[tokio::test]
async fn asking_changes_nothing() {
    let db = Db::new().await;
    db.user("abel.tuter").await;
    db.sql("select tenure.sign_in('user', 'abel.tuter', sha256('x'), null, 'desktop', null, null, null, null, false, null, null, '{}')")
        .await;
    // Over, and nobody has swept it: whoever may write would end it on the way.
    db.advance(chrono::TimeDelta::hours(2)).await;
    let everything = "select count(*)::bigint from tenure.session_events";
    let before = db.count(everything).await;
    let mut connection = reporter(&db).await;
    let mut transaction = connection.begin().await.unwrap();
    sqlx::raw_sql("set transaction read only").execute(&mut *transaction).await.unwrap();
    let over: Vec<(uuid::Uuid, String)> = sqlx::query_as("select id, end_reason from reporting.sessions_of('abel.tuter')")
        .fetch_all(&mut *transaction)
        .await
        .unwrap();
    assert_eq!(over[0].1, "idle");
    let state: String = sqlx::query_scalar("select distinct state from tenure.explain($1)")
        .bind(over[0].0)
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    assert_eq!(state, "ended");
    transaction.commit().await.unwrap();
    assert_eq!(db.count(everything).await, before);
    assert_eq!(db.count("select count(*) from tenure.sessions").await, 1);
}

#[tokio::test]
async fn new_partitions_get_the_indexes_of_history_with_their_options() {
    let db = Db::with(Clock::Real).await;
    let parts = |parent: &str, wanted: &str| {
        format!(
            "select count(*) from pg_inherits h
               where h.inhparent = 'tenure.{parent}'::regclass
                 and not exists (select from pg_index i join pg_class x on x.oid = i.indexrelid
                                  where i.indrelid = h.inhrelid and {wanted})"
        )
    };
    let brin = "x.reloptions @> '{pages_per_range=16,autosummarize=on}'";
    assert_eq!(db.count(&parts("ended_sessions", brin)).await, 0, "partitions without the index, or without its options");
    assert_eq!(db.count(&parts("session_events", "pg_get_expr(i.indpred, i.indrelid) = '(session_id IS NULL)'")).await, 0);
    assert_eq!(db.count(&parts("session_events", "x.reloptions @> '{no=such}'")).await, 4, "the scan itself");
}
