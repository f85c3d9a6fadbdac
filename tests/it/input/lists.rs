//! Cases 34 to 40: lists.

use reqwest::Method;
use serde_json::json;

use super::{Case, SECRET, refused};
use crate::support::Api;

#[tokio::test]
async fn input_034_to_039_lists() {
    let api = Api::start().await;
    api.create(&json!({"kind": "guest"})).await;
    let parameter = "invalid_parameter";
    let mut cases = Vec::new();
    for path in ["/v1/sessions", "/v1/users", "/v1/events"] {
        for limit in ["0", "-1", "501", "all", "", "1.0", "1e2", "9223372036854775808", "%00", "٣"] {
            cases.push(Case("34 limit", api.request(Method::GET, &format!("{path}?limit={limit}")), 400, parameter));
        }
        for after in [SECRET, "", "%00", "a'b", "00000000-0000-0000-0000-00000000000g", "99999999999999999999"] {
            cases.push(Case("35 cursor", api.request(Method::GET, &format!("{path}?after={after}")), 400, "invalid_cursor"));
        }
        for sort in ["sort=user", "order=asc", "sort_by=id;drop", "offset=10", "q=.*"] {
            cases.push(Case("36 sort", api.request(Method::GET, &format!("{path}?{sort}")), 400, parameter));
        }
    }
    let uuid = uuid::Uuid::nil();
    cases.push(Case("35 another listing's", api.request(Method::GET, &format!("/v1/users?after={uuid}")), 400, "invalid_cursor"));
    cases.push(Case("35 another listing's", api.request(Method::GET, "/v1/sessions?after=17"), 400, "invalid_cursor"));
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    for name in ["created", "last_activity"] {
        for (from, to) in [(late, early), (early, early), ("2026-01-01T02:00:00Z", "2026-01-01T02:30:00%2B01:00")] {
            let path = format!("/v1/sessions?{name}_from={from}&{name}_to={to}");
            cases.push(Case("37 backwards", api.request(Method::GET, &path), 422, "invalid_range"));
        }
        for at in [
            "2026-01-01T00:00:00",
            "2026-01-01",
            "2026-02-30T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "infinity",
            "-infinity",
            "2026-12-31T23:59:60Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00+24:00",
            "1767225600",
            "now",
            "",
            "%00",
            "2026-01-01T00:00:00Z'",
        ] {
            cases.push(Case("38 instant", api.request(Method::GET, &format!("/v1/sessions?{name}_from={at}")), 400, parameter));
            cases.push(Case("38 instant", api.request(Method::GET, &format!("/v1/sessions?{name}_to={at}")), 400, parameter));
        }
    }
    for (filter, status, code) in [
        ("kind=.*", 400, parameter),
        ("kind=user,guest", 400, parameter),
        ("state=dead", 400, parameter),
        ("state=", 400, parameter),
        ("active=1", 400, parameter),
        ("active=TRUE", 400, parameter),
        ("idle_minutes_min=-1", 400, parameter),
        ("idle_minutes_min=525601", 400, parameter),
        ("idle_minutes_min=2147483648", 400, parameter),
        ("node=", 400, parameter),
        ("node=a%00b", 400, parameter),
        ("user=", 422, "invalid_user_name"),
        ("user=a%00b", 422, "invalid_user_name"),
        ("address=localhost", 422, "invalid_field"),
        ("address=203.0.113.0/24", 422, "invalid_field"),
        ("address=", 422, "invalid_field"),
    ] {
        cases.push(Case("39 filter", api.request(Method::GET, &format!("/v1/sessions?{filter}")), status, code));
    }
    cases.push(Case("39 type", api.request(Method::GET, "/v1/events?type=a%00b"), 400, parameter));
    cases.push(Case("39 type", api.request(Method::GET, "/v1/events?type="), 400, parameter));
    cases.push(Case("39 active", api.request(Method::GET, "/v1/users?active=maybe"), 400, parameter));
    refused(&api, cases).await;
}

#[tokio::test]
async fn input_040_wildcards_are_letters() {
    let api = Api::start().await;
    for name in ["a%b", "a_b", "axb", "a\\b", "a'b"] {
        api.db.user(name).await;
        api.create(&json!({"kind": "user", "user": name})).await;
    }
    for (filter, expected) in [("a%25b", "a%b"), ("a_b", "a_b"), ("a%5Cb", "a\\b"), ("a%27b", "a'b")] {
        let page = api.get(&format!("/v1/sessions?user={filter}")).await.expect(200);
        let users: Vec<_> = page["items"].as_array().unwrap().iter().map(|session| session["user"].as_str().unwrap()).collect();
        assert_eq!(users, [expected]);
    }
    for filter in ["%25", "a%25", "_", "a.b", "%27%20or%20%271%27=%271"] {
        assert_eq!(api.get(&format!("/v1/sessions?user={filter}")).await.expect(200)["items"], json!([]), "{filter}");
    }
}

/// 34 to 41, 47, 54, 55: the same conditions in the body of an order to end sessions, and the order itself.
#[tokio::test]
async fn input_034_to_055_orders_to_end_sessions() {
    let api = Api::start().await;
    let (session, _) = api.create(&json!({"kind": "guest"})).await;
    let id = session["id"].clone();
    let (parameter, malformed, field) = ("invalid_parameter", "malformed_body", "invalid_field");
    let nobody = uuid::Uuid::nil();
    let many = |count: u32| (0..count).map(|n| uuid::Uuid::from_u128(u128::from(n))).collect::<Vec<_>>();
    let mut cases = Vec::new();
    let mut case = |name, body: serde_json::Value, status, code| {
        cases.push(Case(name, api.request(Method::POST, "/v1/sessions/terminate").json(&body), status, code));
    };
    for (name, filter, status, code) in [
        ("34 limit", json!({"limit": 10}), 400, malformed),
        ("34 limit", json!({"limit": "all"}), 400, malformed),
        ("35 cursor", json!({"after": nobody}), 400, malformed),
        ("36 sort", json!({"sort": "user"}), 400, malformed),
        ("36 state", json!({"state": "ended"}), 400, malformed),
        (
            "37 backwards",
            json!({"created_from": "2026-01-02T00:00:00Z", "created_to": "2026-01-01T00:00:00Z"}),
            422,
            "invalid_range",
        ),
        (
            "37 backwards",
            json!({"last_activity_from": "2026-01-01T00:00:00Z", "last_activity_to": "2026-01-01T00:00:00Z"}),
            422,
            "invalid_range",
        ),
        ("38 instant", json!({"created_from": "2026-02-30T00:00:00Z"}), 400, parameter),
        ("38 instant", json!({"created_to": "infinity"}), 400, parameter),
        ("38 instant", json!({"last_activity_to": "2026-12-31T23:59:60Z"}), 400, parameter),
        ("38 instant", json!({"last_activity_from": 1_767_225_600}), 400, malformed),
        ("39 kind", json!({"kind": ".*"}), 400, parameter),
        ("39 kind", json!({"kind": ["user", "guest"]}), 400, malformed),
        ("39 active", json!({"active": "true"}), 400, malformed),
        ("39 idle", json!({"idle_minutes_min": -1}), 400, parameter),
        ("39 idle", json!({"idle_minutes_min": 525_601}), 400, parameter),
        ("39 idle", json!({"idle_minutes_min": "5"}), 400, malformed),
        ("39 node", json!({"node": "a\u{0}b"}), 400, parameter),
        ("39 user", json!({"user": ""}), 422, "invalid_user_name"),
        ("39 address", json!({"address": "203.0.113.0/24"}), 422, field),
    ] {
        for preview in [true, false] {
            case(name, json!({"filter": filter, "preview": preview, "expect": 1, "all": true}), status, code);
        }
    }
    case("41 everything", json!({}), 409, "not_confirmed");
    case("41 everything", json!({"filter": {}, "expect": 1}), 409, "not_confirmed");
    case("41 everything", json!({"except": [id], "expect": 1, "all": false}), 409, "not_confirmed");
    case("41 no count", json!({"all": true}), 409, "not_confirmed");
    case("41 no count", json!({"filter": {"kind": "guest"}}), 409, "not_confirmed");
    case("41 another count", json!({"all": true, "expect": 0}), 409, "preview_changed");
    case("41 another count", json!({"filter": {"kind": "guest"}, "expect": 2}), 409, "preview_changed");
    // A condition that every session meets is one all the same: the number says what it means.
    case("41 everything", json!({"filter": {"idle_minutes_min": 0}, "expect": 0}), 409, "preview_changed");
    case("41 everything", json!({"filter": {"created_from": "1970-01-01T00:00:00Z"}}), 409, "not_confirmed");
    case("41 no count", json!({"all": true, "expect": -1}), 422, field);
    case("41 no count", json!({"all": true, "expect": 1.5}), 400, malformed);
    case("47 unknown", json!({"ids": [id, nobody], "expect": 1}), 404, "unknown_session");
    case("47 unknown", json!({"ids": [nobody], "preview": true}), 404, "unknown_session");
    // Whoever mistypes the session to be spared, their own perhaps, would lose it.
    case("47 unknown", json!({"all": true, "except": [nobody], "expect": 1}), 404, "unknown_session");
    case("47 unknown", json!({"all": true, "except": [nobody], "preview": true}), 404, "unknown_session");
    case("54 none", json!({"ids": [], "expect": 0}), 422, field);
    case("54 many", json!({"ids": many(1_001), "expect": 1}), 422, field);
    case("54 many spared", json!({"except": many(101), "all": true, "expect": 1}), 422, field);
    case("54 both", json!({"ids": [id], "filter": {}, "expect": 1}), 422, field);
    case("54 no id", json!({"ids": [SECRET], "expect": 1}), 400, malformed);
    for reason in ["", "maintenance\n", "signed_out", "because"] {
        case("55 reason", json!({"all": true, "expect": 1, "reason": reason}), 422, field);
    }
    refused(&api, cases).await;
}
