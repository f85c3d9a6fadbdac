//! Setting properties.

use chrono::TimeDelta;
use serde_json::json;

use super::super::{Console, fields, page};
use super::{PASSWORD, live, user};
use crate::support::Api;

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
