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
