//! Signing in by name and password.

use std::collections::BTreeSet;

use serde_json::json;

use super::shapes;
use crate::support::{Answer, Api, assert_keys};

const RIGHT: &str = "correct horse battery";

async fn start() -> Api {
    let api = Api::start().await;
    api.put("/v1/users/abel.tuter", &json!({"homepage_refresh_minutes": 5})).await.expect(201);
    set(&api, "abel.tuter", RIGHT).await.expect(200);
    api
}

async fn set(api: &Api, user: &str, password: &str) -> Answer {
    api.put(&format!("/v1/users/{user}/password"), &json!({"password": password})).await
}

async fn log_in(api: &Api, user: &str, password: &str) -> Answer {
    api.post("/v1/login", &json!({"user": user, "password": password})).await
}

#[tokio::test]
async fn the_right_password_starts_a_session_as_a_create_does() {
    let api = start().await;
    let created = log_in(&api, "ABEL.Tuter", RIGHT).await.expect(201);
    assert_keys(&created, &["session", "token"]);
    shapes::session(&created["session"]);
    let session = &created["session"];
    assert_eq!(
        (&session["kind"], &session["user"], &session["device"]),
        (&json!("user"), &json!("abel.tuter"), &json!("desktop"))
    );
    assert_eq!(session["homepage_refresh_minutes"], 5);
    api.check(created["token"].as_str().unwrap()).await.expect(200);

    // Every optional field of a create.
    let (guest, guest_token) = api.create(&json!({"kind": "guest", "attributes": {"cart": 3}})).await;
    let full = json!({
        "user": "abel.tuter", "password": RIGHT, "remember_me": true, "device": "tablet", "client_address": "203.0.113.7",
        "user_agent": "curl", "homepage_refresh_minutes": 7, "idle_limit_minutes": 9, "guest_token": guest_token,
        "carry_attributes": true, "attributes": {"theme": "dark"}
    });
    let session = api.post("/v1/login", &full).await.expect(201)["session"].clone();
    for (field, value) in [
        ("remember_me", json!(true)),
        ("device", json!("tablet")),
        ("client_address", json!("203.0.113.7")),
        ("user_agent", json!("curl")),
        ("homepage_refresh_minutes", json!(7)),
        ("idle_limit_minutes", json!(9)),
    ] {
        assert_eq!(session[field], value, "{field}");
    }
    let attributes = api.get(&format!("/v1/sessions/{}/attributes", session["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(attributes, json!({"cart": 3, "theme": "dark"}));
    let guest = api.get(&format!("/v1/sessions/{}", guest["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(guest["end_reason"], "signed_in");
    api.post("/v1/login", &json!({"user": "abel.tuter", "password": RIGHT, "idle_limit_minutes": 0}))
        .await
        .refused(422, "invalid_field");
}

/// Who does not know the password learns nothing: not whether there is such a user, nor how it is.
#[tokio::test]
async fn every_wrong_sign_in_gets_the_same_bytes() {
    let api = start().await;
    for (user, change) in [("locked.out", json!({"locked_out": true})), ("in.active", json!({"active": false}))] {
        api.put(&format!("/v1/users/{user}"), &json!({})).await.expect(201);
        set(&api, user, RIGHT).await.expect(200);
        api.patch(&format!("/v1/users/{user}"), &change).await.expect(200);
    }
    api.db.user("no.password").await;
    api.db.sql("insert into tenure.users (name, password_hash) values ('odd', 'md5:5f4dcc3b5aa765d61d8327deb882cf99'), ('empty', '')").await;
    let wrong = [
        ("abel.tuter", "wrong"),
        ("abel.tuter", ""),
        ("abel.tuter", "Correct horse battery"),
        ("abel.tuter", &"x".repeat(100_000)),
        ("nobody", RIGHT),
        ("no.password", RIGHT),
        ("no.password", ""),
        ("odd", "password"),
        ("empty", ""),
        ("locked.out", "wrong"),
        ("in.active", "wrong"),
    ];
    let mut answers = BTreeSet::new();
    for (user, password) in wrong {
        let answer = log_in(&api, user, password).await;
        shapes::problem(&answer.refused(401, "invalid_credentials"));
        answers.insert(answer.text);
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(api.db.count("select count(*) from tenure.sessions").await, 0);

    // Only the right password tells more.
    log_in(&api, "locked.out", RIGHT).await.refused(403, "user_locked_out");
    api.put("/v1/properties/tenure.lock_out_inactive_users", &json!({"value": "false"})).await.expect(200);
    api.patch("/v1/users/in.active", &json!({"locked_out": false})).await.expect(200);
    log_in(&api, "in.active", RIGHT).await.refused(403, "user_inactive");
    log_in(&api, "abel.tuter", RIGHT).await.expect(201);
}

#[tokio::test]
async fn a_new_password_replaces_the_old_one_and_ends_nothing() {
    let api = start().await;
    let token = log_in(&api, "abel.tuter", RIGHT).await.expect(201)["token"].as_str().unwrap().to_owned();
    let user = set(&api, "abel.tuter", "another password").await.expect(200);
    assert_keys(&user, &["name", "display_name", "active", "locked_out", "roles", "homepage_refresh_minutes"]);
    log_in(&api, "abel.tuter", RIGHT).await.refused(401, "invalid_credentials");
    log_in(&api, "abel.tuter", "another password").await.expect(201);
    api.check(&token).await.expect(200);
    set(&api, "nobody", RIGHT).await.refused(404, "unknown_user");

    // The same letters, typed on another keyboard.
    set(&api, "abel.tuter", "cafe\u{301} cr\u{e8}me").await.expect(200);
    log_in(&api, "abel.tuter", "caf\u{e9} cre\u{300}me").await.expect(201);
    // 8 and 128 characters, of whatever kind.
    for password in ["\u{0}\u{1}\n\t'\"\\;", &"\u{1d11e}".repeat(128)] {
        set(&api, "abel.tuter", password).await.expect(200);
        log_in(&api, "abel.tuter", password).await.expect(201);
    }

    let events = api.get("/v1/events?type=user_changed").await.expect(200);
    assert_eq!(events["items"].as_array().unwrap().len(), 5, "each change is on record, with who made it");
    assert!(
        events["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|event| event["actor"] == "tests" && event["details"] == json!({"password_set": true}))
    );
    let stored: Vec<String> =
        sqlx::query_scalar("select to_jsonb(e)::text from tenure.session_events e").fetch_all(api.db.pool()).await.unwrap();
    assert!(!stored.concat().contains("argon2"), "no event holds a hash");
    let put = api.put("/v1/users/abel.tuter", &json!({})).await.expect(200);
    assert!(!put.to_string().contains("argon2"));
    log_in(&api, "abel.tuter", &"\u{1d11e}".repeat(128)).await.expect(201);
}
