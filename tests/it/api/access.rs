//! Who may call, and what everybody else is told: nothing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::json;
use tenure::session::{ApiKey, Role, TokenParts};
use tenure::store::Actor;

use super::shapes;
use crate::support::{Api, send};

const ADMINS: &[Role] = &[Role::Admin];
const APPS: &[Role] = &[Role::Admin, Role::App];
const USER_ADMINS: &[Role] = &[Role::Admin, Role::UserAdmin];
const WATCHERS: &[Role] = &[Role::Admin, Role::UserAdmin, Role::Reporter];
const READERS: &[Role] = &[Role::Admin, Role::Reporter];
const ANYBODY: &[Role] = Role::ALL;

/// Every route that wants a key, and the roles it opens to (U6).
const PATHS: &[(&str, &str, &[Role])] = &[
    ("GET", "/v1/sessions", WATCHERS),
    ("POST", "/v1/sessions", APPS),
    ("POST", "/v1/sessions/check", APPS),
    ("POST", "/v1/sessions/terminate", ADMINS),
    ("GET", "/v1/sessions/x", ANYBODY),
    ("DELETE", "/v1/sessions/x", ADMINS),
    ("GET", "/v1/sessions/x/explain", WATCHERS),
    ("GET", "/v1/sessions/x/events", WATCHERS),
    ("POST", "/v1/sessions/x/extend", APPS),
    ("POST", "/v1/sessions/x/app-state", APPS),
    ("POST", "/v1/sessions/x/rotate", APPS),
    ("POST", "/v1/sessions/x/sign-out", APPS),
    ("DELETE", "/v1/sessions/x/transactions/y", APPS),
    ("GET", "/v1/sessions/x/attributes", APPS),
    ("PUT", "/v1/sessions/x/attributes", APPS),
    ("PATCH", "/v1/sessions/x/attributes", APPS),
    ("GET", "/v1/users", WATCHERS),
    ("GET", "/v1/users/x", WATCHERS),
    ("PUT", "/v1/users/x", ADMINS),
    ("PATCH", "/v1/users/x", USER_ADMINS),
    ("GET", "/v1/users/x/access", ANYBODY),
    ("POST", "/v1/users/x/what-if", WATCHERS),
    ("PUT", "/v1/users/x/password", ADMINS),
    ("POST", "/v1/login", APPS),
    ("GET", "/v1/properties", READERS),
    ("GET", "/v1/properties/x", READERS),
    ("PUT", "/v1/properties/x", ADMINS),
    ("DELETE", "/v1/properties/x", ADMINS),
    ("POST", "/v1/properties/x/what-if", READERS),
    ("GET", "/v1/oauth-entities", READERS),
    ("GET", "/v1/oauth-entities/x", READERS),
    ("PUT", "/v1/oauth-entities/x", ADMINS),
    ("DELETE", "/v1/oauth-entities/x", ADMINS),
    ("GET", "/v1/nodes", READERS),
    ("POST", "/v1/nodes/x/drain", ADMINS),
    ("DELETE", "/v1/nodes/x/drain", ADMINS),
    ("GET", "/v1/events", WATCHERS),
    ("GET", "/metrics", READERS),
    ("HEAD", "/v1/nodes", READERS),
];

/// Routes that want no key, each for a reason of its own: probes and the description; what proxies and browsers ask of the
/// client's own session; and OAuth clients, who prove themselves another way.
const OPEN: &[(&str, &str)] = &[
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/openapi.json"),
    ("GET", "/client.js"),
    ("GET", "/v1/auth"),
    ("GET", "/v1/browser/session"),
    ("POST", "/v1/browser/check"),
    ("POST", "/v1/browser/extend"),
    ("POST", "/v1/browser/sign-in"),
    ("POST", "/v1/browser/sign-out"),
    ("POST", "/oauth/token"),
    ("POST", "/oauth/revoke"),
    ("POST", "/oauth/introspect"),
];

/// Whether a path of the description, parameters in braces, is the one a table names.
fn is_path(described: &str, named: &str) -> bool {
    let (described, named): (Vec<_>, Vec<_>) = (described.split('/').collect(), named.split('/').collect());
    described.len() == named.len() && described.iter().zip(named).all(|(one, other)| one.starts_with('{') || *one == other)
}

/// U6, deny by default: a route that is not in one of the tables above was forgotten here, and who may call it as well.
#[tokio::test]
async fn rule_u6_the_tables_name_every_route() {
    let api = Api::start().await;
    let document = send(api.client.get(format!("{}/openapi.json", api.node.url))).await.expect(200);
    let named = || PATHS.iter().map(|(method, path, _)| (*method, *path)).chain(OPEN.iter().copied());
    let mut forgotten = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            if !named().any(|(known, named)| known.eq_ignore_ascii_case(method) && is_path(path, named)) {
                forgotten.push(format!("{method} {path}"));
            }
        }
    }
    assert!(forgotten.is_empty(), "{forgotten:?}");
    assert!(is_path("/v1/users/{name}/access", "/v1/users/x/access") && !is_path("/v1/users/{name}", "/v1/users"));
    assert!(!is_path("/v1/users", "/v1/users/x") && !is_path("/v1/users/{name}", "/v1/nodes/x"));
}

#[tokio::test]
async fn nothing_answers_without_a_good_key() {
    let api = Api::start().await;
    let (_, token) = api.create(&json!({"kind": "guest"})).await;
    let (_, revoked) = api.db.store.create_key("revoked", Role::Admin, Actor("setup")).await.unwrap();
    assert!(api.db.store.revoke_key("revoked", Actor("setup")).await.unwrap());
    let mut typo = api.key.clone().into_bytes();
    typo[10] = if typo[10] == b'A' { b'B' } else { b'A' };
    let wrong = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Basic {}", api.key)),
        Some(api.key.clone()),
        Some(format!("Bearer {} {}", api.key, api.key)),
        Some(format!("Bearer {token}")),
        Some(format!("Bearer {}", String::from_utf8(typo).unwrap())),
        Some(format!("Bearer {}", revoked.reveal())),
        Some(format!("Bearer {}", ApiKey::new().reveal())),
        Some(format!("Bearer {}", "k".repeat(1000))),
    ];
    let mut bodies = std::collections::BTreeSet::new();
    for value in &wrong {
        let mut request = api.client.get(format!("{}/v1/nodes", api.node.url));
        if let Some(value) = value {
            request = request.header("authorization", value);
        }
        let answer = send(request).await;
        shapes::problem(&answer.refused(401, "invalid_api_key"));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        bodies.insert(answer.text);
    }
    let two = api.request(Method::GET, "/v1/nodes").header("authorization", format!("Bearer {}", api.key));
    bodies.insert(send(two).await.text);
    assert_eq!(bodies.len(), 1, "one answer for all: {bodies:?}");

    for (method, path, _) in PATHS {
        let url = format!("{}{path}", api.node.url);
        let answer = send(api.client.request(method.parse().unwrap(), url).json(&json!({}))).await;
        assert_eq!(answer.status, 401, "{method} {path}: {}", answer.text);
    }
    let lower = api.client.get(format!("{}/v1/nodes", api.node.url)).header("authorization", format!("bearer {}", api.key));
    send(lower).await.expect(200);
}

#[tokio::test]
async fn rule_u6_every_route_opens_to_its_roles_and_to_nobody_else() {
    let mut api = Api::start().await;
    for role in Role::ALL {
        let (_, key) = api.db.store.create_key(role.as_str(), *role, Actor("setup")).await.unwrap();
        key.reveal().clone_into(&mut api.key);
        for (method, path, roles) in PATHS {
            let answer = send(api.request(method.parse().unwrap(), path).json(&json!({}))).await;
            assert_eq!(answer.status == 403, !roles.contains(role), "{role}: {method} {path}: {} {}", answer.status, answer.text);
            if answer.status == 403 && *method != "HEAD" {
                shapes::problem(&answer.refused(403, "role_not_allowed"));
            }
        }
    }
}

/// U6: a user administrator locks and unlocks; everything else of a user is an administrator's.
#[tokio::test]
async fn rule_u6_a_user_admin_changes_nothing_but_the_lock() {
    let mut api = Api::start().await;
    api.put("/v1/users/abel.tuter", &json!({})).await.expect(201);
    let (_, key) = api.db.store.create_key("desk", Role::UserAdmin, Actor("setup")).await.unwrap();
    key.reveal().clone_into(&mut api.key);
    for change in [json!({"active": false}), json!({"roles": ["admin"]}), json!({"locked_out": true, "display_name": "A"})] {
        api.patch("/v1/users/abel.tuter", &change).await.refused(403, "role_not_allowed");
    }
    assert_eq!(api.patch("/v1/users/abel.tuter", &json!({"locked_out": true})).await.expect(200)["locked_out"], true);
    assert_eq!(api.patch("/v1/users/abel.tuter", &json!({"locked_out": false})).await.expect(200)["locked_out"], false);
    assert_eq!(api.get("/v1/users/abel.tuter").await.expect(200)["active"], true);
}

/// E3: whatever is no token of this store gets one answer, byte for byte.
#[tokio::test]
async fn every_unknown_token_gets_the_same_bytes() {
    let api = Api::start().await;
    let (session, token) = api.create(&json!({"kind": "guest"})).await;
    let id = session["id"].as_str().unwrap().parse().unwrap();
    let (ended, _) = api.create(&json!({"kind": "guest"})).await;
    api.delete(&format!("/v1/sessions/{}", ended["id"].as_str().unwrap())).await.expect(200);
    let ended = ended["id"].as_str().unwrap().parse().unwrap();
    let body = &token["tn_".len()..];
    let bytes = URL_SAFE_NO_PAD.decode(body).unwrap();
    assert_eq!(bytes.len(), 48);
    let unknown = [
        String::new(),
        " ".to_owned(),
        "tn_".to_owned(),
        body.to_owned(),
        format!("TN_{body}"),
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        format!("{token}="),
        token[..token.len() - 1].to_owned(),
        format!("{token}A"),
        token.replace("tn_", "tnk_"),
        api.key.clone(),
        TokenParts::new().for_session(id).reveal().to_owned(),
        TokenParts::new().for_session(ended).reveal().to_owned(),
        TokenParts::new().for_session(uuid::Uuid::nil()).reveal().to_owned(),
        TokenParts::new().for_session(uuid::Uuid::max()).reveal().to_owned(),
        "tn_".to_owned() + &"A".repeat(64),
        "tn_".to_owned() + &"+/".repeat(32),
        "t".repeat(1000),
        "\u{0}".to_owned(),
        "é".repeat(33),
        id.to_string(),
    ];
    let mut answers = std::collections::BTreeSet::new();
    for (number, token) in unknown.iter().enumerate() {
        for activity in [json!(null), json!("passive"), json!("task")] {
            let answer = api.post("/v1/sessions/check", &json!({"token": token, "activity": activity})).await;
            assert_eq!(answer.status, 401, "{number}: {}", answer.text);
            answers.insert(answer.text);
        }
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    shapes::problem(&api.check("").await.refused(401, "unknown_token"));
    api.check(&token).await.expect(200);
}

#[tokio::test]
async fn health_needs_no_key_and_metrics_does() {
    let api = Api::start().await;
    for path in ["/healthz", "/readyz"] {
        let answer = send(api.client.get(format!("{}{path}", api.node.url))).await;
        assert_eq!(answer.expect(200), json!({"status": "ok"}));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    let metrics = api.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.text.contains("tenure_http_request_seconds"), "{}", metrics.text);
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    send(api.client.get(format!("{}/metrics", api.node.url))).await.refused(401, "invalid_api_key");
}
