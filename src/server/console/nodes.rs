//! *Nodes*: who is there, whether it may trust its memory, and whether it keeps up.

use askama::Template;
use axum::extract::State;

use super::super::AppState;
use super::super::auth::Readers;
use super::operator::Operator;
use super::page::{Answer, Frame, rendered};
use crate::store::NodeRecord;

#[derive(Template)]
#[template(path = "nodes.html")]
struct Page {
    frame: Frame,
    nodes: Vec<Line>,
}

/// A node in words.
struct Line {
    name: String,
    address: Option<String>,
    version: String,
    state: String,
    live: bool,
    /// Time left of its lease without another beat; `None` when it is over.
    lease: Option<String>,
    sessions: i64,
    in_flight: i64,
    late: String,
}

impl Line {
    fn of(node: NodeRecord, now: chrono::DateTime<chrono::Utc>) -> Self {
        let lease = (node.lease_expires_at - now).num_milliseconds();
        Self {
            live: node.state == "live",
            name: node.name,
            address: node.address,
            version: node.version,
            state: node.state,
            lease: (lease > 0).then(|| format!("{lease} ms")),
            sessions: node.sessions,
            in_flight: node.in_flight,
            late: format!("{:.1} s", node.sweep_late_seconds),
        }
    }
}

/// The registry.
pub(super) async fn list(operator: Operator<Readers>, State(app): AppState) -> Answer {
    let nodes = app.manager.store().nodes().await?;
    let now = app.manager.time().await?;
    let nodes = nodes.into_iter().map(|node| Line::of(node, now)).collect();
    rendered(&Page { frame: Frame::of(&operator, "nodes"), nodes })
}
