//! Pages of lists: each session once, whatever the page size, the state and the filters.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::shapes;
use crate::support::Api;

/// Walks every page; `between` runs after each. How often each id was seen.
async fn walk(api: &Api, query: &str, limit: usize, mut between: impl AsyncFnMut(usize)) -> BTreeMap<String, u32> {
    let mut seen = BTreeMap::new();
    let mut after = String::new();
    let mut last = "g".to_owned();
    for page in 0.. {
        assert!(page < 200, "the walk does not end");
        let answer = api.get(&format!("/v1/sessions?limit={limit}{query}{after}")).await.expect(200);
        let items = shapes::page(&answer);
        assert!(items.len() <= limit);
        for item in items {
            shapes::session(item);
            let id = item["id"].as_str().unwrap().to_owned();
            assert!(id < last, "not newest first");
            last.clone_from(&id);
            *seen.entry(id).or_default() += 1;
        }
        between(page).await;
        let Some(next) = answer["next"].as_str() else { return seen };
        after = format!("&after={next}");
    }
    unreachable!()
}

/// 24 sessions: ten of one user, seven guests and seven integrations; a third of them ended, some lapsed but not swept.
async fn populate(api: &Api) -> Vec<Value> {
    api.db.user("abel.tuter").await;
    api.db.user("beth.anglin").await;
    let mut sessions = Vec::new();
    for i in 0..24 {
        let body = match i % 24 {
            0..10 => json!({"kind": "user", "user": "abel.tuter", "client_address": "203.0.113.7"}),
            10..17 => json!({"kind": "guest", "client_address": "2001:db8::7"}),
            _ => json!({"kind": "integration", "user": "beth.anglin"}),
        };
        sessions.push(api.create(&body).await.0);
        api.db.advance(TimeDelta::seconds(1)).await;
    }
    for session in sessions.iter().step_by(3) {
        api.delete(&format!("/v1/sessions/{}?barrier=false", session["id"].as_str().unwrap())).await.expect(200);
    }
    sessions
}

#[tokio::test]
async fn pages_show_each_session_once() {
    let api = Api::start().await;
    let sessions = populate(&api).await;
    let middle = sessions[12]["created_at"].as_str().unwrap();
    let rows = [
        ("&state=live", 16),
        ("&state=ended", 8),
        ("&state=all", 24),
        ("", 16),
        ("&state=all&user=Abel.Tuter", 10),
        ("&state=all&kind=guest", 7),
        ("&state=ended&kind=user", 4),
        ("&state=all&node=node-1", 24),
        ("&state=all&node=node-2", 0),
        ("&state=all&node=%25", 0),
        ("&state=all&user=abel_tuter", 0),
        ("&state=all&active=true", 0),
        ("&state=all&active=false", 24),
        ("&state=all&address=203.0.113.7", 10),
        ("&state=all&address=2001:db8:0::7", 7),
        ("&state=all&idle_minutes_min=0", 24),
        ("&state=all&idle_minutes_min=60", 0),
        ("&state=all&created_from=1969-07-20T00:00:00Z", 24),
        ("&state=all&created_from=0001-01-01T00:00:00Z&created_to=9999-12-31T23:59:59Z", 24),
        ("&state=all&created_to=1969-07-20T00:00:00Z", 0),
        ("&state=all&last_activity_to=1969-07-20T00:00:00Z", 0),
        (
            "&state=live&user=beth.anglin&kind=integration&node=node-1&idle_minutes_min=0&last_activity_from=2001-01-01T00:00:00Z",
            5,
        ),
    ];
    for (query, expected) in rows {
        for limit in [1, 7, 500] {
            let seen = walk(&api, query, limit, async |_| {}).await;
            assert_eq!(seen.len(), expected, "{query} by {limit}");
            assert!(seen.values().all(|count| *count == 1));
        }
    }
    let encoded = middle.replace('+', "%2B");
    let before = walk(&api, &format!("&state=all&created_to={encoded}"), 7, async |_| {}).await;
    let from = walk(&api, &format!("&state=all&created_from={encoded}"), 7, async |_| {}).await;
    assert_eq!((before.len(), from.len()), (12, 12), "from is inclusive, to is not");
    assert!(before.keys().all(|id| !from.contains_key(id)));
}

#[tokio::test]
async fn sessions_that_end_between_pages_are_neither_lost_nor_doubled() {
    let api = Api::start().await;
    let sessions = populate(&api).await;
    let live: Vec<_> = sessions.iter().enumerate().filter(|(i, _)| i % 3 != 0).map(|(_, session)| session).collect();
    // Each page ends one session above and one below the cursor.
    let ending = async |page: usize| {
        for session in [live.get(page), live.len().checked_sub(page + 1).and_then(|index| live.get(index))].into_iter().flatten()
        {
            api.delete(&format!("/v1/sessions/{}?barrier=false", session["id"].as_str().unwrap())).await.expect(200);
        }
    };
    let seen = walk(&api, "&state=all", 3, ending).await;
    assert_eq!(seen.len(), 24);
    assert!(seen.values().all(|count| *count == 1));
    let live = walk(&api, "&state=live", 500, async |_| {}).await;
    assert!(live.len() < 16, "the walk ended some");
}

#[tokio::test]
async fn sessions_past_their_deadline_are_ended_before_anyone_sweeps() {
    let db = crate::support::Db::new().await;
    let api = Api::on(db).await;
    let (session, _) = api.create(&json!({"kind": "guest"})).await;
    api.db.advance(TimeDelta::minutes(31)).await;
    let live = api.get("/v1/sessions?state=live").await.expect(200);
    assert_eq!(shapes::page(&live).len(), 0);
    let ended = api.get("/v1/sessions?state=ended").await.expect(200);
    assert_eq!(ended["items"][0]["id"], session["id"]);
    assert_eq!(ended["items"][0]["end_reason"], "idle");
    assert_eq!(ended["items"][0]["ended_at"], session["expires_at"]);
}

#[tokio::test]
async fn users_and_events_come_in_pages() {
    let api = Api::start().await;
    for i in 0..9 {
        api.db.user(&format!("user-{i}")).await;
    }
    api.create(&json!({"kind": "guest"})).await;
    for path in ["/v1/users", "/v1/events"] {
        let whole = api.get(&format!("{path}?limit=500")).await.expect(200);
        let whole = shapes::page(&whole);
        assert!(whole.len() >= 9, "{path} has {}", whole.len());
        let mut walked = Vec::new();
        let mut after = String::new();
        loop {
            let page = api.get(&format!("{path}?limit=2{after}")).await.expect(200);
            walked.extend(shapes::page(&page).clone());
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(&walked, whole, "{path}");
    }
    let created = api.get("/v1/events?type=session_created").await.expect(200);
    assert_eq!(shapes::page(&created).len(), 1);
    shapes::event(&created["items"][0]);
}
