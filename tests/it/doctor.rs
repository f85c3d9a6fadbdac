//! `tenure doctor`: each defect that can be planted is found, with the advice that mends it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::{Clock, Db, assert_keys};

const AREAS: [&str; 8] = ["server", "schema", "indexes", "clock", "bloat", "grants", "nodes", "policies"];

/// What it printed, and its exit code.
struct Examined {
    code: i32,
    out: String,
}

fn doctor(url: &str, args: &[&str], lossy: bool) -> Examined {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TENURE_")) {
        command.env_remove(name);
    }
    let output = command
        .env("DATABASE_URL", url)
        .env("TENURE_ALLOW_LOSSY_DATABASE", lossy.to_string())
        .arg("doctor")
        .args(args)
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(err, "", "{url}");
    Examined { code: output.status.code().unwrap(), out: String::from_utf8(output.stdout).unwrap() }
}

/// The document, after its own exit code was found right.
#[track_caller]
fn examined(url: &str) -> Value {
    let run = doctor(url, &["--json"], true);
    let document: Value = serde_json::from_str(&run.out).unwrap();
    assert_keys(&document, &["severity", "unanswered", "areas"]);
    let gave_up = findings(&document).iter().any(|finding| finding["code"] == "too_slow");
    let code = if document["severity"] == "problem" { 5 } else { 6 * i32::from(gave_up) };
    assert_eq!(run.code, code, "{document:#}");
    let areas: Vec<&str> = document["areas"].as_array().unwrap().iter().map(|area| area["area"].as_str().unwrap()).collect();
    assert_eq!(areas, AREAS);
    for area in document["areas"].as_array().unwrap() {
        assert_keys(area, &["area", "severity", "summary", "findings"]);
    }
    document
}

fn findings(document: &Value) -> Vec<&Value> {
    document["areas"].as_array().unwrap().iter().flat_map(|area| area["findings"].as_array().unwrap()).collect()
}

/// The finding of this code about this; its severity and advice.
#[track_caller]
fn found<'a>(document: &'a Value, code: &str, about: &str) -> (&'a str, &'a str) {
    let finding = findings(document)
        .into_iter()
        .find(|finding| finding["code"] == code && finding["message"].as_str().unwrap().contains(about))
        .unwrap_or_else(|| panic!("no {code} about {about}: {document:#}"));
    assert_keys(finding, &["severity", "code", "message", "advice"]);
    (finding["severity"].as_str().unwrap(), finding["advice"].as_str().unwrap())
}

/// Codes of all problems; the schema's, for a server may be lossy or full for reasons of its own.
fn problems(document: &Value) -> Vec<&str> {
    findings(document)
        .into_iter()
        .filter(|finding| finding["severity"] == "problem")
        .map(|finding| finding["code"].as_str().unwrap())
        .collect()
}

/// Plants a defect, sees it found, follows the advice, and sees it gone.
async fn planted(plant: &str, severity: &str, code: &str, about: &str) {
    let db = Db::with(Clock::Real).await;
    db.sql(plant).await;
    let document = examined(&db.url);
    let (seen, advice) = found(&document, code, about);
    assert_eq!(seen, severity, "{document:#}");
    // Alone, because some statements allow no transaction around them.
    for statement in advice.split("--").next().unwrap().split(';').filter(|statement| !statement.trim().is_empty()) {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(db.pool())
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let after = examined(&db.url);
    assert!(findings(&after).iter().all(|finding| finding["code"] != code), "{advice}: {after:#}");
}

#[tokio::test]
async fn a_fresh_database_has_no_problem_and_each_good_area_is_one_line() {
    let db = Db::with(Clock::Real).await;
    let document = examined(&db.url);
    assert_eq!(problems(&document), Vec::<&str>::new(), "{document:#}");
    for area in document["areas"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|area| ["schema", "indexes", "policies"].contains(&area["area"].as_str().unwrap()))
    {
        assert_eq!((area["severity"].as_str(), area["findings"].as_array().unwrap().len()), (Some("ok"), 0), "{area:#}");
    }
    let run = doctor(&db.url, &[], true);
    assert_eq!(run.code, 0, "{}", run.out);
    for area in AREAS {
        assert_eq!(run.out.lines().filter(|line| line.starts_with(area)).count(), 1, "{}", run.out);
    }
    assert!(run.out.contains("schema    ok       version "), "{}", run.out);
}

#[tokio::test]
async fn a_running_node_is_counted_and_nothing_is_wrong_with_it() {
    let db = Db::with(Clock::Real).await;
    let node = db.node("node-1").await;
    // Beside the node, which has to go on beating; on a machine too busy for that it is silent for a moment, and called so.
    let mut document = Value::Null;
    for _ in 0..20 {
        let url = db.url.clone();
        document = tokio::task::spawn_blocking(move || examined(&url)).await.unwrap();
        if findings(&document).iter().all(|finding| finding["code"] != "node_silent") {
            break;
        }
    }
    assert_eq!(problems(&document), Vec::<&str>::new(), "{document:#}");
    assert!(document["areas"][6]["summary"].as_str().unwrap().starts_with("1 node,"), "{document:#}");
    assert!(findings(&document).iter().all(|finding| finding["code"] != "no_node"));
    node.drain().await.unwrap();
}

#[tokio::test]
async fn a_server_without_a_schema_is_described() {
    let run = doctor(&Db::empty("UTF8").await, &[], true);
    assert_eq!(run.code, 5, "{}", run.out);
    assert!(run.out.contains("Run `tenure migrate` once.") && run.out.contains("policies  -        not examined"), "{}", run.out);
}

#[tokio::test]
async fn an_encoding_that_nodes_refuse_is_described() {
    let document = examined(&Db::empty("SQL_ASCII").await);
    assert_eq!(found(&document, "encoding", "SQL_ASCII").0, "problem");
    assert_eq!(found(&document, "no_schema", "no Tenure schema").0, "problem");
}

#[tokio::test]
async fn a_lossy_server_is_a_problem_unless_it_was_accepted() {
    let db = Db::with(Clock::Real).await;
    let lossy = db.count("select (current_setting('fsync') = 'off')::int::bigint").await == 1;
    let strict: Value = serde_json::from_str(&doctor(&db.url, &["--json"], false).out).unwrap();
    let lenient = examined(&db.url);
    if lossy {
        assert_eq!(found(&strict, "fsync_off", "fsync").0, "problem");
        assert_eq!(found(&lenient, "fsync_off", "fsync").0, "warning");
    }
    assert_eq!(problems(&strict).contains(&"fsync_off"), lossy);
    let name = db.url.rsplit_once('/').unwrap().1;
    db.sql(&format!("alter database {name} set synchronous_commit = off")).await;
    let lenient = examined(&db.url);
    assert_eq!(found(&lenient, "synchronous_commit_off", "synchronous_commit").0, "warning");
}

#[tokio::test]
async fn a_database_that_refuses_writes_is_described() {
    let db = Db::with(Clock::Real).await;
    let name = db.url.rsplit_once('/').unwrap().1;
    db.sql(&format!("alter database {name} set default_transaction_read_only = on")).await;
    assert_eq!(found(&examined(&db.url), "read_only", "cannot write").0, "problem");
}

#[tokio::test]
async fn too_few_connections_for_the_pools_are_a_problem() {
    let db = Db::with(Clock::Real).await;
    let name = db.url.rsplit_once('/').unwrap().1;
    db.sql(&format!("alter database {name} connection limit 15")).await;
    assert_eq!(found(&examined(&db.url), "too_few_connections", "the connection limit of the database leaves 15").0, "problem");
    let run = doctor(&db.url, &["--json", "--connections", "5"], true);
    assert!(!run.out.contains("too_few_connections"), "{}", run.out);
}

#[tokio::test]
async fn a_history_that_differs_is_found() {
    let db = Db::with(Clock::Real).await;
    db.sql("update public.refinery_schema_history set checksum = '42' where version = 5").await;
    assert_eq!(found(&examined(&db.url), "checksum_differs", "V5__limits").0, "problem");
    db.sql("delete from public.refinery_schema_history where version = 5").await;
    assert_eq!(found(&examined(&db.url), "migration_missing", "V5__limits").0, "problem");
    db.sql("insert into public.refinery_schema_history select 900, 'later', applied_on, checksum from public.refinery_schema_history where version = 1").await;
    assert_eq!(found(&examined(&db.url), "schema_ahead", "version 900").0, "problem");
    db.sql("delete from public.refinery_schema_history where version > 11").await;
    assert_eq!(found(&examined(&db.url), "schema_behind", "version 11").1, "Run `tenure migrate`.");
    db.sql("update public.refinery_schema_history set applied_on = 'yesterday' where version = 1").await;
    assert_eq!(found(&examined(&db.url), "history_unreadable", "RFC 3339").0, "problem");
    db.sql("drop table public.refinery_schema_history cascade").await;
    assert_eq!(found(&examined(&db.url), "history_missing", "Schema tenure is there").0, "problem");
}

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

#[tokio::test]
async fn a_replaced_function_is_found_and_its_statement_restores_it() {
    let db = Db::with(Clock::Real).await;
    let rules = "select string_agg(p.oid::regprocedure::text || p.prosrc || p.proparallel::text || p.provolatile::text || p.prosecdef::text || coalesce(p.proacl::text, '') \
                 || coalesce(p.proconfig::text, ''), ';' order by p.oid::regprocedure::text) \
                 from pg_proc p where p.pronamespace in ('tenure'::regnamespace, 'reporting'::regnamespace)";
    let genuine: String = sqlx::query_scalar(rules).fetch_one(db.pool()).await.unwrap();
    db.sql(
        "create or replace function tenure.limits(s tenure.sessions, p tenure.policies)
             returns table (idle_deadline_at timestamptz, max_life_deadline_at timestamptz, remember_me_deadline_at timestamptz,
                            residue_deadline_at timestamptz, expires_at timestamptz, reason text)
             language sql stable parallel safe
             as $$ select null::timestamptz, null::timestamptz, null::timestamptz, null::timestamptz, 'infinity'::timestamptz, 'idle' $$;
         alter function tenure.terminate(uuid, text) security invoker;
         alter function reporting.sessions_of(text) reset search_path;
         drop function tenure.wake(); drop function reporting.logged_in_at(timestamptz);
         create function tenure.wake(times int) returns void language sql as $$ select $$",
    )
    .await;
    let document = examined(&db.url);
    for (code, about, severity) in [
        ("function_differs", "tenure.limits(tenure.sessions, tenure.policies) was replaced (body)", "problem"),
        ("function_differs", "tenure.terminate(uuid, text) was replaced (security definer)", "problem"),
        ("function_differs", "reporting.sessions_of(text) was replaced (settings)", "problem"),
        ("function_missing", "tenure.wake()", "problem"),
        ("function_missing", "reporting.logged_in_at(timestamp with time zone)", "problem"),
        ("function_added", "tenure.wake(integer)", "note"),
    ] {
        let (seen, advice) = found(&document, code, about);
        assert_eq!(seen, severity);
        db.sql(advice).await;
    }
    let after = examined(&db.url);
    assert!(!after.to_string().contains("\"function_"), "{after:#}");
    assert_eq!(sqlx::query_scalar::<_, String>(rules).fetch_one(db.pool()).await.unwrap(), genuine);
}

#[tokio::test]
async fn a_function_copied_from_the_terminal_is_the_genuine_one() {
    let db = Db::with(Clock::Real).await;
    db.sql("create or replace function tenure.effect(was_at timestamptz, becomes_at timestamptz, barred boolean, at timestamptz) returns text language sql immutable as $$ select 'x' $$").await;
    let shown = doctor(&db.url, &[], true).out;
    let (_, statement) = shown.split_once("-> create or replace function tenure.effect").unwrap();
    let (statement, _) = statement.split_once("$$;").unwrap();
    db.sql(&format!("create or replace function tenure.effect{statement}$$;")).await;
    assert!(!examined(&db.url).to_string().contains("function_differs"));
}

#[tokio::test]
async fn a_lost_mark_of_parallel_safety_is_found() {
    planted(
        "alter function tenure.now() parallel unsafe; alter function tenure.limits(tenure.sessions, tenure.policies) parallel restricted",
        "warning",
        "not_parallel_safe",
        "2 functions have lost the mark parallel safe: tenure.now(), tenure.limits(tenure.sessions, tenure.policies)",
    )
    .await;
}

#[tokio::test]
async fn another_isolation_level_than_the_rules_were_written_for_is_told() {
    let db = Db::with(Clock::Real).await;
    let name = db.url.rsplit_once('/').unwrap().1;
    db.sql(&format!("alter database {name} set default_transaction_isolation = 'repeatable read'")).await;
    let document = examined(&db.url);
    let (severity, advice) = found(&document, "default_isolation", "repeatable read for this database");
    assert_eq!(severity, "note");
    db.sql(advice).await;
    let role = format!("doctor_serial_{}", std::process::id());
    db.sql(&format!("drop role if exists {role}; create role {role}; alter role {role} in database {name} set default_transaction_isolation = serializable"))
        .await;
    let document = examined(&db.url);
    db.sql(&format!("drop role {role}")).await;
    let (_, advice) = found(&document, "default_isolation", &format!("serializable for the role {role} in this database"));
    assert_eq!(advice, format!("alter role {role} in database {name} reset default_transaction_isolation;"));
    assert_eq!(document.to_string().matches("default_isolation").count(), 1, "{document:#}");
}

#[tokio::test]
async fn locks_cost_one_long_wait_and_what_they_hid_is_not_called_sound() {
    let db = Db::with(Clock::Real).await;
    let mut holder = db.connection().await;
    let tables = ["nodes", "sessions", "policies", "properties", "invalidations", "session_events"];
    sqlx::raw_sql(AssertSqlSafe(format!("begin; lock table tenure.{}", tables.join(", tenure."))))
        .execute(&mut holder)
        .await
        .unwrap();
    let document = examined(&db.url);
    let run = doctor(&db.url, &[], true);
    sqlx::raw_sql("rollback").execute(&mut holder).await.unwrap();

    let slow = findings(&document).iter().filter(|finding| finding["code"] == "too_slow").count();
    assert!(slow > 4, "{document:#}");
    assert_eq!(document["unanswered"].as_u64(), u64::try_from(slow).ok(), "{document:#}");
    // The first may take what any statement may, the others a part of it.
    assert_eq!(document.to_string().matches("longer than the time allowed (5 s)").count(), 1, "{document:#}");
    assert_eq!(document.to_string().matches("longer than the time allowed (0.5 s)").count(), slow - 1, "{document:#}");
    assert_eq!(run.code, 6, "{}", run.out);
    assert!(run.out.lines().last().unwrap().contains("Not everything was examined: no answer to "), "{}", run.out);
}

#[tokio::test]
async fn a_disabled_trigger_is_found() {
    planted("alter table tenure.users disable trigger users_follow_update", "problem", "trigger_disabled", "users_follow_update")
        .await;
}

#[tokio::test]
async fn a_missing_trigger_is_found() {
    planted("drop trigger users_follow_update on tenure.users", "problem", "trigger_missing", "users_follow_update").await;
}

#[tokio::test]
async fn triggers_that_never_fire_for_this_database_are_found() {
    let db = Db::with(Clock::Real).await;
    let name = db.url.rsplit_once('/').unwrap().1;
    db.sql(&format!("alter database {name} set session_replication_role = replica")).await;
    assert_eq!(found(&examined(&db.url), "triggers_bypassed", "replica").0, "problem");
}

#[tokio::test]
async fn a_missing_constraint_is_found() {
    planted(
        "alter table tenure.sessions drop constraint sessions_user_check",
        "problem",
        "constraint_missing",
        "sessions_user_check",
    )
    .await;
    planted("alter table tenure.users drop constraint users_name_check", "problem", "constraint_missing", "users_name_check")
        .await;
    planted(
        "alter table tenure.session_attributes drop constraint session_attributes_session_id_fkey",
        "problem",
        "constraint_missing",
        "session_id_fkey",
    )
    .await;
}

#[tokio::test]
async fn a_constraint_that_was_not_validated_is_found() {
    planted(
        "alter table tenure.users add constraint users_x_check check (id > 0) not valid",
        "warning",
        "constraint_not_validated",
        "users_x_check",
    )
    .await;
}

#[tokio::test]
async fn a_missing_index_is_found() {
    planted("drop index tenure.sessions_user_id_idx", "problem", "index_missing", "sessions_user_id_idx").await;
}

#[tokio::test]
async fn an_invalid_index_is_found() {
    planted(
        "update pg_index set indisvalid = false where indexrelid = 'tenure.sessions_due_at_idx'::regclass",
        "problem",
        "index_invalid",
        "sessions_due_at_idx",
    )
    .await;
}

#[tokio::test]
async fn an_index_that_takes_the_cheap_update_from_checks_is_found() {
    planted("create index sessions_node_idx on tenure.sessions (node)", "warning", "index_defeats_hot", "sessions_node_idx")
        .await;
    planted(
        "create index users_display_name_idx on tenure.users (display_name)",
        "note",
        "index_added",
        "users_display_name_idx",
    )
    .await;
}

#[tokio::test]
async fn a_replaced_clock_is_found() {
    let replace = "create or replace function tenure.now() returns timestamptz language sql volatile as $$ select '2026-01-01Z'::timestamptz $$";
    let db = Db::with(Clock::Real).await;
    db.sql(replace).await;
    let document = examined(&db.url);
    let (severity, advice) = found(&document, "clock_replaced", "tenure.now()");
    assert_eq!(severity, "problem");
    db.sql(advice).await;
    let after = examined(&db.url);
    assert!(
        findings(&after)
            .iter()
            .all(|finding| !["clock_replaced", "not_parallel_safe"].contains(&finding["code"].as_str().unwrap())),
        "{after:#}"
    );
}

#[tokio::test]
async fn a_clock_far_from_this_machines_is_found() {
    let db = Db::new().await;
    db.sql("update tenure_test.clock set moved = '1 hour'").await;
    assert_eq!(found(&examined(&db.url), "clock_differs", "60 minutes ahead of this machine's").0, "warning");
    db.sql("update tenure_test.clock set moved = '-1 hour'").await;
    assert_eq!(found(&examined(&db.url), "clock_differs", "60 minutes behind this machine's").0, "warning");
}

#[tokio::test]
async fn a_clock_that_went_back_is_found_by_the_newest_event() {
    let db = Db::new().await;
    db.sql("update tenure_test.clock set moved = '1 hour'").await;
    db.user("abel.tuter").await;
    db.sql("update tenure.users set locked_out = true").await;
    db.sql("update tenure_test.clock set moved = '0'").await;
    assert_eq!(found(&examined(&db.url), "clock_went_back", "in the future").0, "warning");
}

#[tokio::test]
async fn autovacuum_that_was_switched_off_is_found() {
    planted("alter table tenure.sessions set (autovacuum_enabled = false)", "warning", "autovacuum_off", "tenure.sessions").await;
}

#[tokio::test]
async fn dead_rows_that_no_vacuum_removes_are_counted() {
    let db = Db::with(Clock::Real).await;
    db.sql(
        "alter table tenure.invalidations set (autovacuum_enabled = false);
         insert into tenure.invalidations (kind, key) select 's', n::text from generate_series(1, 15000) n;
         delete from tenure.invalidations; select pg_stat_force_next_flush()",
    )
    .await;
    let document = examined(&db.url);
    let (severity, advice) = found(&document, "dead_rows", "tenure.invalidations has 15,000 dead rows");
    assert_eq!(severity, "warning");
    assert!(advice.starts_with("vacuum (analyze) tenure.invalidations;"), "{advice}");
}

#[tokio::test]
async fn a_replication_slot_that_nobody_reads_is_found() {
    let db = Db::with(Clock::Real).await;
    let slot = format!("tenure_doctor_{}", std::process::id());
    db.sql(&format!("select pg_create_physical_replication_slot('{slot}', true)")).await;
    let document = examined(&db.url);
    // It belongs to the whole server: gone before anything is judged.
    db.sql(&format!("select pg_drop_replication_slot('{slot}')")).await;
    let (severity, advice) = found(&document, "slot_inactive", &slot);
    assert_eq!((severity, advice.contains("pg_drop_replication_slot")), ("warning", true), "{advice}");
}

#[tokio::test]
async fn rights_of_further_roles_are_told_apart() {
    let db = Db::with(Clock::Real).await;
    let role = format!("doctor_clerk_{}", std::process::id());
    db.sql(&format!(
        "drop role if exists {role}; create role {role};
         grant update (locked_out) on tenure.users to {role}; grant delete on tenure.sessions to {role};
         grant select on tenure.session_facts to {role}; grant select (token_hash) on tenure.live to {role};
         grant execute on function tenure.terminate(uuid, text), tenure.wake() to {role};
         grant execute on function tenure.end_sessions(uuid[], text[], timestamptz[], text) to {role}"
    ))
    .await;
    let document = examined(&db.url);
    db.sql(&format!("drop owned by {role}; drop role {role}")).await;
    assert_eq!(found(&document, "extra_grant", "has update on tenure.users").0, "note");
    assert_eq!(found(&document, "writes_granted", "has delete on tenure.sessions").0, "warning");
    assert_eq!(found(&document, "extra_grant", "has select on tenure.session_facts").0, "note");
    assert_eq!(found(&document, "extra_grant", "has select on tenure.live").0, "note");
    assert_eq!(found(&document, "extra_grant", "may execute tenure.terminate(uuid,text), tenure.wake()").0, "note");
    let (severity, advice) = found(&document, "writes_granted", "may execute tenure.end_sessions(");
    assert_eq!(severity, "warning");
    assert!(advice.starts_with("revoke execute on function tenure.end_sessions(uuid[],text[],"), "{advice}");
}

#[tokio::test]
async fn long_transactions_are_found_with_what_they_hold_back() {
    let db = Db::new().await;
    let mut reading = db.connection().await;
    sqlx::raw_sql("begin isolation level repeatable read; select 1").execute(&mut reading).await.unwrap();
    let mut writing = PgConnection::connect(&Db::empty("UTF8").await).await.unwrap();
    sqlx::raw_sql("begin; select pg_current_xact_id()").execute(&mut writing).await.unwrap();
    db.sql("update tenure_test.clock set moved = '1 hour'").await;
    let document = examined(&db.url);
    found(&document, "long_transaction", "it holds back vacuum.");
    let (severity, advice) = found(&document, "long_transaction", "it holds back the pruning of the invalidation log.");
    assert_eq!(severity, "warning");
    assert!(advice.contains("pg_terminate_backend("), "{advice}");
}

#[tokio::test]
async fn functions_that_everybody_may_execute_are_a_problem() {
    planted("grant execute on all functions in schema tenure to public", "problem", "public_may_execute", "functions").await;
    planted(
        "grant execute on function reporting.sessions_of(text) to public",
        "problem",
        "public_may_execute",
        "reporting.sessions_of(text)",
    )
    .await;
    planted("grant usage on schema tenure to public", "warning", "public_schema_usage", "tenure").await;
}

#[tokio::test]
async fn what_everybody_may_read_is_a_problem() {
    planted(
        "grant select (password_hash) on tenure.users to public",
        "problem",
        "public_may_read",
        "select (password_hash) on tenure.users",
    )
    .await;
    planted("grant select on tenure.live to public", "problem", "public_may_read", "select on tenure.live").await;
    planted(
        "grant insert, select on reporting.live_sessions to public",
        "problem",
        "public_may_read",
        "insert, select on reporting.live_sessions",
    )
    .await;
}

#[tokio::test]
async fn a_reporter_with_more_than_views_is_a_problem() {
    planted("grant insert on tenure.sessions to tenure_reporter", "problem", "reporter_has_more", "INSERT on tenure.sessions")
        .await;
    planted(
        "grant execute on function tenure.make_partitions() to tenure_reporter",
        "problem",
        "reporter_has_more",
        "tenure.make_partitions()",
    )
    .await;
    planted(
        "revoke execute on function tenure.node_state(tenure.nodes) from tenure_reporter",
        "warning",
        "reporter_lacks",
        "tenure.node_state",
    )
    .await;
    planted(
        "revoke execute on function reporting.logged_in_at(timestamptz) from tenure_reporter",
        "warning",
        "reporter_lacks",
        "reporting.logged_in_at",
    )
    .await;
    planted(
        "revoke select on reporting.live_sessions from tenure_reporter",
        "warning",
        "reporter_lacks",
        "reporting.live_sessions",
    )
    .await;
}

#[tokio::test]
async fn a_silent_node_and_a_log_held_back_are_found() {
    let db = Db::new().await;
    db.store.register_node(&tenure::store::Registration { name: "node-9".to_owned(), address: None }).await.unwrap();
    db.sql("insert into tenure.invalidations (kind, key) select 's', n::text from generate_series(1, 100001) n").await;
    db.sql("update tenure_test.clock set moved = '1 hour'").await;
    let document = examined(&db.url);
    assert_eq!(found(&document, "node_silent", "node-9 has been silent for 60 minutes").0, "warning");
    assert_eq!(found(&document, "log_held_back", "100,001 rows: the node node-9 has not applied it").0, "warning");
    db.sql("update tenure.nodes set fenced = true").await;
    assert_eq!(found(&examined(&db.url), "node_silent", "node-9").0, "note");
}

#[tokio::test]
async fn overdue_sessions_and_late_sweeps_are_found() {
    let db = Db::new().await;
    db.user("abel.tuter").await;
    db.sql("select tenure.sign_in('user', 'abel.tuter', sha256('x'), null, 'desktop', null, null, null, null, false, null, null, '{}')").await;
    db.store.register_node(&tenure::store::Registration { name: "node-9".to_owned(), address: None }).await.unwrap();
    db.sql("update tenure_test.clock set moved = '1 hour'").await;
    assert_eq!(found(&examined(&db.url), "sessions_overdue", "1 session is due").0, "warning");
    db.sql("update tenure.nodes set beat_at = tenure.now() + interval '1 hour'").await;
    assert_eq!(found(&examined(&db.url), "sweeps_late", "No sweeper has been done for 60 minutes").0, "warning");
}

#[tokio::test]
async fn passes_of_the_lowering_job_are_shown_and_late_ones_found() {
    let db = Db::new().await;
    db.sql("update tenure.policies set lowering_pass = 2, lowering_from = tenure.now() where kind = 'user'").await;
    assert_eq!(found(&examined(&db.url), "lowering_owed", "2 passes").0, "note");
    db.sql("update tenure_test.clock set moved = '1 hour'").await;
    assert_eq!(found(&examined(&db.url), "lowering_owed", "2 passes over user sessions, since 60 minutes").0, "warning");
}

#[tokio::test]
async fn policies_that_do_not_follow_the_properties_are_a_problem() {
    let edit = "update tenure.policies set idle_seconds = 99 where kind = 'user'";
    planted(edit, "problem", "policy_differs", "idle_seconds of user sessions is 99 in force, and 1800 by the properties").await;
    let set = format!("insert into tenure.properties (name, value) values ('glide.ui.session_timeout', '60'); {edit}");
    planted(&set, "problem", "policy_differs", "99 in force, and 3600 by the properties").await;
}

#[tokio::test]
async fn several_defects_are_all_found_at_once() {
    let db = Db::with(Clock::Real).await;
    db.sql(
        "alter table tenure.users disable trigger users_follow_update; drop index tenure.sessions_user_id_idx;
         grant execute on all functions in schema tenure to public; update tenure.policies set idle_seconds = 99 where kind = 'user';
         create or replace function tenure.now() returns timestamptz language sql volatile as $$ select clock_timestamp() + interval '1 day' $$",
    )
    .await;
    let document = examined(&db.url);
    for code in ["trigger_disabled", "index_missing", "public_may_execute", "policy_differs", "clock_replaced"] {
        assert!(problems(&document).contains(&code), "{code}: {document:#}");
    }
    let run = doctor(&db.url, &[], true);
    assert_eq!(run.code, 5);
    assert!(run.out.lines().last().unwrap().starts_with("5 problems, "), "{}", run.out);
}

#[tokio::test]
async fn a_dropped_table_is_a_finding_and_no_error() {
    let db = Db::with(Clock::Real).await;
    db.sql("drop table tenure.invalidations cascade").await;
    assert_eq!(
        found(&examined(&db.url), "not_examined", "Nothing could be found out about the log of invalidations").0,
        "warning"
    );
    assert!(problems(&examined(&db.url)).contains(&"constraint_missing"));
}

#[tokio::test]
async fn a_role_that_may_see_little_gets_notes_instead_of_errors() {
    let db = Db::with(Clock::Real).await;
    let role = format!("doctor_{}", std::process::id());
    db.sql(&format!("drop role if exists {role}; create role {role} login password 'doctor'")).await;
    let place = db.url.split_once("://").unwrap().1;
    let url = format!("postgres://{role}:doctor@{}", place.split_once('@').unwrap().1);
    let document = examined(&url);
    assert_eq!(problems(&document), Vec::<&str>::new(), "{document:#}");
    for about in ["the registry of nodes", "the limits in force", "the history of migrations"] {
        let (severity, advice) = found(&document, "not_visible", about);
        assert_eq!(severity, "note");
        assert!(advice.contains("owner of schema tenure"), "{advice}");
    }
    db.sql(&format!("drop role {role}")).await;
}

#[tokio::test]
async fn nobody_to_ask_is_exit_code_6_and_quotes_no_password() {
    let output = Command::new(env!("CARGO_BIN_EXE_tenure"))
        .env("DATABASE_URL", "postgres://u:hush-hush-4711@127.0.0.1:1/d")
        .args(["doctor", "--json"])
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{err}");
    assert!(output.stdout.is_empty() && err.contains("127.0.0.1:1") && !err.contains("hush"), "{err}");
}

#[test]
fn every_code_is_in_the_table_for_operators() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/OPERATIONS.md")).unwrap();
    let files = fs::read_dir(root.join("src/store/doctor")).unwrap().map(|entry| entry.unwrap().path());
    let mut codes = BTreeSet::new();
    for file in files.chain([root.join("src/store/doctor.rs")]) {
        let text = fs::read_to_string(file).unwrap();
        for way in ["note(", "warning(", "problem("] {
            for (at, _) in text.match_indices(way) {
                let rest = text[at + way.len()..].trim_start();
                codes.extend(rest.strip_prefix('"').and_then(|rest| rest.split('"').next()).map(str::to_owned));
            }
        }
    }
    assert!(codes.len() > 45, "the scan found too little: {codes:?}");
    for code in codes {
        assert!(page.contains(&format!("`{code}`")), "{code}");
    }
}
