//! Many sessions ended together by HTTP (X3).

use serde_json::json;

use super::shapes;
use crate::support::{Api, assert_keys};

const PATH: &str = "/v1/sessions/terminate";

#[tokio::test]
async fn rule_x3_a_filter_is_previewed_and_then_ends_just_that() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    let mut guests = Vec::new();
    for _ in 0..3 {
        guests.push(api.create(&json!({"kind": "guest"})).await);
    }
    let (user, user_token) = api.create(&json!({"kind": "user", "user": "abel.tuter"})).await;
    let me = &guests[0].0["id"];

    let preview = api.post(PATH, &json!({"filter": {"kind": "guest"}, "except": [me], "preview": true})).await.expect(200);
    assert_keys(&preview, &["ends_now", "users", "sessions", "examples", "guard"]);
    assert_eq!((&preview["ends_now"], &preview["users"], &preview["guard"]["expect"]), (&json!(2), &json!(0), &json!(2)));
    assert_eq!(preview["sessions"], json!([{"kind": "guest", "node": "node-1", "sessions": 2}]));
    let example = &preview["examples"][0];
    assert_keys(example, &["id", "kind", "user", "node", "last_activity_at", "expires_at"]);
    assert_eq!(example["id"], guests[2].0["id"], "the newest");
    let everything = api.post(PATH, &json!({"preview": true})).await.expect(200);
    assert_eq!((&everything["ends_now"], &everything["users"]), (&json!(4), &json!(1)), "a preview needs no confirmation");

    let refused = api.post(PATH, &json!({"filter": {"kind": "guest"}, "except": [me]})).await.refused(409, "not_confirmed");
    assert_eq!(refused["count"], 2);
    let order = json!({"filter": {"kind": "guest"}, "except": [me], "reason": "maintenance", "expect": 2});
    let done = api.post(PATH, &order).await.expect(200);
    assert_keys(&done, &["terminated", "remaining", "barrier"]);
    assert_eq!((&done["terminated"], &done["remaining"]), (&json!(2), &json!(0)));
    shapes::barrier(&done["barrier"], &["node-1"]);
    for (_, token) in &guests[1..] {
        assert_eq!(api.check(token).await.refused(401, "session_ended")["reason"], "maintenance");
    }
    for token in [&guests[0].1, &user_token] {
        api.check(token).await.expect(200);
    }
    // 47: what was done already is done.
    assert_eq!(api.post(PATH, &order).await.expect(200)["terminated"], 0);

    // 54: an id that is named twice counts once, and one that is over already counts no more.
    let ids = json!([user["id"], user["id"], guests[1].0["id"]]);
    let stale = api.post(PATH, &json!({"ids": ids, "expect": 3})).await.refused(409, "preview_changed");
    assert_eq!(stale["count"], 1);
    assert_eq!(api.post(PATH, &json!({"ids": ids, "expect": 1})).await.expect(200)["terminated"], 1);
    assert_eq!(api.check(&user_token).await.refused(401, "session_ended")["reason"], "terminated");

    // 41: everything, said so.
    api.post(PATH, &json!({"expect": 1})).await.refused(409, "not_confirmed");
    assert_eq!(api.post(PATH, &json!({"expect": 1, "all": true})).await.expect(200)["terminated"], 1);
}
