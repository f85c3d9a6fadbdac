//! `tenure migrate`.

use clap::Args;
use serde_json::json;

use super::database::{Database, spinner};
use super::{Failure, Global, output};
use crate::store::{migrate, status};

#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    /// Show what would be applied, and change nothing.
    #[arg(long, conflicts_with = "status")]
    plan: bool,
    /// Show what was applied when, and change nothing.
    #[arg(long)]
    status: bool,
}

pub(super) async fn run(global: &Global, args: &MigrateArgs) -> Result<(), Failure> {
    // An embedded database migrates as it opens, so that here it only remains to say so.
    let database = Database::find(global).await?;
    let result = answer(global, args, &database).await;
    database.close().await?;
    result
}

async fn answer(global: &Global, args: &MigrateArgs, database: &Database) -> Result<(), Failure> {
    if args.plan || args.status {
        let status = status(&database.settings).await?;
        if global.json {
            return output::document(&status);
        }
        let lines = if args.plan { &status.pending } else { &status.applied };
        for line in lines {
            output::line(line)?;
        }
        if lines.is_empty() {
            output::note(if args.plan { "Nothing to apply: the schema is up to date." } else { "Nothing was applied yet." });
        }
        return Ok(());
    }
    let spinner = spinner();
    let migrated = migrate(&database.settings, &|step| spinner.set_message(step.to_owned())).await;
    spinner.finish_and_clear();
    let migrated = migrated?;
    let status = status(&database.settings).await?;
    if global.json {
        return output::document(&json!({ "applied": migrated.applied, "version": status.version }));
    }
    for name in &migrated.applied {
        output::line(&format!("applied {name}"))?;
    }
    output::note(&format!("The schema is at version {}.", output::or_dash(status.version)));
    Ok(())
}
