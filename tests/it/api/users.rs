//! Users by HTTP.

use serde_json::{Value, json};

use super::shapes::{self, USER};
use crate::support::{Api, assert_keys};

fn changed() -> Vec<&'static str> {
    [&USER[..], &["ended", "barrier"]].concat()
}

#[tokio::test]
async fn put_creates_and_replaces_and_patch_changes() {
    let api = Api::start().await;
    let created = api.put("/v1/users/abel.tuter", &json!({"display_name": "Abel", "roles": ["reporter"]})).await.expect(201);
    let expected = json!({"name": "abel.tuter", "display_name": "Abel", "active": true, "locked_out": false,
                          "roles": ["reporter"], "homepage_refresh_minutes": null});
    assert_eq!(created, expected);
    assert_eq!(api.get("/v1/users/ABEL.tuter").await.expect(200), expected);

    let patched = api.patch("/v1/users/abel.tuter", &json!({"homepage_refresh_minutes": 5})).await.expect(200);
    assert_keys(&patched, &USER);
    assert_eq!((&patched["display_name"], &patched["homepage_refresh_minutes"]), (&json!("Abel"), &json!(5)));
    let cleared = api.patch("/v1/users/abel.tuter", &json!({"display_name": null})).await.expect(200);
    assert_eq!((&cleared["display_name"], &cleared["homepage_refresh_minutes"]), (&Value::Null, &json!(5)));
    let replaced = api.put("/v1/users/abel.tuter", &json!({})).await.expect(200);
    assert_eq!((&replaced["roles"], &replaced["homepage_refresh_minutes"]), (&json!([]), &Value::Null));

    api.get("/v1/users/nobody").await.refused(404, "unknown_user");
    api.patch("/v1/users/nobody", &json!({"active": false})).await.refused(404, "unknown_user");
    api.get("/v1/users/nobody/access").await.refused(404, "unknown_user");
    assert_eq!(api.db.count("select count(*) from tenure.users").await, 1);
}

#[tokio::test]
async fn a_lock_out_says_how_many_sessions_ended_and_on_which_nodes() {
    let api = Api::start().await;
    let second = api.another("node-2").await;
    api.db.user("abel.tuter").await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(api.create(&json!({"kind": "user", "user": "abel.tuter"})).await.1);
    }
    let locked = api.patch("/v1/users/abel.tuter", &json!({"locked_out": true})).await.expect(200);
    assert_keys(&locked, &changed());
    assert_eq!((&locked["ended"], &locked["locked_out"]), (&json!(3), &json!(true)));
    shapes::barrier(&locked["barrier"], &["node-1", "node-2"]);
    for token in &tokens {
        assert_eq!(api.check(token).await.refused(401, "session_ended")["reason"], "locked_out");
    }
    let again = api.patch("/v1/users/abel.tuter", &json!({"locked_out": true})).await.expect(200);
    assert_keys(&again, &USER);
    // Unlocking brings nothing back (52).
    api.patch("/v1/users/abel.tuter", &json!({"locked_out": false})).await.expect(200);
    api.check(&tokens[0]).await.refused(401, "session_ended");

    api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    let replaced = api.put("/v1/users/abel.tuter", &json!({"active": false})).await.expect(200);
    assert_keys(&replaced, &changed());
    assert_eq!((&replaced["ended"], &replaced["locked_out"]), (&json!(1), &json!(true)));
    drop(second);
}

#[tokio::test]
async fn lists_filter_by_both_flags() {
    let api = Api::start().await;
    let answer = api.get("/v1/users").await.expect(200);
    assert_eq!(answer, json!({"items": [], "next": null}));
    api.db.sql("insert into tenure.users (name) values ('plain'), ('locked'), ('inactive')").await;
    api.db.sql("update tenure.users set locked_out = true where name = 'locked'").await;
    api.db.sql("update tenure.users set active = false where name = 'inactive'").await;
    let rows = [
        ("", "inactive locked plain"),
        ("?active=true", "locked plain"),
        ("?active=false", "inactive"),
        ("?locked_out=true", "inactive locked"),
        ("?locked_out=false&active=true", "plain"),
        ("?active=false&locked_out=false", ""),
    ];
    for (query, expected) in rows {
        let page = api.get(&format!("/v1/users{query}")).await.expect(200);
        let items = shapes::page(&page);
        for user in items {
            assert_keys(user, &USER);
        }
        let mut names: Vec<_> = items.iter().map(|user| user["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names.join(" "), expected, "{query}");
    }
}

#[tokio::test]
async fn access_says_no_on_every_channel() {
    let api = Api::start().await;
    api.db.sql("insert into tenure.users (name) values ('plain'), ('locked'), ('inactive')").await;
    api.db.sql("update tenure.users set locked_out = true where name = 'locked'").await;
    api.db.sql("update tenure.users set active = false where name = 'inactive'").await;
    api.db.sql("update tenure.users set locked_out = false where name = 'inactive'").await;
    let rows = [
        ("plain", json!({"allowed": true, "reason": null})),
        ("locked", json!({"allowed": false, "reason": "locked_out"})),
        ("inactive", json!({"allowed": false, "reason": "inactive"})),
    ];
    for (name, expected) in rows {
        for channel in ["", "?channel=login", "?channel=email", "?channel=integration"] {
            assert_eq!(api.get(&format!("/v1/users/{name}/access{channel}")).await.expect(200), expected, "{name} {channel}");
        }
    }
    api.get("/v1/users/plain/access?channel=fax").await.refused(400, "invalid_parameter");
}

#[tokio::test]
async fn rule_x2_a_lock_out_is_rehearsed_and_guarded() {
    let api = Api::start().await;
    api.put("/v1/users/abel.tuter", &json!({})).await.expect(201);
    api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    api.create(&json!({"kind": "integration", "user": "abel.tuter"})).await;
    let what_if = "/v1/users/ABEL.tuter/what-if";
    let forecast = api.post(what_if, &json!({"active": false})).await.expect(200);
    assert_keys(&forecast, &["user", "ends_now", "sessions", "examples", "guard"]);
    assert_eq!((&forecast["user"]["active"], &forecast["user"]["locked_out"]), (&json!(false), &json!(true)), "U2");
    let places =
        json!([{"kind": "integration", "node": "node-1", "sessions": 1}, {"kind": "user", "node": "node-1", "sessions": 1}]);
    assert_eq!((&forecast["sessions"], &forecast["ends_now"], &forecast["guard"]["expect"]), (&places, &json!(2), &json!(2)));

    for (body, status, code) in [
        (json!({}), 422, "invalid_field"),
        (json!({"active": null}), 422, "invalid_field"),
        (json!({"roles": []}), 400, "malformed_body"),
        (json!({"locked_out": "true"}), 400, "malformed_body"),
    ] {
        api.post(what_if, &body).await.refused(status, code);
    }
    api.post("/v1/users/nobody/what-if", &json!({"locked_out": true})).await.refused(404, "unknown_user");
    api.put("/v1/users/abel.tuter", &json!({"expect": 2})).await.refused(422, "invalid_field");
    api.patch("/v1/users/abel.tuter", &json!({"locked_out": true, "expect": -1})).await.refused(422, "invalid_field");

    let stale =
        api.patch("/v1/users/abel.tuter", &json!({"locked_out": true, "expect": 3})).await.refused(409, "preview_changed");
    assert_eq!(stale["count"], 2);
    assert_eq!(api.get("/v1/users/abel.tuter").await.expect(200)["locked_out"], false, "nothing was changed");
    let done = api.patch("/v1/users/abel.tuter", &json!({"locked_out": true, "expect": 2})).await.expect(200);
    assert_eq!(done["ended"], 2);
}
