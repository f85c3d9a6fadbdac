//! `tenure nodes ...`

use clap::{Args, Subcommand};
use serde_json::json;

use super::database::{actor, operator, with_manager};
use super::output::{document, instant, note, or_dash, table};
use super::{Failure, Global};
use crate::input;
use crate::store::NodeRecord;

#[derive(Debug, Subcommand)]
pub(super) enum NodesCommand {
    /// List node processes: lease, sessions, sweep lateness.
    List,
    /// Order a node to drain: load balancers lead elsewhere, and it goes on answering what arrives.
    #[command(
        after_help = "Its /readyz answers 503 and its event streams end, so that clients go to other nodes; nobody is signed out,\n\
                            because every node answers for every session. It stays so, over an interruption too, until it is stopped\n\
                            or resumed. A process that starts is live, whatever its name.\n\n\
                            To restart a node so that nobody notices:\n  \
                            tenure nodes drain NAME     wait as long as the load balancer takes to look twice\n  \
                            then stop it (SIGTERM), and start it again"
    )]
    Drain(DrainArgs),
    /// Take the order to drain back; a process that stops by itself drains on.
    Resume(NodeArgs),
}

#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    /// Name of the node, as `tenure nodes list` shows it; every process of this name is meant.
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// Drain it though no other node is live: then no node says that it is ready.
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(global: &Global, command: NodesCommand) -> Result<(), Failure> {
    let operator = operator();
    let actor = actor(&operator);
    with_manager(global, async |manager| {
        let nodes = match command {
            NodesCommand::List => manager.nodes().await?,
            NodesCommand::Drain(DrainArgs { node, force }) => {
                manager.drain_node(&input::label("name", &node.name)?, force, actor).await?
            }
            NodesCommand::Resume(node) => {
                let nodes = manager.resume_node(&input::label("name", &node.name)?, actor).await?;
                if nodes.iter().any(|node| node.state == "draining") {
                    note("The order is taken back; what still drains stops by itself.");
                }
                nodes
            }
        };
        if global.json {
            return document(&json!({ "items": nodes, "next": null }));
        }
        shown(&nodes)
    })
    .await
}

fn shown(nodes: &[NodeRecord]) -> Result<(), Failure> {
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
}
