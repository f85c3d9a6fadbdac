//! Users: made, changed, locked out, deleted.

use reqwest::Method;
use serde_json::json;
use tenure::input::CreateSession;
use tenure::store::{Actor, Expect, UserPatch};

use super::super::{Console, page, sent_to};
use super::{PASSWORD, live, user};
use crate::support::{Api, Crowd, send};

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
async fn fault_51_the_last_administrator_stays_one() {
    let api = Api::start().await;
    user(&api, "abel.tuter", &["admin"]).await;
    let console = Console::of(&api, "bow.ruggeri", &["user_admin"]).await;
    let asked = console.post("/console/user", &[("name", "abel.tuter"), ("act", "lock_out")]).await;
    let refused = console.send(&asked, "/console/user", &[("sure", "yes")]).await;
    assert!(page(&refused, 409).contains("last administrator"), "{}", refused.text);
    assert_eq!(api.get("/v1/users/abel.tuter").await.expect(200)["locked_out"], false);

    // Nobody can work in the console as an administrator without a password.
    super::super::user(&api, "nobody.yet", &["admin"]).await;
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

/// An administrator at the console who knows their password.
async fn administrator(api: &Api) -> Console {
    let console = Console::of(api, "abel.tuter", &["admin"]).await;
    api.put("/v1/users/abel.tuter/password", &json!({ "password": PASSWORD })).await.expect(200);
    console
}

const RIGHT: (&str, &str) = ("password", PASSWORD);

#[tokio::test]
async fn a_user_is_made_in_a_page_with_what_the_page_says() {
    let api = Api::start().await;
    let console = administrator(&api).await;
    let list = console.get("/console/users").await;
    assert!(page(&list, 200).contains("href=\"/console/users/new\""), "{}", list.text);
    page(&console.get("/console/users/new").await, 200);

    let (path, other) = ("/console/users/new", "another good password");
    let fields = [
        ("name", "Zoë & O'Neil <co> "),
        ("display_name", " Zoë "),
        ("refresh", "15"),
        ("active", "yes"),
        ("role", "reporter"),
        ("role", "user_admin"),
        ("new_password", other),
        RIGHT,
    ];
    sent_to(&console.post(path, &fields).await, "/console/user?name=Zo%C3%AB%20%26%20O%27Neil%20%3Cco%3E");
    let made = api.get("/v1/users/Zo%C3%AB%20%26%20O%27Neil%20%3Cco%3E").await.expect(200);
    assert_eq!(made["roles"], json!(["reporter", "user_admin"]));
    assert_eq!(
        (&made["display_name"], &made["active"], &made["locked_out"], &made["homepage_refresh_minutes"]),
        (&json!("Zoë"), &json!(true), &json!(false), &json!(15))
    );
    let login = api.post("/v1/login", &json!({"user": "Zoë & O'Neil <co>", "password": other})).await;
    login.expect(201);
    let events = api.get("/v1/events?type=user_created").await.expect(200);
    assert_eq!(events["items"][0]["actor"], "abel.tuter", "{events}");

    // The least there can be: no role, no password, and not active, which locks out (U2).
    sent_to(&console.post(path, &[("name", "robot"), RIGHT]).await, "/console/user?name=robot");
    let made = api.get("/v1/users/robot").await.expect(200);
    assert_eq!((&made["roles"], &made["active"], &made["locked_out"]), (&json!([]), &json!(false), &json!(true)));
    api.post("/v1/login", &json!({"user": "robot", "password": ""})).await.refused(401, "invalid_credentials");
}

#[tokio::test]
async fn input_043_a_user_that_cannot_be_made_is_said_on_the_page_with_what_was_typed() {
    let api = Api::start().await;
    let console = administrator(&api).await;
    let path = "/console/users/new";
    let long = "x".repeat(129);
    let good = [("name", "new.comer"), ("display_name", "New Comer"), ("refresh", "20"), ("role", "reporter"), ("active", "yes")];
    for (field, wrong, status, said) in [
        ("name", "", 422, "A user name has 1 to 128 characters."),
        ("name", &*long, 422, "A user name has 1 to 128 characters."),
        ("name", "a\u{202e}b", 422, "no control or direction characters"),
        ("name", "a\0b", 422, "no control or direction characters"),
        ("name", "ABEL.tuter", 409, "There is a user of this name already."),
        ("display_name", &*"x".repeat(256), 422, "Display name: "),
        ("refresh", "0", 422, "Homepage refresh minutes: "),
        ("refresh", "soon", 400, "Homepage refresh: this is not a whole number."),
        ("role", "app", 422, "is not a console role"),
        ("role", "reporter", 422, "a role is named twice"),
        ("new_password", "short", 422, "A password has 8 to 128 characters."),
        ("password", "wrong", 403, "The password is wrong, so nothing was done."),
        ("password", "", 403, "The password is wrong, so nothing was done."),
    ] {
        let kept = good.iter().filter(|(name, _)| *name != field || field == "role").copied();
        let right = (field != "password").then_some(RIGHT);
        let sent: Vec<_> = kept.chain([(field, wrong)]).chain(right).collect();
        let refused = console.post(path, &sent).await;
        let text = page(&refused, status);
        assert!(text.contains("id=\"problem\"") && text.contains(said), "{field} {wrong:?}: {text}");
        for (name, value) in good.iter().filter(|(name, _)| *name != field) {
            let kept = ["role", "active"].contains(name) && text.contains(&format!("value=\"{value}\" checked"));
            assert!(kept || text.contains(&format!("value=\"{value}\"")), "{name} of {field} {wrong:?}: {text}");
        }
        assert!(!text.contains(PASSWORD) && !text.contains("value=\"short\""), "{text}");
    }
    assert_eq!(api.get("/v1/users").await.expect(200)["items"].as_array().unwrap().len(), 1, "nobody was made");
    assert_eq!(api.get("/v1/users/abel.tuter").await.expect(200)["roles"], json!(["admin"]));
    for role in ["user_admin", "reporter"] {
        let console = Console::of(&api, role, &[role]).await;
        assert!(!page(&console.get("/console/users").await, 200).contains("/console/users/new"), "{role}");
        page(&console.get(path).await, 403);
        page(&console.post(path, &[&good[..], &[RIGHT]].concat()).await, 403);
    }
    api.get("/v1/users/new.comer").await.refused(404, "unknown_user");
}

#[tokio::test]
async fn a_stale_form_of_roles_overwrites_nobodys_change() {
    let api = Api::start().await;
    let console = administrator(&api).await;
    user(&api, "bow.ruggeri", &[]).await;
    let (shown, path) = ("/console/user?name=bow.ruggeri", "/console/user/roles");
    let roles = async || api.get("/v1/users/bow.ruggeri").await.expect(200)["roles"].clone();
    let opened = console.get(shown).await;
    page(&opened, 200);
    // Somebody else is faster.
    api.patch("/v1/users/bow.ruggeri", &json!({"roles": ["reporter"]})).await.expect(200);
    let stale = console.send(&opened, path, &[("role", "user_admin"), RIGHT]).await;
    let text = page(&stale, 412);
    assert!(text.contains("The user has changed since it was read, so nothing was done."), "{text}");
    assert!(text.contains("<details open>") && text.contains("value=\"reporter\" checked"), "{text}");
    assert!(!text.contains("value=\"user_admin\" checked"), "{text}");
    assert_eq!(roles().await, json!(["reporter"]));
    // A form that does not say what it rests on rests on nothing.
    for revision in [&[][..], &[("revision", "")], &[("revision", "1")], &[("revision", "nonsense\0")]] {
        let sent = [&[("name", "bow.ruggeri"), ("role", "admin"), RIGHT][..], revision].concat();
        page(&console.post(path, &sent).await, 412);
    }
    // A wrong password keeps what was ticked, and the page made anew is good.
    let wrong = console.send(&stale, path, &[("role", "user_admin"), ("password", "wrong")]).await;
    assert!(
        page(&wrong, 403).contains("value=\"user_admin\" checked") && wrong.text.contains("id=\"problem\""),
        "{}",
        wrong.text
    );
    assert_eq!(roles().await, json!(["reporter"]));
    sent_to(&console.send(&wrong, path, &[("role", "user_admin"), RIGHT]).await, shown);
    assert_eq!(roles().await, json!(["user_admin"]));
    // What was ticked rests on what was seen when it was, however often the password is wrong.
    let opened = console.get(shown).await;
    api.patch("/v1/users/bow.ruggeri", &json!({"roles": ["reporter"]})).await.expect(200);
    let wrong = console.send(&opened, path, &[("role", "admin"), ("password", "wrong")]).await;
    page(&wrong, 403);
    page(&console.send(&wrong, path, &[("role", "admin"), RIGHT]).await, 412);
    assert_eq!(roles().await, json!(["reporter"]));

    // Of two who saw the same, one changes it; and what somebody changes meanwhile without looking stays.
    let (manager, actor) = (&api.node.manager, Actor("tests"));
    let give = |role: &str| UserPatch { roles: Some(vec![role.to_owned()]), ..UserPatch::default() };
    let (admin, reporter, blindly) = (give("admin"), give("reporter"), give("user_admin"));
    for _ in 0..5 {
        let seen = manager.store().user_revision("bow.ruggeri").await.unwrap().unwrap();
        let (one, other, blind) = tokio::join!(
            manager.change_user_as_seen("bow.ruggeri", &admin, seen, actor),
            manager.change_user_as_seen("bow.ruggeri", &reporter, seen, actor),
            manager.patch_user("bow.ruggeri", &blindly, actor),
        );
        blind.unwrap();
        assert!(one.is_err() || other.is_err(), "{one:?} {other:?}");
        for refused in [one.err(), other.err()].into_iter().flatten() {
            assert_eq!(refused.code(), "version_mismatch");
        }
        assert_eq!(roles().await, json!(["user_admin"]));
    }
}

#[tokio::test]
async fn rule_c3_deleting_a_user_says_what_ends_then_ends_it_everywhere_and_keeps_the_record() {
    let api = Api::start().await;
    let other = api.another("node-2").await;
    let console = administrator(&api).await;
    user(&api, "bow.ruggeri", &["admin"]).await;
    let body = json!({"kind": "user", "user": "bow.ruggeri"});
    let (session, token) = api.create(&body).await;
    let elsewhere = send(api.to(&other, Method::POST, "/v1/sessions").json(&body)).await.expect(201);
    let path = "/console/user";
    let delete = [("name", "Bow.Ruggeri"), ("act", "delete")];
    for role in ["user_admin", "reporter"] {
        let console = Console::of(&api, role, &[role]).await;
        assert!(!page(&console.get("/console/user?name=bow.ruggeri").await, 200).contains("value=\"delete\""), "{role}");
        page(&console.post(path, &[&delete[..], &[("sure", "yes"), ("expect", "2"), RIGHT]].concat()).await, 403);
    }
    assert!(page(&console.get("/console/user?name=bow.ruggeri").await, 200).contains("value=\"delete\""));

    let asked = console.post(path, &delete).await;
    let text = page(&asked, 200);
    for part in ["Delete: bow.ruggeri?", "2 sessions on 2 nodes will end.", "keep the name", "name=\"password\""] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Neither without the password, nor when something else would end.
    for password in [&[][..], &[("password", "wrong")]] {
        let refused = console.send(&asked, path, &[&[("sure", "yes")][..], password].concat()).await;
        assert!(page(&refused, 403).contains("role=\"alert\"") && refused.text.contains("will end."), "{}", refused.text);
    }
    let again = api.create(&body).await.0;
    let outdated = console.send(&asked, path, &[("sure", "yes"), RIGHT]).await;
    assert!(page(&outdated, 409).contains("3 sessions on 2 nodes will end."), "{}", outdated.text);
    assert_eq!(live(&api, "bow.ruggeri").await.len(), 3, "nothing ended");
    api.delete(&format!("/v1/sessions/{}", again["id"].as_str().unwrap())).await.expect(200);

    let done = console.send(&asked, path, &[("sure", "yes"), RIGHT]).await;
    let text = page(&done, 200);
    for part in ["2 sessions ended.", "node-1", "node-2", "acknowledged", "To the users"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for token in [&*token, elsewhere["token"].as_str().unwrap()] {
        for node in [&api.node, &other] {
            let checked = send(api.to(node, Method::POST, "/v1/sessions/check").json(&json!({ "token": token }))).await;
            checked.refused(401, "session_ended");
        }
    }
    api.get("/v1/users/bow.ruggeri").await.refused(404, "unknown_user");
    page(&console.get("/console/user?name=bow.ruggeri").await, 404);
    page(&console.send(&asked, path, &[("sure", "yes"), RIGHT]).await, 404);
    // What was stays on record, with who did it.
    let ended = api.get(&format!("/v1/sessions/{}", session["id"].as_str().unwrap())).await.expect(200);
    assert_eq!((&ended["user"], &ended["ended_by"]), (&json!("bow.ruggeri"), &json!("abel.tuter")));
    let audit = console.get("/console/audit?user=bow.ruggeri&type=user_deleted").await;
    assert!(page(&audit, 200).contains("user deleted") && audit.text.contains("abel.tuter"), "{}", audit.text);
    // The name is free, for somebody else.
    api.put("/v1/users/bow.ruggeri", &json!({})).await.expect(201);
    let shown = console.get("/console/user?name=bow.ruggeri").await;
    assert!(page(&shown, 200).contains("None is live.") && shown.text.contains("Nothing is retained."), "{}", shown.text);
    // Who bears the name by now is not who was to be deleted.
    let asked = console.post(path, &delete).await;
    api.db.sql("delete from tenure.users where name = 'bow.ruggeri'").await;
    api.put("/v1/users/bow.ruggeri", &json!({})).await.expect(201);
    page(&console.send(&asked, path, &[("sure", "yes"), RIGHT]).await, 412);
    api.get("/v1/users/bow.ruggeri").await.expect(200);
    // 51: not oneself, nor the last administrator.
    page(&console.post(path, &[("name", "abel.tuter"), ("act", "delete"), ("sure", "yes"), ("expect", "1"), RIGHT]).await, 409);
    let seen = api.db.store.user_revision("abel.tuter").await.unwrap().unwrap();
    let last = api.node.manager.delete_user("abel.tuter", &Expect::default(), seen, Actor("tests")).await;
    assert_eq!(last.unwrap_err().code(), "last_administrator");
    page(&console.get("/console/overview").await, 200);
}

#[tokio::test]
async fn no_session_of_a_deleted_user_survives_a_racing_sign_in() {
    let api = Api::start().await;
    let (manager, any) = (&api.node.manager, Expect::default());
    let new = CreateSession { kind: "user".into(), user: Some("bow.ruggeri".into()), ..CreateSession::default() };
    let new = new.validate().unwrap();
    for _ in 0..10 {
        api.db.user("bow.ruggeri").await;
        manager.create(&new, Actor("tests")).await.unwrap();
        let seen = manager.store().user_revision("bow.ruggeri").await.unwrap().unwrap();
        let delete = manager.delete_user("bow.ruggeri", &any, seen, Actor("tests"));
        let (created, deleted) = tokio::join!(manager.create(&new, Actor("tests")), delete);
        let (ended, _) = deleted.unwrap();
        match created {
            Ok(_) => assert_eq!(ended, 2, "it began before"),
            Err(error) => assert!(["unknown_user", "user_locked_out"].contains(&error.code()), "{error}"),
        }
        assert_eq!(api.db.count("select count(*) from tenure.sessions").await, 0);
    }
}

#[tokio::test]
async fn rule_c1_the_page_of_a_user_says_what_it_leaves_out() {
    let api = Api::start().await;
    let console = administrator(&api).await;
    api.db.user("bow.ruggeri").await;
    for _ in 0..25 {
        let (session, _) = api.create(&json!({"kind": "user", "user": "bow.ruggeri"})).await;
        api.delete(&format!("/v1/sessions/{}", session["id"].as_str().unwrap())).await.expect(200);
    }
    let past = |text: &str| text.split("id=\"past\"").nth(1).unwrap().matches("<tr>").count() - 1;
    let shown = console.get("/console/user?name=bow.ruggeri").await;
    let text = page(&shown, 200);
    assert!(past(text) == 20 && !text.contains("The newest"), "{text}");
    let older = text.split("name=bow.ruggeri&amp;after=").nth(1).expect("a further page").split('"').next().unwrap();
    let shown = console.get(&format!("/console/user?name=bow.ruggeri&after={older}")).await;
    let text = page(&shown, 200);
    assert!(past(text) == 5 && text.contains("The last ones") && !text.contains("Older sessions"), "{text}");
    page(&console.get("/console/user?name=bow.ruggeri&after=nonsense").await, 400);

    api.db.crowd(Crowd { sessions: 510, users: 1, oldest: 900, youngest: 100 }).await;
    let shown = console.get("/console/user?name=u1").await;
    let text = page(&shown, 200);
    assert!(
        text.contains("The newest 500 of 510 live sessions") && text.contains("href=\"/console/sessions?user=u1\""),
        "{text}"
    );
}
