//! Rate limits over HTTP: what is limited, and who is not concerned. The exact rates are shown where they are defined.

use std::time::Duration;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::json;
use tenure::session::{ApiKey, Role, TokenParts};
use tenure::store::Actor;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::support::{Answer, Api, send, served};

#[track_caller]
fn limited(answer: &Answer) {
    answer.refused(429, "too_many_requests");
    let seconds: u64 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!((1..=13).contains(&seconds), "{seconds}");
}

async fn log_in(api: &Api, user: &str, password: &str) -> Answer {
    api.post("/v1/login", &json!({"user": user, "password": password, "client_address": "203.0.113.7"})).await
}

#[tokio::test]
async fn wrong_passwords_are_limited_and_right_ones_are_not() {
    let api = Api::start().await;
    for user in ["abel.tuter", "beth.anglin"] {
        api.put(&format!("/v1/users/{user}"), &json!({})).await.expect(201);
        api.put(&format!("/v1/users/{user}/password"), &json!({"password": "the right one"})).await.expect(200);
    }
    for _ in 0..12 {
        log_in(&api, "beth.anglin", "the right one").await.expect(201);
    }
    let mut wrong = 0;
    let last = loop {
        let answer = log_in(&api, "abel.tuter", "a wrong one").await;
        if answer.status != 401 {
            break answer;
        }
        wrong += 1;
        assert!(wrong < 50, "never limited");
    };
    limited(&last);
    assert!(wrong >= 5, "{wrong}");
    limited(&log_in(&api, "ABEL.tuter", "the right one").await);
    log_in(&api, "beth.anglin", "the right one").await.expect(201);
    // The sign-ins of an application that keeps its own passwords are its own to limit.
    api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
}

#[tokio::test]
async fn a_flood_of_unknown_tokens_keeps_nobody_signed_out() {
    let api = Api::start().await;
    let (_, token) = api.create(&json!({"kind": "guest"})).await;
    api.check(&token).await.expect(200);
    // Two minutes before its end memory lets nobody through without a click: PostgreSQL is asked, for it may know of one.
    api.put("/v1/users/abel.tuter", &json!({})).await.expect(201);
    let (_, ending) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    api.check(&ending).await.expect(200);
    api.db.advance(TimeDelta::minutes(28)).await;
    let (_, other) = api.db.store.create_key("other", Role::App, Actor("setup")).await.unwrap();
    let mut flood = JoinSet::new();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    for task in 0..16 {
        let (client, key, url) = (api.client.clone(), api.key.clone(), format!("{}/v1/sessions/check", api.node.url));
        let told = told.clone();
        flood.spawn(async move {
            for n in 0_u128.. {
                let unknown = TokenParts::new().for_session(uuid::Uuid::from_u128(task << 64 | n));
                let answer = served(client.post(&url).bearer_auth(&key).json(&json!({"token": unknown.reveal()}))).await;
                if answer.status == 429 {
                    let _ = told.send(answer);
                    // Still a flood; without a breath it would be the processors that are fought for.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                } else {
                    answer.refused(401, "unknown_token");
                }
            }
        });
    }
    limited(&timeout(Duration::from_secs(30), heard.recv()).await.expect("a flood is limited").unwrap());
    // While it lasts a remembered session is answered, time and again: a token of the bucket would be luck. A busy machine may
    // cost the node its lease for a moment.
    let begun = Instant::now();
    let mut in_a_row = 0;
    while in_a_row < 20 {
        assert!(begun.elapsed() < Duration::from_mins(1), "a remembered session was refused");
        let looked = api.post("/v1/sessions/check", &json!({"token": ending, "activity": "passive"})).await;
        in_a_row = if api.check(&token).await.status == 200 && looked.status == 200 { in_a_row + 1 } else { 0 };
    }
    // And so are what is no token at all, and other applications.
    api.check("nonsense").await.refused(401, "unknown_token");
    let unknown = TokenParts::new().for_session(uuid::Uuid::nil());
    let request = api.client.post(format!("{}/v1/sessions/check", api.node.url)).bearer_auth(other.reveal());
    send(request.json(&json!({"token": unknown.reveal()}))).await.refused(401, "unknown_token");
    flood.abort_all();
    while let Some(ended) = flood.join_next().await {
        assert!(ended.is_err_and(|error| error.is_cancelled()), "an answer of the flood was neither");
    }
}

#[tokio::test]
async fn a_flood_of_unknown_keys_keeps_no_application_out() {
    let api = Api::start().await;
    api.get("/v1/nodes").await.expect(200);
    let (_, fresh) = api.db.store.create_key("fresh", Role::Admin, Actor("setup")).await.unwrap();
    let with = |key: &ApiKey| api.client.request(Method::GET, format!("{}/v1/nodes", api.node.url)).bearer_auth(key.reveal());
    let mut refused = 0;
    let last = loop {
        let answer = send(with(&ApiKey::new())).await;
        if answer.status != 401 {
            break answer;
        }
        answer.refused(401, "invalid_api_key");
        refused += 1;
        assert!(refused < 50_000, "never limited");
    };
    limited(&last);
    assert!(refused >= 500, "{refused}");
    api.get("/v1/nodes").await.expect(200);
    // What needs no look-up is answered as ever, and a key of which the node does not know yet soon.
    let url = format!("{}/v1/nodes", api.node.url);
    send(api.client.get(url).bearer_auth("tnk_nonsense")).await.refused(401, "invalid_api_key");
    let begun = Instant::now();
    while send(with(&fresh)).await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(4), "never let in");
    }
}
