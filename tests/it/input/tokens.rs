//! Cases 1 to 13: tokens and keys.

use reqwest::Method;
use serde_json::json;

use super::{Case, SECRET, refused};
use crate::support::{Api, send};

#[tokio::test]
async fn input_001_to_006_and_011_tokens() {
    let api = Api::start().await;
    let (_, token) = api.create(&json!({"kind": "guest"})).await;
    let last = token.chars().last().unwrap();
    // 48 bytes fill 64 characters exactly: there are no spare bits, so a changed last character is another secret.
    let other_last = format!("{}{}", &token[..token.len() - 1], if last == 'A' { 'B' } else { 'A' });
    let tokens = [
        ("1 empty", String::new()),
        ("2 too short", token[..token.len() - 4].to_owned()),
        ("2 too long", format!("{token}AAAA")),
        ("2 very long", format!("tn_{}", "A".repeat(60_000))),
        ("3 alphabet", token.replace(&token[5..6], "+")),
        ("3 space", format!(" {token}")),
        ("4 padding", format!("{}=", &token[..token.len() - 1])),
        ("4 last bits", other_last),
        ("6 secret in it", format!("tn_{SECRET}")),
        ("11 key as token", api.key.clone()),
    ];
    let cases = tokens.map(|(name, token)| {
        let request = api.request(Method::POST, "/v1/sessions/check").json(&json!({"token": token}));
        Case(name, request, 401, "unknown_token")
    });
    refused(&api, cases).await;
    // A guest token that is not one replaces nothing and is not an error: the sign-in goes on.
    api.db.user("abel.tuter").await;
    for guest_token in ["", "tn_x", api.key.as_str()] {
        api.create(&json!({"kind": "user", "user": "abel.tuter", "guest_token": guest_token})).await;
    }
    api.check(&token).await.expect(200);
}

#[tokio::test]
async fn input_006_and_011_keys() {
    let api = Api::start().await;
    let (_, token) = api.create(&json!({"kind": "guest"})).await;
    let mut checksum = api.key.clone();
    let last = checksum.pop().unwrap();
    checksum.push(if last == 'A' { 'E' } else { 'A' });
    let keys = [("6 checksum", checksum), ("11 token as key", token), ("6 secret in it", format!("tnk_{SECRET}"))];
    let cases = keys.map(|(name, key)| {
        Case(name, api.client.get(format!("{}/v1/nodes", api.node.url)).bearer_auth(key), 401, "invalid_api_key")
    });
    refused(&api, cases).await;
}

#[tokio::test]
async fn input_010_token_in_the_query() {
    let api = Api::start().await;
    let (session, token) = api.create(&json!({"kind": "guest", "attributes": {"n": 1}})).await;
    let id = session["id"].as_str().unwrap();
    let body = json!({"token": token});
    let path = |path: &str| format!("{path}?token={SECRET}");
    refused(
        &api,
        [
            Case("check", api.request(Method::POST, &path("/v1/sessions/check")).json(&body), 400, "invalid_parameter"),
            Case(
                "create",
                api.request(Method::POST, &path("/v1/sessions")).json(&json!({"kind": "guest"})),
                400,
                "invalid_parameter",
            ),
            Case("list", api.request(Method::GET, &path("/v1/sessions")), 400, "invalid_parameter"),
            Case("events", api.request(Method::GET, &path("/v1/events")), 400, "invalid_parameter"),
            Case("end", api.request(Method::DELETE, &path(&format!("/v1/sessions/{id}"))), 400, "invalid_parameter"),
            Case(
                "payload",
                api.request(Method::PUT, &path(&format!("/v1/sessions/{id}/attributes"))).json(&json!({})),
                400,
                "invalid_parameter",
            ),
        ],
    )
    .await;
    let key = send(api.client.get(format!("{}/v1/sessions?key={}", api.node.url, api.key))).await;
    key.refused(401, "invalid_api_key");
    assert!(!key.text.contains(&api.key));
}
