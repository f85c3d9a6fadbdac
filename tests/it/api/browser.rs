//! What a browser asks for itself: with its cookie, without a key, and not for other sites.

use chrono::{DateTime, TimeDelta};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::shapes;
use crate::support::{Answer, Api, assert_keys, send};

const COOKIE: &str = "__Host-tenure";
const CHANGES: [&str; 3] = ["check", "extend", "sign-out"];

fn bare(api: &Api, path: &str) -> RequestBuilder {
    let method = if path == "session" { Method::GET } else { Method::POST };
    let request = api.client.request(method, format!("{}/v1/browser/{path}", api.node.url));
    if path == "check" { request.json(&json!({"activity": "user"})) } else { request }
}

/// A request of a page of the same origin.
fn page(api: &Api, path: &str, token: &str) -> RequestBuilder {
    bare(api, path)
        .header("cookie", format!("{COOKIE}={token}"))
        .header("sec-fetch-site", "same-origin")
        .header("x-tenure-client", "1")
}

async fn signed_in(api: &Api) -> (Value, String) {
    api.db.user("abel.tuter").await;
    api.create(&json!({"kind": "user", "user": "abel.tuter"})).await
}

async fn last_activity(api: &Api, token: &str) -> Value {
    send(page(api, "session", token)).await.expect(200)["session"]["last_activity_at"].clone()
}

/// No answer shows the token, and no cache keeps one.
fn discreet(answer: &Answer, token: &str) {
    assert!(!answer.text.contains(token) && !answer.text.contains("token_hash"), "{}", answer.text);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

/// The attributes of a set cookie, its value first.
fn cookie(answer: &Answer) -> Vec<String> {
    let mut set = answer.headers.get_all("set-cookie").iter();
    let (Some(one), None) = (set.next(), set.next()) else { panic!("not one cookie: {:?}", answer.headers) };
    one.to_str().unwrap().split("; ").map(str::to_owned).collect()
}

#[tokio::test]
async fn rule_a10_asking_counts_nothing_and_extending_moves_the_prompt() {
    let api = Api::start().await;
    let (session, token) = signed_in(&api).await;
    api.db.advance(TimeDelta::minutes(27)).await;
    let early = send(page(&api, "session", &token)).await;
    discreet(&early, &token);
    let early = early.expect(200);
    shapes::checked(&early);
    assert_eq!((&early["prompt"], &early["can_extend"]), (&json!(false), &json!(true)));
    assert_eq!(early["session"]["last_activity_at"], session["last_activity_at"]);
    let at = |value: &Value| DateTime::parse_from_rfc3339(value.as_str().unwrap()).unwrap();
    assert_eq!(at(&early["session"]["expires_at"]) - at(&early["prompt_at"]), TimeDelta::minutes(2));

    api.db.advance(TimeDelta::seconds(90)).await;
    // A cross-site page cannot set these headers, and asking needs none.
    let due = send(bare(&api, "session").header("cookie", format!("{COOKIE}={token}"))).await.expect(200);
    assert_eq!((&due["prompt"], &due["can_extend"]), (&json!(true), &json!(true)));
    assert!((80..=90).contains(&due["seconds_left"].as_i64().unwrap()), "{due}");

    let extended = send(page(&api, "extend", &token)).await;
    discreet(&extended, &token);
    let extended = extended.expect(200);
    shapes::checked(&extended);
    assert_eq!(extended["prompt"], false);
    assert!(extended["seconds_left"].as_i64().unwrap() >= 1795);
    api.db.advance(TimeDelta::minutes(27)).await;
    assert_eq!(send(page(&api, "session", &token)).await.expect(200)["prompt"], false);

    api.db.advance(TimeDelta::minutes(4)).await;
    for path in ["session", "check", "extend"] {
        let over = send(page(&api, path, &token)).await;
        discreet(&over, &token);
        shapes::over(&over.refused(401, "session_ended"));
        assert_eq!((over.header("x-tenure-reason"), over.header("x-tenure-action")), (Some("idle"), Some("redirect_to_login")));
    }
}

#[tokio::test]
async fn rule_a10_what_cannot_be_extended_says_so() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let (_, token) = api.create(&json!({"kind": "user", "user": "abel.tuter", "remember_me": true})).await;
    let live = send(page(&api, "session", &token)).await.expect(200);
    assert_eq!((&live["prompt"], &live["prompt_at"], &live["can_extend"]), (&json!(false), &Value::Null, &json!(false)));
    send(page(&api, "extend", &token)).await.refused(409, "cannot_extend");
}

#[tokio::test]
async fn rule_a1_a_page_reports_what_it_does() {
    let api = Api::start().await;
    let (_, token) = signed_in(&api).await;
    for (activity, counts) in [("passive", false), ("user", true), ("ajax", true), ("chat_poll", true), ("auto_refresh", true)] {
        api.db.advance(TimeDelta::seconds(20)).await;
        let before = last_activity(&api, &token).await;
        let answer = send(page(&api, "check", &token).json(&json!({"activity": activity}))).await;
        discreet(&answer, &token);
        shapes::checked(&answer.expect(200));
        assert_eq!(last_activity(&api, &token).await != before, counts, "{activity}");
    }
    for (activity, code) in [("foreground", "activity_not_for_kind"), ("nonsense", "invalid_field"), ("", "invalid_field")] {
        send(page(&api, "check", &token).json(&json!({"activity": activity}))).await.refused(422, code);
    }
    for body in [json!({}), json!({"activity": "user", "token": token}), json!({"activity": 1})] {
        send(page(&api, "check", &token).json(&body)).await.refused(400, "malformed_body");
    }
}

#[tokio::test]
async fn rule_k4_signing_out_leaves_a_guest_in_the_cookie() {
    let api = Api::start().await;
    let (_, token) = signed_in(&api).await;
    let out = send(page(&api, "sign-out", &token)).await;
    discreet(&out, &token);
    let left = out.expect(200);
    assert_keys(&left, &["session", "guest"]);
    assert_eq!((&left["session"]["end_reason"], &left["session"]["ended_by"]), (&json!("signed_out"), &json!("browser")));
    assert_eq!((&left["guest"]["kind"], &left["guest"]["residue"]), (&json!("guest"), &json!(true)));
    assert!(left["session"].get("node").is_none() && left["guest"].get("client_address").is_none());
    let set = cookie(&out);
    let guest = set[0].strip_prefix("__Host-tenure=").unwrap().to_owned();
    assert_eq!(set[1..], ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"], "until the browser ends");
    assert!(!out.text.contains(&guest), "the token is in the cookie alone");
    assert_eq!(out.header("clear-site-data"), None);
    assert_eq!(send(page(&api, "session", &token)).await.refused(401, "session_ended")["reason"], "signed_out");
    assert_eq!(send(page(&api, "session", &guest)).await.expect(200)["session"]["id"], left["guest"]["id"]);

    // A guest leaves nothing, so the cookie goes; and so it does when there is no live session any more.
    for (expected, token) in [(200, guest.clone()), (401, guest), (401, "tn_x".to_owned()), (401, String::new())] {
        let out = send(page(&api, "sign-out", &token)).await;
        assert_eq!(out.status, expected, "{}", out.text);
        assert_eq!(cookie(&out), ["__Host-tenure=", "Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=0"]);
        if expected == 200 {
            assert_eq!(out.json()["guest"], Value::Null);
        }
    }
}

#[tokio::test]
async fn input_028_other_sites_change_nothing() {
    let api = Api::start().await;
    let (_, token) = signed_in(&api).await;
    api.db.advance(TimeDelta::minutes(5)).await;
    let before = last_activity(&api, &token).await;
    let host = api.node.url.trim_start_matches("http://").to_owned();
    let own = format!("http://{host}");
    let cases: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("nothing", vec![]),
        ("only the header", vec![("x-tenure-client", "1")]),
        ("only the site", vec![("sec-fetch-site", "same-origin")]),
        ("only the origin", vec![("origin", &own)]),
        ("cross-site", vec![("sec-fetch-site", "cross-site"), ("x-tenure-client", "1")]),
        ("another subdomain", vec![("sec-fetch-site", "same-site"), ("x-tenure-client", "1")]),
        ("typed in", vec![("sec-fetch-site", "none"), ("x-tenure-client", "1")]),
        ("cross-site with a good origin", vec![("sec-fetch-site", "cross-site"), ("origin", &own), ("x-tenure-client", "1")]),
        ("another origin", vec![("origin", "https://evil.example"), ("x-tenure-client", "1")]),
        ("opaque origin", vec![("origin", "null"), ("x-tenure-client", "1")]),
        ("another port", vec![("origin", "http://127.0.0.1:1"), ("x-tenure-client", "1")]),
        ("two sites", vec![("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin"), ("x-tenure-client", "1")]),
        ("two origins", vec![("origin", &own), ("origin", &own), ("x-tenure-client", "1")]),
        ("wrong header", vec![("sec-fetch-site", "same-origin"), ("x-tenure-client", "2")]),
    ];
    for (name, headers) in cases {
        for path in CHANGES {
            let mut request = bare(&api, path).header("cookie", format!("{COOKIE}={token}"));
            for (header, value) in &headers {
                request = request.header(*header, *value);
            }
            let refused = send(request).await;
            shapes::problem(&refused.refused(403, "cross_site_request"));
            assert_eq!(refused.header("set-cookie"), None, "{name} {path}");
        }
    }
    // An image or a link asks with GET, and asking counts nothing; a preflight gets no permission.
    let image = bare(&api, "session").header("cookie", format!("{COOKIE}={token}")).header("sec-fetch-site", "cross-site");
    send(image).await.expect(200);
    for path in CHANGES {
        let url = format!("{}/v1/browser/{path}", api.node.url);
        let get = api.client.get(&url).header("cookie", format!("{COOKIE}={token}"));
        send(get).await.refused(405, "method_not_allowed");
        let preflight = api.client.request(Method::OPTIONS, &url).header("origin", "https://evil.example");
        let preflight = send(preflight.header("access-control-request-headers", "x-tenure-client")).await;
        assert_eq!(preflight.status, 405);
        assert!(preflight.headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "{:?}", preflight.headers);
    }
    assert_eq!(last_activity(&api, &token).await, before, "something counted");
    // A browser that says no Sec-Fetch-Site says its origin.
    for origin in [own.clone(), own.replace("http:", "https:")] {
        let old = bare(&api, "extend").header("cookie", format!("{COOKIE}={token}")).header("origin", origin);
        send(old.header("x-tenure-client", "1")).await.expect(200);
    }
}

#[tokio::test]
async fn input_008_to_011_the_token_is_in_the_cookie_alone() {
    let api = Api::start().await;
    let (_, token) = signed_in(&api).await;
    for path in ["session", "check", "extend", "sign-out"] {
        let whole = |cookie: String| {
            bare(&api, path).header("cookie", cookie).header("sec-fetch-site", "same-origin").header("x-tenure-client", "1")
        };
        let two = send(whole(format!("{COOKIE}={token}; {COOKIE}={token}"))).await;
        two.refused(400, "ambiguous_token");
        send(page(&api, path, &token).bearer_auth(&token)).await.refused(400, "ambiguous_token");
        send(page(&api, path, &token).bearer_auth(&api.key)).await.refused(400, "ambiguous_token");
        send(page(&api, path, &token).query(&[("token", &token)])).await.refused(400, "token_in_url");
        send(page(&api, path, &token).query(&[("activity", "user")])).await.refused(400, "token_in_url");
        send(page(&api, path, &api.key)).await.refused(401, "unknown_token");
        send(whole("other=1".to_owned()).bearer_auth(&token)).await.refused(401, "unknown_token");
    }
    send(page(&api, "session", &token)).await.expect(200);
}

#[tokio::test]
async fn the_script_is_small_cached_by_content_and_fit_for_a_strict_policy() {
    let api = Api::start().await;
    let url = format!("{}/client.js", api.node.url);
    let script = send(api.client.get(&url)).await;
    assert_eq!(script.status, 200);
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(script.header("cache-control"), Some("no-cache"));
    assert_eq!(script.header("x-content-type-options"), Some("nosniff"));
    assert!(script.text.len() < 9 * 1024, "{} bytes", script.text.len());
    for banned in ["eval(", "new Function", "innerHTML", "outerHTML", "document.write", ".style", "style=", "onclick", "import("]
    {
        assert!(!script.text.contains(banned), "{banned}");
    }
    let tag = script.header("etag").unwrap().to_owned();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let same = send(api.client.get(&url).header("if-none-match", &known)).await;
        assert_eq!((same.status, &*same.text, same.header("etag")), (304, "", Some(&*tag)), "{known}");
        assert_eq!(same.header("cache-control"), Some("no-cache"));
    }
    assert_eq!(send(api.client.get(&url).header("if-none-match", "\"x\"")).await.status, 200);
}

/// K3, A8: the sign-in of a browser puts the token into the cookie, for as long as Remember Me keeps the session, and what the
/// cookie held before is over.
#[tokio::test]
async fn rule_a8_signing_in_gives_the_cookie_that_remember_me_keeps() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    api.put("/v1/users/abel.tuter/password", &json!({"password": "correct horse"})).await.expect(200);
    let sign_in = |token: &str, body: Value| {
        let request = api.client.post(format!("{}/v1/browser/sign-in", api.node.url)).json(&body);
        request
            .header("cookie", format!("{COOKIE}={token}"))
            .header("sec-fetch-site", "same-origin")
            .header("x-tenure-client", "1")
            .header("user-agent", "Browser/1")
    };
    let right = json!({"user": "abel.tuter", "password": "correct horse"});
    let (_, guest) = api.create(&json!({"kind": "guest"})).await;
    let answer = send(sign_in(&guest, right.clone())).await;
    let body = answer.expect(201);
    assert_keys(&body, &["session"]);
    let set = cookie(&answer);
    let first = set[0].strip_prefix("__Host-tenure=").unwrap().to_owned();
    discreet(&answer, &first);
    assert!(!set.iter().any(|attribute| attribute.starts_with("Max-Age")), "{set:?}");
    assert_eq!(api.check(&guest).await.refused(401, "session_ended")["reason"], "signed_in");
    let shown = api.get(&format!("/v1/sessions/{}", body["session"]["id"].as_str().unwrap())).await.expect(200);
    assert_eq!((&shown["user_agent"], &shown["client_address"]), (&json!("Browser/1"), &json!("127.0.0.1")));

    // Signing in again ends the session before, and leaves no guest behind.
    let remembered = json!({"user": "abel.tuter", "password": "correct horse", "remember_me": true});
    let answer = send(sign_in(&first, remembered)).await;
    answer.expect(201);
    let set = cookie(&answer);
    assert!(set.contains(&format!("Max-Age={}", 15 * 24 * 3600)), "{set:?}");
    assert_eq!(api.check(&first).await.refused(401, "session_ended")["reason"], "signed_out");
    assert_eq!(api.db.count("select count(*) from tenure.sessions").await, 1);

    // What does not sign in gives no cookie and ends nothing.
    let second = set[0].strip_prefix("__Host-tenure=").unwrap().to_owned();
    for (body, status, code) in [
        (json!({"user": "abel.tuter", "password": "wrong horse"}), 401, "invalid_credentials"),
        (json!({"user": "nobody", "password": "correct horse"}), 401, "invalid_credentials"),
        (json!({"user": "abel.tuter"}), 400, "malformed_body"),
    ] {
        let answer = send(sign_in(&second, body)).await;
        answer.refused(status, code);
        assert!(answer.header("set-cookie").is_none());
    }
    let foreign = sign_in(&second, right.clone()).header("sec-fetch-site", "cross-site");
    send(foreign).await.refused(403, "cross_site_request");
    let bare = api.client.post(format!("{}/v1/browser/sign-in", api.node.url)).json(&right);
    send(bare).await.refused(403, "cross_site_request");
    api.check(&second).await.expect(200);
    for _ in 0..5 {
        send(sign_in("", json!({"user": "abel.tuter", "password": "wrong"}))).await;
    }
    let limited = send(sign_in("", right)).await;
    limited.refused(429, "too_many_requests");
    assert!(limited.header("retry-after").is_some());
}
