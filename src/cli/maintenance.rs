//! `tenure maintenance ...`: the property `tenure.maintenance_at`, for somebody who does not want to compute an instant in UTC.

use chrono::SecondsFormat;
use clap::{Args, Subcommand};

use super::database::{actor, operator, with_manager};
use super::output::{document, line};
use super::{Failure, Global};
use crate::input;
use crate::store::Property;

const PROPERTY: &str = "tenure.maintenance_at";

#[derive(Debug, Subcommand)]
pub(super) enum MaintenanceCommand {
    /// Announce maintenance: from now on only users with role admin can sign in, and every session ends when it begins.
    Start(StartArgs),
    /// Lift maintenance: everybody can sign in again, and sessions that have not ended live on.
    Stop,
    /// Show whether there is maintenance, and from when.
    Status,
}

#[derive(Debug, Args)]
#[group(id = "when", required = true, multiple = false)]
pub(super) struct StartArgs {
    /// So many minutes from now, 0 to 10080; 0 ends everything at once.
    #[arg(long = "in", value_name = "MINUTES", value_parser = clap::value_parser!(i32).range(0..=10_080), group = "when")]
    minutes: Option<i32>,
    /// At this instant with offset, such as 2027-03-01T22:00:00Z; one in the past ends everything at once.
    #[arg(long, value_name = "INSTANT", group = "when")]
    at: Option<String>,
    /// Accept that more than 10,000 sessions end at once.
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(global: &Global, command: MaintenanceCommand) -> Result<(), Failure> {
    let operator = operator();
    let actor = actor(&operator);
    with_manager(global, async |manager| {
        let property = match command {
            MaintenanceCommand::Start(StartArgs { minutes, at, force }) => {
                let at = match (minutes, at) {
                    (Some(minutes), _) => manager.store().instant_in(minutes).await?,
                    (None, at) => input::instant("at", &at.unwrap_or_default())?.to_rfc3339_opts(SecondsFormat::Micros, true),
                };
                let changed = manager.set_property(PROPERTY, &at, force, actor).await?;
                if global.json {
                    return document(&changed);
                }
                changed.property
            }
            MaintenanceCommand::Stop => {
                let changed = manager.unset_property(PROPERTY, false, actor).await?;
                if global.json {
                    return document(&changed);
                }
                changed.property
            }
            MaintenanceCommand::Status => {
                let property = manager.property(PROPERTY).await?;
                if global.json {
                    return document(&property);
                }
                property
            }
        };
        line(&sentence(&property))
    })
    .await
}

fn sentence(property: &Property) -> String {
    match &property.value {
        Some(at) => format!(
            "Maintenance at {at}: every session begun before it ends then, and only users with role admin can sign in. \
             Lift it with: tenure maintenance stop"
        ),
        None => "No maintenance: everybody can sign in.".to_owned(),
    }
}
