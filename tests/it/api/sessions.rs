//! Sessions by HTTP: from creation to the end, with the exact documents.

use chrono::{DateTime, TimeDelta};
use reqwest::Method;
use serde_json::{Value, json};

use super::shapes;
use crate::support::{Api, assert_keys, send, served};

fn at(value: &Value) -> DateTime<chrono::FixedOffset> {
    DateTime::parse_from_rfc3339(value.as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn create_answers_every_kind_with_its_session_and_token() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let full = json!({
        "kind": "user", "user": "ABEL.tuter", "remember_me": false, "device": "tablet", "client_address": "::ffff:203.0.113.7",
        "user_agent": "Firefox", "homepage_refresh_minutes": 5, "idle_limit_minutes": 10, "guest_token": null,
        "carry_attributes": false, "oauth_entity": null, "attributes": {"a": 1}
    });
    let created = api.post("/v1/sessions", &full).await.expect(201);
    assert_keys(&created, &["session", "token"]);
    shapes::session(&created["session"]);
    let session = &created["session"];
    let expected = [
        ("kind", json!("user")),
        ("user", json!("abel.tuter")),
        ("state", json!("live")),
        ("active", json!(false)),
        ("device", json!("tablet")),
        ("client_address", json!("203.0.113.7")),
        ("user_agent", json!("Firefox")),
        ("node", json!("node-1")),
        ("remember_me", json!(false)),
        ("residue", json!(false)),
        ("homepage_refresh_minutes", json!(5)),
        ("idle_limit_minutes", json!(10)),
        ("max_life_deadline_at", Value::Null),
        ("remember_me_deadline_at", Value::Null),
        ("ended_at", Value::Null),
        ("end_reason", Value::Null),
        ("ended_by", Value::Null),
        ("window_seconds", Value::Null),
        ("oauth_entity", Value::Null),
        ("app_state", Value::Null),
    ];
    for (name, value) in expected {
        assert_eq!(session[name], value, "{name}");
    }
    assert_eq!(at(&session["idle_deadline_at"]) - at(&session["last_activity_at"]), TimeDelta::minutes(10));
    assert_eq!(session["expires_at"], session["idle_deadline_at"]);
    assert!(created["token"].as_str().unwrap().starts_with("tn_"));

    let (guest, _) = api.create(&json!({"kind": "guest"})).await;
    shapes::session(&guest);
    assert_eq!((&guest["user"], &guest["device"]), (&Value::Null, &json!("desktop")));
    let (integration, _) = api.create(&json!({"kind": "integration", "user": "abel.tuter"})).await;
    shapes::session(&integration);
    assert_eq!(integration["device"], Value::Null);
    let (remembered, _) = api.create(&json!({"kind": "user", "user": "abel.tuter", "remember_me": true})).await;
    assert_eq!(remembered["idle_deadline_at"], Value::Null);
    assert_eq!(remembered["expires_at"], remembered["remember_me_deadline_at"]);
}

#[tokio::test]
async fn create_refuses_with_the_code_of_the_reason() {
    let api = Api::start().await;
    api.db
        .sql("insert into tenure.users (name, active, locked_out) values ('locked', true, true), ('inactive', false, false), ('abel.tuter', true, false)")
        .await;
    api.db.sql("update tenure.users set locked_out = false where name = 'inactive'").await;
    let cases = [
        (json!({"kind": "user", "user": "nobody"}), 404, "unknown_user"),
        (json!({"kind": "user", "user": "locked"}), 403, "user_locked_out"),
        (json!({"kind": "integration", "user": "locked"}), 403, "user_locked_out"),
        (json!({"kind": "user", "user": "inactive"}), 403, "user_inactive"),
        (json!({"kind": "mobile", "user": "abel.tuter"}), 422, "invalid_field"),
        (json!({"kind": "mobile", "user": "abel.tuter", "oauth_entity": "Nobody's"}), 404, "unknown_oauth_entity"),
        (json!({"kind": "guest", "user": "locked"}), 422, "field_not_for_kind"),
        (json!({"kind": "user"}), 422, "invalid_field"),
    ];
    for (body, status, code) in cases {
        shapes::problem(&api.post("/v1/sessions", &body).await.refused(status, code));
    }
    assert_eq!(api.db.count("select count(*) from tenure.sessions").await, 0);
}

#[tokio::test]
async fn check_counts_opens_transactions_and_tells_why_it_is_over() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let (session, token) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    let id = session["id"].as_str().unwrap().to_owned();
    api.db.advance(TimeDelta::minutes(29)).await;

    let passive = api.post("/v1/sessions/check", &json!({"token": token, "activity": "passive"})).await.expect(200);
    shapes::checked(&passive);
    assert_eq!(passive["session"]["last_activity_at"], session["last_activity_at"]);
    assert_eq!((&passive["prompt"], &passive["can_extend"]), (&json!(true), &json!(true)));

    let all = json!({"token": token, "activity": "user", "strict": true, "transaction": true});
    let counted = api.post("/v1/sessions/check", &all).await.expect(200);
    shapes::checked(&counted);
    assert_eq!(counted["session"]["active"], true);
    assert_eq!(counted["prompt"], false);
    assert!((1790..=1800).contains(&counted["seconds_left"].as_i64().unwrap()));
    assert!(at(&counted["session"]["last_activity_at"]) > at(&session["last_activity_at"]));
    // Others see it once it has lasted a flush interval.
    let begun = tokio::time::Instant::now();
    while api.get(&format!("/v1/sessions/{id}")).await.expect(200)["active"] == false {
        assert!(begun.elapsed() < std::time::Duration::from_secs(6), "never shown as active");
    }

    let close = format!("/v1/sessions/{id}/transactions/{}", counted["transaction_id"].as_str().unwrap());
    assert_eq!(api.delete(&close).await.expect(200), json!({"closed": 1}));
    assert_eq!(api.delete(&close).await.expect(200), json!({"closed": 0}));
    assert_eq!(api.get(&format!("/v1/sessions/{id}")).await.expect(200)["active"], false);
    api.delete(&format!("/v1/sessions/{id}/transactions/x")).await.refused(404, "unknown_transaction");

    api.post("/v1/sessions/check", &json!({"token": token, "activity": "task"})).await.refused(422, "activity_not_for_kind");
    api.db.advance(TimeDelta::minutes(31)).await;
    let over = api.post("/v1/sessions/check", &json!({"token": token, "activity": "ajax"})).await.refused(401, "session_ended");
    shapes::over(&over);
    assert_eq!((&over["reason"], &over["action"]), (&json!("idle"), &json!("prompt_to_continue")));
}

#[tokio::test]
async fn extend_and_rotate_and_sign_out() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let (session, old) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    api.db.advance(TimeDelta::minutes(10)).await;
    let extended = send(api.request(Method::POST, &format!("{path}/extend"))).await.expect(200);
    shapes::checked(&extended);
    assert!(extended["seconds_left"].as_i64().unwrap() >= 1790);

    let rotated = send(api.request(Method::POST, &format!("{path}/rotate"))).await.expect(200);
    assert_keys(&rotated, &["session", "token", "barrier"]);
    shapes::session(&rotated["session"]);
    shapes::barrier(&rotated["barrier"], &["node-1"]);
    api.check(&old).await.refused(401, "unknown_token");
    let token = rotated["token"].as_str().unwrap();
    api.check(token).await.expect(200);

    let out = send(api.request(Method::POST, &format!("{path}/sign-out"))).await.expect(200);
    assert_keys(&out, &["session", "guest", "token", "barrier"]);
    shapes::session(&out["session"]);
    shapes::session(&out["guest"]);
    shapes::barrier(&out["barrier"], &["node-1"]);
    assert_eq!((&out["session"]["end_reason"], &out["guest"]["residue"]), (&json!("signed_out"), &json!(true)));
    assert_eq!(api.check(token).await.refused(401, "session_ended")["reason"], "signed_out");
    api.check(out["token"].as_str().unwrap()).await.expect(200);

    assert_eq!(send(api.request(Method::POST, &format!("{path}/rotate"))).await.refused(409, "session_ended")["status"], 409);
    shapes::over(&send(api.request(Method::POST, &format!("{path}/extend"))).await.refused(401, "session_ended"));

    let (guest, _) = api.create(&json!({"kind": "guest"})).await;
    let out =
        send(api.request(Method::POST, &format!("/v1/sessions/{}/sign-out", guest["id"].as_str().unwrap()))).await.expect(200);
    assert_eq!((&out["guest"], &out["token"]), (&Value::Null, &Value::Null));
    for call in ["extend", "rotate", "sign-out"] {
        let unknown = format!("/v1/sessions/{}/{call}", uuid::Uuid::nil());
        send(api.request(Method::POST, &unknown)).await.refused(404, "unknown_session");
    }
}

#[tokio::test]
async fn a_remembered_session_cannot_be_extended() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let (session, _) = api.create(&json!({"kind": "user", "user": "abel.tuter", "remember_me": true})).await;
    let path = format!("/v1/sessions/{}/extend", session["id"].as_str().unwrap());
    send(api.request(Method::POST, &path)).await.refused(409, "cannot_extend");
}

#[tokio::test]
async fn terminate_show_explain_and_events_agree() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let (session, token) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    let explained = api.get(&format!("{path}/explain")).await.expect(200);
    assert_keys(&explained, &["session_id", "state", "binding", "candidates", "ended"]);
    assert_eq!((&explained["binding"], &explained["ended"]), (&json!("idle"), &Value::Null));
    for candidate in explained["candidates"].as_array().unwrap() {
        assert_keys(candidate, &["limit", "applies", "why", "deadline_at", "source", "name", "value", "unit", "inputs"]);
    }
    assert_eq!(explained["candidates"][0]["deadline_at"], session["expires_at"]);

    let receipt = api.delete(&path).await.expect(200);
    assert_keys(&receipt, &["terminated", "barrier"]);
    assert_eq!(receipt["terminated"], 1);
    shapes::barrier(&receipt["barrier"], &["node-1"]);
    let again = api.delete(&format!("{path}?barrier=false")).await.expect(200);
    assert_eq!(again, json!({"terminated": 0, "barrier": null}));

    let shown = api.get(&path).await.expect(200);
    shapes::session(&shown);
    assert_eq!((&shown["end_reason"], &shown["ended_by"]), (&json!("terminated"), &json!("tests")));
    let over = api.check(&token).await.refused(401, "session_ended");
    assert_eq!((&over["ended_at"], &over["action"]), (&shown["ended_at"], &json!("redirect_to_login")));
    let explained = api.get(&format!("{path}/explain")).await.expect(200);
    assert_keys(&explained["ended"], &["reason", "by", "at", "node"]);
    assert_eq!(explained["ended"], json!({"reason": "terminated", "by": "tests", "at": shown["ended_at"], "node": "node-1"}));

    let events = api.get(&format!("{path}/events")).await.expect(200);
    let events = shapes::page(&events);
    events.iter().for_each(shapes::event);
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["session_ended", "session_created"]);
    assert_eq!((&events[0]["actor"], &events[0]["reason"]), (&json!("tests"), &json!("terminated")));

    for unknown in [format!("/v1/sessions/{}", uuid::Uuid::nil()), "/v1/sessions/nonsense".to_owned()] {
        for suffix in ["", "/explain", "/events", "/attributes"] {
            api.get(&format!("{unknown}{suffix}")).await.refused(404, "unknown_session");
        }
        api.delete(&unknown).await.refused(404, "unknown_session");
    }
}

#[tokio::test]
async fn attributes_have_versions() {
    let api = Api::start().await;
    let (session, _) = api.create(&json!({"kind": "guest", "attributes": {"cart": [1], "theme": "dark"}})).await;
    let path = format!("/v1/sessions/{}/attributes", session["id"].as_str().unwrap());
    let first = api.get(&path).await;
    assert_eq!(first.expect(200), json!({"cart": [1], "theme": "dark"}));
    let tag = first.header("etag").unwrap().to_owned();

    let merged = send(api.request(Method::PATCH, &path).header("if-match", &tag).json(&json!({"cart": null, "n": 2}))).await;
    assert_eq!(merged.expect(200), json!({"theme": "dark", "n": 2}));
    assert_ne!(merged.header("etag").unwrap(), tag);
    for method in [Method::PUT, Method::PATCH] {
        for stale in [tag.as_str(), "\"99\"", "nonsense", "W/\"1\""] {
            let refused = send(api.request(method.clone(), &path).header("if-match", stale).json(&json!({"x": 1}))).await;
            refused.refused(412, "version_mismatch");
        }
    }
    assert_eq!(api.get(&path).await.expect(200), json!({"theme": "dark", "n": 2}));
    // One of a list is enough; a weak one never is (RFC 9110).
    let current = merged.header("etag").unwrap();
    let with = |tags: String| api.request(Method::PATCH, &path).header("if-match", tags).json(&json!({}));
    for stale in
        [format!("W/{current}"), format!("W/{current}, {tag}"), format!("{current}0"), String::new(), format!("*, {tag}")]
    {
        send(with(stale)).await.refused(412, "version_mismatch");
    }
    let listed = send(with(format!("{tag}, W/\"7\",{current}"))).await;
    let current = listed.header("etag").unwrap();
    listed.expect(200);
    send(with(tag.clone()).header("if-match", current)).await.expect(200);
    let replaced = send(api.request(Method::PUT, &path).header("if-match", "*").json(&json!({"only": true}))).await;
    assert_eq!(replaced.expect(200), json!({"only": true}));
    assert_eq!(api.put(&path, &json!({})).await.expect(200), json!({}));
}

/// Many change one session's attributes at once, each repeating its change with the version it finds: nothing is lost.
#[tokio::test]
async fn thirty_two_writers_with_if_match_lose_nothing() {
    let api = Api::start().await;
    let two = api.another("node-2").await;
    let (session, _) = api.create(&json!({"kind": "guest", "attributes": {"n": 0}})).await;
    let path = format!("/v1/sessions/{}/attributes", session["id"].as_str().unwrap());
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..32_usize {
        let nodes = [&api.node, &two];
        let to = |turn: usize, method| api.to(nodes[(number + turn) % 2], method, &path);
        // Requests of either node, made before the task takes them.
        let (reads, writes) = ([to(0, Method::GET), to(1, Method::GET)], [to(0, Method::PATCH), to(1, Method::PATCH)]);
        writers.spawn(async move {
            let mut tries = 0;
            for turn in (0..2).cycle() {
                tries += 1;
                let read = served(reads[turn].try_clone().unwrap()).await;
                let n = read.expect(200)["n"].as_i64().unwrap();
                let change = json!({"n": n + 1, format!("writer {number}"): n});
                let write = writes[1 - turn].try_clone().unwrap().header("if-match", read.header("etag").unwrap());
                let written = served(write.json(&change)).await;
                if written.status == 200 {
                    return tries;
                }
                written.refused(412, "version_mismatch");
            }
            unreachable!()
        });
    }
    let tries: usize = writers.join_all().await.into_iter().sum();
    let attributes = api.get(&path).await.expect(200);
    assert_eq!(attributes["n"], 32, "each counted once");
    let mut before: Vec<_> = (0..32).map(|number| attributes[format!("writer {number}")].as_i64().unwrap()).collect();
    before.sort_unstable();
    assert!(before.iter().copied().eq(0..32), "each over what another left: {before:?}");
    assert!(tries > 32, "they never met");
}
