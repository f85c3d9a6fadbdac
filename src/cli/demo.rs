//! `tenure demo`: three node processes on one embedded PostgreSQL, real clients over HTTP, and a story told live.

mod client;
mod nodes;
mod report;
mod story;
mod traffic;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::database::{spinner, with_own_database};
use super::{Failure, Global, output};
use crate::embedded::Embedded;
use crate::session::Role;
use crate::store::{Actor, ConnectSettings, Store};
use client::Client;
use nodes::Nodes;
use report::Report;
use traffic::Traffic;

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// How long to run the traffic, 5 to 3600 seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(5..=3600))]
    seconds: u64,
}

/// Runs in a database of its own, so that demos side by side, and real data in the same folder, never meet.
pub(super) async fn run(global: &Global, args: &DemoArgs) -> Result<(), Failure> {
    let spinner = spinner();
    let embedded = Embedded::start(&global.data_dir(), &|step| spinner.set_message(step.to_owned())).await?;
    spinner.finish_and_clear();
    let server = ConnectSettings { url: embedded.url(), connections: 4, node: None, allow_plaintext: false, allow_lossy: false };
    let told = with_own_database(&server, "demo", async |settings| tell(global, args, &settings).await).await;
    embedded.stop().await?;
    let report = told?;
    if global.json {
        output::document(&report.document())?;
    }
    if report.ok() { Ok(()) } else { Err(Failure::Answered(1)) }
}

async fn tell(global: &Global, args: &DemoArgs, settings: &ConnectSettings) -> Result<Report, Failure> {
    let store = Store::connect(settings).await?;
    let (_, key) = store.create_key("demo", Role::Admin, Actor("demo")).await?;
    let mut report = Report::new(global.json);
    report.line("Starting three nodes on one PostgreSQL");
    let mut nodes = Nodes::start(&settings.url, &store).await?;
    let client = Client::new(nodes.addresses(), key.reveal())?;
    for node in nodes.list() {
        report.line(&format!("  {} at {}", node.name, node.address));
    }

    let until = Instant::now() + Duration::from_secs(args.seconds);
    let traffic = Arc::new(Traffic::default());
    let crowd = traffic::start(&traffic, &client, until);
    let told = tokio::select! {
        told = story::tell(&client, &mut nodes, &traffic, &mut report, until) => told,
        _ = tokio::signal::ctrl_c() => {
            report.line("Stopping early");
            Ok(())
        }
    };
    for person in crowd {
        person.abort();
    }
    nodes.stop().await;
    store.close().await;
    told?;
    report.finish(&traffic);
    Ok(report)
}
