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
    let zone: &[&str] = if args[0] == "connect" { &["--time-zone", "UTC"] } else { &[] };
    let output = program(&db.url)
        .args(["import", args[0], "env:OTHER", "--json"])
        .args(&args[1..])
        .args(zone)
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
    assert_eq!(report["guests"], 2);
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

/// 78: a view may name a session twice, with two users and two expiries; nobody is both, and both rows are on one page.
#[tokio::test]
async fn case_78_a_token_is_of_one_user() {
    let db = database().await;
    db.sql("insert into tenure.users (name) select 'u' || n from generate_series(0, 7) n").await;
    let other = other(
        "create view twice as
         select 'session-of-two-users-' || n as sid, json_build_object('cookie', json_build_object(), 'user', 'u' || (n + m) % 8) as sess,
                (localtimestamp + make_interval(hours => 1 + m))::timestamp(6) as expire
           from generate_series(1, 2500) n, generate_series(0, 1) m;",
    )
    .await;
    for present in ["imported", "present"] {
        let (code, report) = import(&db, &other, &["connect", "--user-path", "user", "--table", "public.twice"]);
        assert_eq!((code, &report["outcomes"]), (7, &json!({ present: 2500, "duplicate": 2500 })), "{report:#}");
    }
    assert_eq!(db.count("select count(distinct foreign_hash) from tenure.sessions").await, 2500);
}

#[tokio::test]
async fn the_source_is_never_on_the_command_line() {
    let db = database().await;
    run(&db.url, &["import", "connect", NOWHERE, "--user-path", "user"]).failed(2, "named, not written down");
    run(&db.url, &["import", "connect", "env:NOT_THERE", "--user-path", "user"]).failed(3, "NOT_THERE");
    run(&db.url, &["import", "connect", "/does/not/exist", "--user-path", "user"]).failed(3, "cannot be read");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    std::fs::write(&file, NOWHERE).unwrap();
    let file = file.to_str().unwrap();
    run(&db.url, &["import", "connect", file, "--user-path", "user"]).failed(3, "chmod 600");
    std::process::Command::new("chmod").args(["600", file]).status().unwrap();
    run(&db.url, &["import", "connect", file, "--user-path", "user"]).failed(6, "PostgreSQL");
    run(&db.url, &["import", "connect", file, "--user-path", "a..b"]).failed(2, "names with a dot");
    run(&db.url, &["import", "connect", file]).failed(2, "Say with --user-path");
    run(&db.url, &["import", "connect", file, "--user-path", "user", "--report", file]).failed(2, "exists, and is no report");
    assert_eq!(std::fs::read_to_string(file).unwrap(), NOWHERE, "what is no report is not written into");
    // Whoever writes a secret where its place should be named does not find it in a log as well.
    run(&db.url, &["import", "connect", SECRET, "--user-path", "user"]).failed(3, "cannot be read");
    run(&db.url, &["import", "connect", file, "--user-path", "user", "--cookie-secret", SECRET]).failed(3, "cannot be read");
}

/// connect's `expire` is a time of day of the application, and nothing in the table says where.
#[tokio::test]
async fn instants_without_a_time_zone_are_not_guessed() {
    let db = database().await;
    let other = other(
        "create table session (sid varchar not null primary key, sess json not null, expire timestamp(6) not null);
         insert into session select sid, '{\"cookie\":{}}', now() at time zone 'Asia/Tokyo' + wait
           from (values ('ended-in-tokyo-an-hour-ago', interval '-1 hour'), ('goes-on-in-tokyo-for-an-hour', interval '1 hour')) v (sid, wait);",
    )
    .await;
    let run = |zone: &[&str]| {
        let mut program = program(&db.url);
        program.args(["import", "connect", "env:OTHER", "--json", "--user-path", "user"]).args(zone).env("OTHER", &other);
        program.output().unwrap()
    };
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Give it with --time-zone"), "{output:?}");
    assert_eq!(run(&["--time-zone", "Middle/Earth"]).status.code(), Some(2));
    let report: Value = serde_json::from_slice(&run(&["--time-zone", "Asia/Tokyo"]).stdout).unwrap();
    assert_eq!(report["outcomes"], json!({ "imported": 1, "expired": 1 }), "{report:#}");
    assert_eq!(check(&db, "goes-on-in-tokyo-for-an-hour").code, 0);
}

/// Sixty megabytes of sessions are not in memory at once, and what is too long for a session is not fetched at all.
#[tokio::test]
async fn a_page_is_bounded_by_bytes() {
    use tenure::store::{ConnectSettings, FOREIGN_DATA, ForeignDatabase, ForeignFormat};

    let url = other(
        "create table session (sid varchar not null primary key, sess json not null, expire timestamp(6) not null);
         insert into session select 'session-' || to_char(n, 'FM000'), to_json(repeat('x', case n when 0 then 2000000 else 200000 end)), localtimestamp
           from generate_series(0, 300) n;",
    )
    .await;
    let settings = ConnectSettings { url, connections: 2, node: None, allow_plaintext: true, allow_lossy: true };
    let mut foreign = ForeignDatabase::connect(&settings, ForeignFormat::Connect, None, Some("UTC")).await.unwrap();
    let (mut rows, mut pages) = (0, 0);
    loop {
        let page = foreign.page().await.unwrap();
        if page.is_empty() {
            break;
        }
        if pages == 0 {
            assert!(page[0].too_long && page[0].text.is_none());
        }
        let bytes: usize = page.iter().filter_map(|row| row.text.as_ref()).map(String::len).sum();
        assert!(bytes < 40 << 20, "{bytes}");
        assert!(page.iter().all(|row| row.text.as_ref().is_none_or(|text| text.len() <= FOREIGN_DATA)));
        rows += page.len();
        pages += 1;
    }
    assert_eq!((rows, pages), (301, 4));
}

#[tokio::test]
async fn case_86_one_import_at_a_time() {
    let db = database().await;
    let other = other(CONNECT).await;
    let claim = db.store.claim_import().await.unwrap();
    let args = ["import", "connect", "env:OTHER", "--user-path", "user", "--time-zone", "UTC"];
    let output = program(&db.url).args(args).env("OTHER", &other).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Another import is running"));
    claim.release().await;
    assert_eq!(import(&db, &other, &["connect", "--user-path", "user"]).1["complete"], true);
}

/// As Django 5.2 writes them: packed data of user 7, a pickle of theirs, and a form from before version 3.1.
const DJANGO: &str = "
    create table auth_user (id integer primary key, username varchar(150) not null);
    insert into auth_user values (7, 'abel.tuter');
    create table django_session (session_key varchar(40) primary key, session_data text not null, expire_date timestamptz not null);
    insert into django_session
    select key, data, now() + interval '14 days'
      from (values ('packed0packed0packed0packed0pack', '.eJyrVopPLC3JiC8tTi2Kz0xRslIyV9JRyssvSQUyE4cJUKoFAE6rVbk:1xVSkH:Ql3XAMahgwxf7AWUCiYpXnKHzmOMs3MyXbf8Q58vVQU'),
                   ('pickle0pickle0pickle0pickle0pick', 'gASVGAAAAAAAAAB9lIwNX2F1dGhfdXNlcl9pZJSMATeUcy4:1xVSkH:3eXTLYR1NOK-LNAk6nXqO_hpX8PcR1Ld9GyLCXwGiCM'),
                   ('legacy0legacy0legacy0legacy0lega', encode('0123456789abcdef:{\"_auth_user_id\":\"7\"}', 'base64')),
                   ('strange0strange0strange0strange0', encode('0123456789abcdef:{\"_auth_user_id\":\"8\"}', 'base64')),
                   ('broken0broken0broken0broken0brok', '.eJyrVopPLC3JiC8tTi2Kz0xRslIy:1xVSkH:Ql3XAMahgwxf7AWUCiYpXnKHzmOMs3MyXbf8Q58vVQU')) v (key, data);";

#[tokio::test]
async fn sessions_of_django_are_read_without_running_any() {
    let db = database().await;
    db.user("abel.tuter").await;
    let other = other(DJANGO).await;
    let (code, report) = import(&db, &other, &["django"]);
    assert_eq!((code, &report["outcomes"]), (7, &json!({ "imported": 2, "rejected": 3 })), "{report:#}");
    let reasons: Vec<_> =
        report["first_remarks"].as_array().unwrap().iter().map(|remark| remark["reason"].as_str().unwrap()).collect();
    for part in ["damaged", "pickle", "no user of its number"] {
        assert!(reasons.iter().any(|reason| reason.contains(part)), "{part}: {reasons:?}");
    }
    for key in ["packed0packed0packed0packed0pack", "legacy0legacy0legacy0legacy0lega"] {
        assert_eq!(check(&db, key).document()["session"]["user"], "abel.tuter");
    }
    assert_eq!(check(&db, "pickle0pickle0pickle0pickle0pick").code, 4);
    assert_eq!(db.count("select count(*) from tenure.session_attributes where length(attributes ->> 'note') = 200").await, 1);
}

/// Django lets nobody in who is inactive, whatever sessions they still have.
#[tokio::test]
async fn sessions_of_users_whom_django_deactivated_stay_out() {
    let db = database().await;
    let other = other(&format!(
        "{DJANGO}
         alter table auth_user add is_active boolean not null default true;
         insert into auth_user values (8, 'beth.anglin', false);"
    ))
    .await;
    let outcomes = json!({ "imported": 2, "user_inactive": 1, "rejected": 2 });
    let (_, rehearsed) = import(&db, &other, &["django", "--create-users", "--dry-run"]);
    assert_eq!(rehearsed["outcomes"]["user_inactive"], 1, "{rehearsed:#}");
    let (_, report) = import(&db, &other, &["django", "--create-users"]);
    assert_eq!((&report["outcomes"], &report["users_created"]), (&outcomes, &json!(2)), "{report:#}");
    assert_eq!(db.count("select count(*) from tenure.users where name = 'beth.anglin' and not active").await, 1);
    // Nor does somebody of the same name here let them in.
    db.sql("update tenure.users set active = true, locked_out = false").await;
    let (_, again) = import(&db, &other, &["django"]);
    assert_eq!(again["outcomes"]["user_inactive"], 1, "{again:#}");
    assert_eq!(check(&db, "strange0strange0strange0strange0").code, 4);
}

/// Begin the same import again: the report of what failed says what was done, and is gone on with.
#[tokio::test]
async fn an_import_that_failed_is_begun_again_as_it_was() {
    let db = database().await;
    db.user("abel.tuter").await;
    let other = other(&format!("{DJANGO} alter table auth_user rename to elsewhere;")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report");
    let run = || {
        let mut program = program(&db.url);
        program.args(["import", "django", "env:OTHER", "--json", "--report", file.to_str().unwrap()]).env("OTHER", &other);
        let output = program.output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        (output.status.code(), report, String::from_utf8(output.stderr).unwrap())
    };
    let (code, report, error) = run();
    assert_eq!((code, &report["outcomes"], &report["complete"]), (Some(2), &json!({ "rejected": 2 }), &json!(false)), "{error}");
    assert!(error.contains("begin the same import again") && error.contains("auth_user"), "{error}");
    let lines = || std::fs::read_to_string(&file).unwrap().lines().count();
    assert_eq!(lines(), 2);
    let mut connection = PgConnection::connect(&other).await.unwrap();
    sqlx::raw_sql("alter table elsewhere rename to auth_user").execute(&mut connection).await.unwrap();
    let (code, report, error) = run();
    assert_eq!((code, &report["outcomes"]), (Some(7), &json!({ "imported": 2, "rejected": 3 })), "{error}");
    assert_eq!(lines(), 5);
}

#[tokio::test]
async fn sessions_of_tower_sessions_go_on() {
    let db = database().await;
    db.user("abel.tuter").await;
    let other = other(
        "create schema tower_sessions;
         create table tower_sessions.session (id text primary key not null, data bytea not null, expiry_date timestamptz not null);
         insert into tower_sessions.session values
             ('AAECAwQFBgcICQoLDA0ODw', '\\x93c410000102030405060708090a0b0c0d0e0f82a475736572aa6162656c2e7475746572a4686974730799cd07eb2001020304000000', now() + interval '1 hour'),
             ('AAECAwQFBgcICQoLDA0OEA', '\\x93c410000102030405060708090a0b0c0d0e', now() + interval '1 hour'),
             ('AAECAwQFBgcICQoLDA0OEQ', decode(repeat('91', 5000), 'hex'), now() + interval '1 hour');",
    )
    .await;
    let (code, report) = import(&db, &other, &["tower-sessions", "--user-path", "user"]);
    assert_eq!((code, &report["outcomes"]), (7, &json!({ "imported": 1, "rejected": 2 })), "{report:#}");
    assert_eq!(check(&db, "AAECAwQFBgcICQoLDA0ODw").document()["session"]["user"], "abel.tuter");
    assert_eq!(db.count("select (attributes ->> 'hits')::int8 from tenure.session_attributes").await, 7);
}

#[tokio::test]
async fn sessions_of_spring_go_on_without_their_objects() {
    let db = database().await;
    db.user("abel.tuter").await;
    let other = other(
        "create table spring_session (primary_id char(36) not null primary key, session_id char(36) not null unique, creation_time bigint not null,
             last_access_time bigint not null, max_inactive_interval int not null, expiry_time bigint not null, principal_name varchar(100));
         insert into spring_session
         select id, id, (at - 3600) * 1000, (at - 60) * 1000, 1800, (at + 1740) * 1000, name
           from (select extract(epoch from now())::bigint as at) now,
                (values ('6f9619ff-8b86-d011-b42d-00c04fc964ff', 'abel.tuter'), ('6f9619ff-8b86-d011-b42d-00c04fc964fe', null)) v (id, name);",
    )
    .await;
    let (code, report) = import(&db, &other, &["spring"]);
    assert_eq!((code, &report["outcomes"], &report["guests"]), (0, &json!({ "imported": 2 }), &json!(1)), "{report:#}");
    // The cookie is base64 of the id.
    let checked = check(&db, "NmY5NjE5ZmYtOGI4Ni1kMDExLWI0MmQtMDBjMDRmYzk2NGZm").document();
    assert_eq!(checked["session"]["user"], "abel.tuter");
    assert_eq!(db.count("select count(*) from tenure.sessions where created_at < tenure.now() - interval '59 minutes'").await, 2);
}

/// 117: Ctrl-C stops between two pages, says what is done, and the same import again does the rest.
#[tokio::test]
async fn case_117_an_import_that_is_stopped_goes_on_where_it_was() {
    use std::io::{BufRead, BufReader, Read};

    let db = database().await;
    let other = other(
        "create table session (sid varchar not null primary key, sess json not null, expire timestamp(6) not null);
         insert into session select 'session-of-a-guest-' || n, '{\"cookie\":{}}', localtimestamp + interval '1 hour' from generate_series(1, 5000) n;",
    )
    .await;
    // The first page waits here, so that the signal comes while it is written.
    let mut holder = db.connection().await;
    sqlx::query("select pg_advisory_lock_shared(hashtextextended('tenure.import', 1))").execute(&mut holder).await.unwrap();
    let args = ["import", "connect", "env:OTHER", "--user-path", "user", "--time-zone", "UTC", "--json"];
    let mut child =
        program(&db.url).args(args).env("OTHER", &other).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let waiting = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
                    where d.datname = current_database() and l.locktype = 'advisory' and not l.granted";
    while db.count(waiting).await == 0 {
        tokio::task::yield_now().await;
    }
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let mut error = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    error.read_line(&mut said).unwrap();
    assert!(said.contains("Begin the same import again"), "{said}");
    holder.close().await.unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{out}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["complete"], &report["outcomes"]), (&json!(false), &json!({ "imported": 4000 })), "{report:#}");

    let (code, report) = import(&db, &other, &["connect", "--user-path", "user"]);
    assert_eq!((code, &report["outcomes"]), (0, &json!({ "imported": 1000, "present": 4000 })), "{report:#}");
}

/// What was here before is skipped wherever it stands in the source.
#[tokio::test]
async fn what_is_here_already_is_found_on_every_page() {
    let db = database().await;
    let rows = |from: u32, to: u32, minutes: u32| {
        format!(
            "insert into session select 'session-of-a-guest-' || n, '{{\"cookie\":{{}}}}', localtimestamp + interval '{minutes} minutes'
               from generate_series({from}, {to}) n;"
        )
    };
    let table = "create table session (sid varchar not null primary key, sess json not null, expire timestamp(6) not null);
                 create index on session (expire);";
    let other = other(&format!("{table} {} {}", rows(1, 4000, 60), rows(4001, 8000, 90))).await;
    let args = ["connect", "--user-path", "user"];
    let (code, report) = import(&db, &other, &args);
    assert_eq!((code, &report["outcomes"]), (0, &json!({ "imported": 8000 })), "{report:#}");

    // A page of new ones before those that are here, one in their midst, and one at the end.
    let mut connection = PgConnection::connect(&other).await.unwrap();
    let more = [rows(8001, 12000, 30), rows(12001, 12001, 61), rows(12002, 12002, 120)].concat();
    sqlx::raw_sql(AssertSqlSafe(format!("set timezone = 'UTC'; {more}"))).execute(&mut connection).await.unwrap();
    let (code, report) = import(&db, &other, &args);
    assert_eq!((code, &report["outcomes"]), (0, &json!({ "imported": 4002, "present": 8000 })), "{report:#}");
    let (code, report) = import(&db, &other, &[&args[..], &["--dry-run"]].concat());
    assert_eq!((code, &report["outcomes"]), (0, &json!({ "present": 12002 })), "{report:#}");
    assert_eq!(db.count("select count(distinct foreign_hash) from tenure.sessions").await, 12002);
}

/// A remark names the row by its number: in the order of expiry where an index says it, else of keys, from the first page to the last.
#[tokio::test]
async fn a_remark_has_the_number_of_its_row() {
    let db = database().await;
    // The later the key, the earlier the expiry.
    let other = other(
        "create table session (sid varchar not null primary key, sess json not null, expire timestamp(6) not null);
         insert into session
         select 'session-of-a-guest-' || to_char(n, 'fm00000'), case when n in (10, 5000, 9000) then '[1]' else '{\"cookie\":{}}' end::json,
                localtimestamp + interval '3 hours' - make_interval(secs => n)
           from generate_series(1, 9000) n;",
    )
    .await;
    let lines = |args: &[&str]| {
        let (code, report) = import(&db, &other, &[&["connect", "--user-path", "user"], args].concat());
        assert_eq!(code, 7, "{report:#}");
        let remarks = report["first_remarks"].as_array().unwrap();
        remarks.iter().map(|remark| remark["line"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(lines(&["--dry-run"]), [10, 5000, 9000]);
    let mut connection = PgConnection::connect(&other).await.unwrap();
    sqlx::raw_sql("create index on session (expire)").execute(&mut connection).await.unwrap();
    for args in [&["--dry-run"][..], &[], &[]] {
        assert_eq!(lines(args), [1, 4001, 8991]);
    }
}
