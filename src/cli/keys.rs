//! `tenure keys ...`

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;

use super::database::{actor, operator, with_manager};
use super::output::{document, instant, line, note, table};
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
        /// For how many days it is good, 1 to 3650; without, it does not expire.
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<i64>,
    },
    /// List the keys, expired ones included: role, expiry, last use.
    List,
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
        KeysCommand::Create { name, role, expires_in_days } => {
            let days = expires_in_days.map(input::key_days).transpose()?;
            let (record, key) = manager.store().create_key_for(&input::label("name", &name)?, role, days, actor).await?;
            if global.json {
                let mut shown = json!({ "id": record.id, "name": record.name, "role": record.role, "key": key.reveal() });
                if let Some(expires_at) = record.expires_at {
                    shown["expires_at"] = json!(expires_at);
                }
                return document(&shown);
            }
            let until = record.expires_at.map_or_else(String::new, |_| format!(", good until {}", instant(record.expires_at)));
            note(&format!("Key {} of role {}{until}. It is shown only now:", record.name, record.role));
            line(key.reveal())
        }
        KeysCommand::List => {
            let keys = manager.store().keys().await?;
            if global.json {
                return document(&json!({ "items": keys, "next": null }));
            }
            let rows: Vec<_> = keys
                .iter()
                .map(|key| {
                    vec![
                        key.name.clone(),
                        key.role.to_string(),
                        instant(Some(key.created_at)),
                        instant(key.expires_at),
                        instant(key.last_used_at),
                        key.id.to_string(),
                    ]
                })
                .collect();
            table(&["name", "role", "created", "expires", "last used", "id"], &rows)
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
