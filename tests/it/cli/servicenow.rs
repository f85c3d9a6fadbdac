//! `tenure import servicenow`: users, properties and OAuth entities as ServiceNow exports them.

use super::*;

const UNLOAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<unload unload_date="2027-06-01 09:00:00">
<sys_user action="INSERT_OR_UPDATE"><active>true</active><locked_out>false</locked_out><name>Abel &amp; Tuter &#252;</name><user_name>abel.tuter</user_name><roles>admin</roles><user_password display_value="">hush-hush-4711</user_password><sys_id>62826bf03710200044e0bfc8bcbe5df1</sys_id></sys_user>
<sys_user action="INSERT_OR_UPDATE"><active>false</active><locked_out/><name><![CDATA[Beth <Anglin>]]></name><user_name>beth.anglin</user_name></sys_user>
<sys_user action="DELETE"><user_name>gone</user_name></sys_user>
<sys_user action="INSERT_OR_UPDATE"><active>perhaps</active><locked_out/><user_name>cal</user_name></sys_user>
<sys_user action="INSERT_OR_UPDATE"><active>true</active><user_name/></sys_user>
<sys_properties action="INSERT_OR_UPDATE"><name>glide.ui.session_timeout</name><value>045</value></sys_properties>
<sys_properties action="INSERT_OR_UPDATE"><name>glide.ui.forgetme</name><value>Yes</value></sys_properties>
<sys_properties action="INSERT_OR_UPDATE"><name>glide.guest.session_timeout</name><value/></sys_properties>
<sys_properties action="INSERT_OR_UPDATE"><name>glide.product.name</name><value>Elsewhere</value></sys_properties>
<oauth_entity action="INSERT_OR_UPDATE"><name>Mobile App</name><client_id>3a3f4b</client_id><client_secret>hush-hush-4711</client_secret><access_token_lifespan>1,800</access_token_lifespan><refresh_token_lifespan>8640000</refresh_token_lifespan></oauth_entity>
<incident action="INSERT_OR_UPDATE"><number>INC1</number></incident>
</unload>
"#;

fn import(db: &Db, content: impl AsRef<[u8]>, options: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export");
    std::fs::write(&file, content).unwrap();
    run(&db.url, &[&["import", "servicenow", file.to_str().unwrap(), "--json"][..], options].concat())
}

fn report(run: &Run) -> Value {
    serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{}", run.err))
}

async fn text(db: &Db, query: &'static str) -> String {
    sqlx::query_scalar(query).fetch_one(db.pool()).await.unwrap()
}

#[tokio::test]
async fn an_unload_brings_users_properties_and_entities() {
    let db = database().await;
    let rehearsal = import(&db, UNLOAD, &["--dry-run"]);
    assert_eq!(report(&rehearsal)["outcomes"]["users_imported"], 2, "{}", rehearsal.out);
    assert_eq!(db.count("select count(*) from tenure.users").await, 0);

    let run = import(&db, UNLOAD, &[]);
    let outcomes = serde_json::json!({
        "users_imported": 2, "rejected": 2, "skipped": 3, "properties_imported": 2, "properties_ignored": 1, "oauth_entities_imported": 1
    });
    assert_eq!((run.code, &report(&run)["outcomes"]), (7, &outcomes), "{}", run.out);
    let users = "select string_agg(concat_ws(',', name, display_name, active, locked_out, array_to_string(roles, '+')), '; ' order by name) from tenure.users";
    assert_eq!(text(&db, users).await, "abel.tuter,Abel & Tuter ü,t,f,; beth.anglin,Beth <Anglin>,f,t,");
    assert_eq!(
        text(&db, "select string_agg(name || '=' || value, ' ' order by name) from tenure.properties").await,
        "glide.ui.forgetme=true glide.ui.session_timeout=45"
    );
    // The secret stays there; who needs one here is given a new one.
    assert_eq!(
        db.count(
            "select count(*) from tenure.oauth_entities where client_secret_hash is not null and access_token_lifespan = 1800"
        )
        .await,
        1
    );
    assert_eq!(
        db.count("select count(*) from tenure.oauth_entities where client_secret_hash = sha256('hush-hush-4711')").await,
        0
    );
    assert_eq!(report(&import(&db, UNLOAD, &[]))["outcomes"]["users_present"], 2);
}

/// P5, X2: properties of a file end live sessions like those of a command, and behind the same guard.
#[tokio::test]
async fn what_properties_end_is_said_before_and_guarded() {
    use crate::support::Crowd;

    let db = database().await;
    db.crowd(Crowd { sessions: 10_001, users: 10, oldest: 600, youngest: 300 }).await;
    let content = r#"[{"name":"glide.ui.session_timeout","value":"1"}]"#;
    let properties = |options: &[&str]| import(&db, content, &[&["--table", "sys_properties"], options].concat());
    let refused =
        |run: &Run, code: i32, about: &str| assert!(run.code == code && run.err.contains(about), "{about}: {}", run.err);
    let live = "select count(*) from tenure.live";

    refused(&properties(&["--dry-run"]), 5, "10001 live sessions");
    let rehearsal = properties(&["--dry-run", "--force"]);
    assert_eq!((rehearsal.code, &report(&rehearsal)["sessions_ended"]), (0, &10_001.into()), "{}", rehearsal.out);
    refused(&properties(&[]), 5, "--force");
    refused(&properties(&["--force", "--expect-count", "10000"]), 5, "the preview said otherwise");
    refused(&properties(&["--force", "--expect-count", "all"]), 2, "expect-count");
    assert_eq!(db.count(live).await, 10_001);
    let run = properties(&["--force", "--expect-count", "10001"]);
    assert_eq!((run.code, &report(&run)["sessions_ended"]), (0, &10_001.into()), "{}", run.out);
    assert_eq!(db.count(live).await, 0);
    let again = properties(&["--expect-count", "0"]);
    assert_eq!((again.code, &report(&again)["sessions_ended"]), (0, &0.into()), "{}", again.out);
}

#[tokio::test]
async fn csv_and_json_bring_the_same() {
    for (case, content) in [
        ("csv", "user_name,name,active,locked_out\r\nabel.tuter,\"Tuter, Abel\",true,\r\nbeth.anglin,,false,\r\n"),
        (
            "csv with a mark",
            "\u{feff}user_name,name,active,locked_out\nabel.tuter,\"Tuter, Abel\",true,false\nbeth.anglin,,false,true",
        ),
        (
            "json",
            r#"{"records":[{"user_name":"abel.tuter","name":"Tuter, Abel","active":"true","locked_out":"false"},{"user_name":"beth.anglin","name":"","active":"","locked_out":""}]}"#,
        ),
        (
            "json of the table API",
            r#"{"result":[{"user_name":{"value":"abel.tuter","display_value":"x"},"name":"Tuter, Abel","active":true,"locked_out":null},{"user_name":"beth.anglin","active":false,"locked_out":false}]}"#,
        ),
    ] {
        let db = database().await;
        let run = import(&db, content, &["--table", "sys_user"]);
        assert_eq!(
            (run.code, &report(&run)["outcomes"]),
            (0, &serde_json::json!({ "users_imported": 2 })),
            "{case}: {}",
            run.out
        );
        assert_eq!(text(&db, "select display_name from tenure.users where name = 'abel.tuter'").await, "Tuter, Abel", "{case}");
    }
}

#[tokio::test]
async fn cases_76_to_87_of_an_export_change_nothing() {
    let db = database().await;
    let deep = format!("<xml><sys_user><a>{}{}</a></sys_user></xml>", "<b>".repeat(2000), "</b>".repeat(2000));
    let utf_16: Vec<u8> = [0xff, 0xfe].into_iter().chain(UNLOAD.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let doctype = UNLOAD.replacen("<unload", "<!DOCTYPE unload [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><unload", 1);
    let (users, none): (&[&str], &[&str]) = (&["--table", "sys_user"], &[]);
    let table: Vec<(&str, Vec<u8>, &[&str], &str)> = vec![
        ("76 nothing", Vec::new(), none, "empty"),
        ("76 another root", "<html><body/></html>".into(), none, "no export of ServiceNow"),
        ("76 no table", "user_name\nabel\n".into(), none, "--table"),
        ("76 no records", r#"{"rows":[]}"#.into(), users, "not JSON of the form"),
        ("76 more after the end", format!("{UNLOAD}junk").into(), none, "more than the table"),
        ("76 a reference after the end", format!("{UNLOAD}&amp;").into(), none, "more than the table"),
        ("77 a record without end", format!("<xml><sys_user><name>{}", "x".repeat(3 << 20)).into(), none, "longer than 1 MiB"),
        ("83 half an unload", UNLOAD.replacen("</unload>", "", 1).into(), none, "truncated"),
        ("83 half a list", r#"{"records":[{"user_name":"abel"},{"user_na"#.into(), users, "truncated"),
        ("87 UTF-16", utf_16, none, "iconv"),
        ("87 another encoding", UNLOAD.replacen("UTF-8", "ISO-8859-1", 1).into(), none, "another encoding"),
        ("a document type", doctype.into(), none, "document type declaration is refused"),
        (
            "a terminal's own words",
            format!("<unload><sys_user><a>\u{1b}[2J{SECRET}</\u{1b}[2J{SECRET}></a></sys_user></unload>").into(),
            none,
            "not well-formed",
        ),
        ("an entity", UNLOAD.replacen("&amp;", "&e;", 1).into(), none, "entity that XML itself does not define"),
        ("too deep", deep.into(), none, "nested deeper"),
        ("JSON too deep", format!("{{\"records\":[{}", "[".repeat(100_000)).into(), users, "not JSON of the form"),
    ];
    for (case, content, options, about) in table {
        let run = import(&db, content, options);
        assert!(!run.err.contains("passwd") && !run.err.contains('\u{1b}'), "{case}: {:?}", run.err);
        run.failed(7, about);
        assert_eq!(db.count("select count(*) from tenure.users").await, 0, "{case}");
    }
}

/// A line that does not fit is said by number, and no value of it.
#[tokio::test]
async fn a_bad_line_is_left_out_and_said() {
    let db = database().await;
    let long = "x".repeat(200);
    let content = format!(
        "user_name,active,locked_out\nabel.tuter,true,\ntoo,many,fields,here\n{SECRET}{long},true,\n\u{202e}evil,true,\nbeth.anglin,true,\n"
    );
    let run = import(&db, content, &["--table", "sys_user"]);
    let report = report(&run);
    assert_eq!((run.code, &report["outcomes"]), (7, &serde_json::json!({ "users_imported": 2, "rejected": 3 })), "{}", run.out);
    let lines: Vec<_> =
        report["first_remarks"].as_array().unwrap().iter().map(|remark| remark["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [3, 4, 5]);
    assert!(!run.out.contains(SECRET) && !run.err.contains(SECRET), "{}{}", run.out, run.err);
}

/// What an export does not say is not taken to be what would let somebody in.
#[tokio::test]
async fn a_column_that_was_not_exported_opens_nothing() {
    let db = database().await;
    for columns in ["user_name,active\nabel.tuter,true\n", "user_name,locked_out\nabel.tuter,false\n"] {
        let run = import(&db, columns, &["--table", "sys_user"]);
        assert_eq!((run.code, &report(&run)["outcomes"]), (7, &serde_json::json!({ "rejected": 1 })), "{}", run.out);
        assert!(run.out.contains("export this column too"), "{}", run.out);
    }
    let entities =
        [("name,client_id\nUnsaid,1\n", "Unsaid"), ("name,client_id,client_secret\nSecret,2,x\nPublic,3,\n", "Secret")];
    for (content, name) in entities {
        let run = import(&db, content, &["--table", "oauth_entity"]);
        assert_eq!(run.code, 0, "{name}: {}{}", run.out, run.err);
    }
    let confidential =
        "select string_agg(name, ' ' order by name) from tenure.oauth_entities where client_secret_hash is not null";
    assert_eq!(text(&db, confidential).await, "Secret Unsaid");
}
