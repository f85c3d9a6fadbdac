//! The committed documents say what the program does.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let path = root().join("docs/openapi.json");
    let served = tenure::server::openapi();
    if std::env::var_os("TENURE_WRITE_OPENAPI").is_some() {
        fs::write(&path, serde_json::to_string_pretty(&served).unwrap() + "\n").unwrap();
    }
    let committed: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    if committed != served {
        let changed = differences("", &committed, &served).join("\n  ");
        panic!("docs/openapi.json is out of date; `make openapi` writes it anew. It differs at:\n  {changed}");
    }
}

/// The places where two documents differ.
fn differences(place: &str, old: &Value, new: &Value) -> Vec<String> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
            let of = |map: &serde_json::Map<String, Value>, key: &String| map.get(key).cloned().unwrap_or_default();
            keys.into_iter().flat_map(|key| differences(&format!("{place}/{key}"), &of(old, key), &of(new, key))).collect()
        }
        _ if old == new => Vec::new(),
        _ => vec![place.to_owned()],
    }
}

/// Files below a folder.
fn texts(folder: &Path, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(texts(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(fs::read_to_string(&path).unwrap());
        }
    }
    found
}

/// Status and code of every refusal that a text makes with one of these calls.
fn refusals(text: &str, calls: &[&str], quote: char) -> BTreeSet<(String, String)> {
    let starts = calls.iter().flat_map(|call| text.match_indices(call).map(|(at, call)| &text[at + call.len()..]));
    let made = starts.filter_map(|rest| {
        let (status, rest) = rest.trim_start().split_once(',')?;
        let code = rest.trim_start().strip_prefix(quote)?.split(quote).next()?;
        status.parse::<u16>().ok()?;
        Some((code.to_owned(), status.to_owned()))
    });
    made.collect()
}

#[test]
fn every_code_is_explained_and_every_explanation_is_of_a_code() {
    let mut made = BTreeSet::new();
    for text in texts(&root().join("src"), "rs") {
        made.extend(refusals(&text, &["refused(", "Problem::new(", "Self::new("], '"'));
    }
    for text in texts(&root().join("migrations"), "sql") {
        made.extend(refusals(&text, &["tenure.refuse("], '\''));
    }
    // What a database refuses without a code of its own.
    made.insert(("refused".to_owned(), "4xx".to_owned()));
    assert!(made.len() > 40, "the scan found too little: {made:?}");

    let document = fs::read_to_string(root().join("docs/PROBLEMS.md")).unwrap();
    let mut explained = BTreeSet::new();
    for row in document.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() == 4 && cells.iter().all(|cell| !cell.is_empty()), "{row}");
        explained.insert((cells[0].trim_matches('`').to_owned(), cells[1].to_owned()));
    }
    let missing: Vec<_> = made.difference(&explained).collect();
    let left: Vec<_> = explained.difference(&made).collect();
    assert!(
        missing.is_empty() && left.is_empty(),
        "docs/PROBLEMS.md lacks {missing:?} and explains {left:?}, which nothing answers"
    );
}

#[test]
fn every_operation_is_complete() {
    let document = tenure::server::openapi();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} names two operations");
            assert!(operation["summary"].is_string(), "{method} {path} says nothing");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let schema = &parameter["schema"];
                let name = parameter["name"].as_str().unwrap();
                let named = path.contains(&format!("{{{name}}}"));
                assert_eq!(parameter["in"] == "path", named, "{method} {path}: {name} is in {}", parameter["in"]);
                let bounded = ["enum", "format", "maximum", "maxLength", "pattern", "anyOf", "$ref"];
                let known = schema["type"] == "boolean" || bounded.iter().any(|fact| schema.get(*fact).is_some());
                assert!(known || name == "If-Match", "{method} {path}: what may {name} be? {schema}");
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                let response = match response["$ref"].as_str() {
                    Some(reference) => document.pointer(&reference[1..]).unwrap(),
                    None => response,
                };
                let problem = &response["content"]["application/problem+json"]["schema"]["$ref"];
                let oauth = &response["content"]["application/json"]["schema"]["$ref"] == "#/components/schemas/OauthError";
                let told = problem == "#/components/schemas/Problem" || path.starts_with("/oauth/") && oauth;
                assert_eq!(status.as_str() >= "400", told, "{method} {path} {status}");
                // A pass of forward-auth is in the headers, a revocation says nothing, and a copy that is current has no body.
                let empty = status == "304" || path == "/v1/auth" || path == "/oauth/revoke";
                assert!(response["content"].is_object() || empty, "{method} {path} {status} has no schema");
            }
            if let Some(body) = operation.get("requestBody") {
                // Parameters of OAuth that nobody knows are ignored, as RFC 6749 wants it.
                if body["content"].get("application/x-www-form-urlencoded").is_some() {
                    continue;
                }
                let mut schema = &body["content"]["application/json"]["schema"];
                if let Some(reference) = schema["$ref"].as_str() {
                    schema = document.pointer(&reference[1..]).unwrap();
                }
                let closed = schema["additionalProperties"] == false || schema.get("maxProperties").is_some();
                assert!(closed, "{method} {path} takes whatever comes");
            }
        }
    }
}
