//! Rules that every object of the schema keeps, read from the catalogue and from the files themselves.

use std::fs;
use std::path::{Path, PathBuf};

use sqlx::AssertSqlSafe;

use crate::support::{Clock, Db};

async fn rows(db: &Db, query: &str) -> Vec<String> {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_all(db.pool()).await.unwrap()
}

async fn none(db: &Db, what: &str, query: &str) {
    let found = rows(db, query).await;
    assert!(found.is_empty(), "{what}: {found:#?}");
}

#[tokio::test]
async fn everything_has_a_comment() {
    let db = Db::with(Clock::Real).await;
    none(
        &db,
        "tables and views without a comment",
        "select c.oid::regclass::text from pg_class c
          where c.relnamespace in ('tenure'::regnamespace, 'reporting'::regnamespace) and c.relkind in ('r', 'p', 'v', 'm')
            and coalesce(obj_description(c.oid, 'pg_class'), '') = ''",
    )
    .await;
    // Columns of a partition are those of its parent.
    none(
        &db,
        "columns without a comment",
        "select c.oid::regclass || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
          where c.relnamespace in ('tenure'::regnamespace, 'reporting'::regnamespace) and c.relkind in ('r', 'p', 'v', 'm')
            and not c.relispartition and a.attnum > 0 and not a.attisdropped
            and coalesce(col_description(c.oid, a.attnum), '') = '' order by 1",
    )
    .await;
    none(
        &db,
        "functions without a comment",
        "select p.oid::regprocedure::text from pg_proc p
          where p.pronamespace in ('tenure'::regnamespace, 'reporting'::regnamespace)
            and coalesce(obj_description(p.oid, 'pg_proc'), '') = ''",
    )
    .await;
    none(
        &db,
        "schemas without a comment",
        "select nspname::text from pg_namespace where nspname in ('tenure', 'reporting') and obj_description(oid, 'pg_namespace') is null",
    )
    .await;
}

#[tokio::test]
async fn constraints_carry_the_name_of_their_table() {
    let db = Db::with(Clock::Real).await;
    none(
        &db,
        "constraints and indexes with another name",
        "select c.oid::regclass || ': ' || x.name
           from pg_class c
           join (select conrelid as oid, conname::text as name from pg_constraint
                 union all select indrelid, c.relname::text from pg_index join pg_class c on c.oid = indexrelid) x on x.oid = c.oid
          where c.relnamespace = 'tenure'::regnamespace and not c.relispartition
            and (x.name not like c.relname || '\\_%' or x.name ~ '[a-z]\\d+$')",
    )
    .await;
}

#[tokio::test]
async fn there_is_no_other_clock() {
    let db = Db::with(Clock::Real).await;
    let clocks = r"\m(current_timestamp|current_time|current_date|clock_timestamp|statement_timestamp|transaction_timestamp|localtimestamp|localtime|timeofday)\M|(?<!tenure\.)\mnow\(\)|'now'";
    let clocks = clocks.replace('\'', "''");
    none(
        &db,
        "functions that read another clock",
        &format!(
            "select p.oid::regprocedure::text from pg_proc p
              where p.pronamespace in ('tenure'::regnamespace, 'reporting'::regnamespace) and p.oid <> 'tenure.now()'::regprocedure
                and p.prosrc ~* '{clocks}'"
        ),
    )
    .await;
    none(
        &db,
        "views, defaults and constraints that read another clock",
        &format!(
            "select name from (
                select c.oid::regclass::text as name, pg_get_viewdef(c.oid) as body from pg_class c where c.relkind in ('v', 'm')
                   and c.relnamespace in ('tenure'::regnamespace, 'reporting'::regnamespace)
                union all
                select d.adrelid::regclass::text, pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d join pg_class c on c.oid = d.adrelid
                 where c.relnamespace = 'tenure'::regnamespace
                union all
                select o.conname::text, pg_get_constraintdef(o.oid) from pg_constraint o where o.connamespace = 'tenure'::regnamespace
             ) x where body ~* '{clocks}'"
        ),
    )
    .await;
    let seen = format!(
        "select count(*) from (values ('select now()'), ('select CURRENT_TIMESTAMP'), ('tenure.now()')) v (x) where x ~* '{clocks}'"
    );
    assert_eq!(db.count(&seen).await, 2, "the scan itself");
    assert_eq!(
        rows(&db, "select prosrc from pg_proc where oid = 'tenure.now()'::regprocedure").await,
        [" select clock_timestamp() "]
    );

    // Statements of the program read none either.
    for (path, text) in files("src", "rs") {
        for clock in
            ["current_timestamp", "clock_timestamp", "statement_timestamp", "localtimestamp", "Utc::now", "SystemTime::now"]
        {
            // Where `serve` makes sure that tenure.now() is the genuine one, its body is quoted.
            let quoted = clock == "clock_timestamp" && path.ends_with("store/migrate.rs");
            assert!(quoted || !text.contains(clock), "{}: {clock}", path.display());
        }
        for (at, _) in text.match_indices("now()").filter(|(at, _)| !text[..*at].ends_with("tenure.")) {
            // A monotonic clock measures how long something took; it says nothing of when.
            assert!(text[..at].ends_with("Instant::"), "{}: a clock at byte {at}", path.display());
        }
    }
}

fn files(folder: &str, extension: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, extension: &str, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, extension, found);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push((path.clone(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), extension, &mut found);
    assert!(found.len() > 5);
    found
}

/// Everything that adds a duration to an instant, by file: how many lines, and why it is not a second deadline function.
const SUMS: &[(&str, usize, &str)] = &[
    ("migrations/V2__cluster.sql", 2, "the lease of a node, and whether it lives"),
    ("migrations/V4__sessions.sql", 2, "bounds of monthly partitions"),
    ("migrations/V5__limits.sql", 8, "tenure.limits (6), counted_anchor (1); the second pass of the lowering job"),
    ("migrations/V6__transitions.sql", 2, "when a transaction lapses (C2)"),
    ("migrations/V8__reporting.sql", 2, "the lease of a node, shown"),
    (
        "migrations/V10__mobile.sql",
        6,
        "counted_anchor again; how long an app\'s report holds; lifespans, grace and memory of OAuth tokens",
    ),
    ("migrations/V12__idempotency.sql", 2, "when an idempotency key is forgotten; the lifespan of tokens"),
    (
        "migrations/V13__admission.sql",
        9,
        "tenure.limits again (6); when an idempotency key is forgotten; lifespans of tokens (2)",
    ),
    (
        "migrations/V14__history.sql",
        4,
        "the millisecond of an id; how far back history is kept; bounds of monthly partitions (2)",
    ),
    ("src/session/limits.rs", 1, "the twin of tenure.limits, and the prompt before its idle deadline"),
    ("src/session/mark.rs", 1, "the twin of tenure.counted_anchor: how far refreshes move an anchor"),
    ("src/cache.rs", 1, "how close to a deadline memory may judge"),
    ("src/store/activity.rs", 3, "how a mark moves the anchor; when a transaction lapses"),
    ("src/import/decode.rs", 1, "when connect last moved the expiry of a session, which it does not tell"),
    ("src/clock.rs", 1, "the parts of the machine's clock"),
    ("src/cache/trust.rs", 0, "durations of leases only"),
    ("src/store/doctor/partitions.rs", 1, "names of the coming months' partitions"),
    ("src/store/keys.rs", 2, "until when a key is good; when its use was last noted"),
    ("src/store/list.rs", 2, "bounds of filters: ids of a millisecond, idle since so many minutes"),
    ("src/store/properties.rs", 1, "when maintenance begins that is announced in minutes"),
    ("src/store/nodes.rs", 1, "when the lease of a node ends"),
    (
        "src/store/sweep.rs",
        5,
        "when transactions, idempotency keys, sealed tokens and fenced nodes lapse, for clearing away; how long a sweeper is calm",
    ),
    ("src/store/overview.rs", 1, "the hour in which the overview's day begins; it concerns no deadline"),
    ("src/maintenance/sweeper.rs", 0, "durations of its own sleep only"),
    ("src/cluster/node.rs", 0, "durations of its own beat only"),
];

#[test]
fn only_the_limits_add_a_duration_to_an_instant() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, text) in files("migrations", "sql").into_iter().chain(files("src", "rs")) {
        let inside = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let sums: Vec<_> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//") && !line.trim_start().starts_with("use "))
            .map(|line| line.split(" -- ").next().unwrap())
            .filter(|line| !line.starts_with("--") && !line.starts_with("comment ") && !line.contains("create function"))
            .filter(|line| {
                let sql = line.contains("make_interval(") || line.contains("interval '");
                let lease = line.contains("+ tenure.lease_interval()") || line.contains("- tenure.lease_interval()");
                // Seconds become microseconds where a limit is about to be added.
                let micros = line.contains("* 1_000_000") || line.contains("saturating_mul(1_000_000)");
                sql || lease || micros || line.contains("TimeDelta::") || line.contains("checked_add_signed")
            })
            .collect();
        let allowed = SUMS.iter().find(|(file, ..)| *file == inside).map_or(0, |(_, lines, _)| *lines);
        assert_eq!(sums.len(), allowed, "{inside}: a new sum needs a reason in SUMS, or belongs to tenure.limits: {sums:#?}");
    }
}

#[tokio::test]
async fn per_session_tables_scale_out_by_session() {
    let db = Db::with(Clock::Real).await;
    // Every table with the id of a session in each row; events are also about users and properties, and keyed by their own id.
    let tables = rows(
        &db,
        "select distinct c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid
          where c.relnamespace = 'tenure'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
            and (a.attname = 'session_id' and a.attnotnull or a.attname = 'token_hash') order by 1",
    )
    .await;
    assert_eq!(tables, ["ended_sessions", "oauth_tokens", "session_attributes", "sessions", "transactions"]);
    let tables = tables.iter().map(|table| format!("'tenure.{table}'::regclass")).collect::<Vec<_>>().join(", ");
    none(
        &db,
        "primary and unique keys that do not begin with the session's id",
        &format!(
            "select i.indexrelid::regclass::text from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
              where i.indrelid in ({tables}) and i.indisunique
                and a.attname <> case when i.indrelid in ('tenure.sessions'::regclass, 'tenure.ended_sessions'::regclass)
                                      then 'id' else 'session_id' end"
        ),
    )
    .await;
    let keyed = format!("select count(distinct indrelid) from pg_index where indrelid in ({tables}) and indisprimary");
    assert_eq!(db.count(&keyed).await, 5);
    none(
        &db,
        "foreign keys between per-session tables that do not begin with the session's id",
        &format!(
            "select o.conname::text from pg_constraint o join pg_attribute a on a.attrelid = o.conrelid and a.attnum = o.conkey[1]
              where o.contype = 'f' and o.conrelid in ({tables}) and o.confrelid in ({tables}) and a.attname <> 'session_id'"
        ),
    )
    .await;
    none(
        &db,
        "sequences and identities",
        &format!(
            "select a.attrelid::regclass || '.' || a.attname from pg_attribute a
               left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
              where a.attrelid in ({tables}) and (a.attidentity <> '' or pg_get_expr(d.adbin, d.adrelid) like '%nextval%')"
        ),
    )
    .await;
}

#[tokio::test]
async fn truncate_is_refused() {
    let db = Db::with(Clock::Real).await;
    for table in ["users", "properties", "oauth_entities", "api_keys", "sessions"] {
        let error =
            sqlx::raw_sql(AssertSqlSafe(format!("truncate tenure.{table} cascade"))).execute(db.pool()).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("TN409"), "{table}");
    }
}

#[tokio::test]
async fn the_reporter_reads_the_views_and_nothing_else() {
    let db = Db::with(Clock::Real).await;
    db.user("abel.tuter").await;
    db.sql("select tenure.sign_in('user', 'abel.tuter', sha256('x'), null, 'desktop', null, null, null, null, false, null, null, '{}')")
        .await;
    let views =
        rows(&db, "select c.relname::text from pg_class c where c.relnamespace = 'reporting'::regnamespace order by 1").await;
    // Which there are, and their columns, is held by tests/it/reporting/contract.txt.
    assert!(views.len() > 10);
    let mut connection = db.connection().await;
    let mut as_reporter = async |statement: String| {
        sqlx::raw_sql("set role tenure_reporter").execute(&mut connection).await.unwrap();
        let result = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_all(&mut connection).await.map(|rows| rows.len());
        sqlx::raw_sql("reset role").execute(&mut connection).await.unwrap();
        result
    };
    for view in &views {
        let result = as_reporter(format!("select * from reporting.{view}")).await;
        assert!(result.is_ok(), "{view}: {result:?}");
    }
    assert_eq!(as_reporter("select * from reporting.live_sessions".into()).await.unwrap(), 1);
    let relations =
        rows(&db, "select c.oid::regclass::text from pg_class c where c.relnamespace = 'tenure'::regnamespace and c.relkind in ('r', 'p', 'v')")
            .await;
    assert!(relations.len() > 15);
    for relation in relations {
        let error = as_reporter(format!("select * from {relation}")).await.expect_err(&relation);
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501"), "{relation}");
    }
    for act in ["terminate(gen_random_uuid())", "end_due(gen_random_uuid())", "make_partitions()", "act_as('x', 'y')", "wake()"] {
        let error = as_reporter(format!("select tenure.{act}")).await.expect_err(act);
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501"), "{act}");
    }
    none(
        &db,
        "columns that could be secrets",
        "select c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
          where c.relnamespace = 'reporting'::regnamespace and a.attnum > 0
            and (a.atttypid = 'bytea'::regtype or a.attname ~* 'hash|secret|password|token|key')",
    )
    .await;
}

#[tokio::test]
async fn ids_carry_the_milliseconds_of_their_instant() {
    let db = Db::with(Clock::Real).await;
    let instants = "(values ('2027-06-01 10:00:00.123456+00'::timestamptz), ('1970-01-01 00:00:00.001+00'), ('2099-12-31 23:59:59.999999+00'),
                            ('2027-03-28 02:00:00+02')) v (at)";
    let wrong = format!(
        "select v.at::text from {instants}, lateral (select tenure.uuid_v7(v.at) as id, tenure.uuid_v7_floor(v.at) as low,
                tenure.uuid_v7_floor(v.at + interval '1 millisecond') as high) u
          where ('x0000' || left(replace(u.id::text, '-', ''), 12))::bit(64)::bigint <> floor(extract(epoch from v.at) * 1000)::bigint
             or u.id::text !~ '^[0-9a-f]{{8}}-[0-9a-f]{{4}}-7[0-9a-f]{{3}}-[89ab][0-9a-f]{{3}}-[0-9a-f]{{12}}$'
             or not (u.low <= u.id and u.id < u.high) or u.low::text !~ '-7000-8000-000000000000$'"
    );
    none(&db, "ids that do not", &wrong).await;
    let distinct = "select count(distinct tenure.uuid_v7('2027-06-01 10:00+00')) from generate_series(1, 1000)";
    assert_eq!(db.count(distinct).await, 1000);
}
