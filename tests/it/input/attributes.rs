//! Cases 58 to 66: the payload of a session.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{Case, SECRET, refused};
use crate::support::{Api, send};

fn keys(count: usize) -> Map<String, Value> {
    (0..count).map(|i| (format!("k{i}"), json!(i))).collect()
}

fn nested(depth: usize) -> Value {
    (1..depth).fold(json!([]), |inner, _| json!([inner]))
}

#[tokio::test]
async fn input_058_to_066_attributes() {
    let api = Api::start().await;
    let (session, _) = api.create(&json!({"kind": "guest", "attributes": keys(63)})).await;
    let path = format!("/v1/sessions/{}/attributes", session["id"].as_str().unwrap());
    let put = |body: Value| api.request(Method::PUT, &path).json(&body);
    let patch = |body: Value| api.request(Method::PATCH, &path).json(&body);
    let raw = |body: String| api.request(Method::PUT, &path).header("content-type", "application/json").body(body);
    let one = |key: &str, value: Value| Value::Object(Map::from_iter([(key.to_owned(), value)]));
    let many = |size: usize| Value::Object((0..20).map(|i| (format!("k{i}"), json!("x".repeat(size)))).collect());
    let bad = "invalid_attributes";
    let cases = vec![
        Case("58 empty key", put(one("", json!(1))), 422, bad),
        Case("58 long key", put(one(&"k".repeat(129), json!(1))), 422, bad),
        Case("58 NUL in a key", put(one("a\0b", json!(1))), 422, bad),
        Case("59 NUL", put(one("a", json!(format!("{SECRET}\0")))), 422, bad),
        Case("59 NUL below", put(json!({"a": [{"b": [SECRET, "\0"]}]})), 422, bad),
        Case("59 NUL in a key below", put(json!({"a": {"b\u{0}": 1}})), 422, bad),
        Case("59 half a surrogate pair", raw(r#"{"a":"\ud800"}"#.into()), 400, "malformed_body"),
        Case("59 the other half", raw(r#"{"a":"\udc00\ud800"}"#.into()), 400, "malformed_body"),
        Case("60 value", put(one("a", json!(SECRET.repeat(300)))), 422, bad),
        Case("60 value by one", put(one("a", json!("x".repeat(4095)))), 422, bad),
        Case("60 total", put(many(4000)), 422, bad),
        Case("60 65 keys", put(Value::Object(keys(65))), 422, bad),
        Case("60 65th key by patch", patch(json!({"new": 1, "newer": 2})), 422, bad),
        Case("60 depth", put(one("a", nested(32))), 400, "malformed_body"),
        Case("60 numbers that grow", put(one("a", json!(vec![1e300; 650]))), 422, bad),
        Case(
            "60 numbers that grow, at sign-in",
            api.request(Method::POST, "/v1/sessions").json(&json!({"kind": "guest", "attributes": {"a": vec![1e300; 650]}})),
            422,
            bad,
        ),
        Case("64 nothing yet", put(json!({})).header("if-match", "\"0\""), 412, "version_mismatch"),
        Case("66 one of two", patch(json!({"k1": "changed", "k2": SECRET.repeat(300)})), 422, bad),
        Case("no object", put(json!([SECRET])), 400, "malformed_body"),
        Case("null", put(Value::Null), 400, "malformed_body"),
        Case(
            "60 create",
            api.request(Method::POST, "/v1/sessions").json(&json!({"kind": "guest", "attributes": keys(65)})),
            422,
            bad,
        ),
        Case(
            "59 create",
            api.request(Method::POST, "/v1/sessions").json(&json!({"kind": "guest", "attributes": {"a": "\0"}})),
            422,
            bad,
        ),
    ];
    refused(&api, cases).await;
    assert_eq!(api.get(&path).await.expect(200), Value::Object(keys(63)));

    // What is just within the limits is kept as it is.
    for body in [many(3200), Value::Object(keys(64)), one("a", json!("x".repeat(4094))), one(&"é".repeat(128), nested(31))] {
        send(put(body.clone())).await.expect(200);
        assert_eq!(api.get(&path).await.expect(200), body);
    }
    for number in ["1e308", "-1e308", "1e-308", "9223372036854775807", "18446744073709551615", "-0.0", "0.1"] {
        let stored = send(raw(format!(r#"{{"n":{number}}}"#))).await.expect(200);
        let expected: f64 = number.parse().unwrap();
        assert_eq!(stored["n"].as_f64(), Some(expected), "{number}");
        assert_eq!(api.get(&path).await.expect(200)["n"].as_f64(), Some(expected), "{number} read back");
    }
}

#[tokio::test]
async fn input_065_a_session_that_is_over_takes_nothing() {
    let api = Api::start().await;
    let (ended, _) = api.create(&json!({"kind": "guest", "attributes": {"a": 1}})).await;
    let (lapsed, _) = api.create(&json!({"kind": "guest", "attributes": {"a": 1}})).await;
    api.delete(&format!("/v1/sessions/{}", ended["id"].as_str().unwrap())).await.expect(200);
    let lapsed_path = format!("/v1/sessions/{}/attributes", lapsed["id"].as_str().unwrap());
    let path = format!("/v1/sessions/{}/attributes", ended["id"].as_str().unwrap());
    let cases = [
        Case("65 get", api.request(Method::GET, &path), 409, "session_ended"),
        Case("65 put", api.request(Method::PUT, &path).json(&json!({"a": 2})), 409, "session_ended"),
        Case("65 patch", api.request(Method::PATCH, &path).json(&json!({"a": 2})), 409, "session_ended"),
    ];
    refused(&api, cases).await;
    api.db.advance(chrono::TimeDelta::minutes(31)).await;
    for method in [Method::PUT, Method::PATCH] {
        send(api.request(method, &lapsed_path).json(&json!({"a": 2}))).await.refused(409, "session_ended");
    }
}
