//! Cases 42 to 57: sessions and users, and the values of properties (44, 45).

use reqwest::Method;
use serde_json::{Value, json};

use super::{Case, SECRET, refused};
use crate::support::Api;

/// A path segment, every byte encoded.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn input_042_to_046_and_050_and_056_creating() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    api.db.sql("insert into tenure.users (name, locked_out) values ('locked', true)").await;
    api.db.sql("insert into tenure.users (name, active) values ('inactive', false)").await;
    api.db.sql("update tenure.users set locked_out = false where name = 'inactive'").await;
    api.db.sql("insert into tenure.users (name) values ('deleted'); delete from tenure.users where name = 'deleted'").await;
    let create = |body: Value| api.request(Method::POST, "/v1/sessions").json(&body);
    let user = |field: &str, value: Value| {
        let mut body = json!({"kind": "user", "user": "abel.tuter"});
        body[field] = value;
        create(body)
    };
    let of = |name: &str| create(json!({"kind": "user", "user": name}));
    let mut cases = vec![
        Case("42 unknown", of("nobody"), 404, "unknown_user"),
        Case("42 deleted", of("deleted"), 404, "unknown_user"),
        Case("42 locked out", of("locked"), 403, "user_locked_out"),
        Case("42 inactive", of("inactive"), 403, "user_inactive"),
        Case("43 empty", of(""), 422, "invalid_user_name"),
        Case("43 NUL", of("a\0b"), 422, "invalid_user_name"),
        Case("kind", create(json!({"kind": SECRET})), 422, "invalid_field"),
        Case("kind in capitals", create(json!({"kind": "USER", "user": "abel.tuter"})), 422, "invalid_field"),
        Case("device", user("device", json!(SECRET)), 422, "invalid_field"),
        Case("entity", user("oauth_entity", json!("App")), 422, "field_not_for_kind"),
        Case("50 time", user("created_at", json!("2020-01-01T00:00:00Z")), 400, "malformed_body"),
        Case("46 deadline", user("expires_at", json!("2020-01-01T00:00:00Z")), 400, "malformed_body"),
    ];
    for minutes in [json!(0), json!(-1), json!(1441), json!(i64::MAX), json!(i64::MIN), json!(i64::from(i32::MAX) + 1)] {
        cases.push(Case("45 idle limit", user("idle_limit_minutes", minutes.clone()), 422, "invalid_field"));
        cases.push(Case("45 refresh", user("homepage_refresh_minutes", minutes.clone()), 422, "invalid_field"));
        let patch = api.request(Method::PATCH, "/v1/users/abel.tuter").json(&json!({"homepage_refresh_minutes": minutes}));
        cases.push(Case("45 user's refresh", patch, 422, "invalid_field"));
    }
    for address in [
        "",
        "localhost",
        "203.0.113.7:80",
        "203.0.113.0/24",
        "999.1.1.1",
        "1.2.3",
        "01.2.3.4",
        "::1%eth0",
        "[::1]",
        " ::1",
        "a\0",
    ] {
        cases.push(Case("56 address", user("client_address", json!(address)), 422, "invalid_field"));
    }
    for (field, value) in [
        ("remember_me", json!(true)),
        ("idle_limit_minutes", json!(5)),
        ("guest_token", json!("x")),
        ("carry_attributes", json!(true)),
    ] {
        for kind in ["guest", "integration"] {
            let mut body = json!({"kind": kind});
            if kind == "integration" {
                body["user"] = json!("abel.tuter");
            }
            body[field] = value.clone();
            cases.push(Case("field of another kind", create(body), 422, "field_not_for_kind"));
        }
    }
    let check = |body: Value| api.request(Method::POST, "/v1/sessions/check").json(&body);
    cases.push(Case(
        "50 activity with a time",
        check(json!({"token": "x", "at": "2020-01-01T00:00:00Z"})),
        400,
        "malformed_body",
    ));
    cases.push(Case("activity", check(json!({"token": "x", "activity": SECRET})), 422, "invalid_field"));
    refused(&api, cases).await;
}

#[tokio::test]
async fn input_043_user_names() {
    let api = Api::start().await;
    api.db.user("zoë").await;
    let mut cases = Vec::new();
    let long = ["a".repeat(129), "a".repeat(1024), "é".repeat(129), "\u{3b1}\u{313}\u{300}\u{345}".repeat(150)];
    let mut names: Vec<String> = [
        "a\nb",
        "a\tb",
        "a\u{7f}b",
        "a\u{85}b",
        " a",
        "a ",
        "\u{a0}a",
        "\u{202e}a",
        "a\u{200f}",
        "a\u{061c}",
        "a\u{2028}b",
        "a\u{2029}b",
        "\u{2066}a\u{2069}",
        "a\0",
    ]
    .map(str::to_owned)
    .to_vec();
    names.extend(long);
    for name in &names {
        let put = api.request(Method::PUT, &format!("/v1/users/{}", encoded(name))).json(&json!({}));
        cases.push(Case("43 put", put, 422, "invalid_user_name"));
        let create = api.request(Method::POST, "/v1/sessions").json(&json!({"kind": "user", "user": name}));
        cases.push(Case("43 create", create, 422, "invalid_user_name"));
    }
    for (field, value) in [
        ("name", json!("other")),
        ("display_name", json!("")),
        ("display_name", json!("a".repeat(256))),
        ("display_name", json!("a\0b")),
        ("roles", json!(["app"])),
        ("roles", json!(["admin", "reporter", "admin"])),
        ("roles", json!(vec!["admin"; 33])),
    ] {
        let mut body = json!({});
        body[field] = value;
        cases.push(Case(
            "43 fields",
            api.request(Method::PATCH, &format!("/v1/users/{}", encoded("zoë"))).json(&body),
            422,
            "invalid_field",
        ));
    }
    refused(&api, cases).await;

    // The decomposed twin is the same user; capitals sign the same user in, but replace nobody.
    for (twin, status) in [("zoe\u{308}", 200), ("ZOË", 409), ("ZOE\u{308}", 409)] {
        api.put(&format!("/v1/users/{}", encoded(twin)), &json!({"display_name": "Zoë"})).await.expect(status);
        assert_eq!(api.create(&json!({"kind": "user", "user": twin})).await.0["user"], "zoë");
    }
    assert_eq!(api.db.count("select count(*) from tenure.users").await, 1);
    // What joins or hyphenates belongs to names in some scripts, whatever the database's collation calls it.
    for good in ["é".repeat(128), "👩\u{200d}👩\u{200d}👧".to_owned(), "a\u{ad}b".to_owned()] {
        api.put(&format!("/v1/users/{}", encoded(&good)), &json!({})).await.expect(201);
    }
}

#[tokio::test]
async fn input_044_and_045_values_of_properties() {
    let api = Api::start().await;
    let set =
        |name: &str, value: &str| api.request(Method::PUT, &format!("/v1/properties/{name}")).json(&json!({"value": value}));
    let mut cases = vec![
        Case("44 life below idle", set("glide.ui.active.session.life_span", "20"), 422, "relation_broken"),
        Case("44 life equals idle", set("glide.guest.active.session.life_span", "30"), 422, "relation_broken"),
        Case("45 empty", set("glide.ui.session_timeout", ""), 422, "invalid_field"),
        Case("45 long", set("glide.ui.session_timeout", &"9".repeat(256)), 422, "invalid_field"),
        Case("45 NUL", set("glide.ui.session_timeout", "3\u{0}"), 422, "invalid_field"),
        Case("name", set("nothing", "1"), 404, "unknown_property"),
        Case("name with NUL", set("a%00", "1"), 404, "unknown_property"),
        Case("long name", set(&"a".repeat(5000), "1"), 404, "unknown_property"),
        Case(
            "number",
            api.request(Method::PUT, "/v1/properties/glide.ui.session_timeout").json(&json!({"value": 30})),
            400,
            "malformed_body",
        ),
        Case("force", api.request(Method::DELETE, "/v1/properties/glide.ui.session_timeout?force=yes"), 400, "invalid_parameter"),
    ];
    for value in [
        "0",
        "-1",
        "1441",
        "2147483648",
        "99999999999999999999",
        "1e1",
        "+5",
        " 5",
        "5 ",
        "05",
        "5.0",
        "0x5",
        "٣",
        "five",
        SECRET,
        "5\n",
        "1; drop",
    ] {
        cases.push(Case("45 minutes", set("glide.ui.session_timeout", value), 422, "invalid_value"));
    }
    for value in ["-1", "525601", "00"] {
        cases.push(Case("45 off or minutes", set("glide.ui.active.session.life_span", value), 422, "invalid_value"));
    }
    refused(&api, cases).await;
    api.put("/v1/properties/glide.ui.active.session.life_span", &json!({"value": "0"})).await.expect(200);
}

#[tokio::test]
async fn input_047_to_052_ending_and_extending() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let (remembered, _) = api.create(&json!({"kind": "user", "user": "abel.tuter", "remember_me": true})).await;
    let (dead, _) = api.create(&json!({"kind": "guest"})).await;
    let path = |session: &Value| format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    api.delete(&path(&dead)).await.expect(200);
    let (dead, live) = (path(&dead), path(&remembered));
    let unknown = format!("/v1/sessions/{}", "01890000-0000-7000-8000-000000000000");
    let delete = |path: &str| api.request(Method::DELETE, path);
    let post = |path: &str| api.request(Method::POST, path);
    let mut cases = vec![
        Case("47 unknown", delete(&unknown), 404, "unknown_session"),
        Case("47 no id", delete("/v1/sessions/all"), 404, "unknown_session"),
        Case("49 extend", post(&format!("{live}/extend")), 409, "cannot_extend"),
        Case("49 extend what is over", post(&format!("{dead}/extend")), 401, "session_ended"),
        Case("rotate what is over", post(&format!("{dead}/rotate")), 409, "session_ended"),
        Case("rotate unknown", post(&format!("{unknown}/rotate")), 404, "unknown_session"),
        Case(
            "52 unlock unknown",
            api.request(Method::PATCH, "/v1/users/nobody").json(&json!({"locked_out": false})),
            404,
            "unknown_user",
        ),
    ];
    for barrier in ["0", "61000", "yes", "", "True", "5s"] {
        cases.push(Case("48 barrier", delete(&format!("{live}?barrier={barrier}")), 400, "invalid_parameter"));
    }
    refused(&api, cases).await;
    assert_eq!(api.delete(&dead).await.expect(200)["terminated"], 0);
}

#[tokio::test]
async fn input_057_user_agents_are_cut_and_made_visible() {
    let api = Api::start().await;
    let (session, _) = api.create(&json!({"kind": "guest", "user_agent": "x".repeat(64 << 10)})).await;
    let agent = session["user_agent"].as_str().unwrap();
    assert_eq!((agent.chars().count(), agent.chars().last()), (512, Some('…')));
    let (session, _) = api.create(&json!({"kind": "guest", "user_agent": "a\u{1b}[31m\0\r\nb"})).await;
    assert_eq!(session["user_agent"], "a\u{fffd}[31m\u{fffd}\u{fffd}\u{fffd}b");
    let (session, _) = api.create(&json!({"kind": "guest", "user_agent": "x".repeat(512)})).await;
    assert_eq!(session["user_agent"], "x".repeat(512));
}
