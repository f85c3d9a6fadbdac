//! Signing in and out, and whose sessions open the console.

use reqwest::Method;
use serde_json::json;
use tokio::time::{Duration, timeout};

use super::super::{Console, page, sent_to};
use super::{PASSWORD, live, user};
use crate::support::Api;

#[tokio::test]
async fn who_signs_in_has_a_session_like_any_other() {
    let api = Api::start().await;
    user(&api, "abel.tuter", &["admin"]).await;
    let stranger = Console::stranger(&api.node);
    let fields = [("user", "Abel.Tuter"), ("password", PASSWORD), ("next", "/console/sessions?kind=user")];
    let answer = stranger.post("/console/sign-in", &fields).await;
    sent_to(&answer, "/console/sessions?kind=user");
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"), "until the browser ends: {cookie}");
    let token = cookie.split(['=', ';']).nth(1).unwrap().to_owned();
    assert!(!answer.text.contains(&token));
    let console = Console { token, ..stranger };
    let sessions = live(&api, "abel.tuter").await;
    assert_eq!((sessions.len(), &sessions[0]["kind"], &sessions[0]["remember_me"]), (1, &json!("user"), &json!(false)));
    assert_eq!(sessions[0]["client_address"], "127.0.0.1");

    // Again in the same browser: the session before is over. Out: the session is over, and no guest is left.
    let answer = console.post("/console/sign-in", &fields).await;
    let token = answer.header("set-cookie").unwrap().split(['=', ';']).nth(1).unwrap().to_owned();
    assert_eq!(live(&api, "abel.tuter").await.len(), 1);
    sent_to(&console.get("/console/sessions").await, "/console/sign-in?reason=signed_out&next=/console/sessions");
    let console = Console { token, ..console };
    page(&console.get("/console/sessions").await, 200);
    let answer = console.post("/console/sign-out", &[]).await;
    sent_to(&answer, "/console/sign-in?reason=signed_out");
    assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(api.get("/v1/sessions").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn who_may_not_sign_in_gets_no_session_and_is_told_why() {
    let api = Api::start().await;
    for (name, roles) in [("abel.tuter", &["admin"][..]), ("bow.ruggeri", &[]), ("don.goodliffe", &["app"])] {
        user(&api, name, roles).await;
    }
    let stranger = Console::stranger(&api.node);
    let attempt =
        async |name: &str, password: &str| stranger.post("/console/sign-in", &[("user", name), ("password", password)]).await;
    for (name, password, status, said) in [
        ("abel.tuter", "wrong", 401, "The user name or the password is wrong."),
        ("nobody", PASSWORD, 401, "The user name or the password is wrong."),
        ("bow.ruggeri", PASSWORD, 403, "you have no role for the console"),
        ("don.goodliffe", PASSWORD, 403, "you have no role for the console"),
        ("", "", 422, ""),
    ] {
        let answer = attempt(name, password).await;
        assert!(page(&answer, status).contains(said), "{name}: {}", answer.text);
        assert!(answer.header("set-cookie").is_none() && !answer.text.contains(PASSWORD));
    }
    // Nor does the attempt cost them a session they have.
    api.put("/v1/properties/tenure.user.max_sessions", &json!({ "value": "1" })).await.expect(200);
    let (session, token) = api.create(&json!({"kind": "user", "user": "bow.ruggeri"})).await;
    page(&attempt("bow.ruggeri", PASSWORD).await, 403);
    api.check(&token).await.expect(200);
    api.delete(&format!("/v1/sessions/{}", session["id"].as_str().unwrap())).await.expect(200);
    api.patch("/v1/users/abel.tuter", &json!({"locked_out": true})).await.expect(200);
    page(&attempt("abel.tuter", PASSWORD).await, 403);
    assert_eq!(api.get("/v1/sessions").await.expect(200)["items"], json!([]));
    // Guessing is limited as it is everywhere.
    for _ in 0..5 {
        attempt("bow.ruggeri", "wrong").await;
    }
    let limited = attempt("bow.ruggeri", "wrong").await;
    assert!(page(&limited, 429).contains("Ask again in"), "{}", limited.text);
    assert!(limited.header("retry-after").is_some(), "programs are told too");
}

#[tokio::test]
async fn no_key_of_an_application_opens_the_console() {
    let api = Api::start().await;
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    page(&console.get("/console/keys").await, 200);
    // An application may sign anybody in, an administrator too.
    let (_, token) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    let forged = Console { token, ..Console::stranger(&api.node) };
    sent_to(&forged.get("/console/keys").await, "/console/sign-in?next=/console/keys");
    // It may renew any token.
    let rotated = api.post(&format!("/v1/sessions/{}/rotate", console.session), &json!({})).await.expect(200);
    let stolen = Console { token: rotated["token"].as_str().unwrap().to_owned(), ..Console::stranger(&api.node) };
    sent_to(&stolen.get("/console/keys").await, "/console/sign-in?next=/console/keys");
}

#[tokio::test]
async fn fault_c50_the_stream_of_a_page_ends_with_its_session() {
    let api = Api::start().await;
    let console = Console::of(&api, "abel.tuter", &["reporter"]).await;
    let mut stream = console.request(Method::GET, "/console/live").send().await.unwrap();
    assert_eq!((stream.status().as_u16(), &stream.headers()["content-type"]), (200, &"text/event-stream".parse().unwrap()));
    let soon = Duration::from_secs(20);
    let (session, _) = api.create(&json!({"kind": "guest"})).await;
    let mut heard = String::new();
    while !heard.contains(session["id"].as_str().unwrap()) {
        heard += std::str::from_utf8(&timeout(soon, stream.chunk()).await.unwrap().unwrap().expect("it goes on")).unwrap();
    }
    assert!(heard.contains("event: session_created"), "{heard}");
    api.delete(&format!("/v1/sessions/{}", console.session)).await.expect(200);
    while timeout(soon, stream.chunk()).await.expect("it ends").unwrap().is_some() {}
}
