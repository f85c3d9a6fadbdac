//! `tenure properties ...`

use clap::{Args, Subcommand};
use serde_json::json;

use super::database::{actor, operator, with_manager};
use super::output::{document, instant, line, note, or_dash, table};
use super::{Failure, Global};
use crate::input;
use crate::store::{Expect, ForecastExample, Property, PropertyForecast};

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
    ///
    /// What that does to them shows `tenure properties what-if`, without doing it, and ends with the command that does just that.
    #[command(after_help = "Examples:\n  \
        tenure properties set glide.ui.session_timeout 20\n  \
        tenure properties set glide.ui.session_timeout 20 --expect-count 120")]
    Set {
        /// Property name.
        name: String,
        /// Value, in the property's unit.
        value: String,
        /// Accept a life span not above its idle limit, and more than 10,000 endings.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        guard: GuardArgs,
    },
    /// Restore the default of a property.
    Unset {
        /// Property name.
        name: String,
        /// Accept what would be refused for its size or relation.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        guard: GuardArgs,
    },
    /// Show what a change would do to the live sessions, without doing it.
    ///
    /// Counts, for each kind of session, how many end with the change, and how many end earlier or later than they would have, with
    /// the oldest and the newest session of each as an example. It locks nothing; a million sessions take about as long as the change.
    /// The last line is the command that does just this: it is refused when something else would happen by then.
    #[command(after_help = "Examples:\n  \
        tenure properties what-if glide.ui.session_timeout 20\n  \
        tenure properties what-if glide.ui.session_timeout --unset\n  \
        tenure properties what-if tenure.maintenance_at 2027-03-01T22:00:00Z --json")]
    WhatIf {
        /// Property name.
        name: String,
        /// Value, in the property's unit.
        value: Option<String>,
        /// Restore the default instead of setting a value.
        #[arg(long, conflicts_with = "value")]
        unset: bool,
    },
}

/// What a preview said: another outcome is refused, and nothing is changed.
#[derive(Debug, Args)]
pub(super) struct GuardArgs {
    /// How many live sessions end with it, as what-if said.
    #[arg(long, value_name = "N")]
    expect_count: Option<String>,
    /// The properties that what-if rested on, as it printed them.
    #[arg(long, value_name = "DIGEST")]
    expect_basis: Option<String>,
}

impl GuardArgs {
    fn expect(self) -> crate::Result<Expect> {
        input::expect_parameters("expect-count", self.expect_count.as_deref(), "expect-basis", self.expect_basis)
    }
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
            PropertiesCommand::WhatIf { name, value, unset } => {
                if value.is_none() && !unset {
                    return Err(Failure::Usage("Give a value, or --unset to rehearse restoring the default.".to_owned()));
                }
                let forecast = manager.rehearse_property(&name, value.as_deref()).await?;
                return if global.json { document(&forecast) } else { show(&forecast, value.as_deref()) };
            }
            PropertiesCommand::Set { name, value, force, guard } => {
                manager.change_property(&name, Some(&value), force, &guard.expect()?, actor).await?
            }
            PropertiesCommand::Unset { name, force, guard } => {
                manager.change_property(&name, None, force, &guard.expect()?, actor).await?
            }
        };
        if global.json {
            return document(&changed);
        }
        line(&sentence(&changed.property))
    })
    .await
}

/// A property as it is, or would be; what it deserves to hear goes to stderr.
fn sentence(property: &Property) -> String {
    for warning in &property.warnings {
        note(&format!("warning: {warning}"));
    }
    let unit = property.unit.as_deref().unwrap_or("");
    format!("{} = {} {unit} ({})", property.name, or_dash(property.value.as_ref()), property.source)
}

/// A rehearsal for people, and the command that does it.
fn show(forecast: &PropertyForecast, value: Option<&str>) -> Result<(), Failure> {
    line(&format!("What if: {}", sentence(&forecast.property)))?;
    line(&format!(
        "{} live sessions end now, {} end earlier, {} end later.",
        forecast.ends_now, forecast.ends_earlier, forecast.ends_later
    ))?;
    let rows: Vec<_> = forecast
        .kinds
        .iter()
        .map(|kind| {
            let counts = [kind.ends_now, kind.ends_earlier, kind.ends_later, kind.unchanged];
            std::iter::once(kind.kind.to_string()).chain(counts.map(|count| count.to_string())).collect()
        })
        .collect();
    if rows.is_empty() {
        line("It moves the deadline of no live session.")?;
    } else {
        table(&["kind", "end now", "end earlier", "end later", "unchanged"], &rows)?;
    }
    examples(&forecast.examples)?;
    // A value is one word of a shell only in quotes.
    let change = match value {
        Some(value) => format!("set {} '{}'", forecast.property.name, value.replace('\'', "'\\''")),
        None => format!("unset {}", forecast.property.name),
    };
    note(&format!(
        "To do just this: tenure properties {change} --expect-count {} --expect-basis {}{}",
        forecast.ends_now,
        forecast.guard.expect_basis.as_deref().unwrap_or_default(),
        if forecast.needs_force { " --force" } else { "" }
    ));
    Ok(())
}

/// Sessions as they are and as they would be.
pub(super) fn examples(examples: &[ForecastExample]) -> Result<(), Failure> {
    let rows: Vec<_> = examples
        .iter()
        .map(|example| {
            vec![
                example.id.to_string(),
                example.kind.to_string(),
                or_dash(example.user.as_ref()),
                format!("{} {}", instant(Some(example.expires_at)), example.reason),
                format!("{} {}", instant(Some(example.would_expire_at)), example.would_reason),
            ]
        })
        .collect();
    if rows.is_empty() { Ok(()) } else { table(&["for example", "kind", "user", "ends", "would end"], &rows) }
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
