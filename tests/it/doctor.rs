//! `tenure doctor`: each defect that can be planted is found, with the advice that mends it.

mod grants;
mod history;
mod running;
mod schema;
mod server;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sqlx::AssertSqlSafe;

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
