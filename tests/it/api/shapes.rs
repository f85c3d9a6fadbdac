//! The documents of the API: which keys they have, no more and no less.

use serde_json::Value;

use crate::support::{assert_instant, assert_keys};

/// SESSION without the place, as a check shows it.
const CHECKED_SESSION: [&str; 24] = [
    "id",
    "kind",
    "user",
    "state",
    "active",
    "device",
    "remember_me",
    "residue",
    "homepage_refresh_minutes",
    "idle_limit_minutes",
    "oauth_entity",
    "window_seconds",
    "app_state",
    "app_state_at",
    "created_at",
    "last_activity_at",
    "idle_deadline_at",
    "max_life_deadline_at",
    "remember_me_deadline_at",
    "residue_deadline_at",
    "expires_at",
    "ended_at",
    "end_reason",
    "ended_by",
];
const PLACE: [&str; 3] = ["node", "client_address", "user_agent"];

#[track_caller]
pub fn session(value: &Value) {
    assert_keys(value, &[&CHECKED_SESSION[..], &PLACE].concat());
    instants(value);
}

#[track_caller]
pub fn checked(value: &Value) {
    assert_keys(value, &["session", "seconds_left", "prompt", "prompt_at", "can_extend", "transaction_id"]);
    assert_keys(&value["session"], &CHECKED_SESSION);
    instants(&value["session"]);
    assert!(value["seconds_left"].is_i64() && value["prompt"].is_boolean() && value["can_extend"].is_boolean(), "{value}");
    if !value["prompt_at"].is_null() {
        assert_instant(&value["prompt_at"]);
    }
}

#[track_caller]
fn instants(session: &Value) {
    for (name, value) in session.as_object().unwrap() {
        if name.ends_with("_at") && !value.is_null() {
            assert_instant(value);
        }
    }
    assert_instant(&session["created_at"]);
    assert_instant(&session["last_activity_at"]);
    assert_eq!(session["state"] == "ended", !session["ended_at"].is_null(), "{session}");
    assert_eq!(session["state"] == "live", !session["expires_at"].is_null(), "{session}");
}

#[track_caller]
pub fn over(value: &Value) {
    assert_keys(value, &["type", "title", "status", "detail", "code", "reason", "ended_at", "action"]);
    assert_instant(&value["ended_at"]);
}

#[track_caller]
pub fn problem(value: &Value) {
    assert_keys(value, &["type", "title", "status", "detail", "code"]);
}

#[track_caller]
pub fn barrier(value: &Value, nodes: &[&str]) {
    assert_keys(value, &["acknowledged", "waited_out", "took_ms"]);
    assert_eq!(value["acknowledged"], serde_json::json!(nodes));
    assert_eq!(value["waited_out"], serde_json::json!([]));
    assert!(value["took_ms"].is_f64(), "{value}");
}

#[track_caller]
pub fn page(value: &Value) -> &Vec<Value> {
    assert_keys(value, &["items", "next"]);
    assert!(value["next"].is_null() || value["next"].is_string(), "{value}");
    value["items"].as_array().unwrap()
}

#[track_caller]
pub fn event(value: &Value) {
    assert_keys(value, &["id", "at", "type", "session_id", "user", "actor", "reason", "node", "details"]);
    assert_instant(&value["at"]);
}

pub const USER: [&str; 6] = ["name", "display_name", "active", "locked_out", "roles", "homepage_refresh_minutes"];
pub const PROPERTY: [&str; 8] = ["name", "description", "value", "type", "unit", "default", "source", "warnings"];
