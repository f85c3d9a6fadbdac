//! OAuth over the wire, as the libraries of others speak it.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{Answer, Api, assert_keys, send};

/// A node with a public and a confidential client application, and a mobile session of the public one.
async fn start() -> (Api, Value, String) {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let entity = api.put("/v1/oauth-entities/Mobile%20App", &json!({"access_token_lifespan": 600})).await.expect(201);
    assert_eq!(
        entity,
        json!({"name": "Mobile App", "client_id": "mobile-app", "public": true, "access_token_lifespan": 600, "refresh_token_lifespan": 8_640_000})
    );
    let entity = api.put("/v1/oauth-entities/Backend", &json!({"public": false, "client_id": "back.end"})).await.expect(201);
    let secret = entity["client_secret"].as_str().unwrap().to_owned();
    let body = json!({"kind": "mobile", "user": "abel.tuter", "oauth_entity": "Mobile App"});
    let created = api.post("/v1/sessions", &body).await.expect(201);
    assert_keys(&created, &["session", "token", "access_token", "refresh_token", "token_type", "expires_in"]);
    assert_eq!((&created["token_type"], &created["expires_in"]), (&json!("Bearer"), &json!(600)));
    assert_eq!(created["session"]["device"], "app");
    (api, created, secret)
}

fn form(api: &Api, path: &str, pairs: &[(&str, &str)]) -> RequestBuilder {
    let body: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", value.replace(' ', "+"))).collect();
    api.client
        .post(format!("{}{path}", api.node.url))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.join("&"))
}

/// An error as RFC 6749, section 5.2, has it.
#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str) {
    let body = answer.expect(status);
    assert_keys(&body, &["error", "error_description"]);
    assert_eq!(body["error"], error, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
}

#[tokio::test]
async fn a_refresh_token_is_redeemed_rotated_and_its_replay_ends_the_session() {
    let (api, created, _) = start().await;
    let first = created["refresh_token"].as_str().unwrap();
    let refresh = async |token: &str| {
        send(form(
            &api,
            "/oauth/token",
            &[("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "mobile-app")],
        ))
        .await
    };
    let answer = refresh(first).await;
    let tokens = answer.expect(200);
    assert_keys(&tokens, &["access_token", "token_type", "expires_in", "refresh_token"]);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let second = tokens["refresh_token"].as_str().unwrap();
    api.check(tokens["access_token"].as_str().unwrap()).await.expect(200);
    assert_eq!(refresh(first).await.expect(200)["refresh_token"], second, "the answer may have been lost");

    api.db.advance(chrono::TimeDelta::seconds(601)).await;
    api.check(tokens["access_token"].as_str().unwrap()).await.refused(401, "token_expired");
    refused(&refresh(first).await, 400, "invalid_grant");
    let over = api.check(created["token"].as_str().unwrap()).await.refused(401, "session_ended");
    assert_eq!((&over["reason"], &over["action"]), (&json!("token_reuse"), &json!("authenticate_again")));
    let answer = refresh(second).await;
    refused(&answer, 400, "invalid_grant");
    assert!(answer.text.contains("token_reuse"), "{}", answer.text);
}

#[tokio::test]
async fn clients_prove_who_they_are_one_way() {
    let (api, created, secret) = start().await;
    let token = created["access_token"].as_str().unwrap();
    let ask = |pairs: &[(&str, &str)]| form(&api, "/oauth/introspect", &[&[("token", token)], pairs].concat());
    for (what, request) in [
        ("nobody", ask(&[])),
        ("a public client may not look into tokens", ask(&[("client_id", "mobile-app")])),
        ("an unknown client", ask(&[("client_id", "nobody"), ("client_secret", "x")])),
        ("a wrong secret", ask(&[("client_id", "back.end"), ("client_secret", "x")])),
        ("no secret", ask(&[("client_id", "back.end")])),
        ("a wrong secret by Basic", ask(&[]).basic_auth("back.end", Some("x"))),
        ("no secret by Basic", ask(&[]).basic_auth("back.end", Some(""))),
        ("half of Basic", ask(&[]).header("authorization", "Basic eA==")),
        ("no base64", ask(&[]).header("authorization", "Basic ???")),
        ("another scheme", ask(&[]).header("authorization", "Digest x")),
    ] {
        let answer = send(request).await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.text);
        refused(&answer, 401, "invalid_client");
    }
    let twice = ask(&[("client_secret", &secret)]).basic_auth("back.end", Some(&secret));
    refused(&send(twice).await, 400, "invalid_request");
    send(ask(&[]).bearer_auth("tnk_wrong")).await.refused(401, "invalid_api_key");

    // A confidential client learns of its own tokens only; an application with a key of any.
    let quiet = json!({"active": false});
    for request in [ask(&[]).basic_auth("back.end", Some(&secret)), ask(&[("client_id", "back.end"), ("client_secret", &secret)])]
    {
        assert_eq!(send(request).await.expect(200), quiet);
    }
    let found = send(ask(&[]).bearer_auth(&api.key)).await.expect(200);
    assert_keys(&found, &["active", "client_id", "username", "sub", "token_type", "iat", "exp", "session_id"]);
    assert_eq!(
        (&found["active"], &found["username"], &found["client_id"]),
        (&json!(true), &json!("abel.tuter"), &json!("mobile-app"))
    );
    assert_eq!(found["exp"].as_i64().unwrap() - found["iat"].as_i64().unwrap(), 600);
    assert_eq!(found["session_id"], created["session"]["id"]);
    let unknown = form(&api, "/oauth/introspect", &[("token", "tna_x")]).bearer_auth(&api.key);
    assert_eq!(send(unknown).await.expect(200), quiet);

    // RFC 7009: whatever the token was, it is void now.
    for token in ["x", created["access_token"].as_str().unwrap(), created["refresh_token"].as_str().unwrap()] {
        let revoke =
            form(&api, "/oauth/revoke", &[("token", token), ("client_id", "mobile-app"), ("token_type_hint", "unheard_of")]);
        assert_eq!(send(revoke).await.status, 200);
    }
    assert_eq!(api.check(created["token"].as_str().unwrap()).await.refused(401, "session_ended")["reason"], "signed_out");
}

/// Cases 71 to 74 of bad input, and what RFC 6749 asks of a token endpoint.
#[tokio::test]
async fn input_071_to_074_oauth() {
    let (api, created, secret) = start().await;
    let token = created["refresh_token"].as_str().unwrap();
    let base = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "mobile-app")];
    let with = |name: &str, value: &str| -> Vec<(String, String)> {
        let others =
            base.iter().filter(|(other, _)| *other != name).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        others.chain(std::iter::once((name.to_owned(), value.to_owned()))).collect()
    };
    let before = api.db.count("select count(*) from tenure.session_events").await;
    for (number, pairs, status, error) in [
        ("71 another client's", with("client_id", "back.end"), 401, "invalid_client"),
        ("71 not a refresh token", with("refresh_token", created["access_token"].as_str().unwrap()), 400, "invalid_grant"),
        ("71 a session token", with("refresh_token", created["token"].as_str().unwrap()), 400, "invalid_grant"),
        ("71 no token", with("refresh_token", ""), 400, "invalid_request"),
        ("72 a wider scope", with("scope", "admin"), 400, "invalid_scope"),
        ("73 password", with("grant_type", "password"), 400, "unsupported_grant_type"),
        ("73 code", with("grant_type", "authorization_code"), 400, "unsupported_grant_type"),
        ("73 implicit", with("grant_type", "implicit"), 400, "unsupported_grant_type"),
        ("73 none", with("grant_type", ""), 400, "invalid_request"),
        ("a client with a NUL", with("client_id", "a%00b"), 401, "invalid_client"),
        ("no UTF-8", with("client_id", "%ff"), 401, "invalid_client"),
    ] {
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = send(form(&api, "/oauth/token", &pairs)).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(error)), "{number}: {}", answer.text);
        refused(&answer, status, error);
    }
    let own = form(
        &api,
        "/oauth/token",
        &with("client_id", "back.end").iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>(),
    );
    let own = own.basic_auth("back.end", Some(&secret));
    refused(&send(own).await, 400, "invalid_grant");
    let twice = form(&api, "/oauth/token", &[base[0], base[1], base[1], base[2]]);
    refused(&send(twice).await, 400, "invalid_request");
    let in_query = form(&api, &format!("/oauth/token?client_secret={secret}"), &base);
    let answer = send(in_query).await;
    refused(&answer, 400, "invalid_request");
    assert!(!answer.text.contains(&secret), "74");
    refused(
        &send(api.client.post(format!("{}/oauth/token", api.node.url)).json(&json!({"grant_type": "refresh_token"}))).await,
        400,
        "invalid_request",
    );
    let large = form(&api, "/oauth/token", &[("grant_type", &"x".repeat(200 << 10))]);
    refused(&send(large).await, 413, "invalid_request");
    assert_eq!(api.db.count("select count(*) from tenure.session_events").await, before, "something was changed");
    send(form(&api, "/oauth/token", &base)).await.expect(200);
}

#[tokio::test]
async fn entities_are_listed_shown_changed_and_deleted() {
    let (api, created, _) = start().await;
    let page = api.get("/v1/oauth-entities?limit=1").await.expect(200);
    assert_keys(&page, &["items", "next"]);
    let rest = api.get(&format!("/v1/oauth-entities?limit=1&after={}", page["next"].as_str().unwrap())).await.expect(200);
    assert_eq!(
        (&page["items"][0]["name"], &rest["items"][0]["name"], &rest["next"]),
        (&json!("Backend"), &json!("Mobile App"), &Value::Null)
    );
    let changed = api.put("/v1/oauth-entities/Mobile%20App", &json!({"refresh_token_lifespan": 60})).await.expect(200);
    assert_eq!((&changed["access_token_lifespan"], &changed["refresh_token_lifespan"]), (&json!(600), &json!(60)));
    assert_eq!(api.get("/v1/oauth-entities/Mobile%20App").await.expect(200), changed);
    api.put("/v1/oauth-entities/X", &json!({"client_secret": "chosen"})).await.refused(400, "malformed_body");
    api.put("/v1/oauth-entities/X", &json!({"access_token_lifespan": 0})).await.refused(422, "invalid_field");
    api.delete("/v1/oauth-entities/Mobile%20App").await.refused(409, "oauth_entity_has_sessions");
    api.delete(&format!("/v1/sessions/{}", created["session"]["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(api.delete("/v1/oauth-entities/Mobile%20App").await.expect(200), changed);
    api.get("/v1/oauth-entities/Mobile%20App").await.refused(404, "unknown_oauth_entity");
}

#[tokio::test]
async fn an_app_reports_its_state() {
    let (api, created, _) = start().await;
    let path = format!("/v1/sessions/{}/app-state", created["session"]["id"].as_str().unwrap());
    for state in ["foreground", "task", "background"] {
        let seen = api.post(&path, &json!({"state": state})).await.expect(200);
        assert_eq!(seen["session"]["app_state"], state);
        crate::support::assert_instant(&seen["session"]["app_state_at"]);
    }
    api.post(&path, &json!({"state": "passive"})).await.refused(422, "invalid_field");
    api.post(&path, &json!({})).await.refused(400, "malformed_body");
    let (guest, _) = api.create(&json!({"kind": "guest"})).await;
    let path = format!("/v1/sessions/{}/app-state", guest["id"].as_str().unwrap());
    api.post(&path, &json!({"state": "task"})).await.refused(422, "activity_not_for_kind");
    send(api.request(Method::POST, "/v1/sessions/x/app-state").json(&json!({"state": "task"})))
        .await
        .refused(404, "unknown_session");
}
