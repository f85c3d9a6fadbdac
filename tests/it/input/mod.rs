//! Bad input, by the numbers of `docs/FAULTS.md`: refused with its code, nothing changed, nothing secret said.

mod attributes;
mod config;
mod fuzz;
mod http;
mod lists;
mod moving;
mod sessions;
mod tokens;
mod wire;

use reqwest::RequestBuilder;

use crate::support::{Api, send};

/// Stands where a secret would; no answer may contain it.
const SECRET: &str = "hush-hush-4711";

/// One case: its number and what is special, the request, the status and code it must get.
struct Case(&'static str, RequestBuilder, u16, &'static str);

/// Runs a table: each answer as expected, none quotes [`SECRET`] or an internal, and the database stays as it was.
async fn refused(api: &Api, cases: impl IntoIterator<Item = Case>) {
    let before = fingerprint(api).await;
    let mut wrong = Vec::new();
    for Case(name, request, status, code) in cases {
        let answer = send(request).await;
        let found = serde_json::from_str(&answer.text).map(|json: serde_json::Value| json["code"].as_str().map(str::to_owned));
        if answer.status != status || !matches!(&found, Ok(Some(found)) if found == code) {
            wrong.push(format!("{name}: wanted {status} {code}, got {} {}", answer.status, answer.text));
        }
        if [SECRET, "sqlx", "postgres:", "SELECT", "select "].iter().any(|word| answer.text.contains(word)) {
            wrong.push(format!("{name} says too much: {}", answer.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(fingerprint(api).await, before, "something was changed");
}

/// What bad input must not change: rows of every table that a request can write.
async fn fingerprint(api: &Api) -> String {
    sqlx::query_scalar(
        "select format('%s live, %s ended, %s events, %s users (%s), %s properties, %s keys, attributes %s',
                (select count(*) from tenure.sessions), (select count(*) from tenure.ended_sessions),
                (select count(*) from tenure.session_events), (select count(*) from tenure.users),
                (select string_agg(u::text, ' ' order by u.id) from tenure.users u), (select count(*) from tenure.properties),
                (select count(*) from tenure.api_keys), (select md5(string_agg(a::text, ' ' order by a.session_id)) from tenure.session_attributes a))",
    )
    .fetch_one(api.db.pool())
    .await
    .unwrap()
}
