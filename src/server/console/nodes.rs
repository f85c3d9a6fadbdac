//! *Nodes*: who is there, whether it may trust its memory, and whether it keeps up; and orders to drain.

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use chrono::{DateTime, Utc};

use super::super::AppState;
use super::super::address::ClientAddress;
use super::super::auth::{Admins, Readers};
use super::super::problem::Problem;
use super::failure::Refused;
use super::form::{Form, encoded};
use super::operator::Operator;
use super::page::{Answer, Frame, rendered};
use super::{shown, sure};
use crate::input;
use crate::store::NodeRecord;

/// The states that orders are about.
const LIVE: &str = "live";
const DRAINING: &str = "draining";

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
    /// The same process in the next answer too: what somebody aims at must not become another one's.
    id: String,
    name: String,
    address: Option<String>,
    version: String,
    state: String,
    live: bool,
    draining: bool,
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
            id: format!("node-{}", encoded(&node.name)),
            live: node.state == LIVE,
            draining: node.state == DRAINING,
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

/// Processes of one name are told apart by their order, which is that of their start.
fn number(nodes: &mut [Line]) {
    for at in 0..nodes.len() {
        let before = nodes[..at].iter().filter(|node| node.name == nodes[at].name).count();
        if before > 0 {
            nodes[at].id = format!("{}:{before}", nodes[at].id);
        }
    }
}

/// The registry.
pub(super) async fn list(operator: Operator<Readers>, State(app): AppState) -> Answer {
    // One reading for both: the numbers and the instant they are of.
    let held = app.manager.held().await?;
    let nodes = app.manager.store().nodes(&held).await?;
    let counted = shown::instant(held.at);
    let behind = app.manager.store().nodes_behind().await?;
    let now = app.manager.time().await?;
    let mut nodes: Vec<_> = nodes.into_iter().map(|node| Line::of(node, now, &behind)).collect();
    number(&mut nodes);
    rendered(&Page { frame: Frame::of(&operator, "nodes"), nodes, counted })
}

/// The question before a node drains.
#[derive(Template)]
#[template(path = "node_drain.html")]
struct Sure<'a> {
    frame: Frame,
    name: &'a str,
    sessions: i64,
    /// No other node is live, so it takes the name, typed, and the password.
    last: bool,
    /// It is the node that answers this very page.
    own: bool,
    problem: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "node_receipt.html")]
struct Receipt<'a> {
    frame: Frame,
    name: &'a str,
    said: &'static str,
}

/// What became of an order.
fn said(draining: bool, nodes: &[NodeRecord]) -> &'static str {
    let any = |state: &str| nodes.iter().any(|node| node.state == state);
    if !any(LIVE) && !any(DRAINING) {
        "It does not answer now, and will hear the order when it does."
    } else if draining {
        "It says that it is not ready, and goes on answering what arrives until it is stopped or resumed."
    } else if any(DRAINING) {
        "The order is taken back; what still drains stops by itself."
    } else {
        "It is live, and says that it is ready."
    }
}

/// Orders a node to drain, or takes the order back. The one asks first; the last live node takes more than a yes.
pub(super) async fn order(
    operator: Operator<Admins>,
    State(app): AppState,
    address: ClientAddress,
    form: Form,
) -> Answer<Response> {
    let name = &input::label("name", form.one("name"))?;
    let done = |draining: bool, nodes: &[NodeRecord]| -> Answer<Response> {
        let frame = Frame::of(&operator, "nodes");
        Ok(rendered(&Receipt { frame, name, said: said(draining, nodes) })?.into_response())
    };
    if form.one("act") == "resume" {
        return done(false, &app.manager.resume_node(name, operator.actor()).await?);
    }
    if form.one("act") != "drain" {
        return Err(
            Problem::new(400, "invalid_parameter", "There is nothing of this name to do.", "Go back to the nodes.").into()
        );
    }
    let nodes = app.manager.nodes().await?;
    let Some(node) = nodes.iter().find(|node| node.name == *name) else {
        return Err(Problem::new(404, "unknown_node", "There is no node of this name any more.", "Go back to the nodes.").into());
    };
    let last = !nodes.iter().any(|node| node.state == LIVE && node.name != *name);
    let question = |last: bool, problem: Option<&str>| -> Answer<Html<String>> {
        let own = app.manager.node().is_some_and(|node| node.name() == name);
        rendered(&Sure { frame: Frame::of(&operator, "nodes"), name, sessions: node.sessions, last, own, problem })
    };
    let refused = |problem: Problem| -> Answer<Response> {
        let refused = Refused::from(problem);
        let page = question(true, Some(refused.said()))?;
        Ok(refused.on(page))
    };
    if form.one("sure") != "yes" {
        return Ok(question(last, None)?.into_response());
    }
    if last && form.one("typed").trim() != name {
        let problem = "No other node is live, so it takes the name of this one. Nothing was done.";
        return refused(Problem::new(422, "invalid_field", problem, ""));
    }
    if last && let Err(problem) = sure::prove(&app, &operator, address, &form).await {
        return refused(problem);
    }
    match app.manager.drain_node(name, last, operator.actor()).await {
        Ok(nodes) => done(true, &nodes),
        // The other one drained meanwhile.
        Err(error) if error.code() == "last_node" => {
            refused(Problem::new(409, "last_node", "No other node is live any more.", "Nothing was done."))
        }
        Err(error) => Err(error.into()),
    }
}
