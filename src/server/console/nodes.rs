//! *Nodes*: who is there, whether it may trust its memory, and whether it keeps up.

use askama::Template;
use axum::extract::State;
use chrono::{DateTime, Utc};

use super::super::AppState;
use super::super::auth::Readers;
use super::form::encoded;
use super::operator::Operator;
use super::page::{Answer, Frame, rendered};
use super::shown;
use crate::store::NodeRecord;

#[derive(Template)]
#[template(path = "nodes.html")]
struct Page {
    frame: Frame,
    nodes: Vec<Line>,
    /// When the sessions were counted.
    counted: String,
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
    /// Changes it has yet to apply.
    behind: i64,
    /// The name as part of an address.
    encoded: String,
}

impl Line {
    fn of(node: NodeRecord, now: DateTime<Utc>, behind: &[(String, i64)]) -> Self {
        let lease = (node.lease_expires_at - now).num_milliseconds();
        Self {
            live: node.state == "live",
            encoded: encoded(&node.name),
            // Two processes of one name are shown with what the later of them has to do.
            behind: behind.iter().filter(|(name, _)| *name == node.name).map(|(_, changes)| *changes).max().unwrap_or(0),
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
    let counted = shown::instant(app.manager.held().await?.at);
    let nodes = app.manager.nodes().await?;
    let behind = app.manager.store().nodes_behind().await?;
    let now = app.manager.time().await?;
    let nodes = nodes.into_iter().map(|node| Line::of(node, now, &behind)).collect();
    rendered(&Page { frame: Frame::of(&operator, "nodes"), nodes, counted })
}
