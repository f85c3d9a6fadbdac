//! Findings about who may do what.

use super::{examined, found, planted};
use crate::support::{Clock, Db};

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
