//! Forward-auth: what a proxy is told of a client's request.

use chrono::TimeDelta;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tenure::session::{Activity, EndReason};

use super::shapes;
use crate::support::{Answer, Api, send};

const COOKIE: &str = "__Host-tenure";

fn ask(api: &Api, path: &str) -> RequestBuilder {
    api.client.get(format!("{}{path}", api.node.url))
}

/// The question about a browser with this token.
async fn with_cookie(api: &Api, path: &str, token: &str) -> Answer {
    send(ask(api, path).header("cookie", format!("theme=dark; {COOKIE}={token}; lang=de"))).await
}

async fn last_activity(api: &Api, session: &Value) -> String {
    let id = session["id"].as_str().unwrap();
    // Memory counts first: the node that counted writes it down before it is asked for.
    api.node.manager.flush().await.unwrap();
    api.get(&format!("/v1/sessions/{id}")).await.expect(200)["last_activity_at"].to_string()
}

#[tokio::test]
async fn a_live_session_passes_with_its_identity_in_headers() {
    let api = Api::start().await;
    for name in ["abel.tuter", "Zoë 100%"] {
        api.db.user(name).await;
    }
    let (user, by_cookie) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    let passed = with_cookie(&api, "/v1/auth", &by_cookie).await;
    assert_eq!((passed.status, &*passed.text), (200, ""));
    assert_eq!(passed.header("x-tenure-user"), Some("abel.tuter"));
    assert_eq!(passed.header("x-tenure-session"), user["id"].as_str());
    assert_eq!(passed.header("x-tenure-kind"), Some("user"));
    assert_eq!(passed.header("cache-control"), Some("no-store"));
    for absent in ["x-tenure-reason", "x-tenure-action", "set-cookie"] {
        assert_eq!(passed.header(absent), None);
    }

    let (_, bearer) = api.create(&json!({"kind": "integration", "user": "Zoë 100%"})).await;
    let passed = send(ask(&api, "/v1/auth").bearer_auth(&bearer)).await;
    assert_eq!((passed.status, passed.header("x-tenure-user")), (200, Some("Zo%C3%AB%20100%25")));
    assert_eq!(passed.header("x-tenure-kind"), Some("integration"));

    // A guest has no name; the header is there all the same, so that a proxy puts it in the place of a client's own.
    let (_, guest) = api.create(&json!({"kind": "guest"})).await;
    let passed = with_cookie(&api, "/v1/auth", &guest).await;
    assert_eq!((passed.status, passed.header("x-tenure-user"), passed.header("x-tenure-kind")), (200, Some(""), Some("guest")));
}

/// Envoy asks with the client's method below the path and puts its query behind; other proxies add X-Forwarded-*.
#[tokio::test]
async fn any_path_below_asks_the_same_with_any_method() {
    let api = Api::start().await;
    let (_, token) = api.create(&json!({"kind": "guest"})).await;
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        let own = ["GET", "HEAD"].contains(&method).then_some("/v1/auth");
        let below = ["/v1/auth/", "/v1/auth/orders/7?activity=nonsense&q=1", "/v1/auth/v1/sessions"];
        for path in own.into_iter().chain(below) {
            let method: Method = method.parse().unwrap();
            let request = api.client.request(method.clone(), format!("{}{path}", api.node.url));
            let request = request.header("x-forwarded-uri", "/other").header("x-forwarded-user", "admin");
            let passed = send(request.try_clone().unwrap().bearer_auth(&token)).await;
            assert_eq!((passed.status, passed.header("x-tenure-kind")), (200, Some("guest")), "{method} {path}");
            assert_eq!(send(request).await.status, 401, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn rule_e3_nothing_but_a_live_session_passes_and_no_guest_is_made() {
    let api = Api::start().await;
    let mut answers = std::collections::BTreeSet::new();
    for request in [
        ask(&api, "/v1/auth"),
        ask(&api, "/v1/auth").header("cookie", "a=b"),
        ask(&api, "/v1/auth").header("cookie", COOKIE),
        ask(&api, "/v1/auth").header("cookie", format!("{COOKIE}=")),
        ask(&api, "/v1/auth").header("cookie", format!("{COOKIE}=tn_{}", "A".repeat(64))),
        ask(&api, "/v1/auth").header("cookie", format!("{COOKIE}={}", api.key)),
        ask(&api, "/v1/auth").bearer_auth(&api.key),
        ask(&api, "/v1/auth").bearer_auth(""),
        ask(&api, "/v1/auth").bearer_auth(format!("tn_{}", "A".repeat(64))),
        ask(&api, "/v1/auth").header("authorization", "Basic dXNlcjpwYXNz"),
        ask(&api, "/v1/auth").header("authorization", "tn_"),
        ask(&api, "/v1/auth?kind=guest"),
        ask(&api, "/v1/auth?kind=guest").bearer_auth(format!("tn_{}", "A".repeat(64))),
    ] {
        let refused = send(request).await;
        shapes::problem(&refused.refused(401, "unknown_token"));
        for absent in ["x-tenure-user", "x-tenure-session", "x-tenure-kind", "x-tenure-reason", "set-cookie"] {
            assert_eq!(refused.header(absent), None);
        }
        answers.insert(refused.text);
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(api.db.count("select count(*) from tenure.sessions").await, 0);
}

#[tokio::test]
async fn input_008_to_011_a_token_comes_once_and_never_in_the_url() {
    let api = Api::start().await;
    let (session, token) = api.create(&json!({"kind": "guest"})).await;
    let before = last_activity(&api, &session).await;
    let (_, other) = api.create(&json!({"kind": "guest"})).await;
    api.db.advance(TimeDelta::minutes(5)).await;
    let cookie = format!("{COOKIE}={token}");
    let cases = [
        ("8 two cookies", ask(&api, "/v1/auth").header("cookie", format!("{cookie}; {COOKIE}={other}")), "ambiguous_token"),
        ("8 the same twice", ask(&api, "/v1/auth").header("cookie", format!("{cookie}; {cookie}")), "ambiguous_token"),
        ("8 two headers", ask(&api, "/v1/auth").header("cookie", &cookie).header("cookie", &cookie), "ambiguous_token"),
        ("9 both", ask(&api, "/v1/auth").header("cookie", &cookie).bearer_auth(&token), "ambiguous_token"),
        ("9 beside a key", ask(&api, "/v1/auth").header("cookie", &cookie).bearer_auth(&api.key), "ambiguous_token"),
        ("9 beside Basic", ask(&api, "/v1/auth").header("cookie", &cookie).basic_auth("u", Some("p")), "ambiguous_token"),
        (
            "9 two bearers",
            ask(&api, "/v1/auth").bearer_auth(&token).header("authorization", format!("Bearer {token}")),
            "ambiguous_token",
        ),
        ("10 query", ask(&api, &format!("/v1/auth?token={token}")), "token_in_url"),
        ("10 beside the cookie", ask(&api, &format!("/v1/auth?{token}")).header("cookie", &cookie), "token_in_url"),
        ("10 below", ask(&api, &format!("/v1/auth/a?x=1&t={token}")).header("cookie", &cookie), "token_in_url"),
        ("10 any other word", ask(&api, "/v1/auth?token=x").header("cookie", &cookie), "invalid_parameter"),
        ("25 twice", ask(&api, "/v1/auth?activity=user&activity=user").header("cookie", &cookie), "invalid_parameter"),
        (
            "two activities",
            ask(&api, "/v1/auth")
                .header("cookie", &cookie)
                .header("x-tenure-activity", "ajax")
                .header("x-tenure-activity", "user"),
            "ambiguous_activity",
        ),
    ];
    for (name, request, code) in cases {
        let refused = send(request).await;
        assert_eq!((refused.status, &*refused.code()), (400, code), "{name}");
        assert!(!refused.text.contains(&token[3..]), "{name}: {}", refused.text);
        assert_eq!(refused.header("x-tenure-session"), None, "{name}");
    }
    assert_eq!(last_activity(&api, &session).await, before, "a refused request counted");
    // 11 the reverse: a session token is no key.
    send(ask(&api, "/v1/nodes").bearer_auth(&token)).await.refused(401, "invalid_api_key");
    send(ask(&api, "/v1/nodes").header("cookie", &cookie)).await.refused(401, "invalid_api_key");
}

/// A1: the route sets the strongest activity, the header can only weaken it.
#[tokio::test]
async fn rule_a1_the_weaker_of_route_and_header_counts() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    api.put("/v1/properties/glide.ui.auto_req.extend.session", &json!({"value": "false"})).await.expect(200);
    // With the property off a reload counts nothing (A5), so that each word is told apart by what it moves.
    let words = ["user", "ajax", "chat_poll", "auto_refresh", "passive"];
    for (strength, route) in words.iter().enumerate() {
        for (said, header) in words.iter().enumerate() {
            let (session, token) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
            api.db.advance(TimeDelta::seconds(20)).await;
            let before = last_activity(&api, &session).await;
            let request =
                ask(&api, &format!("/v1/auth?activity={route}")).bearer_auth(&token).header("x-tenure-activity", *header);
            assert_eq!(send(request).await.status, 200);
            let moved = last_activity(&api, &session).await != before;
            assert_eq!(moved, strength.max(said) < 3, "route {route}, header {header}");
        }
    }
    let (session, token) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    api.db.advance(TimeDelta::seconds(20)).await;
    let before = last_activity(&api, &session).await;
    for (path, header) in [("/v1/auth?activity=passive", None), ("/v1/auth", Some("passive")), ("/v1/auth/x", Some("passive"))] {
        let mut request = ask(&api, path).bearer_auth(&token);
        if let Some(header) = header {
            request = request.header("x-tenure-activity", header);
        }
        assert_eq!(send(request).await.status, 200);
        assert_eq!(last_activity(&api, &session).await, before, "{path}");
    }
    assert_eq!(with_cookie(&api, "/v1/auth", &token).await.status, 200);
    assert_ne!(last_activity(&api, &session).await, before, "without a word it is a browser action");
    for (path, header, code) in [
        ("/v1/auth?activity=nonsense", "user", "invalid_field"),
        ("/v1/auth", "nonsense", "invalid_field"),
        ("/v1/auth", "", "invalid_field"),
        ("/v1/auth", "foreground", "invalid_field"),
    ] {
        send(ask(&api, path).bearer_auth(&token).header("x-tenure-activity", header)).await.refused(422, code);
    }
}

#[tokio::test]
async fn a_route_may_be_closed_to_guests_and_other_kinds() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let (_, user) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    let (_, guest) = api.create(&json!({"kind": "guest"})).await;
    let (_, integration) = api.create(&json!({"kind": "integration", "user": "abel.tuter"})).await;
    assert_eq!(with_cookie(&api, "/v1/auth?kind=user", &user).await.status, 200);
    assert_eq!(with_cookie(&api, "/v1/auth?kind=user,integration&activity=ajax", &integration).await.status, 200);
    let refused = with_cookie(&api, "/v1/auth?kind=user", &guest).await;
    refused.refused(401, "sign_in_required");
    assert_eq!((refused.header("x-tenure-action"), refused.header("x-tenure-user")), (Some("redirect_to_login"), None));
    let refused = with_cookie(&api, "/v1/auth?kind=user", &integration).await;
    shapes::problem(&refused.refused(403, "kind_not_allowed"));
    assert_eq!(refused.header("x-tenure-user"), None);
    // Who does not pass did nothing that counts.
    let at = async || api.db.count("select sum(extract(epoch from anchor_at))::bigint from tenure.sessions").await;
    api.node.manager.flush().await.unwrap();
    let before = at().await;
    api.db.advance(chrono::TimeDelta::seconds(60)).await;
    with_cookie(&api, "/v1/auth?kind=user", &guest).await.refused(401, "sign_in_required");
    api.node.manager.flush().await.unwrap();
    assert_eq!(at().await, before);
    // Nor does a header speak for a mobile app.
    for state in ["foreground", "task", "background"] {
        let request = ask(&api, "/v1/auth").header("x-tenure-activity", state).bearer_auth(&user);
        send(request).await.refused(422, "invalid_field");
    }
    for kind in ["", "nobody", "user,", "user%20"] {
        with_cookie(&api, &format!("/v1/auth?kind={kind}"), &user).await.refused(400, "invalid_parameter");
    }
}

/// E1, the rows of the table in docs/SEMANTICS.md.
fn action(kind: &str, remember_me: bool, reason: EndReason, activity: Activity, prompt: bool, resubmit: bool) -> &'static str {
    let timed_out = ["idle", "max_life", "remember_me"].contains(&reason.as_str());
    match (kind, activity == Activity::Ajax && timed_out) {
        ("integration" | "mobile", _) => "authenticate_again",
        ("guest", _) => "start_guest_session",
        (_, false) => "redirect_to_login",
        (_, true) if resubmit && remember_me => "resubmit_after_login",
        (_, true) if prompt => "prompt_to_continue",
        (_, true) => "none",
    }
}

#[tokio::test]
async fn rule_e1_every_reason_kind_activity_and_property_over_the_wire() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    api.put("/v1/oauth-entities/Phone", &json!({})).await.expect(201);
    let mut ended = Vec::new();
    for (kind, remember_me) in [("user", false), ("user", true), ("guest", false), ("integration", false), ("mobile", false)] {
        let mut body = json!({"kind": kind});
        if kind == "mobile" {
            body["oauth_entity"] = json!("Phone");
        }
        if kind != "guest" {
            body["user"] = json!("abel.tuter");
        }
        if remember_me {
            body["remember_me"] = json!(true);
        }
        let (session, token) = api.create(&body).await;
        let id = session["id"].as_str().unwrap().to_owned();
        api.delete(&format!("/v1/sessions/{id}")).await.expect(200);
        ended.push((kind, remember_me, token));
    }
    let mut wrong = Vec::new();
    for (prompt, resubmit) in [(true, false), (true, true), (false, true), (false, false)] {
        for (name, value) in
            [("glide.security.csrf.handle.ajax.timeout", prompt), ("glide.security.auto.resubmit.ajax", resubmit)]
        {
            api.put(&format!("/v1/properties/{name}"), &json!({"value": value.to_string()})).await.expect(200);
        }
        for reason in EndReason::ALL {
            api.db.sql(&format!("update tenure.ended_sessions set end_reason = '{reason}'")).await;
            for (kind, remember_me, token) in &ended {
                for activity in Activity::ALL {
                    // No proxy says what a mobile app is doing; its application does.
                    let answer = if matches!(activity, Activity::Foreground | Activity::Task | Activity::Background) {
                        api.post("/v1/sessions/check", &json!({"token": token, "activity": activity})).await
                    } else {
                        let request = ask(&api, "/v1/auth").header("x-tenure-activity", activity.as_str());
                        send(request.bearer_auth(token)).await
                    };
                    let over = answer.refused(401, "session_ended");
                    shapes::over(&over);
                    let wanted = action(kind, *remember_me, *reason, *activity, prompt, resubmit);
                    let headers = (answer.header("x-tenure-reason"), answer.header("x-tenure-action"));
                    if headers != (Some(reason.as_str()), Some(wanted))
                        || over["reason"] != reason.as_str()
                        || over["action"] != wanted
                    {
                        wrong.push(format!(
                            "{kind} {remember_me} {reason} {activity} {prompt} {resubmit}: {wanted}, got {headers:?}"
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A session that runs out is refused from its deadline on, and told so by name.
#[tokio::test]
async fn rule_e1_a_session_that_ran_out_is_refused_with_its_reason() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let (_, token) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    assert_eq!(with_cookie(&api, "/v1/auth", &token).await.status, 200);
    api.db.advance(TimeDelta::minutes(31)).await;
    let refused = with_cookie(&api, "/v1/auth", &token).await;
    shapes::over(&refused.refused(401, "session_ended"));
    assert_eq!((refused.header("x-tenure-reason"), refused.header("x-tenure-action")), (Some("idle"), Some("redirect_to_login")));
    assert_eq!(refused.header("x-tenure-user"), None);
}

/// What fails is an error, never a pass: also while PostgreSQL refuses every statement.
#[tokio::test]
async fn a_failure_is_no_pass() {
    let api = Api::start().await;
    let (_, token) = api.create(&json!({"kind": "guest"})).await;
    api.db.sql("alter table tenure.sessions rename to hidden").await;
    let refused = with_cookie(&api, "/v1/auth", &token).await;
    assert!(refused.status >= 500, "{} {}", refused.status, refused.text);
    for absent in ["x-tenure-user", "x-tenure-session", "x-tenure-kind"] {
        assert_eq!(refused.header(absent), None);
    }
}
