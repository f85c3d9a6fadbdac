//! Ending sessions.

use reqwest::Method;
use serde_json::json;

use super::super::{Console, fields, page, sent_to};
use super::{PASSWORD, live, user};
use crate::support::{Api, send};

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
