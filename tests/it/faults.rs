//! One test per failure mode of `docs/FAULTS.md`, where the search over the protocol does not show it already: on a real
//! PostgreSQL with whole nodes, or on the cache alone where only an order of calls matters.

mod activity;
mod limits;
mod log;
mod memory;
mod nodes;
mod stopped;

use std::time::Duration;

use tenure::Manager;
use tenure::input::CreateSession;
use tenure::manager::{CheckOptions, Created, NodeOptions, Verdict};
use tenure::session::Activity;
use tenure::store::{Actor, Registration, Store};
use tokio::time::timeout;
use uuid::Uuid;

use crate::support::{Db, settings};

const ADMIN: Actor<'static> = Actor("admin-key");

/// A node that hears no hints.
fn deaf() -> NodeOptions {
    NodeOptions { listen: false, ..NodeOptions::default() }
}

async fn node_with(db: &Db, name: &str, options: NodeOptions) -> Manager {
    node_at(&db.url, name, options).await
}

async fn node_at(url: &str, name: &str, options: NodeOptions) -> Manager {
    let store = Store::connect(&settings(url, name)).await.unwrap();
    Manager::start_with(store, Registration { name: name.to_owned(), address: None }, options).await.unwrap()
}

async fn guest(node: &Manager) -> Created {
    let new = CreateSession { kind: "guest".into(), ..Default::default() };
    node.create(&new.validate().unwrap(), ADMIN).await.unwrap()
}

async fn user(db: &Db, node: &Manager, name: &str) -> Created {
    db.user(name).await;
    let new = CreateSession { kind: "user".into(), user: Some(name.into()), ..Default::default() };
    node.create(&new.validate().unwrap(), ADMIN).await.unwrap()
}

async fn check(node: &Manager, session: &Created) -> Verdict {
    node.check(session.token.reveal(), Some(Activity::User), CheckOptions::default(), ADMIN).await.unwrap()
}

/// Whether memory accepts it now.
fn hit(node: &Manager, session: &Created) -> bool {
    node.check_now(session.token.reveal(), Some(Activity::Passive)).is_some()
}

/// Whether the node has an entry of it that may be used.
fn has(node: &Manager, id: Uuid) -> bool {
    node.node().unwrap().cache().observe(id).entry == Some(true)
}

/// Waits for what must come to pass, looking again and again.
async fn until(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let watching = async {
        while !happened().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(15), watching).await.unwrap_or_else(|_| panic!("it did not come to pass: {what}"));
}

/// Checks until memory answers.
async fn remembered(node: &Manager, session: &Created) {
    until("memory answers", async || {
        let verdict = node.check(session.token.reveal(), Some(Activity::User), CheckOptions::default(), ADMIN).await;
        // A server that many tests share may keep one waiting for its turn.
        assert!(
            verdict.as_ref().map_or_else(tenure::Error::is_unavailable, |verdict| matches!(verdict, Verdict::Live(_))),
            "{verdict:?}"
        );
        hit(node, session)
    })
    .await;
}

/// Ends a session as an operator with psql does: no hint, no barrier.
async fn end(db: &Db, session: &Created) {
    db.sql(&format!("select tenure.terminate('{}')", session.session.id)).await;
}

/// Beats of a node so far.
async fn beats(db: &Db, name: &str) -> i64 {
    db.count(&format!("select coalesce(max(beat), 0) from tenure.nodes where name = '{name}'")).await
}

/// Microseconds since 1970 of a session's anchor on record.
async fn anchor(db: &Db, id: Uuid) -> i64 {
    db.count(&format!("select (extract(epoch from anchor_at) * 1000000)::bigint from tenure.sessions where id = '{id}'")).await
}
