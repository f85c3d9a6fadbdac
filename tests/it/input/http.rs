//! Cases 14 to 33 that a well-behaved client can send; the rest is in `wire`.

use reqwest::Method;
use serde_json::json;

use super::{Case, SECRET, refused};
use crate::support::{Api, send};

#[tokio::test]
async fn input_014_to_024_bodies() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let check =
        |kind: &str, body: Vec<u8>| api.request(Method::POST, "/v1/sessions/check").header("content-type", kind).body(body);
    let create = |body: String| api.request(Method::POST, "/v1/sessions").header("content-type", "application/json").body(body);
    let token = || format!(r#"{{"token":"{SECRET}"}}"#).into_bytes();
    let nested = |depth: usize| format!(r#"{{"kind":"guest","attributes":{{"a":{}{}}}}}"#, "[".repeat(depth), "]".repeat(depth));
    let user = |field: &str| format!(r#"{{"kind":"user","user":"abel.tuter",{field}}}"#);
    let log_in = |field: &str| {
        let body = format!(r#"{{"user":"abel.tuter","password":"{SECRET}",{field}}}"#);
        api.request(Method::POST, "/v1/login").header("content-type", "application/json").body(body)
    };
    let set = |body| api.request(Method::PUT, "/v1/users/abel.tuter/password").json(&body);
    let bad = "malformed_body";
    let cases = vec![
        Case("14 too large", create(format!(r#"{{"kind":"{}"}}"#, SECRET.repeat(20_000))), 413, "body_too_large"),
        Case("16 text", check("text/plain", token()), 415, "unsupported_media_type"),
        Case("16 form", check("application/x-www-form-urlencoded", b"token=x".to_vec()), 415, "unsupported_media_type"),
        Case("16 jsonx", check("application/jsonx", token()), 415, "unsupported_media_type"),
        Case("16 missing", api.request(Method::POST, "/v1/sessions/check").body(token()), 415, "unsupported_media_type"),
        Case("17 latin1", check("application/json; charset=iso-8859-1", token()), 415, "unsupported_media_type"),
        Case("17 utf-16", check("application/json;charset=\"utf-16\"", token()), 415, "unsupported_media_type"),
        Case("17 utf-8 is fine", check("Application/JSON; Charset=\"UTF-8\"", token()), 401, "unknown_token"),
        Case("18 not utf-8", check("application/json", [b"{\"token\":\"", &[0xff, 0xfe][..], b"\"}"].concat()), 400, bad),
        Case("18 overlong", check("application/json", [b"{\"token\":\"", &[0xc0, 0x80][..], b"\"}"].concat()), 400, bad),
        Case("19 nothing", check("application/json", Vec::new()), 400, bad),
        Case("19 truncated", check("application/json", format!("{{\"token\":\"{SECRET}").into_bytes()), 400, bad),
        Case("19 trailing", check("application/json", format!("{{\"token\":\"\"}}{SECRET}").into_bytes()), 400, bad),
        Case("19 two documents", check("application/json", b"{\"token\":\"\"}{}".to_vec()), 400, bad),
        Case("19 no object", check("application/json", format!("\"{SECRET}\"").into_bytes()), 400, bad),
        Case("19 array", check("application/json", format!("[\"{SECRET}\"]").into_bytes()), 400, bad),
        Case("19 single quotes", check("application/json", b"{'token':''}".to_vec()), 400, bad),
        Case("20 depth 33", create(nested(31)), 400, bad),
        Case("20 depth 1,000", create(nested(1_000)), 400, bad),
        Case("20 depth 60,000", create(nested(60_000)), 400, bad),
        Case("21 twice", create(r#"{"kind":"guest","kind":"guest"}"#.into()), 400, bad),
        Case("21 twice below", create(r#"{"kind":"guest","attributes":{"a":{"b":1,"b":2}}}"#.into()), 400, bad),
        Case("21 twice by escape", create(r#"{"kind":"guest","k\u0069nd":"guest"}"#.into()), 400, bad),
        Case("22 id", create(format!(r#"{{"kind":"guest","id":"{SECRET}"}}"#)), 400, bad),
        Case("22 residue", create(r#"{"kind":"guest","residue":true}"#.into()), 400, bad),
        Case("22 created_at", create(r#"{"kind":"guest","created_at":"2020-01-01T00:00:00Z"}"#.into()), 400, bad),
        Case("22 epoch", api.request(Method::PATCH, "/v1/users/abel.tuter").json(&json!({"epoch": 0})), 400, bad),
        Case("22 password", api.request(Method::PATCH, "/v1/users/abel.tuter").json(&json!({"password_hash": SECRET})), 400, bad),
        Case("22 epoch at login", log_in(r#""epoch":0"#), 400, bad),
        Case("22 kind at login", log_in(r#""kind":"integration""#), 400, bad),
        Case("22 entity at login", log_in(r#""oauth_entity":"x""#), 400, bad),
        Case("22 hash as password", set(json!({"password_hash": SECRET})), 400, bad),
        Case("22 more than a password", set(json!({"password": SECRET, "epoch": 0})), 400, bad),
        Case("22 missing", create("{}".into()), 400, bad),
        Case("23 number", create(r#"{"kind":4711}"#.into()), 400, bad),
        Case("23 token", check("application/json", b"{\"token\":4711}".to_vec()), 400, bad),
        Case("23 null", check("application/json", b"{\"token\":null}".to_vec()), 400, bad),
        Case("23 text for bool", create(user(&format!("\"remember_me\":\"{SECRET}\""))), 400, bad),
        Case("23 attributes", create(format!(r#"{{"kind":"guest","attributes":["{SECRET}"]}}"#)), 400, bad),
        Case("23 password", set(json!({"password": [SECRET]})), 400, bad),
        Case("23 no password", set(json!({"password": null})), 400, bad),
        Case("23 password at login", log_in(r#""attributes":"hush-hush-4711""#), 400, bad),
        Case("43 password too short", set(json!({"password": &SECRET[..7]})), 422, "invalid_password"),
        Case("43 password too long", set(json!({"password": SECRET.repeat(10)})), 422, "invalid_password"),
        Case("43 password far too long", set(json!({"password": SECRET.repeat(5_000)})), 422, "invalid_password"),
        Case("23 roles", api.request(Method::PATCH, "/v1/users/abel.tuter").json(&json!({"roles": SECRET})), 400, bad),
        Case("24 1e400", create(user(r#""idle_limit_minutes":1e400"#)), 400, bad),
        Case("24 1e400 in the payload", create(r#"{"kind":"guest","attributes":{"n":1e400}}"#.into()), 400, bad),
        Case("24 NaN", create(user(r#""idle_limit_minutes":NaN"#)), 400, bad),
        Case("24 2^64", create(user(r#""idle_limit_minutes":18446744073709551616"#)), 400, bad),
        Case("24 fraction", create(user(r#""idle_limit_minutes":1.5"#)), 400, bad),
        Case("24 float out of range", create(user(r#""idle_limit_minutes":1441.0"#)), 422, "invalid_field"),
        // It reads well as an integer; that it is out of range is the field's to say.
        Case("24 2^53+1", create(user(r#""idle_limit_minutes":9007199254740993"#)), 422, "invalid_field"),
    ];
    refused(&api, cases).await;
    let named = send(create(r#"{"kind":"guest","residue":true}"#.into())).await.refused(400, bad);
    assert!(named["detail"].as_str().unwrap().contains("`residue`"), "{named}");
    send(create(nested(30))).await.expect(201);
}

#[tokio::test]
async fn input_025_and_027_and_032_parameters_methods_preconditions() {
    let api = Api::start().await;
    let (session, _) = api.create(&json!({"kind": "guest", "attributes": {"n": 1}})).await;
    let attributes = format!("/v1/sessions/{}/attributes", session["id"].as_str().unwrap());
    let twice = |path: &str| api.request(Method::GET, path);
    refused(
        &api,
        [
            Case("25 limit", twice("/v1/sessions?limit=1&limit=1"), 400, "invalid_parameter"),
            Case("25 user", twice(&format!("/v1/sessions?user={SECRET}&user={SECRET}")), 400, "invalid_parameter"),
            Case("25 users", twice("/v1/users?active=true&active=false"), 400, "invalid_parameter"),
            Case("25 events", twice("/v1/events?type=a&type=b"), 400, "invalid_parameter"),
            Case("25 unknown", twice(&format!("/v1/sessions?wat={SECRET}")), 400, "invalid_parameter"),
            Case("27 put", api.request(Method::PUT, "/v1/sessions").json(&json!({})), 405, "method_not_allowed"),
            Case("27 post", api.request(Method::POST, "/v1/nodes"), 405, "method_not_allowed"),
            Case("27 trace", api.request(Method::TRACE, "/v1/sessions"), 405, "method_not_allowed"),
            Case("27 options", api.request(Method::OPTIONS, "/v1/sessions"), 405, "method_not_allowed"),
            Case("27 own word", api.request("PURGE".parse().unwrap(), "/v1/sessions"), 405, "method_not_allowed"),
            Case(
                "12 cookie",
                api.request(Method::GET, "/v1/sessions").header("cookie", "c".repeat(17_000)),
                431,
                "headers_too_large",
            ),
            Case("26 nothing there", api.request(Method::GET, "/v2"), 404, "not_found"),
            Case(
                "32 old",
                api.request(Method::PUT, &attributes).header("if-match", "\"77\"").json(&json!({})),
                412,
                "version_mismatch",
            ),
            Case(
                "32 nonsense",
                api.request(Method::PATCH, &attributes).header("if-match", SECRET).json(&json!({})),
                412,
                "version_mismatch",
            ),
            Case(
                "32 list",
                api.request(Method::PATCH, &attributes).header("if-match", "\"8\", W/\"1\"").json(&json!({})),
                412,
                "version_mismatch",
            ),
        ],
    )
    .await;
    let refused = send(api.request(Method::PUT, "/v1/sessions").json(&json!({}))).await;
    let allow = refused.header("allow").unwrap();
    assert!(allow.contains("POST") && allow.contains("GET"), "{allow}");
    let metrics = api.get("/metrics").await.text;
    assert!(!metrics.contains("PURGE"), "a caller's word became a label");
}

/// Nothing is configured to be trusted, so a forwarded address is nobody's.
#[tokio::test]
async fn input_029_forwarded_for() {
    let api = Api::start().await;
    let request =
        api.request(Method::POST, "/v1/sessions").header("x-forwarded-for", "203.0.113.66").json(&json!({"kind": "guest"}));
    let created = send(request).await.expect(201);
    assert!(created["session"]["client_address"].is_null(), "{created}");
}
