//! `tenure keys ...`

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;

use super::database::{actor, operator, with_manager};
use super::output::{document, line, note};
use super::{Failure, Global};
use crate::error::Error;
use crate::input;
use crate::session::Role;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Create a key; it is shown once.
    Create {
        /// Name of the program that will use it: the actor of what it does.
        #[arg(long)]
        name: String,
        /// What it may do.
        #[arg(long, default_value = "admin", value_parser = roles())]
        role: Role,
    },
    /// Revoke a key by name or id.
    Revoke {
        /// Name or id.
        key: String,
    },
}

fn roles() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.iter().map(|role| role.as_str())).try_map(|word| word.parse::<Role>())
}

pub(super) async fn run(global: &Global, command: KeysCommand) -> Result<(), Failure> {
    let operator = operator();
    let actor = actor(&operator);
    with_manager(global, async |manager| match command {
        KeysCommand::Create { name, role } => {
            let (record, key) = manager.store().create_key(&input::label("name", &name)?, role, actor).await?;
            if global.json {
                return document(&json!({ "id": record.id, "name": record.name, "role": record.role, "key": key.reveal() }));
            }
            note(&format!("Key {} of role {}. It is shown only now:", record.name, record.role));
            line(key.reveal())
        }
        KeysCommand::Revoke { key } => {
            if !manager.revoke_key(&key, actor).await? {
                return Err(Error::refused(404, "unknown_key", "There is no key of this name or id.", "").into());
            }
            if global.json { document(&json!({ "revoked": key })) } else { line(&format!("Revoked {key}.")) }
        }
    })
    .await
}
