//! Properties by HTTP.

use serde_json::{Value, json};

use super::shapes::{self, PROPERTY};
use crate::support::{Api, assert_keys};

const IDLE: &str = "/v1/properties/glide.ui.session_timeout";

#[tokio::test]
async fn the_catalogue_shows_values_units_defaults_and_sources() {
    let api = Api::start().await;
    let page = api.get("/v1/properties").await.expect(200);
    let items = shapes::page(&page);
    assert_eq!(i64::try_from(items.len()).unwrap(), api.db.count("select count(*) from tenure.property_catalogue").await);
    for item in items {
        assert_keys(item, &PROPERTY);
        assert_eq!(&api.get(&format!("/v1/properties/{}", item["name"].as_str().unwrap())).await.expect(200), item);
    }
    let idle = api.get(IDLE).await.expect(200);
    let expected = [
        ("value", json!("30")),
        ("type", json!("integer")),
        ("unit", json!("minutes")),
        ("default", json!("30")),
        ("source", json!("default")),
        ("warnings", json!([])),
    ];
    for (name, value) in expected {
        assert_eq!(idle[name], value, "{name}");
    }
    let profile = api.get("/v1/properties/glide.integration.session_timeout").await.expect(200);
    assert_eq!(
        (&profile["source"], &profile["value"], &profile["type"]),
        (&json!("release_profile"), &json!("5"), &json!("string"))
    );
    let unset = api.get("/v1/properties/glide.unauthorized.session_timeout").await.expect(200);
    assert_eq!((&unset["value"], &unset["default"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_change_is_in_force_when_it_answers() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let (session, token) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    let set = api.put(IDLE, &json!({"value": "45"})).await.expect(200);
    assert_keys(&set, &[&PROPERTY[..], &["barrier"]].concat());
    shapes::barrier(&set["barrier"], &["node-1"]);
    assert_eq!((&set["value"], &set["source"], &set["default"]), (&json!("45"), &json!("row"), &json!("30")));
    let minutes = |session: &Value| {
        let at = |name: &str| chrono::DateTime::parse_from_rfc3339(session[name].as_str().unwrap()).unwrap();
        (at("expires_at") - at("last_activity_at")).num_minutes()
    };
    assert_eq!(minutes(&api.get(&path).await.expect(200)), 45);

    let unset = api.delete(IDLE).await.expect(200);
    assert_keys(&unset, &[&PROPERTY[..], &["barrier"]].concat());
    assert_eq!((&unset["value"], &unset["source"]), (&json!("30"), &json!("default")));
    assert_eq!(minutes(&api.get(&path).await.expect(200)), 30);
    api.delete(IDLE).await.expect(200);

    // A tightening ends what is over by the new limit, in the same transaction.
    api.db.advance(chrono::TimeDelta::minutes(10)).await;
    api.put(IDLE, &json!({"value": "5"})).await.expect(200);
    assert_eq!(api.check(&token).await.refused(401, "session_ended")["reason"], "idle");
}

#[tokio::test]
async fn refusals_name_the_rule_and_change_nothing() {
    let api = Api::start().await;
    let rows = [
        ("glide.ui.session_timeout", json!({"value": "0"}), 422, "invalid_value"),
        ("glide.ui.session_timeout", json!({"value": "1441"}), 422, "invalid_value"),
        ("glide.ui.session_timeout", json!({"value": "030"}), 422, "invalid_value"),
        ("glide.ui.session_timeout", json!({"value": ""}), 422, "invalid_field"),
        ("glide.ui.forgetme", json!({"value": "TRUE"}), 422, "invalid_value"),
        ("tenure.release_profile", json!({"value": "paris"}), 422, "invalid_value"),
        ("glide.ui.active.session.life_span", json!({"value": "30"}), 422, "relation_broken"),
        ("glide.ui.session_timeleft", json!({"value": "30", "force": true}), 422, "relation_broken"),
        ("nothing", json!({"value": "1"}), 404, "unknown_property"),
    ];
    for (name, body, status, code) in rows {
        let answer = api.put(&format!("/v1/properties/{name}"), &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{name} {body}: {}", answer.text);
    }
    assert_eq!(api.db.count("select count(*) from tenure.properties").await, 0);
    api.get("/v1/properties/nothing").await.refused(404, "unknown_property");
    api.delete("/v1/properties/nothing").await.refused(404, "unknown_property");

    let life = "/v1/properties/glide.ui.active.session.life_span";
    let forced = api.put(life, &json!({"value": "30", "force": true})).await.expect(200);
    assert_eq!(forced["warnings"].as_array().unwrap().len(), 1, "{forced}");
    api.delete(&format!("{life}?force=true")).await.expect(200);
    assert_eq!(api.db.count("select count(*) from tenure.properties").await, 0);
}

const FORECAST: [&str; 8] = ["property", "kinds", "ends_now", "ends_earlier", "ends_later", "examples", "needs_force", "guard"];

#[tokio::test]
async fn rule_x2_a_rehearsal_counts_and_its_guard_holds() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let (session, token) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    api.create(&json!({"kind": "guest"})).await;
    api.db.advance(chrono::TimeDelta::minutes(10)).await;

    let what_if = format!("{IDLE}/what-if");
    let later = api.post(&what_if, &json!({"value": "241"})).await.expect(200);
    assert_keys(&later, &FORECAST);
    assert_keys(&later["property"], &PROPERTY);
    assert_eq!((&later["property"]["value"], &later["property"]["source"]), (&json!("241"), &json!("row")));
    assert_eq!(later["property"]["warnings"].as_array().unwrap().len(), 1, "{later}");
    let kinds = json!([{"kind": "user", "ends_now": 0, "ends_earlier": 0, "ends_later": 1, "unchanged": 0}]);
    assert_eq!((&later["kinds"], &later["ends_later"], &later["needs_force"]), (&kinds, &json!(1), &json!(false)));
    assert_eq!(api.get(IDLE).await.expect(200)["source"], "default", "nothing was changed");

    let now = api.post(&what_if, &json!({"value": "5"})).await.expect(200);
    let example = &now["examples"][0];
    let keys = ["id", "kind", "user", "effect", "expires_at", "reason", "would_expire_at", "would_reason"];
    assert_keys(example, &keys);
    let shown = [
        ("id", &session["id"]),
        ("user", &json!("abel.tuter")),
        ("effect", &json!("ends_now")),
        ("would_reason", &json!("idle")),
    ];
    for (name, value) in shown {
        assert_eq!(&example[name], value, "{name}: {now}");
    }
    let guard = &now["guard"];
    assert_eq!(guard["expect"], 1);

    let changed = |expect: &Value, basis: &Value| json!({"value": "5", "expect": expect, "expect_basis": basis});
    for (expect, basis) in
        [(&json!(2), &guard["expect_basis"]), (&json!(1), &json!("0000000000000000")), (&json!(0), &Value::Null)]
    {
        let refused = api.put(IDLE, &changed(expect, basis)).await.refused(409, "preview_changed");
        assert_eq!(refused["count"], 1, "the new number: {refused}");
    }
    let gone = api.delete(&format!("{IDLE}?expect=3")).await.refused(409, "preview_changed");
    assert_eq!(gone["count"], 0);
    let shown = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    assert_eq!(api.get(&shown).await.expect(200)["state"], "live", "nothing was changed");

    api.put(IDLE, &changed(&guard["expect"], &guard["expect_basis"])).await.expect(200);
    assert_eq!(api.check(&token).await.refused(401, "session_ended")["reason"], "idle");
    let back = api.post(&what_if, &json!({"value": null})).await.expect(200);
    assert_eq!((&back["property"]["value"], &back["property"]["source"]), (&json!("30"), &json!("default")));
    let basis = back["guard"]["expect_basis"].as_str().unwrap();
    api.delete(&format!("{IDLE}?expect=0&expect_basis={basis}")).await.expect(200);

    let life = "/v1/properties/glide.ui.active.session.life_span/what-if";
    assert_eq!(api.post(life, &json!({"value": "30"})).await.expect(200)["needs_force"], true);
}

#[tokio::test]
async fn a_bad_rehearsal_or_guard_is_refused() {
    let api = Api::start().await;
    let rehearsals = [
        (IDLE, json!({}), 400, "malformed_body"),
        (IDLE, json!({"value": 45}), 400, "malformed_body"),
        (IDLE, json!({"value": "45", "force": true}), 400, "malformed_body"),
        (IDLE, json!({"value": ""}), 422, "invalid_field"),
        (IDLE, json!({"value": "1441"}), 422, "invalid_value"),
        ("/v1/properties/glide.ui.session_timeleft", json!({"value": "30"}), 422, "relation_broken"),
        ("/v1/properties/nothing", json!({"value": "1"}), 404, "unknown_property"),
    ];
    for (path, body, status, code) in rehearsals {
        api.post(&format!("{path}/what-if"), &body).await.refused(status, code);
    }
    let guards = [
        (json!({"value": "45", "expect": -1}), 422, "invalid_field"),
        (json!({"value": "45", "expect": "1"}), 400, "malformed_body"),
        (json!({"value": "45", "expect_basis": "0"}), 422, "invalid_field"),
        (json!({"value": "45", "expect_basis": "000000000000000G"}), 422, "invalid_field"),
    ];
    for (body, status, code) in guards {
        api.put(IDLE, &body).await.refused(status, code);
    }
    for query in ["expect=-1", "expect=all", "expect_basis=0", "expect=1&expect=1"] {
        api.delete(&format!("{IDLE}?{query}")).await.refused(400, "invalid_parameter");
    }
    assert_eq!(api.db.count("select count(*) from tenure.properties").await, 0);
}
