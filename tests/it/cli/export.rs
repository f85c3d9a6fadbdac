//! `tenure export` and `tenure import tenure`: the same store again, or nothing of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tenure::input::CreateSession;
use tenure::store::{Actor, EntityPut, UserPatch};

use super::*;

const SETUP: Actor<'static> = Actor("setup");

/// A store with something of everything that an export holds, and the tokens of its sessions.
async fn furnished() -> (Db, Vec<String>) {
    let db = database().await;
    for name in ["abel.tuter", "beth.anglin", "out", "Zoë"] {
        db.user(name).await;
    }
    let patches = [
        ("beth.anglin", UserPatch { display_name: Some(Some("Beth".into())), ..UserPatch::default() }),
        ("out", UserPatch { locked_out: Some(true), ..UserPatch::default() }),
        ("Zoë", UserPatch { active: Some(false), ..UserPatch::default() }),
        ("Zoë", UserPatch { locked_out: Some(false), ..UserPatch::default() }),
    ];
    for (name, patch) in patches {
        db.manager.patch_user(name, &patch, SETUP).await.unwrap();
    }
    db.manager.set_property("glide.ui.session_timeout", "45", false, SETUP).await.unwrap();
    db.manager.put_entity("Mobile App", &EntityPut::default(), SETUP).await.unwrap();
    let user = || CreateSession { kind: "user".into(), user: Some("abel.tuter".into()), ..Default::default() };
    let attributes = serde_json::from_str(r#"{"cart": [1, 2.50, "ü"], "deep": {"a": null}}"#).unwrap();
    let sessions = [
        CreateSession { attributes: Some(attributes), remember_me: Some(true), ..user() },
        CreateSession { user: Some("beth.anglin".into()), idle_limit_minutes: Some(90), ..user() },
        CreateSession { kind: "integration".into(), ..user() },
        CreateSession { kind: "guest".into(), ..Default::default() },
        CreateSession { kind: "mobile".into(), oauth_entity: Some("Mobile App".into()), ..user() },
    ];
    let mut tokens = Vec::new();
    for session in sessions {
        tokens.push(db.manager.create(&session.validate().unwrap(), SETUP).await.unwrap().token.reveal().to_owned());
    }
    // By plain SQL, as no other number holds it.
    let exact = "update tenure.session_attributes a set attributes = '{\"price\": 1.10, \"many\": 123456789012345678901234567890.5, \"few\": 1e-30}'
                   from tenure.sessions s where s.id = a.session_id and s.idle_limit_seconds is not null";
    db.sql(exact).await;
    let ended = db.manager.create(&user().validate().unwrap(), SETUP).await.unwrap();
    db.manager.terminate(ended.session.id, false, SETUP).await.unwrap();
    (db, tokens)
}

fn export(db: &Db, file: &Path, options: &[&str]) -> Vec<u8> {
    let run = run(&db.url, &[&["export", "--output", file.to_str().unwrap()][..], options].concat());
    assert_eq!((run.code, &*run.out), (0, ""), "{}", run.err);
    fs::read(file).unwrap()
}

fn import(db: &Db, file: &Path) -> Run {
    run(&db.url, &["import", "tenure", file.to_str().unwrap(), "--json"])
}

#[tokio::test]
async fn an_export_imported_is_the_same_store() {
    let (db, tokens) = furnished().await;
    let folder = tempfile::tempdir().unwrap();
    let first = export(&db, &folder.path().join("first"), &[]);
    assert_eq!(fs::metadata(folder.path().join("first")).unwrap().permissions().mode() & 0o777, 0o600);
    let text = String::from_utf8(first.clone()).unwrap();
    for token in &tokens {
        assert!(!text.contains(token), "a raw token");
    }
    assert!(!text.contains("ended_session") && !text.contains("\"event\""));

    let packed = export(&db, &folder.path().join("packed"), &["--gzip"]);
    assert!(packed.starts_with(&[0x1f, 0x8b]) && packed.len() < first.len());

    let other = database().await;
    let report = import(&other, &folder.path().join("first")).document();
    assert_eq!((&report["outcomes"]["imported"], &report["remarks"]), (&5.into(), &0.into()), "{report:#}");
    let second = String::from_utf8(export(&other, &folder.path().join("second"), &[])).unwrap();
    for (one, other) in text.lines().zip(second.lines()) {
        assert_eq!(one, other);
    }
    assert_eq!(text, second);
    for token in &tokens {
        let (here, there) = (
            run_with(&db.url, &["sessions", "check", "--json"], token.as_bytes()),
            run_with(&other.url, &["sessions", "check", "--json"], token.as_bytes()),
        );
        assert_eq!(here.document()["session"]["id"], there.document()["session"]["id"]);
    }
    // Again: everything is there.
    let again = import(&other, &folder.path().join("first")).document();
    assert_eq!(again["outcomes"]["present"], 5, "{again:#}");
    assert_eq!(again["outcomes"]["users_present"], 4, "{again:#}");

    // The same compressed, and with history.
    let third = database().await;
    import(&third, &folder.path().join("packed")).document();
    assert_eq!(String::from_utf8(export(&third, &folder.path().join("third"), &[])).unwrap(), text);
    let ended = export(&db, &folder.path().join("ended"), &["--ended"]);
    let other = database().await;
    import(&other, &folder.path().join("ended")).document();
    assert_eq!(
        String::from_utf8(export(&other, &folder.path().join("again"), &["--ended"])).unwrap(),
        String::from_utf8(ended).unwrap()
    );
    export(&db, &folder.path().join("history"), &["--ended", "--events"]);
    let fourth = database().await;
    let report = import(&fourth, &folder.path().join("history")).document();
    assert!(
        report["outcomes"]["events_imported"].as_u64().unwrap() > 5 && report["outcomes"]["ended_sessions_imported"] == 1,
        "{report:#}"
    );
    assert_eq!(
        fourth.count("select count(*) from tenure.ended_sessions where end_reason = 'terminated' and user_id is not null").await,
        1
    );
}

/// Maintenance is of one store: it ends nothing where an export of it arrives, and no file announces any.
#[tokio::test]
async fn maintenance_does_not_travel() {
    let (db, _) = furnished().await;
    db.manager.set_property("tenure.maintenance_at", "2999-01-01T00:00:00Z", false, SETUP).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let text = String::from_utf8(export(&db, &folder.path().join("export"), &[])).unwrap();
    assert!(!text.contains("maintenance"), "{text}");

    let (other, others) = furnished().await;
    for at in ["2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"] {
        let line = serde_json::json!({ "type": "property", "name": "tenure.maintenance_at", "value": at });
        let report = import(&other, &forged(folder.path(), &[line])).document();
        assert_eq!(report["outcomes"], serde_json::json!({ "properties_ignored": 1 }), "{report:#}");
    }
    assert_eq!(other.count("select count(*) from tenure.live").await, i64::try_from(others.len()).unwrap());
    assert_eq!(other.count("select count(*) from tenure.policies where maintenance_at is not null").await, 0);
}

/// P3: what was forced there is in force here, and nothing comes between the properties of a file.
#[tokio::test]
async fn what_was_forced_there_is_in_force_here() {
    let (db, tokens) = furnished().await;
    db.manager.set_property("glide.ui.active.session.life_span", "20", true, SETUP).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let text = export(&db, &folder.path().join("export"), &[]);
    let other = database().await;
    let report = import(&other, &folder.path().join("export")).document();
    assert_eq!((&report["outcomes"]["imported"], &report["sessions_ended"]), (&tokens.len().into(), &0.into()), "{report:#}");
    assert!(export(&other, &folder.path().join("again"), &[]) == text);

    // No force makes a prompt last as long as the session: the file is refused for what it holds.
    let contradicts = |run: &Run| assert!(run.code == 7 && run.err.contains("Change the other property first"), "{}", run.err);
    let property = |name: &str, value: &str| serde_json::json!({ "type": "property", "name": name, "value": value });
    let empty = database().await;
    let lines = [property("glide.ui.session_timeout", "10"), property("glide.ui.session_timeleft", "10")];
    contradicts(&import(&empty, &forged(folder.path(), &lines)));
    assert_eq!(empty.count("select count(*) from tenure.properties").await, 0);

    // All at once: a name that no name can be does not have its neighbours judged one by one.
    let lines = [property("glide.ui.session_timeout", "10"), property("a\0b", "1"), property("glide.ui.session_timeleft", "9")];
    let run = import(&empty, &forged(folder.path(), &lines));
    let report: Value = serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{}", run.err));
    assert_eq!((run.code, &report["outcomes"]), (7, &serde_json::json!({ "properties_imported": 2, "rejected": 1 })));
    let lines = [property("glide.ui.session_timeout", "8"), property("a\0b", "1"), property("glide.ui.session_timeleft", "8")];
    contradicts(&import(&empty, &forged(folder.path(), &lines)));
    assert_eq!(empty.count("select count(*) from tenure.properties where value in ('10', '9')").await, 2);
}

#[tokio::test]
async fn case_115_nothing_is_overwritten() {
    let db = database().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("there");
    fs::write(&file, "precious").unwrap();
    run(&db.url, &["export", "--output", file.to_str().unwrap()]).failed(2, "exists");
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    let missing = folder.path().join("no/such/folder");
    run(&db.url, &["export", "--output", missing.to_str().unwrap()]).failed(3, "cannot be written");
    run(&db.url, &["export", "--json"]).failed(2, "--output");
    // A database that cannot be reached leaves no half export behind.
    let half = folder.path().join("half");
    run(NOWHERE, &["export", "--output", half.to_str().unwrap()]).failed(6, "");
    assert!(!half.exists());
}

/// What is wrong with a file, and what is said of it.
#[tokio::test]
async fn cases_76_to_87_of_a_file_change_nothing() {
    let (db, _) = furnished().await;
    let folder = tempfile::tempdir().unwrap();
    let whole = String::from_utf8(export(&db, &folder.path().join("whole"), &[])).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let packed = export(&db, &folder.path().join("packed"), &["--gzip"]);
    let utf_16: Vec<u8> = [0xff, 0xfe].into_iter().chain(whole.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let long = format!("{{\"type\":\"{}\"}}\n", "x".repeat(900_000));
    let bomb = pack(format!("{}\n{}", lines[0], long.repeat(60)).as_bytes());
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("76 nothing", Vec::new(), "empty"),
        ("76 other magic", whole.replacen("tenure_export", "tenure_expert", 1).into(), "no export of this store"),
        ("76 no JSON", b"sys_id,user_name\n1,abel\n".to_vec(), "no export of this store"),
        ("76 other version", whole.replacen("\"format\":1", "\"format\":2", 1).into(), "another format"),
        ("76 other digest", whole.replacen("abel.tuter", "abel.tutor", 1).into(), "changed or damaged"),
        ("76 a line less", [&lines[..2], &lines[3..]].concat().join("\n").into(), "changed or damaged"),
        ("76 more after the end", format!("{whole}{{}}\n").into(), "there is more"),
        ("77 a line without end", format!("{}\n{}", lines[0], "x".repeat(3 << 20)).into(), "longer than 1 MiB"),
        ("83 no trailer", lines[..lines.len() - 1].join("\n").into(), "truncated"),
        ("83 half a line", whole.as_bytes()[..lines[0].len() + lines[1].len() / 2].to_vec(), "the file ends in it"),
        ("83 half a gzip", packed[..packed.len() / 2].to_vec(), "truncated"),
        ("84 a bomb", bomb, "more than 200 times"),
        ("87 UTF-16", utf_16, "iconv"),
    ];
    let other = database().await;
    for (case, content, about) in table {
        let file = folder.path().join("bad");
        fs::write(&file, content).unwrap();
        let run = import(&other, &file);
        run.failed(7, about);
        assert!(!run.err.contains("tutor"), "{case}: {}", run.err);
        assert_eq!(other.count("select count(*) from tenure.users").await, 0, "{case}");
    }
    run(&other.url, &["import", "tenure", "/does/not/exist"]).failed(3, "cannot be read");
    // 87: a mark and other line ends change nothing of what is said.
    fs::write(folder.path().join("crlf"), format!("\u{feff}{}", whole.replace('\n', "\r\n"))).unwrap();
    assert_eq!(import(&other, &folder.path().join("crlf")).document()["outcomes"]["imported"], 5);
}

fn pack(content: &[u8]) -> Vec<u8> {
    let mut child = std::process::Command::new("gzip").arg("-9").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let content = content.to_vec();
    let fed = std::thread::spawn(move || input.write_all(&content).unwrap());
    let output = child.wait_with_output().unwrap();
    fed.join().unwrap();
    output.stdout
}

/// An export with these lines between header and trailer, as whoever forges one would write it.
fn forged(folder: &Path, lines: &[Value]) -> PathBuf {
    let lines: Vec<_> = lines.iter().map(|line| (line["type"].as_str().unwrap().to_owned(), line.to_string())).collect();
    forged_text(folder, &lines)
}

/// The same, of the type and text of each line.
fn forged_text(folder: &Path, lines: &[(String, String)]) -> PathBuf {
    use sha2::{Digest, Sha256};
    let mut text = "{\"format\":1,\"type\":\"tenure_export\"}\n".to_owned();
    let mut counts = serde_json::Map::new();
    for (word, line) in lines {
        text.push_str(line);
        text.push('\n');
        let count = counts.entry(word.as_str()).or_insert(0.into());
        *count = (count.as_u64().unwrap() + 1).into();
    }
    let sha256: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    text += &serde_json::json!({ "type": "end", "counts": counts, "sha256": sha256 }).to_string();
    let file = folder.join("forged");
    fs::write(&file, text).unwrap();
    file
}

/// What is wrong with a single line: it is left out, the others are taken, and the exit code says so.
#[tokio::test]
async fn cases_78_to_81_of_a_line_leave_it_out() {
    let (db, tokens) = furnished().await;
    let folder = tempfile::tempdir().unwrap();
    let whole = String::from_utf8(export(&db, &folder.path().join("whole"), &[])).unwrap();
    let lines: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |word: &str| lines.iter().find(|line| line["type"] == word).unwrap().clone();
    let session = lines.iter().find(|line| line["session"]["kind"] == "user" && line["user"] == "abel.tuter").unwrap().clone();
    let changed = |path: &str, value: Value| {
        let mut line = session.clone();
        *line.pointer_mut(path).unwrap() = value;
        line
    };
    let mobile = lines.iter().find(|line| line["session"]["kind"] == "mobile").unwrap();
    let mobile_with = |path: &str, value: Value| {
        let mut line = mobile.clone();
        *line.pointer_mut(path).unwrap() = value;
        line
    };
    let mut tokens_ahead = mobile_with("/tokens/0/issued_at", "9990-01-01T00:00:00Z".into());
    tokens_ahead["tokens"][0]["expires_at"] = "9990-01-02T00:00:00Z".into();
    let long_ago: Value = "2001-01-01T00:00:00Z".into();
    let mut over = changed("/session/created_at", long_ago.clone());
    over["session"]["anchor_at"] = long_ago;
    let mut raw = session.clone();
    raw["session"]["token"] = tokens[0].clone().into();
    let user = |name: &str, minutes: i32| {
        let mut line = of("user");
        (line["name"], line["homepage_refresh_minutes"]) = (name.into(), minutes.into());
        line
    };
    let property = |name: &str, value: &str| serde_json::json!({ "type": "property", "name": name, "value": value });
    let event = |field: &str, value: Value| {
        let at = session["session"]["created_at"].clone();
        let mut event = serde_json::json!({
            "id": session["session"]["id"], "at": at, "type": "noted", "session_id": null, "user_name": null, "actor": "a", "reason": null,
            "node": null, "details": null
        });
        event[field] = value;
        serde_json::json!({ "type": "event", "event": event })
    };
    let table = [
        ("78 twice in the file", vec![session.clone(), session.clone()], "duplicate"),
        ("79 no such user", vec![changed("/user", "nobody".into())], "unknown_user"),
        ("80 over long ago", vec![over], "over"),
        ("80 in the future", vec![changed("/session/anchor_at", "2999-01-01T00:00:00Z".into())], "in_the_future"),
        ("80 a window without end", vec![mobile_with("/session/window_seconds", i32::MAX.into())], "rejected"),
        ("80 a token without end", vec![mobile_with("/tokens/0/expires_at", "9999-01-01T00:00:00Z".into())], "rejected"),
        ("80 a token of the future", vec![of("oauth_entity"), tokens_ahead], "in_the_future"),
        ("81 a raw token", vec![raw], "rejected"),
        ("81 a raw token for a digest", vec![changed("/session/token_hash", tokens[0].clone().into())], "rejected"),
        ("24 a number too large", vec![changed("/session/refresh_seconds", 9_000_000_000_000_i64.into())], "rejected"),
        ("60 attributes too large", vec![changed("/place/attributes", serde_json::json!({ "a": "x".repeat(5000) }))], "rejected"),
        ("59 NUL", vec![changed("/place/user_agent", "a\0b".into())], "unfit"),
        ("56 no address", vec![changed("/place/client_address", "10.0.0.0/8".into())], "unfit"),
        ("22 no kind", vec![changed("/session/kind", "robot".into())], "rejected"),
        ("22 a user's session that is nobody's", vec![changed("/user", Value::Null)], "unfit"),
        ("22 no window of a mobile one", vec![changed("/session/kind", "mobile".into())], "unfit"),
        ("22 a refresh of no time", vec![changed("/session/refresh_seconds", 0.into())], "unfit"),
        ("38 year 300000", vec![changed("/session/created_at", "+300000-01-01T00:00:00Z".into())], "rejected"),
        ("43 no user name", vec![user("a\u{202e}b", 5)], "rejected"),
        ("22 a refresh of no minutes", vec![user("cal", 0), session.clone()], "users_unfit"),
        ("22 no property", vec![property("no.such.property", "1")], "properties_ignored"),
        ("22 no value of the property", vec![property("glide.ui.forgetme", "perhaps")], "properties_invalid"),
        ("81 a raw token in history", vec![event("session_token", tokens[0].clone().into())], "rejected"),
        ("22 no type of event", vec![event("type", "Not A Type".into())], "events_unfit"),
        ("43 a long name in history", vec![event("user_name", "x".repeat(30_000).into())], "rejected"),
        ("43 a long actor", vec![event("actor", "x".repeat(30_000).into())], "rejected"),
        ("59 NUL in history", vec![event("actor", "a\0b".into())], "events_unfit"),
        ("22 a type of line that is none", vec![serde_json::json!({ "type": "api_key", "name": "root" })], "rejected"),
    ];
    let abel = lines.iter().find(|line| line["name"] == "abel.tuter").unwrap().clone();
    for (case, bad, word) in table {
        let other = database().await;
        let file = forged(folder.path(), &[vec![abel.clone(), of("property")], bad].concat());
        let run = import(&other, &file);
        let report: Value = serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{case}: {}", run.err));
        assert!(report["outcomes"][word].as_u64().is_some_and(|rows| rows > 0), "{case}: {report:#}");
        assert_eq!(run.code, if matches!(word, "over" | "properties_ignored") { 0 } else { 7 }, "{case}");
        assert!(!run.out.contains(&tokens[0]) && !run.err.contains(&tokens[0]), "{case}");
        assert_eq!(report["outcomes"]["users_imported"], 1, "{case}: {report:#}");
    }
}

/// 60: deeper than any parser of recursive descent would like.
#[tokio::test]
async fn case_60_details_without_end_leave_their_line_out() {
    let db = database().await;
    let folder = tempfile::tempdir().unwrap();
    let event = |n: u8, depth: usize| {
        let text = format!(
            "{{\"type\":\"event\",\"event\":{{\"id\":\"01900000-0000-7000-8000-0000000000{n:02}\",\"at\":\"2027-01-01T00:00:00Z\",\"type\":\"noted\",\
             \"session_id\":null,\"user_name\":null,\"actor\":\"a\",\"reason\":null,\"node\":null,\"details\":{}{{}}{}}}}}",
            "{\"a\":".repeat(depth),
            "}".repeat(depth)
        );
        ("event".to_owned(), text)
    };
    let run = import(&db, &forged_text(folder.path(), &[event(1, 0), event(2, 60_000), event(3, 100)]));
    let report: Value = serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{}", run.err));
    assert_eq!((run.code, &report["outcomes"]), (7, &serde_json::json!({ "events_imported": 2, "rejected": 1 })), "{report:#}");
}

/// 114: a reader that goes away ends the export quietly. 116, 119: words and bytes that no argument has are usage errors.
#[tokio::test]
async fn cases_114_116_119_of_the_command_line() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let (db, _) = furnished().await;
    db.sql(
        "insert into tenure.users (name, active, locked_out) select 'user.' || n, true, false from generate_series(1, 5000) n",
    )
    .await;
    let mut child = program(&db.url).args(["export"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(matches!(output.status.code(), Some(0 | 141) | None), "{:?}: {error}", output.status);
    assert_eq!(error, "");

    let file = OsStr::from_bytes(b"\xff\xfe");
    let wrong: [&[&OsStr]; 5] = [
        &[OsStr::new("export"), OsStr::new("--format"), OsStr::new("csv")],
        &[OsStr::new("import"), OsStr::new("redis"), OsStr::new("env:OTHER")],
        &[OsStr::new("import"), OsStr::new("connect"), file],
        &[OsStr::new("import"), OsStr::new("servicenow"), OsStr::new("file"), OsStr::new("--table"), OsStr::new("incident")],
        &[OsStr::new("import"), OsStr::new("django"), OsStr::new("env:OTHER"), OsStr::new("--table"), file],
    ];
    for args in wrong {
        let run = run(&db.url, args);
        assert_eq!((run.code, &*run.out), (2, ""), "{args:?}: {}", run.err);
        assert!(!run.err.contains("panicked"), "{}", run.err);
    }
    run(&db.url, &[OsStr::new("import"), OsStr::new("tenure"), file]).failed(3, "cannot be read");
}

/// A session that is over and that no node has swept yet is neither live nor ended in the tables.
#[tokio::test]
async fn what_is_over_and_not_yet_swept_is_exported_as_ended() {
    let (db, _) = furnished().await;
    db.sql(
        "update tenure.sessions set created_at = created_at - interval '400 days', anchor_at = anchor_at - interval '400 days'",
    )
    .await;
    let live = db.count("select count(*) from tenure.live").await;
    assert_eq!(live, 0);
    let folder = tempfile::tempdir().unwrap();
    let text = String::from_utf8(export(&db, &folder.path().join("over"), &["--ended"])).unwrap();
    let other = database().await;
    let report = import(&other, &folder.path().join("over")).document();
    assert_eq!((&report["outcomes"]["ended_sessions_imported"], &report["remarks"]), (&6.into(), &0.into()), "{report:#}");
    assert_eq!(String::from_utf8(export(&other, &folder.path().join("again"), &["--ended"])).unwrap(), text);
}
