//! Users: made, changed, locked out, deleted.

use reqwest::Method;
use serde_json::json;
use tenure::store::{Actor, Expect, UserPatch};

use super::super::{Console, page, sent_to};
use super::{live, user};
use crate::support::{Api, send};

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
