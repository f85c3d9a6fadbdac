//! API keys: expiry, rotation, last use.

use std::sync::Arc;

use chrono::TimeDelta;
use reqwest::Method;
use tenure::Manager;
use tenure::cache::{Cache, CachedKey, Polled};
use tenure::clock::Reading;
use tenure::session::{ApiKey, Role, TokenHash};
use tenure::store::Actor;
use uuid::Uuid;

use crate::support::{Answer, Api, Db, send};

const SETUP: Actor<'static> = Actor("setup");

async fn nodes(api: &Api, key: &ApiKey) -> Answer {
    send(api.client.request(Method::GET, format!("{}/v1/nodes", api.node.url)).bearer_auth(key.reveal())).await
}

/// Waits until the node answers for a key from memory: a busy machine may cost it its lease for a moment.
async fn remembered(node: &Manager, digest: &TokenHash) {
    let begun = tokio::time::Instant::now();
    while node.key_now(digest).is_none() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(4), "not remembered");
        node.key(digest).await.unwrap().expect("a good key");
    }
}

#[tokio::test]
async fn a_key_is_good_until_it_expires_and_then_as_bad_as_none() {
    let api = Api::start().await;
    let (record, key) = api.db.store.create_key_for("month", Role::Reporter, Some(30), SETUP).await.unwrap();
    assert_eq!(record.expires_at, Some(record.created_at + TimeDelta::days(30)));
    nodes(&api, &key).await.expect(200);
    api.db.advance(TimeDelta::days(30) - TimeDelta::minutes(1)).await;
    nodes(&api, &key).await.expect(200);
    api.db.advance(TimeDelta::minutes(1)).await;
    nodes(&api, &key).await.refused(401, "invalid_api_key");
    api.get("/v1/nodes").await.expect(200);
    let listed = api.db.store.keys().await.unwrap();
    assert_eq!(listed.iter().map(|key| &*key.name).collect::<Vec<_>>(), ["tests", "month"], "listed until it is revoked");
}

/// Moving the clock without a word to anybody: what the node remembers is judged by the time that its polls bring.
#[tokio::test]
async fn a_remembered_key_expires_by_the_databases_clock() {
    let api = Api::start().await;
    let (_, key) = api.db.store.create_key_for("day", Role::Reporter, Some(1), SETUP).await.unwrap();
    nodes(&api, &key).await.expect(200);
    let digest = ApiKey::parse(key.reveal()).unwrap();
    remembered(&api.node.manager, &digest).await;
    api.db.sql("update tenure_test.clock set moved = moved + interval '1 day'").await;
    let begun = tokio::time::Instant::now();
    while api.node.manager.key_now(&digest).is_some() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(4), "still remembered as good");
        tokio::task::yield_now().await;
    }
    nodes(&api, &key).await.refused(401, "invalid_api_key");
}

/// The same without a database: to the microsecond.
#[test]
fn memory_never_accepts_a_key_past_its_expiry() {
    let cache = Cache::new(10);
    let at = |boot: i64| Reading { boot, offset: 0 };
    let begin = 1_800_000_000_000_000;
    let (_, digest) = (ApiKey::new(), ApiKey::parse(ApiKey::new().reveal()).unwrap());
    let poll = cache.begin_poll(at(0), true);
    cache.apply(poll, Polled { rows: Vec::new(), policies: None, now: begin }, 0);
    let load = cache.begin_key();
    let key = CachedKey::new(Uuid::nil(), "k", Role::App, Some(begin + 1_000_000));
    cache.finish_key(&load, &digest, Arc::new(key), at(0));
    assert!(cache.key(&digest, at(999_999)).is_some());
    assert!(cache.key(&digest, at(1_000_000)).is_none());
    assert_eq!(cache.take_used_keys(), [Uuid::nil()]);
    assert!(cache.key(&digest, at(1_000_001)).is_none());
    assert!(cache.take_used_keys().is_empty(), "being refused is no use");
}

/// Two keys live side by side while a program changes from one to the other.
#[tokio::test]
async fn a_key_is_rotated_by_making_a_second_and_revoking_the_first() {
    let api = Api::start().await;
    let (_, old) = api.db.store.create_key("shop-2026-01", Role::Reporter, SETUP).await.unwrap();
    let (_, new) = api.db.store.create_key("shop-2026-02", Role::Reporter, SETUP).await.unwrap();
    nodes(&api, &old).await.expect(200);
    nodes(&api, &new).await.expect(200);
    assert!(api.node.manager.revoke_key("shop-2026-01", SETUP).await.unwrap());
    nodes(&api, &old).await.refused(401, "invalid_api_key");
    nodes(&api, &new).await.expect(200);
}

#[tokio::test]
async fn last_use_is_noted_once_a_minute_and_disturbs_nobody() {
    let db = Db::new().await;
    let node = db.node("node-1").await;
    let (_, key) = db.store.create_key("used", Role::App, SETUP).await.unwrap();
    db.store.create_key("unused", Role::App, SETUP).await.unwrap();
    let digest = ApiKey::parse(key.reveal()).unwrap();
    let note = async || {
        node.key(&digest).await.unwrap().unwrap();
        let used = node.node().unwrap().cache().take_used_keys();
        assert_eq!(used.len(), 1);
        node.store().note_key_use(&used).await.unwrap();
        db.store.keys().await.unwrap()[0].last_used_at
    };
    assert_eq!(db.store.keys().await.unwrap()[0].last_used_at, None);
    let before = db.count("select count(*) from tenure.session_events").await;
    let first = note().await.expect("noted");
    assert!(first <= db.now().await);
    assert_eq!(note().await, Some(first), "not again within the minute");
    assert_eq!(db.count("select count(*) from tenure.invalidations where kind = 'k'").await, 0);
    assert_eq!(db.count("select count(*) from tenure.session_events").await, before);
    remembered(&node, &digest).await;
    assert_eq!(node.node().unwrap().cache().take_used_keys().len(), 1, "from memory it counts as well");
    db.advance(TimeDelta::minutes(1)).await;
    assert!(note().await.unwrap() >= first + TimeDelta::minutes(1));
    assert_eq!(db.store.keys().await.unwrap()[1].last_used_at, None);

    // A change is still one, by whatever statement.
    db.sql("update tenure.api_keys set role = 'reporter', last_used_at = tenure.now() where name = 'used'").await;
    db.manager.barrier().await;
    assert!(node.key_now(&digest).is_none(), "forgotten");
    assert_eq!(node.key(&digest).await.unwrap().unwrap().role, Role::Reporter);
    assert_eq!(db.count("select count(*) from tenure.session_events where type = 'api_key_changed'").await, 1);
    db.sql("update tenure.api_keys set id = gen_random_uuid() where name = 'used'").await;
    db.manager.barrier().await;
    assert!(node.key_now(&digest).is_none(), "by its old id");
}
