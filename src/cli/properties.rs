//! `tenure properties ...`

use clap::Subcommand;
use serde_json::json;

use super::database::{actor, operator, with_manager};
use super::output::{document, line, note, or_dash, table};
use super::{Failure, Global};
use crate::store::Property;

#[derive(Debug, Subcommand)]
pub(super) enum PropertiesCommand {
    /// List every property with value, unit, default and source.
    List,
    /// Show one property.
    Get {
        /// Property name.
        name: String,
    },
    /// Set a property; in force at once for every live session.
    Set {
        /// Property name.
        name: String,
        /// Value, in the property's unit.
        value: String,
        /// Accept a life span not above its idle limit, and more than 10,000 endings.
        #[arg(long)]
        force: bool,
    },
    /// Restore the default of a property.
    Unset {
        /// Property name.
        name: String,
        /// Accept what would be refused for its size or relation.
        #[arg(long)]
        force: bool,
    },
}

pub(super) async fn run(global: &Global, command: PropertiesCommand) -> Result<(), Failure> {
    let operator = operator();
    let actor = actor(&operator);
    with_manager(global, async |manager| {
        let changed = match command {
            PropertiesCommand::List => {
                let properties = manager.store().properties(None).await?;
                if global.json {
                    return document(&json!({ "items": properties, "next": null }));
                }
                let rows: Vec<_> = properties.iter().map(row).collect();
                return table(&["name", "value", "unit", "default", "source"], &rows);
            }
            PropertiesCommand::Get { name } => {
                let property = manager.property(&name).await?;
                if global.json {
                    return document(&property);
                }
                table(&["name", "value", "unit", "default", "source"], &[row(&property)])?;
                return line(&property.description);
            }
            PropertiesCommand::Set { name, value, force } => manager.set_property(&name, &value, force, actor).await?,
            PropertiesCommand::Unset { name, force } => manager.unset_property(&name, force, actor).await?,
        };
        if global.json {
            return document(&changed);
        }
        for warning in &changed.property.warnings {
            note(&format!("warning: {warning}"));
        }
        let property = &changed.property;
        line(&format!(
            "{} = {} {} ({})",
            property.name,
            or_dash(property.value.as_ref()),
            property.unit.as_deref().unwrap_or(""),
            property.source
        ))
    })
    .await
}

fn row(property: &Property) -> Vec<String> {
    vec![
        property.name.clone(),
        or_dash(property.value.as_ref()),
        or_dash(property.unit.as_ref()),
        or_dash(property.default.as_ref()),
        property.source.clone(),
    ]
}
