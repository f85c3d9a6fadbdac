//! How long pages take among many sessions, as `Server-Timing` says. A tenth of the sessions, and nothing judged, in ordinary runs.

use sqlx::Row;

use super::{Console, page};
use crate::support::{Answer, Api, Crowd, rounds};

/// Milliseconds that the node took.
fn took(answer: &Answer) -> f64 {
    page(answer, 200);
    answer.header("server-timing").unwrap().rsplit('=').next().unwrap().parse().unwrap()
}

/// Of 50 openings of each page in turn: the median, and what 95 of 100 stay below.
async fn times<const N: usize>(console: &Console, paths: [&str; N]) -> [(f64, f64); N] {
    let mut times = [const { Vec::new() }; N];
    for _ in 0..50 {
        for (path, times) in paths.iter().zip(&mut times) {
            times.push(took(&console.get(path).await));
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        (times[24], times[47])
    })
}

#[tokio::test]
async fn pages_among_a_hundred_thousand_sessions_stay_fast() {
    let api = Api::start().await;
    let sessions = rounds(100_000);
    api.db.crowd(Crowd { sessions, users: sessions / 5, oldest: 1_000, youngest: 1 }).await;
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    // Where page 1,000 of a hundred thousand begins: half-way.
    let half = format!("select id::text from tenure.sessions order by id desc offset {} limit 1", sessions / 2);
    let after: String = sqlx::query(sqlx::AssertSqlSafe(half)).fetch_one(api.db.pool()).await.unwrap().get(0);
    let cold = took(&console.get("/console/overview").await);
    let half_way = format!("/console/sessions?after={after}");
    let [first, far, overview, users, nodes, audit] = times(
        &console,
        ["/console/sessions", &half_way, "/console/overview", "/console/users", "/console/nodes", "/console/audit"],
    )
    .await;
    eprintln!(
        "{sessions} sessions, ms, median and 95 of 100: first page {first:?}, page half-way {far:?}, overview {overview:?}, \
        its first reading {cold}, users {users:?}, nodes {nodes:?}, audit {audit:?}"
    );
    if std::env::var_os("TENURE_TEST_LONG").is_some() {
        assert!(first.1 <= 200.0 && overview.1 <= 200.0, "{first:?} {overview:?}");
        assert!(far.0 <= 1.5 * first.0, "{far:?} {first:?}");
    }
}
