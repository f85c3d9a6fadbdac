//! `tenure nodes ...`

use clap::Subcommand;
use serde_json::json;

use super::database::with_manager;
use super::output::{document, instant, or_dash, table};
use super::{Failure, Global};

#[derive(Debug, Subcommand)]
pub(super) enum NodesCommand {
    /// List node processes: lease, sessions, sweep lateness.
    List,
}

pub(super) async fn run(global: &Global, NodesCommand::List: &NodesCommand) -> Result<(), Failure> {
    with_manager(global, async |manager| {
        let nodes = manager.nodes().await?;
        if global.json {
            return document(&json!({ "items": nodes, "next": null }));
        }
        let rows: Vec<_> = nodes
            .iter()
            .map(|node| {
                vec![
                    node.name.clone(),
                    or_dash(node.address.as_ref()),
                    node.version.clone(),
                    node.state.clone(),
                    instant(Some(node.lease_expires_at)),
                    node.sessions.to_string(),
                    node.in_flight.to_string(),
                    format!("{:.1} s", node.sweep_late_seconds),
                ]
            })
            .collect();
        table(&["name", "address", "version", "state", "lease until", "sessions", "in flight", "sweep late"], &rows)
    })
    .await
}
