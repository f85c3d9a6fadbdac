//! `tenure import ...`: the tables of other stores, as a shell sees it.

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::*;

/// A session id of connect, and its cookie under the secret `keyboard cat`, as `cookie-signature` makes it.
const SID: &str = "kYPpXyTmsqP8wlwHqg8QmVwZm1l7Q0pY";
const COOKIE: &str = "s:kYPpXyTmsqP8wlwHqg8QmVwZm1l7Q0pY.sDRIDyWxzgj+Px6U6GkG1jVcyCR1n3eL3kkRNQ/vKuA";

const CONNECT: &str = "
    create table session (sid varchar not null primary key, sess json not null, expire timestamp(6) not null);
    insert into session values
        ('kYPpXyTmsqP8wlwHqg8QmVwZm1l7Q0pY', '{\"cookie\":{\"originalMaxAge\":86400000},\"passport\":{\"user\":\"abel.tuter\"},\"cart\":[1,2]}', localtimestamp + interval '23 hours'),
        ('guest-guest-guest-guest-guest-gu', '{\"cookie\":{\"originalMaxAge\":null}}',                                   localtimestamp + interval '1 hour'),
        ('expired-expired-expired-expired-', '{\"cookie\":{},\"passport\":{\"user\":\"abel.tuter\"}}',                   localtimestamp - interval '1 hour'),
        ('missing-missing-missing-missing-', '{\"cookie\":{},\"passport\":{\"user\":\"nobody\"}}',                       localtimestamp + interval '1 hour'),
        ('wrong-wrong-wrong-wrong-wrong-wr', '{\"cookie\":{},\"passport\":{\"user\":[\"abel.tuter\"]}}',                 localtimestamp + interval '1 hour'),
        ('array-array-array-array-array-ar', '[1]',                                                                      localtimestamp + interval '1 hour'),
        -- Signed, it is a token as good as any.
        ('short',                            '{\"cookie\":{}}',                                                          localtimestamp + interval '1 hour');";

/// A database of another application.
async fn other(statements: &str) -> String {
    let url = Db::empty("UTF8").await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("set timezone = 'UTC'; {statements}"))).execute(&mut connection).await.unwrap();
    url
}

/// Runs an import from that database: its code and its report.
fn import(db: &Db, other: &str, args: &[&str]) -> (i32, Value) {
    let output = program(&db.url)
        .args(["import", args[0], "env:OTHER", "--json"])
        .args(&args[1..])
        .env("OTHER", other)
        .env("SECRET", "keyboard cat")
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}"));
    (output.status.code().unwrap(), report)
}

fn check(db: &Db, token: &str) -> Run {
    run_with(&db.url, &["sessions", "check", "--json"], token.as_bytes())
}

#[tokio::test]
async fn sessions_of_connect_go_on_with_their_cookies() {
    let db = database().await;
    db.user("abel.tuter").await;
    let other = other(CONNECT).await;
    let args = ["connect", "--user-path", "passport.user", "--cookie-secret", "env:SECRET"];
    let outcomes = json!({ "imported": 3, "expired": 1, "unknown_user": 1, "rejected": 2 });

    let (code, rehearsed) = import(&db, &other, &[&args[..], &["--dry-run"]].concat());
    assert_eq!((code, &rehearsed["outcomes"]), (7, &outcomes), "{rehearsed:#}");
    assert_eq!(db.count("select count(*) from tenure.session_events where type = 'session_imported'").await, 0);
    let (code, report) = import(&db, &other, &args);
    assert_eq!((code, &report["outcomes"]), (7, &outcomes), "{report:#}");
    assert_eq!((&report["rows"], &report["complete"], &report["remarks"]), (&json!(7), &json!(true), &json!(3)));

    let checked = check(&db, COOKIE).document();
    assert_eq!(checked["session"]["user"], "abel.tuter");
    assert_eq!(check(&db, SID).code, 4, "only the signed cookie is good");
    let row = "select count(*) from tenure.sessions s join tenure.session_attributes a on a.session_id = s.id
                where a.attributes = '{\"passport\": {\"user\": \"abel.tuter\"}, \"cart\": [1, 2]}' and s.created_at < tenure.now() - interval '50 minutes'";
    assert_eq!(db.count(row).await, 1);

    let (_, again) = import(&db, &other, &[&args[..], &["--create-users"]].concat());
    assert_eq!(again["outcomes"], json!({ "present": 3, "imported": 1, "expired": 1, "rejected": 2 }));
    assert_eq!(again["users_created"], 1, "{again:#}");
}

#[tokio::test]
async fn the_source_is_never_on_the_command_line() {
    let db = database().await;
    run(&db.url, &["import", "connect", NOWHERE]).failed(2, "named, not written down");
    run(&db.url, &["import", "connect", "env:NOT_THERE"]).failed(3, "NOT_THERE");
    run(&db.url, &["import", "connect", "/does/not/exist"]).failed(3, "cannot be read");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    std::fs::write(&file, NOWHERE).unwrap();
    let file = file.to_str().unwrap();
    run(&db.url, &["import", "connect", file]).failed(3, "chmod 600");
    std::process::Command::new("chmod").args(["600", file]).status().unwrap();
    run(&db.url, &["import", "connect", file]).failed(6, "PostgreSQL");
    run(&db.url, &["import", "connect", file, "--user-path", "a..b"]).failed(2, "--user-path");
    run(&db.url, &["import", "connect", file, "--report", file]).failed(2, "exists");
}

#[tokio::test]
async fn case_86_one_import_at_a_time() {
    let db = database().await;
    let other = other(CONNECT).await;
    let claim = db.store.claim_import().await.unwrap();
    let output = program(&db.url).args(["import", "connect", "env:OTHER"]).env("OTHER", &other).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Another import is running"));
    claim.release().await;
    assert_eq!(import(&db, &other, &["connect"]).1["complete"], true);
}
