//! X5 and X3 through every door: what a sign-in beyond a limit and during maintenance is answered, and what clients are told.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Api, assert_instant, assert_keys, send};

const PASSWORD: &str = "correct horse battery";

async fn start() -> Api {
    let api = Api::start().await;
    for name in ["abel.tuter", "night.shift"] {
        let roles = if name == "night.shift" { json!(["admin"]) } else { json!([]) };
        api.put(&format!("/v1/users/{name}"), &json!({"roles": roles})).await.expect(201);
        api.put(&format!("/v1/users/{name}/password"), &json!({"password": PASSWORD})).await.expect(200);
    }
    api.put("/v1/oauth-entities/Mobile%20App", &json!({"public": true})).await.expect(201);
    api
}

async fn set(api: &Api, name: &str, value: &str) -> Value {
    api.put(&format!("/v1/properties/{name}"), &json!({"value": value})).await.expect(200)
}

/// A sign-in through every door of HTTP.
async fn every_door(api: &Api) -> Vec<Answer> {
    let browser = api.client.post(format!("{}/v1/browser/sign-in", api.node.url));
    let browser = browser.header("sec-fetch-site", "same-origin").header("x-tenure-client", "1");
    let keyed = api.request(Method::POST, "/v1/sessions").header("idempotency-key", "one");
    let user = json!({"kind": "user", "user": "abel.tuter"});
    vec![
        api.post("/v1/sessions", &user).await,
        send(keyed.json(&user)).await,
        api.post("/v1/login", &json!({"user": "abel.tuter", "password": PASSWORD})).await,
        send(browser.json(&json!({"user": "abel.tuter", "password": PASSWORD}))).await,
        api.post("/v1/sessions", &json!({"kind": "mobile", "user": "abel.tuter", "oauth_entity": "Mobile App"})).await,
        api.post("/v1/sessions", &json!({"kind": "integration", "user": "abel.tuter"})).await,
    ]
}

#[tokio::test]
async fn rule_x5_input_053_every_door_keeps_the_limit() {
    let api = start().await;
    for kind in ["user", "mobile", "integration"] {
        set(&api, &format!("tenure.{kind}.max_sessions"), "1").await;
        set(&api, &format!("tenure.{kind}.at_max_sessions"), "reject").await;
    }
    let mut tokens = Vec::new();
    for body in [
        json!({"kind": "user", "user": "abel.tuter"}),
        json!({"kind": "integration", "user": "abel.tuter"}),
        json!({"kind": "mobile", "user": "abel.tuter", "oauth_entity": "Mobile App"}),
    ] {
        tokens.push(api.create(&body).await.1);
    }
    for answer in every_door(&api).await {
        let problem = answer.refused(409, "session_limit_reached");
        assert!(problem["detail"].as_str().unwrap().contains("Sign out of one of them"), "{problem}");
        assert!(answer.header("set-cookie").is_none());
    }
    for token in &tokens {
        api.check(token).await.expect(200);
    }

    // Where a session makes room the answer says so, and no node accepts it any more.
    let other = api.another("node-2").await;
    set(&api, "tenure.user.at_max_sessions", "end_oldest").await;
    let check = |token: String| send(api.to(&other, Method::POST, "/v1/sessions/check").json(&json!({ "token": token })));
    check(tokens[0].clone()).await.expect(200);
    let keyed = || {
        api.request(Method::POST, "/v1/sessions")
            .header("idempotency-key", "two")
            .json(&json!({"kind": "user", "user": "abel.tuter"}))
    };
    let created = send(keyed()).await.expect(201);
    assert_keys(&created, &["session", "token", "ended", "barrier"]);
    assert_eq!(created["ended"], 1);
    assert_keys(&created["barrier"], &["acknowledged", "waited_out", "took_ms"]);
    assert_eq!(check(tokens[0].clone()).await.refused(401, "session_ended")["reason"], "concurrent_limit");
    // A repetition is the same session, and ends nothing.
    let again = send(keyed()).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let again = again.expect(201);
    assert_keys(&again, &["session", "token"]);
    assert_eq!(again["session"]["id"], created["session"]["id"]);
    assert_eq!(api.db.count("select count(*) from tenure.live where kind = 'user'").await, 1);
    other.manager.drain().await.unwrap();
}

#[tokio::test]
async fn rule_x3_every_door_is_closed_for_maintenance_and_clients_are_warned() {
    let api = start().await;
    let (_, token) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    let mobile = json!({"kind": "mobile", "user": "abel.tuter", "oauth_entity": "Mobile App"});
    let phone = api.post("/v1/sessions", &mobile).await.expect(201);
    let plain = api.check(&token).await.expect(200);
    assert!(plain.get("maintenance_at").is_none());
    let forward = |token: &str| send(api.client.get(format!("{}/v1/auth", api.node.url)).bearer_auth(token));
    assert_eq!(forward(&token).await.header("x-tenure-maintenance-at"), None);

    let at = api.db.now().await + chrono::TimeDelta::minutes(10);
    let property = set(&api, "tenure.maintenance_at", &at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)).await;
    assert!(property["barrier"].is_object());
    for answer in every_door(&api).await {
        let problem = answer.refused(503, "maintenance");
        assert_eq!(answer.header("retry-after"), Some("60"));
        assert!(problem["detail"].as_str().unwrap().contains("begins at 20"), "{problem}");
    }
    api.post("/v1/sessions", &json!({"kind": "guest"})).await.refused(503, "maintenance");
    api.post("/v1/login", &json!({"user": "abel.tuter", "password": "wrong"})).await.refused(401, "invalid_credentials");
    api.post("/v1/login", &json!({"user": "night.shift", "password": PASSWORD})).await.expect(201);
    for probe in ["/healthz", "/readyz"] {
        assert_eq!(send(api.client.get(format!("{}{probe}", api.node.url))).await.status, 200, "{probe}");
    }

    // From memory and from the database alike.
    for strict in [false, true] {
        let checked = api.post("/v1/sessions/check", &json!({"token": token, "strict": strict})).await.expect(200);
        assert_instant(&checked["maintenance_at"]);
        assert_eq!(checked["maintenance_at"], checked["session"]["expires_at"]);
        assert_eq!((&checked["can_extend"], &checked["prompt_at"]), (&json!(false), &Value::Null));
    }
    let warned = forward(&token).await;
    assert_eq!(warned.status, 200);
    assert!(warned.header("x-tenure-maintenance-at").unwrap().ends_with('Z'));

    // A refresh is no sign-in.
    let form =
        format!("grant_type=refresh_token&client_id=mobile-app&refresh_token={}", phone["refresh_token"].as_str().unwrap());
    let redeem = api.client.post(format!("{}/oauth/token", api.node.url)).body(form);
    let tokens = send(redeem.header("content-type", "application/x-www-form-urlencoded")).await.expect(200);

    api.db.advance(chrono::TimeDelta::minutes(11)).await;
    for token in [&token, tokens["access_token"].as_str().unwrap()] {
        assert_eq!(api.check(token).await.refused(401, "session_ended")["reason"], "maintenance");
    }
    assert!(
        api.post("/v1/sessions", &json!({"kind": "guest"})).await.refused(503, "maintenance")["detail"]
            .as_str()
            .unwrap()
            .contains("began at")
    );
    api.delete("/v1/properties/tenure.maintenance_at").await.expect(200);
    api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
}
