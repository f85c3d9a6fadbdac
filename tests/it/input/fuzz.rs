//! Ten thousand strings nobody thought of: nothing panics, nothing is answered with 500.

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Map, Value, json};
use tenure::input::{self, CreateSession, UserInput};
use tenure::session::{ApiKey, SessionToken};

use crate::support::{Api, send};

/// Pieces that have broken parsers before.
const PIECES: &[&str] = &[
    "0",
    "1",
    "-1",
    "9",
    "501",
    "9223372036854775807",
    "9223372036854775808",
    "1e400",
    "NaN",
    "+",
    "-",
    ".",
    ",",
    ":",
    ";",
    "'",
    "\"",
    "\\",
    "%",
    "%00",
    "%25",
    "&",
    "=",
    "#",
    "?",
    "/",
    "..",
    "\0",
    "\n",
    "\r",
    "\t",
    "\u{7f}",
    "\u{85}",
    "\u{202e}",
    "\u{feff}",
    "\u{2028}",
    "\u{10ffff}",
    "é",
    "e\u{301}",
    "ß",
    "İ",
    "ﷺ",
    "👩‍👩‍👧",
    "A",
    "z",
    "tn_",
    "tnk_",
    "AAAA",
    "====",
    "_",
    "true",
    "false",
    "null",
    "live",
    "ended",
    "all",
    "user",
    "guest",
    "2026-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999+23:59",
    "0001-01-01T00:00:00-23:59",
    "T",
    "Z",
    "infinity",
    "::1",
    "127.0.0.1",
    "::ffff:1.2.3.4",
    "fe80::1%eth0",
    "00000000-0000-0000-0000-000000000000",
    "{",
    "}",
    "[",
    "]",
    "$1",
    "--",
    " ",
];

fn random(rng: &mut impl Rng) -> String {
    let count = rng.random_range(0..6);
    (0..count).map(|_| PIECES[rng.random_range(0..PIECES.len())]).collect()
}

fn try_all(text: &str) {
    let _ = SessionToken::parse(text);
    let _ = ApiKey::parse(text);
    let _ = input::user_name(text).map(|name| {
        assert!((1..=128).contains(&name.chars().count()) && !name.chars().any(char::is_control), "{name:?}");
        assert_eq!(input::user_name(&name).unwrap(), name, "a good name stays itself");
    });
    let _ = input::address(text).map(|address| assert_eq!(input::address(&address.to_string()).unwrap(), address));
    let _ = input::activity(text);
    let _ = input::kind(text);
    let _ = input::limit(Some(text)).map(|limit| assert!((1..=500).contains(&limit)));
    let _ = input::cursor(text);
    let _ = input::user_cursor(text);
    let _ = input::instant("x", text);
    let _ = input::boolean("x", text);
    let _ = input::minutes("x", text).map(|minutes| assert!((0..=525_600).contains(&minutes)));
    let _ = input::label("x", text).map(|label| assert!(label.len() <= 63));
    let _ = input::property_value(text);
    let _ = input::text("x", text.to_owned());
    let _ = input::attributes(&Map::from_iter([(text.to_owned(), json!([text, {"a": text}]))]));
    let all = CreateSession {
        kind: text.to_owned(),
        user: Some(text.to_owned()),
        device: Some(text.to_owned()),
        client_address: Some(text.to_owned()),
        user_agent: Some(text.to_owned()),
        guest_token: Some(text.to_owned()),
        ..CreateSession::default()
    };
    let _ = all.clone().validate();
    let _ = CreateSession { kind: "user".to_owned(), device: None, client_address: None, ..all }.validate();
    let user = UserInput {
        name: Some(text.to_owned()),
        display_name: Some(Some(text.to_owned())),
        roles: Some(vec![text.to_owned()]),
        ..UserInput::default()
    };
    let _ = user.validate(text);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn input_parsers_never_panic(text in any::<String>()) {
        try_all(&text);
    }

    #[test]
    fn input_parsers_never_panic_on_odd_pieces(seed in any::<u64>()) {
        try_all(&random(&mut StdRng::seed_from_u64(seed)));
    }

    #[test]
    fn input_tokens_that_parse_are_canonical(bytes in any::<[u8; 48]>()) {
        use base64::Engine;
        let text = format!("tn_{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes));
        let (id, _) = SessionToken::parse(&text).unwrap();
        prop_assert_eq!(id.as_bytes(), &bytes[..16]);
        prop_assert!(SessionToken::parse(&text[1..]).is_none());
    }
}

/// 2,000 lists with five random parameters each, and every other way in with random values.
#[tokio::test]
async fn input_http_never_answers_500() {
    const NAMES: [&str; 13] = [
        "user",
        "kind",
        "node",
        "active",
        "address",
        "idle_minutes_min",
        "created_from",
        "created_to",
        "last_activity_from",
        "last_activity_to",
        "state",
        "limit",
        "after",
    ];
    let api = Api::start().await;
    let (session, _) = api.create(&json!({"kind": "guest"})).await;
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    let mut rng = StdRng::seed_from_u64(4711);
    for round in 0..2_000 {
        let mut query: Vec<(&str, String)> = Vec::new();
        for name in NAMES {
            if rng.random_range(0..3) == 0 {
                query.push((name, random(&mut rng)));
            }
        }
        let text = random(&mut rng);
        let segment: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let request = match round % 10 {
            0..5 => api.request(Method::GET, "/v1/sessions").query(&query),
            5 => api.request(Method::GET, "/v1/events").query(&[("type", text.as_str())]),
            6 => api.request(Method::POST, "/v1/sessions/check").json(&json!({"token": text, "activity": null})),
            7 => api.request(Method::PATCH, &format!("{path}/attributes")).json(&json!({text.as_str(): value(&mut rng)})),
            8 => api.request(Method::GET, &format!("/v1/users/{segment}x")),
            _ => api.request(Method::PUT, &format!("/v1/properties/{segment}x")).json(&json!({"value": text})),
        };
        let answer = send(request).await;
        assert!(answer.status < 500, "{query:?} {text:?}: {} {}", answer.status, answer.text);
    }
    let answer = send(api.request(Method::GET, &path)).await;
    answer.expect(200);
}

fn value(rng: &mut StdRng) -> Value {
    match rng.random_range(0..4) {
        0 => json!(random(rng)),
        1 => json!([random(rng), rng.random::<f64>(), rng.random::<i64>()]),
        2 => json!({random(rng): random(rng)}),
        _ => Value::Null,
    }
}
