//! What forms do, and for whom.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tenure::store::{Actor, Expect, UserPatch};
use tokio::time::{Duration, timeout};

use super::{Console, fields, page, sent_to};
use crate::support::{Api, send};

const PASSWORD: &str = "correct horse battery";

async fn user(api: &Api, name: &str, roles: &[&str]) {
    super::user(api, name, roles).await;
    api.put(&format!("/v1/users/{name}/password"), &json!({ "password": PASSWORD })).await.expect(200);
}

async fn live(api: &Api, user: &str) -> Vec<Value> {
    let page = api.get(&format!("/v1/sessions?user={user}")).await.expect(200);
    page["items"].as_array().unwrap().clone()
}

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
    let mut last = 0;
    for _ in 0..6 {
        last = attempt("bow.ruggeri", "wrong").await.status;
    }
    assert_eq!(last, 429);
}

#[tokio::test]
async fn input_028_a_form_of_another_site_does_nothing() {
    let api = Api::start().await;
    user(&api, "abel.tuter", &["admin"]).await;
    let console = Console::of(&api, "bow.ruggeri", &["admin"]).await;
    let victim = Console::of(&api, "don.goodliffe", &[]).await.session;
    let forms: [(&str, Vec<(&str, &str)>); 9] = [
        ("/console/entity", vec![("name", "Kiosk"), ("access", "1"), ("refresh", "1")]),
        ("/console/sessions/matching", vec![("typed", "1"), ("sure", "yes"), ("kind", "user")]),
        ("/console/user/roles", vec![("name", "don.goodliffe"), ("role", "admin"), ("password", PASSWORD)]),
        ("/console/keys", vec![("name", "x"), ("role", "admin"), ("act", "make"), ("password", PASSWORD)]),
        ("/console/sessions/terminate", vec![("id", &victim), ("sure", "yes")]),
        ("/console/user", vec![("name", "don.goodliffe"), ("act", "lock_out"), ("sure", "yes")]),
        ("/console/property", vec![("name", "glide.ui.session_timeout"), ("value", "1")]),
        ("/console/sign-out", vec![]),
        ("/console/sign-in", vec![("user", "abel.tuter"), ("password", PASSWORD)]),
    ];
    for (path, fields) in &forms {
        for headers in [
            &[][..],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("sec-fetch-site", "cross-site"), ("x-tenure-client", "1")],
        ] {
            let request = headers.iter().fold(console.form(path, fields), |request, (name, value)| request.header(*name, *value));
            let answer = send(request).await;
            assert!(page(&answer, 403).contains("nothing was done"), "{path} {headers:?}");
            assert!(answer.header("set-cookie").is_none());
        }
        // Nor does opening an address.
        let shown = ["/console/sign-in", "/console/keys"].contains(path);
        assert!([303, 400].contains(&console.get(path).await.status) || shown, "{path}");
    }
    assert_eq!(api.get("/v1/properties/glide.ui.session_timeout").await.expect(200)["value"], "30");
    assert_eq!(live(&api, "don.goodliffe").await.len(), 1);
    assert_eq!(live(&api, "bow.ruggeri").await.len(), 1);
    assert_eq!(live(&api, "abel.tuter").await.len(), 0);
    // A browser that names the origin instead is heard.
    let answer = send(console.form("/console/sign-out", &[]).header("origin", &api.node.url)).await;
    sent_to(&answer, "/console/sign-in?reason=signed_out");
}

#[tokio::test]
async fn rule_u5_terminating_asks_first_then_shows_the_receipt_and_locks_nobody_out() {
    let api = Api::start().await;
    let other = api.another("node-2").await;
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    let mut tokens = Vec::new();
    let mut ids = Vec::new();
    api.db.user("bow.ruggeri").await;
    for _ in 0..3 {
        let (session, token) = api.create(&json!({"kind": "user", "user": "bow.ruggeri"})).await;
        ids.push(session["id"].as_str().unwrap().to_owned());
        tokens.push(token);
    }
    let many: Vec<_> = ids[..2].iter().map(|id| ("id", id.as_str())).collect();
    let asked = console.post("/console/sessions/terminate", &many).await;
    assert!(page(&asked, 200).contains("Terminate these 2 sessions?") && asked.text.contains("bow.ruggeri"));
    assert_eq!(live(&api, "bow.ruggeri").await.len(), 3, "asking ends nothing");
    // The button of one line means that line, whatever is selected besides.
    let one = [many.clone(), vec![("only", ids[2].as_str())]].concat();
    let asked = console.post("/console/sessions/terminate", &one).await;
    assert!(page(&asked, 200).contains("Terminate this session?") && !asked.text.contains(&ids[0]));

    let done = console.post("/console/sessions/terminate", &[many.clone(), vec![("sure", "yes")]].concat()).await;
    let receipt = page(&done, 200);
    for part in ["2 sessions terminated", "node-1", "node-2", "acknowledged", " ms after"] {
        assert!(receipt.contains(part), "{part}: {receipt}");
    }
    for (token, status) in tokens.iter().zip([401, 401, 200]) {
        for node in [&api.node, &other] {
            let checked = send(api.to(node, Method::POST, "/v1/sessions/check").json(&json!({ "token": token }))).await;
            assert_eq!(checked.status, status, "{}", checked.text);
        }
    }
    let ended = api.get(&format!("/v1/sessions/{}", ids[0])).await.expect(200);
    assert_eq!((&ended["end_reason"], &ended["ended_by"]), (&json!("terminated"), &json!("abel.tuter")));
    assert_eq!(api.get("/v1/users/bow.ruggeri").await.expect(200)["locked_out"], false);

    // What is over already is said, and what is no selection refused.
    let again = console.post("/console/sessions/terminate", &many).await;
    assert!(page(&again, 200).contains("over already"));
    for fields in [vec![], vec![("id", "nonsense")], vec![("only", "nonsense")]] {
        page(&console.post("/console/sessions/terminate", &fields).await, 400);
    }
    page(&console.post("/console/sessions/terminate", &[("id", "00000000-0000-7000-8000-000000000000")]).await, 404);

    // What fails hides nothing of what was done.
    let (session, token) = api.create(&json!({"kind": "user", "user": "bow.ruggeri"})).await;
    let (unknown, known) = ("ffffffff-ffff-7fff-bfff-ffffffffffff", session["id"].as_str().unwrap());
    for unknown in ["00000000-0000-7000-8000-000000000000", unknown] {
        let done = console.post("/console/sessions/terminate", &[("id", known), ("id", unknown), ("sure", "yes")]).await;
        let receipt = page(&done, 200);
        assert!(receipt.contains("1 was not ended:") && receipt.contains(unknown) && receipt.contains("node-2"), "{receipt}");
        assert!(!receipt.contains("Your own session"), "{receipt}");
        page(&console.post("/console/sessions/terminate", &[("id", unknown), ("sure", "yes")]).await, 404);
    }
    api.check(&token).await.refused(401, "session_ended");

    // Only an administrator may.
    for role in ["user_admin", "reporter"] {
        let console = Console::of(&api, role, &[role]).await;
        page(&console.post("/console/sessions/terminate", &[("id", &ids[2]), ("sure", "yes")]).await, 403);
    }
    assert_eq!(live(&api, "bow.ruggeri").await.len(), 1);
    // One's own session is one like any other.
    let own = console.session.clone();
    let done = console.post("/console/sessions/terminate", &[("id", &own), ("sure", "yes")]).await;
    assert!(page(&done, 200).contains("Your own session was among them"));
    sent_to(&console.get("/console/sessions").await, "/console/sign-in?reason=terminated&next=/console/sessions");
}

#[tokio::test]
async fn rule_u1_locking_out_says_what_will_end_then_ends_it_everywhere() {
    let api = Api::start().await;
    let other = api.another("node-2").await;
    let console = Console::of(&api, "abel.tuter", &["user_admin"]).await;
    api.db.user("bow.ruggeri").await;
    let body = json!({"kind": "user", "user": "bow.ruggeri"});
    let (_, token) = api.create(&body).await;
    send(api.to(&other, Method::POST, "/v1/sessions").json(&body)).await.expect(201);
    let lock_out = [("name", "bow.ruggeri"), ("act", "lock_out")];

    let asked = console.post("/console/user", &lock_out).await;
    assert!(page(&asked, 200).contains("2 sessions on 2 nodes will end."), "{}", asked.text);
    assert_eq!(live(&api, "bow.ruggeri").await.len(), 2, "asking ends nothing");
    // X2: it does what it said, or nothing.
    let again = send(api.to(&other, Method::POST, "/v1/sessions").json(&body)).await.expect(201);
    let outdated = console.send(&asked, "/console/user", &[("sure", "yes")]).await;
    assert!(page(&outdated, 409).contains("preview"), "{}", outdated.text);
    api.delete(&format!("/v1/sessions/{}", again["session"]["id"].as_str().unwrap())).await.expect(200);
    page(&console.post("/console/user", &[&lock_out[..], &[("sure", "yes")]].concat()).await, 400);
    assert_eq!(live(&api, "bow.ruggeri").await.len(), 2);
    let done = console.send(&asked, "/console/user", &[("sure", "yes")]).await;
    for part in ["2 sessions ended.", "node-1", "node-2", "acknowledged"] {
        assert!(page(&done, 200).contains(part), "{part}: {}", done.text);
    }
    api.check(&token).await.refused(401, "session_ended");
    assert_eq!(api.get("/v1/users/bow.ruggeri").await.expect(200)["locked_out"], true);
    let shown = console.get("/console/user?name=Bow.Ruggeri").await;
    assert!(page(&shown, 200).contains(">locked out<") && shown.text.contains("Unlock") && shown.text.contains("abel.tuter"));
    let listed = console.get("/console/users?active=&locked_out=true").await;
    assert!(page(&listed, 200).contains("bow.ruggeri") && !listed.text.contains(">abel.tuter</a>"));

    // Unlocking ends nothing and asks nothing; it brings no session back.
    sent_to(
        &console.post("/console/user", &[("name", "bow.ruggeri"), ("act", "unlock")]).await,
        "/console/user?name=bow.ruggeri",
    );
    assert_eq!(api.get("/v1/users/bow.ruggeri").await.expect(200)["locked_out"], false);
    assert_eq!(live(&api, "bow.ruggeri").await.len(), 0);

    // U6: no more than the lock, and nothing at all for a reporter. 51: nobody locks themselves out.
    for act in ["deactivate", "activate"] {
        page(&console.post("/console/user", &[("name", "bow.ruggeri"), ("act", act), ("sure", "yes")]).await, 403);
    }
    page(&console.post("/console/user", &[("name", "Abel.Tuter"), ("act", "lock_out"), ("sure", "yes")]).await, 409);
    page(&console.post("/console/user", &[("name", "bow.ruggeri"), ("act", "nonsense")]).await, 400);
    page(&console.post("/console/user", &[("name", "nobody"), ("act", "unlock")]).await, 404);
    let reporter = Console::of(&api, "don.goodliffe", &["reporter"]).await;
    page(&reporter.post("/console/user", &lock_out).await, 403);
    page(&console.get("/console/sessions").await, 200);
    assert_eq!(api.get("/v1/users/bow.ruggeri").await.expect(200)["locked_out"], false);
}

#[tokio::test]
async fn rule_u2_and_u3_making_inactive_says_what_follows_from_the_properties() {
    let api = Api::start().await;
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    api.db.user("bow.ruggeri").await;
    api.create(&json!({"kind": "user", "user": "bow.ruggeri"})).await;
    let deactivate = [("name", "bow.ruggeri"), ("act", "deactivate")];
    let (locks, refuses) = ("tenure.lock_out_inactive_users", "glide.authenticate.only.allow.active.user.login");
    for (lock, refuse, said) in [
        ("true", "true", "The user will be locked out too"),
        ("false", "true", "1 session on 1 node will end."),
        ("false", "false", "Sessions will go on"),
    ] {
        for (name, value) in [(locks, lock), (refuses, refuse)] {
            api.put(&format!("/v1/properties/{name}"), &json!({ "value": value })).await.expect(200);
        }
        let asked = console.post("/console/user", &deactivate).await;
        assert!(page(&asked, 200).contains(said), "{lock} {refuse}: {}", asked.text);
    }
    let asked = console.post("/console/user", &deactivate).await;
    let done = console.send(&asked, "/console/user", &[("sure", "yes")]).await;
    assert!(page(&done, 200).contains("No session ended."), "{}", done.text);
    assert_eq!(live(&api, "bow.ruggeri").await.len(), 1);
    let user = api.get("/v1/users/bow.ruggeri").await.expect(200);
    assert_eq!((&user["active"], &user["locked_out"]), (&json!(false), &json!(false)));
    sent_to(
        &console.post("/console/user", &[("name", "bow.ruggeri"), ("act", "activate")]).await,
        "/console/user?name=bow.ruggeri",
    );
    assert_eq!(api.get("/v1/users/bow.ruggeri").await.expect(200)["active"], true);
}

#[tokio::test]
async fn rule_p3_a_property_is_set_and_what_the_rules_refuse_is_said_where_it_was_typed() {
    let api = Api::start().await;
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    api.put("/v1/users/abel.tuter/password", &json!({ "password": PASSWORD })).await.expect(200);
    let (name, life) = ("glide.ui.session_timeout", "glide.ui.active.session.life_span");
    let value = async |name: &str| api.get(&format!("/v1/properties/{name}")).await.expect(200)["value"].clone();
    let set = async |name: &str, value: &str| {
        console.post("/console/property", &[("name", name), ("value", value), ("act", "set")]).await
    };
    // X2: what it does is shown first, and then it does just that.
    let asked = set(name, "45").await;
    assert!(page(&asked, 200).contains("1 session ends later than it would have."), "{}", asked.text);
    assert_eq!(value(name).await, "30", "asking changes nothing");
    let done = console.send(&asked, "/console/property", &[("act", "set")]).await;
    assert!(page(&done, 200).contains("It is 45 minutes now") && done.text.contains("node-1"), "{}", done.text);
    assert_eq!(value(name).await, "45");
    let shown = console.get("/console/properties").await;
    assert!(page(&shown, 200).contains("<strong>45</strong> minutes") && shown.text.contains("set here"));

    // Refused, with what was typed still there; nothing changed. Where the rules leave it open, force does it.
    for wrong in ["0", "forty", "-1", "99999", ""] {
        let looked = console.get(&format!("/console/property?name={name}&value={wrong}")).await;
        assert!(page(&looked, 200).contains("role=\"alert\""), "{wrong}");
        let refused = set(name, wrong).await;
        assert!(page(&refused, 422).contains("role=\"alert\"") && refused.text.contains(&format!("value=\"{wrong}\"")));
    }
    let asked = set(life, "10").await;
    assert!(page(&asked, 200).contains("name=\"force\""), "it contradicts another one: {}", asked.text);
    let refused = console.send(&asked, "/console/property", &[("act", "set")]).await;
    assert!(page(&refused, 422).contains(name), "it names the other property: {}", refused.text);
    assert_eq!((value(name).await, value(life).await), (json!("45"), json!("0")));
    // What the rules want forced asks for the password.
    assert!(asked.text.contains("name=\"password\""), "{}", asked.text);
    let force = [("act", "set"), ("force", "yes"), ("password", PASSWORD)];
    page(&console.send(&asked, "/console/property", &force[..2]).await, 403);
    assert_eq!(value(life).await, "0");
    page(&console.send(&refused, "/console/property", &force).await, 200);
    assert_eq!(value(life).await, "10");

    // A preview that is outdated changes nothing.
    let asked = console.get(&format!("/console/property?name={name}&unset=yes")).await;
    assert!(page(&asked, 200).contains("With the default, 30 minutes"), "{}", asked.text);
    set_by_another(&api, life, "0").await;
    page(&console.send(&asked, "/console/property", &[("act", "unset")]).await, 409);
    assert_eq!(value(name).await, "45");
    let asked = console.post("/console/property", &[("name", name), ("act", "unset")]).await;
    page(&console.send(&asked, "/console/property", &[("act", "unset")]).await, 200);
    assert_eq!(value(name).await, "30");
    page(&set("nonsense", "1").await, 404);
    let reporter = Console::of(&api, "don.goodliffe", &["reporter"]).await;
    page(&reporter.post("/console/property", &[("name", name), ("value", "20"), ("act", "set")]).await, 403);
    assert_eq!(value(name).await, "30");
}

#[tokio::test]
async fn rule_x2_what_is_set_is_what_was_previewed() {
    let api = Api::start().await;
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    let (path, name) = ("/console/property", "glide.ui.session_timeout");
    let asked = console.get(&format!("{path}?name={name}&value=29")).await;
    let previewed = fields(&asked, path);
    let other = |field: &(String, String)| match (&*field.0, &*field.1) {
        ("value", "29") => ("value".to_owned(), "17".to_owned()),
        _ => field.clone(),
    };
    let changed: Vec<_> = previewed.iter().map(other).chain([("act".to_owned(), "set".to_owned())]).collect();
    let bare: Vec<_> = changed.iter().filter(|(name, _)| name != "previewed").cloned().collect();
    let unset = previewed.iter().cloned().chain([("act".to_owned(), "unset".to_owned())]).collect();
    for sent in [changed, bare, unset] {
        let sent: Vec<_> = sent.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let refused = console.post(path, &sent).await;
        assert!(page(&refused, 409).contains("nothing was done"), "{}", refused.text);
        assert_eq!(api.get(&format!("/v1/properties/{name}")).await.expect(200)["value"], "30");
    }
    page(&console.send(&asked, path, &[("act", "set")]).await, 200);
    assert_eq!(api.get(&format!("/v1/properties/{name}")).await.expect(200)["value"], "29");
}

#[tokio::test]
async fn a_property_that_ends_every_session_asks_for_the_password_and_says_what_it_ended() {
    let api = Api::start().await;
    user(&api, "bow.ruggeri", &[]).await;
    let mut victims = Vec::new();
    for _ in 0..2 {
        victims.push(api.create(&json!({"kind": "user", "user": "bow.ruggeri"})).await.1);
    }
    api.db.advance(TimeDelta::minutes(20)).await;
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    api.put("/v1/users/abel.tuter/password", &json!({ "password": PASSWORD })).await.expect(200);
    let path = "/console/property";
    let right = ("password", PASSWORD);
    // Both of the others, and with them all but one's own.
    let asked = console.get(&format!("{path}?name=glide.ui.session_timeout&value=15")).await;
    assert!(page(&asked, 200).contains("2 sessions end at once") && asked.text.contains("name=\"password\""), "{}", asked.text);
    for wrong in [&[("act", "set")][..], &[("act", "set"), ("password", "wrong")]] {
        page(&console.send(&asked, path, wrong).await, 403);
    }
    assert_eq!(live(&api, "bow.ruggeri").await.len(), 2);
    let done = console.send(&asked, path, &[("act", "set"), right]).await;
    assert!(page(&done, 200).contains("2 sessions ended.") && !done.text.contains("Your own session"), "{}", done.text);
    api.check(&victims[0]).await.refused(401, "session_ended");

    // Maintenance ends every session that begins before it, though none now.
    let asked = console.post(path, &[("name", "tenure.maintenance_at"), ("value", "2099-01-01T00:00:00Z")]).await;
    assert!(page(&asked, 200).contains("name=\"password\""), "{}", asked.text);
    page(&console.send(&asked, path, &[("act", "set")]).await, 403);
    page(&console.send(&asked, path, &[("act", "set"), right]).await, 200);

    // One's own session is one of them when the rules say so, and is said to be.
    api.db.advance(TimeDelta::minutes(12)).await;
    let asked = console.post(path, &[("name", "glide.ui.active.session.life_span"), ("value", "10")]).await;
    let done = console.send(&asked, path, &[("act", "set"), ("force", "yes"), right]).await;
    let receipt = page(&done, 200);
    assert!(receipt.contains("1 session ended.") && receipt.contains("Your own session was among them"), "{receipt}");
}

async fn set_by_another(api: &Api, name: &str, value: &str) {
    api.put(&format!("/v1/properties/{name}"), &json!({ "value": value })).await.expect(200);
}

#[tokio::test]
async fn rule_x3_all_that_match_end_when_their_number_is_typed() {
    let api = Api::start().await;
    let other = api.another("node-2").await;
    user(&api, "abel.tuter", &[]).await;
    let console = Console::of(&api, "bow.ruggeri", &["admin"]).await;
    let mut tokens = Vec::new();
    for kind in ["guest", "guest", "user"] {
        let user = (kind == "user").then_some("abel.tuter");
        tokens.push(api.create(&json!({"kind": kind, "user": user})).await.1);
    }
    let path = "/console/sessions/matching";
    // The list offers it, with its filter.
    let list = console.get("/console/sessions?kind=guest").await;
    assert!(page(&list, 200).contains("Terminate all that match") && list.text.contains(path));
    assert_eq!(fields(&list, "/console/sessions/terminate")[..1], [("kind".to_owned(), "guest".to_owned())]);
    let asked = console.post(path, &[("kind", "guest")]).await;
    assert!(page(&asked, 200).contains("Terminate 2 sessions?") && !asked.text.contains("name=\"password\""), "{}", asked.text);
    for typed in ["", "all", "1", "3"] {
        let refused = console.send(&asked, path, &[("typed", typed), ("sure", "yes")]).await;
        assert!([409, 422].contains(&refused.status) && refused.text.contains("role=\"alert\""), "{typed}: {}", refused.text);
    }
    assert_eq!(api.get("/v1/sessions?kind=guest").await.expect(200)["items"].as_array().unwrap().len(), 2, "nothing ended");
    let done = console.send(&asked, path, &[("typed", "2"), ("sure", "yes")]).await;
    assert!(page(&done, 200).contains("2 sessions terminated") && done.text.contains("node-2"), "{}", done.text);
    for (token, status) in tokens.iter().zip([401, 401, 200]) {
        let checked = send(api.to(&other, Method::POST, "/v1/sessions/check").json(&json!({ "token": token }))).await;
        assert_eq!(checked.status, status, "{}", checked.text);
    }

    // A condition that all of them meet narrows nothing.
    for everything in [("idle", "0"), ("created_from", "2000-01-01T00:00"), ("kind", "user")] {
        let asked = console.post(path, &[everything]).await;
        assert!(page(&asked, 200).contains("Terminate 1 session?"), "{}", asked.text);
        assert!(asked.text.contains("name=\"password\""), "{everything:?}: {}", asked.text);
    }
    page(&console.post(path, &[("idle", "0"), ("typed", "1"), ("sure", "yes")]).await, 403);
    assert_eq!(live(&api, "abel.tuter").await.len(), 1);
    // Every session of the store: the number and the password, and never the session of who does it.
    let asked = console.post(path, &[]).await;
    assert!(page(&asked, 200).contains("Terminate 1 session?") && asked.text.contains("name=\"password\""), "{}", asked.text);
    let sure = [("typed", "1"), ("sure", "yes"), ("password", PASSWORD)];
    page(&console.send(&asked, path, &sure[..2]).await, 403);
    page(&console.send(&asked, path, &sure).await, 403);
    api.put("/v1/users/bow.ruggeri/password", &json!({ "password": PASSWORD })).await.expect(200);
    page(&console.send(&asked, path, &sure).await, 200);
    assert_eq!(live(&api, "abel.tuter").await.len(), 0);
    page(&console.get("/console/sessions").await, 200);
    assert!(page(&console.post(path, &[]).await, 200).contains("Nothing to terminate"));
    page(&console.post(path, &[("kind", "nonsense")]).await, 400);
    let reporter = Console::of(&api, "don.goodliffe", &["reporter"]).await;
    page(&reporter.post(path, &[("typed", "1"), ("sure", "yes")]).await, 403);
}

#[tokio::test]
async fn rule_m2_lifespans_of_an_application_are_set_and_end_nothing() {
    let api = Api::start().await;
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    api.put("/v1/oauth-entities/Kiosk", &json!({})).await.expect(201);
    api.db.user("bow.ruggeri").await;
    let (_, token) = api.create(&json!({"kind": "mobile", "user": "bow.ruggeri", "oauth_entity": "Kiosk"})).await;
    let set = [("name", "Kiosk"), ("access", "60"), ("refresh", "120")];
    sent_to(&console.post("/console/entity", &set).await, "/console/entity?name=Kiosk");
    let shown = console.get("/console/entity?name=Kiosk").await;
    assert!(page(&shown, 200).contains("<strong>30 min 00 s</strong>"), "the user interface decides: {}", shown.text);
    api.check(&token).await.expect(200);
    for wrong in ["0", "soon", "", "315360001"] {
        let refused = console.post("/console/entity", &[("name", "Kiosk"), ("access", "60"), ("refresh", wrong)]).await;
        assert!(
            page(&refused, 422).contains("role=\"alert\"") && refused.text.contains(&format!("value=\"{wrong}\"")),
            "{wrong}"
        );
    }
    assert_eq!(api.get("/v1/oauth-entities/Kiosk").await.expect(200)["refresh_token_lifespan"], 120);
    page(&console.post("/console/entity", &[("name", "nobody"), ("access", "60"), ("refresh", "60")]).await, 404);
    let reporter = Console::of(&api, "don.goodliffe", &["reporter"]).await;
    page(&reporter.post("/console/entity", &set).await, 403);
}

#[tokio::test]
async fn roles_and_keys_ask_for_the_password_once_more() {
    let api = Api::start().await;
    user(&api, "abel.tuter", &[]).await;
    let console = Console::of(&api, "bow.ruggeri", &["admin"]).await;
    api.put("/v1/users/bow.ruggeri/password", &json!({ "password": PASSWORD })).await.expect(200);
    let roles = async || api.get("/v1/users/abel.tuter").await.expect(200)["roles"].clone();
    let give = [("name", "abel.tuter"), ("role", "reporter"), ("role", "admin")];
    for password in [&[][..], &[("password", "wrong")]] {
        page(&console.post("/console/user/roles", &[&give, password].concat()).await, 403);
    }
    assert_eq!(roles().await, json!([]));
    let right = ("password", PASSWORD);
    sent_to(&console.post("/console/user/roles", &[&give[..], &[right]].concat()).await, "/console/user?name=abel.tuter");
    assert_eq!(roles().await, json!(["reporter", "admin"]));
    page(&console.post("/console/user/roles", &[("name", "abel.tuter"), ("role", "app"), right]).await, 422);
    // 51: nobody takes their own role away.
    page(&console.post("/console/user/roles", &[("name", "bow.ruggeri"), ("role", "reporter"), right]).await, 409);

    let make = [("name", "orders"), ("role", "app"), ("days", "30"), ("act", "make")];
    page(&console.post("/console/keys", &make).await, 403);
    let made = console.post("/console/keys", &[&make[..], &[right]].concat()).await;
    let key = page(&made, 200).split("class=\"secret\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let called = async || {
        let request = json!({"kind": "guest"});
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        send(client.post(format!("{}/v1/sessions", api.node.url)).bearer_auth(&key).json(&request)).await.status
    };
    assert_eq!(called().await, 201);
    let listed = console.get("/console/keys").await;
    assert!(page(&listed, 200).contains("orders") && !listed.text.contains(&key), "it is shown once");
    let asked = console.post("/console/keys", &[("name", "orders"), ("act", "revoke")]).await;
    page(&asked, 200);
    page(&console.send(&asked, "/console/keys", &[("sure", "yes")]).await, 403);
    assert_eq!(called().await, 201);
    page(&console.send(&asked, "/console/keys", &[("sure", "yes"), right]).await, 200);
    assert_eq!(called().await, 401);
    page(&console.send(&asked, "/console/keys", &[("sure", "yes"), right]).await, 404);
    page(&console.post("/console/keys", &[("name", "a b"), ("act", "make"), right]).await, 422);
    let reporter = Console::of(&api, "don.goodliffe", &["reporter", "user_admin"]).await;
    page(&reporter.get("/console/keys").await, 403);
    // Who did it is on record.
    let events = api.get("/v1/events?type=api_key_created").await.expect(200);
    assert_eq!(events["items"][0]["actor"], "bow.ruggeri", "{events}");
    // Guessing is limited as at the sign-in page.
    let mut last = 0;
    for _ in 0..6 {
        last = console.post("/console/keys", &[&make[..], &[("password", "wrong")]].concat()).await.status;
    }
    assert_eq!(last, 429);
}

#[tokio::test]
async fn fault_51_the_last_administrator_stays_one() {
    let api = Api::start().await;
    user(&api, "abel.tuter", &["admin"]).await;
    let console = Console::of(&api, "bow.ruggeri", &["user_admin"]).await;
    let asked = console.post("/console/user", &[("name", "abel.tuter"), ("act", "lock_out")]).await;
    let refused = console.send(&asked, "/console/user", &[("sure", "yes")]).await;
    assert!(page(&refused, 409).contains("last administrator"), "{}", refused.text);
    assert_eq!(api.get("/v1/users/abel.tuter").await.expect(200)["locked_out"], false);

    // Nobody can work in the console as an administrator without a password.
    super::user(&api, "nobody.yet", &["admin"]).await;
    let refused = console.send(&asked, "/console/user", &[("sure", "yes")]).await;
    assert!(page(&refused, 409).contains("last administrator"), "{}", refused.text);

    // Two at once, each about to leave the other: one of them goes, whoever is first.
    user(&api, "don.goodliffe", &["admin"]).await;
    let lock = UserPatch { locked_out: Some(true), ..UserPatch::default() };
    let unlock = UserPatch { locked_out: Some(false), ..UserPatch::default() };
    for _ in 0..5 {
        let (expect, actor) = (Expect::default(), Actor("tests"));
        let manager = &api.node.manager;
        let (one, other) = tokio::join!(
            manager.change_user_and_keep_an_admin("abel.tuter", &lock, &expect, actor),
            manager.change_user_and_keep_an_admin("don.goodliffe", &lock, &expect, actor),
        );
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        for name in ["abel.tuter", "don.goodliffe"] {
            manager.change_user_and_keep_an_admin(name, &unlock, &expect, actor).await.unwrap();
        }
    }
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
