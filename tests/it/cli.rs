//! The program as a shell sees it: stdout, stderr, exit codes.

mod export;
mod import;
mod nodes;
mod servicenow;

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Clock, Db, assert_keys};

/// Stands where a secret would; no output may contain it.
const SECRET: &str = "hush-hush-4711";
/// Nothing listens here.
const NOWHERE: &str = "postgres://u:hush-hush-4711@127.0.0.1:1/d";

struct Run {
    code: i32,
    out: String,
    err: String,
}

fn program(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TENURE_")) {
        command.env_remove(name);
    }
    command.env("DATABASE_URL", url).env("TENURE_ALLOW_LOSSY_DATABASE", "true").env("USER", "tester");
    command
}

fn run<A: AsRef<OsStr>>(url: &str, args: &[A]) -> Run {
    run_with(url, args, b"")
}

fn run_with<A: AsRef<OsStr>>(url: &str, args: &[A], input: &[u8]) -> Run {
    let mut child = program(url).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that does not read its input may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Run {
    /// Done, with one JSON document on stdout and nothing else there.
    #[track_caller]
    fn document(&self) -> Value {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {:?}", self.out))
    }

    /// Failed with this code; nothing on stdout, a sentence on stderr that quotes no secret.
    #[track_caller]
    fn failed(&self, code: i32, about: &str) {
        assert_eq!(self.code, code, "{about}: {}{}", self.out, self.err);
        assert_eq!(self.out, "", "{about}");
        assert!(self.err.contains("error: "), "{about}: {}", self.err);
        assert!(self.err.contains(about), "{about}: {}", self.err);
        for word in [SECRET, "panicked", "RUST_BACKTRACE", "Error("] {
            assert!(!self.err.contains(word), "{about}: {}", self.err);
        }
    }
}

async fn database() -> Db {
    Db::with(Clock::Real).await
}

#[tokio::test]
async fn every_command_speaks_json_and_prose() {
    let db = database().await;
    let url = db.url.as_str();
    let user = ["name", "display_name", "active", "locked_out", "roles", "homepage_refresh_minutes"];
    let json = |args: &str| run(url, &args.split(' ').chain(["--json"]).collect::<Vec<_>>()).document();
    let prose = |args: &str| {
        let run = run(url, &args.split(' ').collect::<Vec<_>>());
        assert_eq!(run.code, 0, "{args}: {}", run.err);
        assert!(!run.out.is_empty() && serde_json::from_str::<Value>(&run.out).is_err(), "{args}: {}", run.out);
        run.out
    };

    assert_keys(&json("users create abel.tuter"), &user);
    assert!(prose("users create beth.anglin").contains("beth.anglin"));
    let created = json("sessions create --kind user --user abel.tuter --client-address 203.0.113.7");
    assert_keys(&created, &["session", "token"]);
    let (id, token) = (created["session"]["id"].as_str().unwrap(), created["token"].as_str().unwrap());
    let checked = run_with(url, &["sessions", "check", "--json"], format!("{token}\n").as_bytes()).document();
    assert_keys(&checked, &["session", "seconds_left", "prompt", "prompt_at", "can_extend", "transaction_id"]);

    assert!(prose("maintenance status").starts_with("No maintenance"));
    assert!(json("maintenance start --in 10")["value"].as_str().unwrap().ends_with('Z'));
    assert!(prose("maintenance status").contains("only users with role admin"));
    run(url, &["sessions", "create", "--kind", "guest"]).failed(5, "Nobody can sign in: maintenance begins at");
    assert!(prose("maintenance start --at 2099-01-01T00:00:00+01:00").contains("2098-12-31T23:00:00"));
    assert_eq!(json("maintenance status")["name"], "tenure.maintenance_at");
    assert!(prose("maintenance stop").starts_with("No maintenance"));
    run(url, &["maintenance", "start"]).failed(2, "--in");
    run(url, &["maintenance", "start", "--at", "tonight"]).failed(2, "instant");

    assert_eq!(json("sessions list")["items"][0]["id"], id);
    assert!(prose("sessions list").starts_with("ID "));
    assert_eq!(json(&format!("sessions show {id}"))["user"], "abel.tuter");
    assert_eq!(json(&format!("sessions explain {id}"))["binding"], "idle");
    assert!(prose(&format!("sessions explain {id}")).contains("* idle"));
    assert_eq!(
        json(
            "sessions list --user ABEL.tuter --kind user --state all --active false --address 203.0.113.7 --idle-minutes-min 0 --limit 1"
        )["items"][0]["id"],
        id
    );
    let ended = json(&format!("sessions terminate {id}"));
    assert_keys(&ended, &["terminated", "barrier"]);
    assert_eq!(ended["terminated"], 1);
    assert!(prose(&format!("sessions terminate {id}")).contains("over already"));
    let over = run_with(url, &["sessions", "check"], token.as_bytes());
    assert_eq!(over.code, 4);
    assert_eq!(serde_json::from_str::<Value>(&over.out).unwrap()["reason"], "terminated");
    assert_eq!(json(&format!("sessions show {id}"))["ended_by"], "cli:tester");

    json("sessions create --kind user --user beth.anglin");
    assert_eq!(json("users lock-out beth.anglin --what-if")["guard"]["expect"], 1);
    assert!(prose("users deactivate beth.anglin --what-if").contains("inactive, locked out; 1 sessions on 1 nodes will end"));
    run(url, &["users", "lock-out", "beth.anglin", "--expect-count", "2"]).failed(5, "1 live sessions now");
    assert_eq!(json("users lock-out beth.anglin --expect-count 1")["ended"], 1);
    assert!(prose("users unlock beth.anglin").contains("not locked out; 0 sessions ended"));
    assert_eq!(json("users deactivate beth.anglin")["locked_out"], true);
    assert_eq!(json("users activate beth.anglin")["active"], true);
    assert_keys(&json("users list --locked-out true")["items"][0], &user);
    assert!(prose("users list").contains("abel.tuter"));

    assert!(json("properties list")["items"].as_array().unwrap().len() > 10);
    prose("properties list");
    assert_eq!(json("properties set glide.ui.session_timeout 45")["value"], "45");
    assert_eq!(json("properties get glide.ui.session_timeout")["source"], "row");
    assert!(prose("properties get glide.ui.session_timeout").contains("45"));
    assert_eq!(json("properties unset glide.ui.session_timeout")["source"], "default");
    let warned = run(url, &["properties", "set", "glide.ui.session_timeout", "300"]);
    assert!(warned.err.contains("warning: ") && !warned.out.contains("warning"), "{}{}", warned.out, warned.err);

    // X2: a preview names the command that does just what it says, and another number is a conflict (113).
    let forecast = json("properties what-if glide.ui.session_timeout 20");
    assert_eq!((&forecast["property"]["value"], &forecast["guard"]["expect"]), (&Value::from("20"), &Value::from(0)));
    let shown = run(url, &["properties", "what-if", "glide.ui.session_timeout", "20"]);
    let basis = forecast["guard"]["expect_basis"].as_str().unwrap();
    let command = format!("properties set glide.ui.session_timeout '20' --expect-count 0 --expect-basis {basis}");
    assert!(shown.out.contains("0 live sessions end now") && shown.err.contains(&command), "{}{}", shown.out, shown.err);
    run(url, &["properties", "set", "glide.ui.session_timeout", "20", "--expect-count", "7"]).failed(5, "0 live sessions now");
    run(url, &["properties", "set", "glide.ui.session_timeout", "20", "--expect-count", "x"]).failed(2, "expect-count");
    json(&format!("properties set glide.ui.session_timeout 20 --expect-count 0 --expect-basis {basis}"));
    assert_eq!(json("properties what-if glide.ui.session_timeout --unset")["property"]["source"], "default");
    run(url, &["properties", "unset", "glide.ui.session_timeout", "--expect-basis", basis]).failed(5, "preview");
    run(url, &["properties", "what-if", "glide.ui.session_timeout"]).failed(2, "--unset");
    json("properties unset glide.ui.session_timeout");

    assert_keys(&json("nodes list"), &["items", "next"]);
    prose("nodes list");
    assert_keys(
        &json("events --type session_ended")["items"][0],
        &["id", "at", "type", "session_id", "user", "actor", "reason", "node", "details"],
    );
    assert!(prose(&format!("events --session {id}")).contains("session_created"));

    let key = json("keys create --name app --role admin");
    assert_keys(&key, &["id", "name", "role", "key"]);
    let passing = json("keys create --name passing --role reporter --expires-in-days 30");
    assert_keys(&passing, &["id", "name", "role", "key", "expires_at"]);
    let keys = json("keys list");
    assert_keys(&keys["items"][1], &["id", "name", "role", "created_at", "expires_at", "last_used_at"]);
    assert_eq!((&keys["items"][0]["name"], &keys["items"][1]["expires_at"]), (&key["name"], &passing["expires_at"]));
    assert!(prose("keys list").contains("reporter"));
    let shown = run(url, &["keys", "create", "--name", "other"]);
    assert!(shown.out.starts_with("tnk_") && shown.out.lines().count() == 1, "the key alone: {}", shown.out);
    assert_eq!(json("keys revoke app"), serde_json::json!({"revoked": "app"}));
    assert!(prose("keys revoke other").contains("Revoked"));

    let entity = ["name", "client_id", "public", "access_token_lifespan", "refresh_token_lifespan"];
    assert_keys(&json("oauth-entities set Phone --access-token-lifespan 600"), &entity);
    assert_eq!(json("oauth-entities list")["items"][0]["client_id"], "phone");
    assert!(prose("oauth-entities list").contains("8640000 s"));
    let secret = run(url, &["oauth-entities", "set", "Server", "--public", "false"]);
    assert!(secret.out.lines().last().is_some_and(|line| line.starts_with("tns_")), "{}", secret.out);
    let mobile = json("sessions create --kind mobile --user abel.tuter --oauth-entity Phone");
    assert_keys(&mobile, &["session", "token", "access_token", "refresh_token", "token_type", "expires_in"]);
    run(url, &["oauth-entities", "unset", "Phone"]).failed(5, "live sessions");
    assert_eq!(json("oauth-entities unset Server")["name"], "Server");
    run(url, &["oauth-entities", "unset", "Server"]).failed(4, "no OAuth entity");

    assert_keys(&json("migrate --status"), &["version", "newest", "pending", "applied"]);
    assert_eq!(json("migrate --plan")["pending"], serde_json::json!([]));
    assert_keys(&json("migrate"), &["applied", "version"]);

    // Secrets were shown once, and no command shows them again.
    let (token, key) = (token.trim_start_matches("tn_"), key["key"].as_str().unwrap());
    for args in
        ["events --limit 500", "sessions list --state all", "events --json --limit 500", "users list --json", "keys list --json"]
    {
        let run = run(url, &args.split(' ').collect::<Vec<_>>());
        assert!(!format!("{}{}", run.out, run.err).contains(&token[30..]) && !run.out.contains(key), "{args}");
    }
}

#[tokio::test]
async fn exit_codes_tell_the_kinds_of_failure_apart() {
    let db = database().await;
    let url = db.url.as_str();
    run(url, &["users", "create", "abel.tuter"]).code.eq(&0).then_some(()).unwrap();
    run(url, &["keys", "create", "--name", "app"]).code.eq(&0).then_some(()).unwrap();
    let nil = "00000000-0000-0000-0000-000000000000";
    let rows: Vec<(i32, &str, String)> = vec![
        (2, "unrecognized subcommand", "nonsense".into()),
        (2, "invalid value", "sessions show nonsense".into()),
        (2, "1 to 500", "sessions list --limit 0".into()),
        (2, "1 to 500", "events --limit 501".into()),
        (2, "invalid value", "sessions list --state dead".into()),
        (2, "cursor", "users list --after x".into()),
        (2, "unexpected argument", "sessions list --format xml".into()),
        (2, "invalid value", "keys create --name x --role root".into()),
        (2, "1 to 3650 days", "keys create --name x --expires-in-days 0".into()),
        (2, "1 to 3650 days", "keys create --name x --expires-in-days 3651".into()),
        (2, "name", "keys create --name ..".into()),
        (2, "cannot be used with", "migrate --plan --status".into()),
        (2, "unexpected argument", "migrate --down".into()),
        (2, "unrecognized subcommand", "sessions token".into()),
        (2, "1 to 1440 minutes", "sessions create --kind user --user abel.tuter --idle-limit-minutes 0".into()),
        (2, "a session of kind mobile needs one", "sessions create --kind mobile --user abel.tuter".into()),
        (2, "does not belong", "sessions create --kind guest --user abel.tuter".into()),
        (2, "whole number", "properties set glide.ui.session_timeout x".into()),
        (2, "must be greater than", "properties set glide.ui.active.session.life_span 10".into()),
        (2, "1 to 128 characters", format!("users create {}", "a".repeat(129))),
        (4, "List the properties", "properties get nothing".into()),
        (4, "no property", "properties set nothing 1".into()),
        (4, "no session", format!("sessions show {nil}")),
        (4, "no session", format!("sessions explain {nil}")),
        (4, "no session", format!("sessions terminate {nil}")),
        (4, "no user", "users lock-out nobody".into()),
        (2, "8 to 128 characters", "users set-password abel.tuter".into()),
        (4, "no user", "sessions create --kind user --user nobody".into()),
        (4, "no key", "keys revoke nothing".into()),
        (5, "already", "users create ABEL.TUTER".into()),
        (5, "already", "keys create --name app".into()),
        (3, "2 to 200", "serve --listen 127.0.0.1:0 --connections 1".into()),
        (2, "invalid value", "serve --connections many".into()),
        (2, "node", "serve --listen 127.0.0.1:0 --node a/b".into()),
        (2, "--trusted-proxies", "serve --listen 127.0.0.1:0 --trusted-proxies 10.0.0.0/33".into()),
        (2, "fewer than all", "serve --listen 127.0.0.1:0 --trusted-proxies 10.0.0.0/8,0.0.0.0/0".into()),
        (2, "--advertise", format!("serve --listen 127.0.0.1:0 --advertise {}", "a".repeat(256))),
    ];
    for (code, about, args) in rows {
        run(url, &args.split(' ').collect::<Vec<_>>()).failed(code, about);
    }
    assert_eq!(run::<&str>(url, &[]).code, 2);
    let locked = run(url, &["users", "lock-out", "abel.tuter"]);
    assert_eq!(locked.code, 0);
    run(url, &["sessions", "create", "--kind", "user", "--user", "abel.tuter"]).failed(5, "locked out");

    // 119: an argument that is not UTF-8.
    let bytes = OsString::from_vec(vec![b'a', 0xff]);
    let odd = [OsString::from("users"), OsString::from("create"), bytes];
    run(url, &odd).failed(2, "UTF-8");
    let unread = run_with(url, &["sessions", "check"], &[0xff, 0xfe]);
    unread.failed(2, "not text");
    // 111: a token is read from standard input only.
    run(url, &["sessions", "check", "tn_x"]).failed(2, "unexpected argument");
    let unknown = run_with(url, &["sessions", "check", "--json"], b"tn_x");
    assert_eq!((unknown.code, unknown.out.contains("unknown_token")), (4, true));
}

#[tokio::test]
async fn databases_that_cannot_be_used_are_explained() {
    let list = ["sessions", "list"];
    run(&format!("mysql://u:{SECRET}@h/d"), &list).failed(3, "postgres://USER:PASSWORD@HOST:PORT/DATABASE");
    run(&format!("postgres://u:{SECRET}@db.example/d"), &list).failed(3, "sslmode=verify-full");
    run(NOWHERE, &list).failed(6, "PostgreSQL at 127.0.0.1:1 cannot be used");
    run(NOWHERE, &["migrate"]).failed(6, "PostgreSQL at 127.0.0.1:1 cannot be used");
    run(NOWHERE, &["serve", "--listen", "127.0.0.1:0"]).failed(6, "PostgreSQL at 127.0.0.1:1 cannot be used");

    let empty = Db::empty("UTF8").await;
    run(&empty, &list).failed(3, "Run `tenure migrate`");
    run(&empty, &["serve", "--listen", "127.0.0.1:0"]).failed(3, "Run `tenure migrate`");
    let plan = run(&empty, &["migrate", "--plan", "--json"]).document();
    assert_eq!(plan["version"], Value::Null);
    let pending = plan["pending"].as_array().unwrap().len();
    assert!(pending >= 8);
    assert_eq!(run(&empty, &["migrate", "--plan"]).out.lines().count(), pending);
    let migrated = run(&empty, &["migrate", "--json"]).document();
    assert_eq!(migrated["applied"].as_array().unwrap().len(), pending);
    assert_eq!(run(&empty, &["migrate", "--json"]).document()["applied"], serde_json::json!([]));
    assert_eq!(run(&empty, &list).code, 0);

    let old = database().await;
    old.sql(
        "delete from public.refinery_schema_history where version = (select max(version) from public.refinery_schema_history)",
    )
    .await;
    run(&old.url, &list).failed(3, "Run `tenure migrate`");
    let new = database().await;
    new.sql("insert into public.refinery_schema_history select 99, 'later', applied_on, '1' from public.refinery_schema_history limit 1").await;
    run(&new.url, &["serve", "--listen", "127.0.0.1:0"]).failed(3, "99");
}

/// 111: a password comes through stdin, never the command line, and nothing shows it again.
#[tokio::test]
async fn input_111_a_password_is_read_from_stdin() {
    let db = database().await;
    db.user("abel.tuter").await;
    let set = |input: &str| run_with(&db.url, &["users", "set-password", "abel.tuter", "--json"], input.as_bytes());
    for bad in ["", "seven77", &"x".repeat(129), &"x".repeat(100_000)] {
        set(bad).failed(2, "8 to 128 characters");
    }
    assert_eq!(db.count("select count(*) from tenure.users where password_hash is not null").await, 0);
    for line in [SECRET.to_owned(), format!("{SECRET}\n"), format!("{SECRET}\r\n")] {
        let set = set(&line);
        assert_eq!(set.document()["name"], "abel.tuter");
        assert!(!format!("{}{}", set.out, set.err).contains(SECRET));
        let hash = db.store.password_hash("abel.tuter").await.unwrap().unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(tenure::input::presented_password(SECRET).matches(Some(&hash)));
    }
    run_with(&db.url, &["users", "set-password", "nobody"], SECRET.as_bytes()).failed(4, "no user");
    assert_eq!(run(&db.url, &["users", "set-password", "abel.tuter", "in-the-open"]).code, 2, "there is no such argument");
    let prose = run_with(&db.url, &["users", "set-password", "abel.tuter"], SECRET.as_bytes());
    assert!(prose.out.contains("Set the password of abel.tuter."), "{}{}", prose.out, prose.err);
}

#[test]
fn every_command_has_help_that_hides_the_environment() {
    let url = format!("postgres://u:{SECRET}@h/d");
    for command in [
        "",
        "demo",
        "serve",
        "migrate",
        "sessions",
        "sessions list",
        "sessions show",
        "sessions explain",
        "sessions terminate",
        "sessions create",
        "sessions check",
        "users",
        "users list",
        "users create",
        "users lock-out",
        "users unlock",
        "users set-password",
        "users deactivate",
        "users activate",
        "properties",
        "properties list",
        "properties get",
        "properties set",
        "properties unset",
        "properties what-if",
        "maintenance",
        "maintenance start",
        "maintenance stop",
        "maintenance status",
        "nodes",
        "nodes list",
        "nodes drain",
        "nodes resume",
        "events",
        "keys",
        "keys create",
        "keys list",
        "keys revoke",
    ] {
        let run = run(&url, &command.split_whitespace().chain(["--help"]).collect::<Vec<_>>());
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{command}");
        assert!(run.out.contains("Usage: tenure") && run.out.contains("--json"), "{command}: {}", run.out);
        assert!(!run.out.contains(SECRET), "{command}: {}", run.out);
    }
    assert!(run(&url, &["--version"]).out.starts_with("tenure "));
}

/// 41, 112, 113: many sessions end only as previewed, and confirmed by their number.
#[tokio::test]
async fn input_112_113_many_sessions_end_only_as_confirmed() {
    let db = database().await;
    let url = db.url.as_str();
    for _ in 0..3 {
        run(url, &["sessions", "create", "--kind", "guest"]).document();
    }
    let terminate =
        |args: &str| run(url, &["sessions", "terminate"].into_iter().chain(args.split_whitespace()).collect::<Vec<_>>());
    assert_eq!(terminate("--kind guest --preview --json").document()["ends_now"], 3);
    let shown = terminate("--preview");
    assert!(
        shown.out.contains("3 live sessions of 0 users will end") && shown.err.contains("--all --yes --expect-count 3"),
        "{}",
        shown.err
    );
    terminate("").failed(5, "all 3 live sessions");
    terminate("--yes --expect-count 3").failed(5, "all 3 live sessions");
    terminate("--all").failed(2, "--yes --expect-count 3");
    terminate("--kind guest --yes").failed(2, "--expect-count");
    terminate("--kind guest --yes --expect-count 2").failed(5, "3 live sessions now");
    terminate("--kind guest --yes --expect-count x").failed(2, "expect-count");
    terminate("--kind robot --preview").failed(2, "kind");
    terminate("0198c1f2-3a4b-7c5d-8e6f-0a1b2c3d4e5f --all").failed(2, "cannot be used with");
    assert_eq!(db.count("select count(*) from tenure.sessions").await, 3, "nothing was ended");

    let me = run(url, &["sessions", "list", "--json"]).document()["items"][0]["id"].as_str().unwrap().to_owned();
    let done = terminate(&format!("--kind guest --except {me} --yes --expect-count 2 --reason maintenance --json")).document();
    assert_keys(&done, &["terminated", "remaining", "barrier"]);
    assert_eq!(done["terminated"], 2);
    let mistyped = terminate(&format!("--all --except {} --preview", uuid::Uuid::nil()));
    mistyped.failed(4, "those to be spared included");
    assert!(terminate("--all --yes --expect-count 1").out.contains("Live sessions ended on every node: 1."));
}

/// 117: Ctrl-C lets the batch under way finish, and says what is done and what is left.
#[tokio::test]
async fn input_117_an_interrupted_bulk_says_what_is_left() {
    let db = database().await;
    db.sql(
        "insert into tenure.sessions (id, token_hash, kind, created_at, anchor_at, due_at)
         select tenure.uuid_v7(n.at), sha256('x'), 'guest', n.at, n.at, n.at + interval '30 minutes'
           from (select tenure.now() as at) n, generate_series(1, 20001)",
    )
    .await;
    // The first batch waits for this session.
    let mut connection = db.connection().await;
    sqlx::raw_sql("begin; select from tenure.sessions order by id limit 1 for update").execute(&mut connection).await.unwrap();
    let mut child = program(&db.url)
        .args(["sessions", "terminate", "--all", "--yes", "--expect-count", "20001", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let begun = Instant::now();
    while db.count(waiting).await == 0 {
        assert!(begun.elapsed() < Duration::from_mins(1), "it does not wait for the lock");
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("Stopping after the batch")), "the signal was heard");
    sqlx::raw_sql("rollback").execute(&mut connection).await.unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&done["terminated"], &done["remaining"]), (&Value::from(10_000), &Value::from(10_001)));
    assert_eq!(db.count("select count(*) from tenure.sessions").await, 10_001);
}

/// 114: a reader that goes away ends the command without a word.
#[tokio::test]
async fn input_114_a_broken_pipe_is_quiet() {
    let db = database().await;
    for args in [&["properties", "list"][..], &["properties", "list", "--json"], &["sessions", "list"], &["--help"]] {
        let mut child = program(&db.url).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(matches!(output.status.code(), Some(0 | 141) | None), "{args:?}: {:?} {err}", output.status);
        assert!(!err.contains("error") && !err.contains("panicked"), "{args:?}: {err}");

        // `2>&1 | head -0` takes both away.
        let mut child = program(&db.url).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        let status = child.wait().unwrap();
        assert!(matches!(status.code(), Some(0 | 141) | None), "{args:?}: {status:?}");
    }
}

/// Nobody reads what is said on the side: the work is done all the same.
#[tokio::test]
async fn input_114_a_closed_stderr_changes_nothing() {
    let db = database().await;
    for args in [&["sessions", "list"][..], &["keys", "create", "--name", "app"], &["migrate"], &["migrate", "--plan"]] {
        let mut child = program(&db.url).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stderr.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(args[0] == "keys", output.stdout.starts_with(b"tnk_"), "{args:?}");
    }
    let mut child = program(&db.url).args(["sessions", "show", "x"]).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(2));

    let (child, address) = serve_with(&db.url, "deaf", "trace", false);
    for _ in 0..3 {
        assert_eq!(reqwest::get(format!("{address}/readyz")).await.unwrap().status().as_u16(), 200);
    }
    assert_eq!(stop(child, rustix::process::Signal::TERM), 0);
    assert_eq!(db.count("select count(*) from tenure.nodes").await, 0);
}

/// 29: whoever has a proxy in front and did not say so reads it in the log, once.
#[tokio::test]
async fn input_029_an_ignored_header_is_in_the_log() {
    let db = database().await;
    for (trusted, expected) in [("192.0.2.0/24", 1), ("127.0.0.0/8,::1", 0)] {
        let mut child = program(&db.url)
            .args(["serve", "--listen", "127.0.0.1:0", "--node", "proxied", "--trusted-proxies", trusted])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| Some(line.unwrap().split_once("listens on ")?.1.to_owned())).unwrap();
        for _ in 0..3 {
            let request = reqwest::Client::new().get(format!("{address}/healthz")).header("x-forwarded-for", SECRET);
            assert_eq!(request.send().await.unwrap().status().as_u16(), 200);
        }
        assert_eq!(stop(child, rustix::process::Signal::TERM), 0);
        let said: Vec<String> = lines.map(|line| line.unwrap()).filter(|line| line.contains("X-Forwarded-For")).collect();
        assert_eq!(said.len(), expected, "{trusted}: {said:?}");
        assert!(!said.concat().contains(SECRET), "{said:?}");
    }
}

/// A started node: the process and the address it printed.
fn serve(url: &str, name: &str) -> (Child, String) {
    serve_with(url, name, "warn", true)
}

/// As [`serve`], with a log level; without `heard` its stderr has no reader once the address is known.
fn serve_with(url: &str, name: &str, log: &str, heard: bool) -> (Child, String) {
    let mut child = program(url)
        .args(["serve", "--listen", "127.0.0.1:0", "--node", name])
        .env("TENURE_LOG", log)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = loop {
        let line = lines.next().expect("it says where it listens").unwrap();
        if let Some((_, address)) = line.split_once("listens on ") {
            break address.to_owned();
        }
    };
    if heard {
        std::thread::spawn(move || lines.for_each(drop));
    }
    (child, address)
}

fn stop(mut child: Child, signal: rustix::process::Signal) -> i32 {
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        if begun.elapsed() > Duration::from_secs(10) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it did not stop within 10 s");
        }
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn serve_stops_at_a_signal_and_leaves_the_registry() {
    use rustix::process::Signal;
    let db = database().await;
    for (name, signal) in [("cli-term", Signal::TERM), ("cli-int", Signal::INT)] {
        let (child, address) = serve(&db.url, name);
        let ready = reqwest::get(format!("{address}/readyz")).await.unwrap();
        assert_eq!(ready.status().as_u16(), 200);
        let nodes = run(&db.url, &["nodes", "list", "--json"]).document();
        assert_eq!((&nodes["items"][0]["name"], &nodes["items"][0]["address"]), (&Value::from(name), &Value::from(address)));
        assert_eq!(stop(child, signal), 0, "{name}");
        assert_eq!(db.count("select count(*) from tenure.nodes").await, 0, "{name} left");
    }
}

/// 100: a port in use, an address that is none.
#[tokio::test]
async fn input_100_addresses_that_cannot_be_listened_on() {
    let db = database().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let busy = run(&db.url, &["serve", "--listen", &address]);
    busy.failed(3, "choose another --listen");
    assert!(busy.err.contains(&address), "{}", busy.err);
    for nonsense in ["", "nonsense", "127.0.0.1", "127.0.0.1:99999", ":7080x"] {
        run(&db.url, &["serve", "--listen", nonsense]).failed(3, "ADDRESS:PORT");
    }
    assert_eq!(db.count("select count(*) from tenure.nodes").await, 0);
}
