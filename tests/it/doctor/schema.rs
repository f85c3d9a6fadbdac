//! Findings about what the migrations made: history, functions, triggers, constraints and indexes.

use super::{doctor, examined, found, planted};
use crate::support::{Clock, Db};

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
