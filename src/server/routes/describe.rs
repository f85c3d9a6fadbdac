//! The `OpenAPI` 3.1 document: what the handlers say of themselves, completed in one place by what is true of all of them.

use serde_json::{Map, Value, json};

use crate::session::Activity;

/// To which operations an answer belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    All,
    /// Those that want a key.
    Keyed,
    /// Those that name something in their path.
    Named,
    /// Those that read anything beyond their path.
    Reading,
    /// Those with a body.
    Bodied,
}

/// Answers that no handler repeats: status, name, codes, and where they belong.
const COMMON: [(&str, &str, &str, To); 12] = [
    (
        "400",
        "BadRequest",
        "The request cannot be read, or a parameter is not one: invalid_parameter, invalid_cursor, malformed_path.",
        To::Reading,
    ),
    ("401", "Unauthorized", "No valid API key: invalid_api_key.", To::Keyed),
    ("403", "Forbidden", "The key's role does not allow this: role_not_allowed.", To::Keyed),
    ("404", "NotFound", "What the path names does not exist.", To::Named),
    ("408", "RequestTimeout", "The body did not arrive within 5 s: body_timeout.", To::Bodied),
    ("413", "ContentTooLarge", "The body is larger than 128 KiB: body_too_large.", To::Bodied),
    ("415", "UnsupportedMediaType", "The body is not JSON in UTF-8: unsupported_media_type.", To::Bodied),
    ("422", "UnprocessableContent", "A value breaks a rule; the code says which, the detail what to do.", To::Reading),
    ("429", "TooManyRequests", "Too many requests. Retry-After says when to come back.", To::Keyed),
    ("431", "HeadersTooLarge", "The headers are larger than 16 KiB: headers_too_large.", To::All),
    ("500", "InternalError", "The store failed: internal. The log of the node says why.", To::All),
    ("503", "Unavailable", "The store cannot know now: unavailable. Nothing is said of any session.", To::Keyed),
];

/// The document.
pub(super) fn complete(document: &utoipa::openapi::OpenApi) -> Value {
    // Maps of strings: nothing in it cannot be written.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let shared = COMMON.iter().map(|(status, name, text, _)| ((*name).to_owned(), common(status, text)));
    document["components"]["responses"] = Value::Object(shared.collect());
    for (path, item) in members(&mut document["paths"]) {
        for (_, operation) in members(item) {
            describe(path, operation);
        }
    }
    let whole: Vec<String> = members(&mut document["components"]["schemas"])
        .filter(|(_, schema)| schema.get("required").is_some())
        .map(|(name, _)| format!("#/components/schemas/{name}"))
        .collect();
    for (_, schema) in members(&mut document["components"]["schemas"]) {
        flatten(schema, &whole);
    }
    for (place, facts) in facts() {
        let schema = document.pointer_mut(&place).and_then(Value::as_object_mut);
        debug_assert!(schema.is_some(), "there is nothing at {place}");
        if let (Some(schema), Value::Object(facts)) = (schema, facts) {
            schema.extend(facts);
        }
    }
    document
}

/// A part that may be missing is a part whose members may be missing; one that is there as a whole or not at all may be anything.
fn flatten(schema: &mut Value, whole: &[String]) {
    for part in schema.get_mut("allOf").and_then(Value::as_array_mut).into_iter().flatten() {
        if part["oneOf"][1] == json!({"type": "null"}) {
            let members = part["oneOf"][0].take();
            *part = if whole.contains(&text(&members["$ref"])) { json!({"anyOf": [members, {}]}) } else { members };
        }
    }
}

fn describe(path: &str, operation: &mut Value) {
    // OAuth has errors of its own, which its handlers describe.
    let oauth = path.starts_with("/oauth/");
    let keyed = operation["security"] != json!([{}]);
    let bodied = operation.get("requestBody").is_some();
    let reading = bodied || operation.get("parameters").is_some();
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
        parameter["schema"] = shape(path, &name).unwrap_or_else(|| given(parameter["schema"].take()));
        if place != "path" {
            parameter["required"] = Value::Bool(false);
        }
    }
    let summary = operation["summary"].clone();
    let responses = &mut operation["responses"];
    for (status, response) in members(responses) {
        if status.parse::<u16>().is_ok_and(|status| status >= 400) && !oauth {
            response["content"] = problem();
        } else if text(&response["description"]).is_empty() {
            response["description"] = summary.clone();
        }
    }
    for (status, name, _, to) in COMMON {
        let belongs = match to {
            To::All => true,
            To::Keyed => keyed && !oauth,
            To::Named => path.contains('{'),
            To::Reading => reading && !oauth,
            To::Bodied => bodied && !oauth,
        };
        if belongs && responses.get(status).is_none() {
            responses[status] = json!({"$ref": format!("#/components/responses/{name}")});
        }
    }
}

fn common(status: &str, text: &str) -> Value {
    let mut response = json!({"description": text, "content": problem()});
    match status {
        "401" => response["headers"] = json!({"WWW-Authenticate": {"schema": {"const": "Bearer"}}}),
        "429" | "503" => {
            response["headers"] =
                json!({"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}});
        }
        _ => {}
    }
    response
}

fn problem() -> Value {
    json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}})
}

/// Members of an object, or none.
fn members(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flat_map(Map::iter_mut)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The schema of a value that is given: a parameter may be left out, but it is never null.
fn given(mut schema: Value) -> Value {
    if let Some(kinds) = schema["type"].as_array() {
        schema["type"] = kinds.iter().find(|kind| *kind != "null").cloned().unwrap_or_default();
    }
    schema
}

/// What a parameter may hold: all of them are text to HTTP, and read strictly.
fn shape(path: &str, name: &str) -> Option<Value> {
    Some(match name {
        "after" if matches!(path, "/v1/users" | "/v1/oauth-entities") => {
            json!({"type": "integer", "minimum": 1, "maximum": i64::MAX})
        }
        "id" | "tid" | "after" => json!({"type": "string", "format": "uuid"}),
        "name" if path.starts_with("/v1/properties/") => json!({"type": "string", "minLength": 1, "maxLength": 255}),
        "name" if path.starts_with("/v1/oauth-entities/") => entity_name(),
        "name" if path.starts_with("/v1/nodes/") => json!({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"}),
        "name" | "user" => user_name(),
        "kind" if path == "/v1/auth" => {
            let kinds = "(user|guest|integration|mobile)";
            json!({"type": "string", "pattern": format!("^{kinds}(,{kinds})*$")})
        }
        "activity" | "x-tenure-activity" => reported(),
        "kind" => json!({"$ref": "#/components/schemas/Kind"}),
        "node" | "type" => line(),
        "active" | "locked_out" | "barrier" | "force" => json!({"type": "boolean"}),
        "address" => json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
        "idle_minutes_min" => json!({"type": "integer", "minimum": 0, "maximum": 525_600}),
        "created_from" | "created_to" | "last_activity_from" | "last_activity_to" => instant(),
        "state" => json!({"type": "string", "enum": ["live", "ended", "all"], "default": "live"}),
        "channel" => json!({"type": "string", "enum": ["login", "email", "integration"], "default": "login"}),
        "expect" => expected(),
        "expect_basis" => basis(),
        "limit" => json!({"type": "integer", "minimum": 1, "maximum": 500, "default": 50}),
        "Idempotency-Key" => json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"}),
        "Last-Event-ID" => json!({"type": "string", "pattern": "^([0-9A-F]{8}-[1-9][0-9]{0,18})?$"}),
        _ => return None,
    })
}

/// One line of text.
fn line() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$"})
}

/// An instant with offset, within what a clock shows.
fn instant() -> Value {
    let pattern = "^(0[1-9]|[1-9][0-9])[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\
                   T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";
    json!({"type": "string", "format": "date-time", "pattern": pattern})
}

/// A user name: nothing that cannot be seen, and no space around it.
fn user_name() -> Value {
    let unseen = "\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069";
    let pattern = format!("^[^\\s{unseen}]([^{unseen}]*[^\\s{unseen}])?$");
    json!({"type": "string", "minLength": 1, "maxLength": 128, "pattern": pattern})
}

/// The number of sessions that a preview said.
fn expected() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": i64::MAX})
}

/// The digest that a preview rests on.
fn basis() -> Value {
    json!({"type": "string", "pattern": "^[0-9a-f]{16}$"})
}

/// The words of activity (A1).
fn reported() -> Value {
    json!({"type": "string", "enum": Activity::ALL.iter().map(|activity| activity.as_str()).collect::<Vec<_>>()})
}

/// The name of a client application: no control characters, and no space around it.
fn entity_name() -> Value {
    let control = "\\u0000-\\u001f\\u007f-\\u009f";
    let pattern = format!("^[^\\s{control}]([^{control}]*[^\\s{control}])?$");
    json!({"type": "string", "minLength": 1, "maxLength": 128, "pattern": pattern})
}

/// What the types of bodies cannot say, by place.
fn facts() -> Vec<(String, Value)> {
    let of = |schema: &str, property: &str| format!("/components/schemas/{schema}/properties/{property}");
    let own = |schema: &str, property: &str| format!("/components/schemas/{schema}/allOf/1/properties/{property}");
    let nullable = |mut facts: Value| {
        facts["type"] = json!([facts["type"], "null"]);
        if let Some(words) = facts.get_mut("enum").and_then(Value::as_array_mut) {
            words.push(Value::Null);
        }
        facts
    };
    let words = |words: &[&str]| json!({"type": "string", "enum": words});
    let text = |least: u32, most: u32| json!({"type": "string", "minLength": least, "maxLength": most});
    let day = json!({"type": "integer", "minimum": 1, "maximum": 1440});
    let address = json!({"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}, {"type": "null"}], "type": ["string", "null"]});
    let lifespan = json!({"type": "integer", "minimum": 1, "maximum": 315_360_000});
    let devices = words(&["desktop", "tablet", "phone", "app"]);
    let payload = json!({"type": "object", "maxProperties": 64, "propertyNames": {"minLength": 1, "maxLength": 128}});
    let roles =
        json!({"type": "array", "uniqueItems": true, "maxItems": 3, "items": words(&["admin", "user_admin", "reporter"])});
    let attributes =
        |method: &str| format!("/paths/~1v1~1sessions~1{{id}}~1attributes/{method}/requestBody/content/application~1json/schema");
    vec![
        (of("CreateSession", "kind"), words(&["user", "guest", "integration", "mobile"])),
        (of("CreateSession", "user"), nullable(user_name())),
        (of("CreateSession", "device"), nullable(devices.clone())),
        (of("CreateSession", "client_address"), address.clone()),
        (of("CreateSession", "homepage_refresh_minutes"), nullable(day.clone())),
        (of("CreateSession", "idle_limit_minutes"), nullable(day.clone())),
        (of("CreateSession", "oauth_entity"), nullable(entity_name())),
        (of("CreateSession", "attributes"), nullable(payload.clone())),
        (of("LogIn", "user"), user_name()),
        (of("LogIn", "device"), nullable(devices.clone())),
        (of("LogIn", "client_address"), address.clone()),
        (of("LogIn", "homepage_refresh_minutes"), nullable(day.clone())),
        (of("LogIn", "idle_limit_minutes"), nullable(day.clone())),
        (of("LogIn", "attributes"), nullable(payload.clone())),
        (of("PasswordInput", "password"), text(8, 128)),
        (of("SignIn", "user"), user_name()),
        (of("SignIn", "device"), nullable(devices)),
        (of("StateReport", "state"), words(&["foreground", "task", "background"])),
        (of("Report", "activity"), reported()),
        (of("EntityInput", "name"), nullable(entity_name())),
        (of("EntityInput", "client_id"), nullable(json!({"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,255}$"}))),
        (of("EntityInput", "access_token_lifespan"), nullable(lifespan.clone())),
        (of("EntityInput", "refresh_token_lifespan"), nullable(lifespan)),
        (own("TokenRequest", "grant_type"), words(&["refresh_token"])),
        (own("TokenRequest", "refresh_token"), text(1, 255)),
        (own("TokenRequest", "scope"), json!({"type": "string", "maxLength": 0})),
        (own("TokenQuestion", "token"), json!({"type": "string", "minLength": 1})),
        ("/components/schemas/TokenRequest/allOf/1".to_owned(), json!({"required": ["grant_type", "refresh_token"]})),
        ("/components/schemas/TokenQuestion/allOf/1".to_owned(), json!({"required": ["token"]})),
        (of("Introspection", "token_type"), words(&["Bearer"])),
        (attributes("put"), payload.clone()),
        (attributes("patch"), payload),
        (of("CheckRequest", "activity"), nullable(reported())),
        (of("UserInput", "name"), nullable(user_name())),
        (of("UserInput", "display_name"), nullable(text(1, 255))),
        (of("UserInput", "homepage_refresh_minutes"), nullable(day)),
        (of("UserInput", "roles"), nullable(roles)),
        (of("UserInput", "expect"), nullable(expected())),
        (of("SessionFilter", "user"), nullable(user_name())),
        (of("SessionFilter", "kind"), nullable(words(&["user", "guest", "integration", "mobile"]))),
        (of("SessionFilter", "node"), nullable(line())),
        (of("SessionFilter", "address"), address),
        (of("SessionFilter", "idle_minutes_min"), nullable(json!({"type": "integer", "minimum": 0, "maximum": 525_600}))),
        (of("SessionFilter", "created_from"), nullable(instant())),
        (of("SessionFilter", "created_to"), nullable(instant())),
        (of("SessionFilter", "last_activity_from"), nullable(instant())),
        (of("SessionFilter", "last_activity_to"), nullable(instant())),
        (of("TerminateInput", "ids"), json!({"minItems": 1, "maxItems": 1000})),
        (of("TerminateInput", "except"), json!({"maxItems": 100})),
        (of("TerminateInput", "reason"), nullable(words(&["terminated", "maintenance"]))),
        (of("TerminateInput", "expect"), nullable(expected())),
        (of("PropertyInput", "value"), text(1, 255)),
        (of("PropertyInput", "expect"), nullable(expected())),
        (of("PropertyInput", "expect_basis"), nullable(basis())),
        (of("RehearsalInput", "value"), nullable(text(1, 255))),
        (of("Expect", "expect"), nullable(expected())),
        (of("Expect", "expect_basis"), nullable(basis())),
        (of("ForecastExample", "effect"), words(&["ends_now", "ends_earlier", "ends_later"])),
        (own("SessionView", "state"), words(&["live", "ended"])),
        (of("Explanation", "state"), words(&["live", "ended"])),
        (of("Candidate", "limit"), words(&["idle", "max_life", "remember_me", "residue", "mobile_window", "maintenance"])),
        (of("Candidate", "source"), words(&["row", "default", "release_profile", "override", "oauth_entity", "frozen"])),
        (of("NodeRecord", "state"), words(&["live", "draining", "silent"])),
        (of("Property", "type"), words(&["integer", "string", "boolean"])),
        (of("Property", "source"), words(&["row", "default", "release_profile"])),
        (of("Access", "reason"), nullable(words(&["locked_out", "inactive"]))),
        (of("Health", "status"), words(&["ok"])),
        (of("Problem", "status"), json!({"type": "integer", "minimum": 400, "maximum": 599})),
        (of("Problem", "code"), json!({"type": "string", "pattern": "^[a-z][a-z_]*$"})),
    ]
}
