//! The description matches what is served.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::support::{Api, send};

/// What DESIGN lists and this release serves.
const ROUTES: &[&str] = &[
    "delete /v1/nodes/{name}/drain",
    "delete /v1/oauth-entities/{name}",
    "delete /v1/properties/{name}",
    "delete /v1/sessions/{id}",
    "delete /v1/sessions/{id}/transactions/{tid}",
    "get /client.js",
    "get /healthz",
    "get /metrics",
    "get /openapi.json",
    "get /readyz",
    "get /v1/auth",
    "get /v1/browser/session",
    "get /v1/events",
    "get /v1/nodes",
    "get /v1/oauth-entities",
    "get /v1/oauth-entities/{name}",
    "get /v1/properties",
    "get /v1/properties/{name}",
    "get /v1/sessions",
    "get /v1/sessions/{id}",
    "get /v1/sessions/{id}/attributes",
    "get /v1/sessions/{id}/events",
    "get /v1/sessions/{id}/explain",
    "get /v1/users",
    "get /v1/users/{name}",
    "get /v1/users/{name}/access",
    "patch /v1/sessions/{id}/attributes",
    "patch /v1/users/{name}",
    "post /oauth/introspect",
    "post /oauth/revoke",
    "post /oauth/token",
    "post /v1/browser/check",
    "post /v1/browser/extend",
    "post /v1/browser/sign-in",
    "post /v1/browser/sign-out",
    "post /v1/login",
    "post /v1/nodes/{name}/drain",
    "post /v1/properties/{name}/what-if",
    "post /v1/sessions",
    "post /v1/sessions/check",
    "post /v1/sessions/terminate",
    "post /v1/sessions/{id}/app-state",
    "post /v1/sessions/{id}/extend",
    "post /v1/sessions/{id}/rotate",
    "post /v1/sessions/{id}/sign-out",
    "post /v1/users/{name}/what-if",
    "put /v1/oauth-entities/{name}",
    "put /v1/properties/{name}",
    "put /v1/sessions/{id}/attributes",
    "put /v1/users/{name}",
    "put /v1/users/{name}/password",
];

#[tokio::test]
async fn the_document_lists_every_route_and_each_answers() {
    let api = Api::start().await;
    let document = send(api.client.get(format!("{}/openapi.json", api.node.url))).await.expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            found.insert(format!("{method} {path}"));
            assert!(operation["summary"].is_string() || operation["description"].is_string(), "{method} {path} says nothing");
            let concrete = path.replace("{id}", "x").replace("{tid}", "x").replace("{name}", "x");
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = send(api.request(method.clone(), &concrete).json(&serde_json::json!({}))).await;
            assert!(!matches!(answer.status, 405 | 500..), "{method} {path}: {}", answer.text);
            if answer.status == 404 {
                assert_ne!(answer.code(), "not_found", "{method} {path}");
            }
        }
    }
    for route in ROUTES {
        assert!(found.contains(*route), "{route} is not described");
    }
}

#[tokio::test]
async fn every_reference_of_the_document_resolves() {
    let api = Api::start().await;
    let document = send(api.client.get(format!("{}/openapi.json", api.node.url))).await.expect(200);
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 20, "the document has schemas");
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads outside"));
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(target) if key == "$ref" => found.push(target.to_owned()),
                    _ => collect(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}
