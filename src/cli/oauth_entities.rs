//! `tenure oauth-entities ...`

use clap::{Args, Subcommand};

use super::database::{actor, operator, with_manager};
use super::output::{document, line, note, table};
use super::{Failure, Global};
use crate::input::{self, EntityInput};
use crate::manager::EntityView;
use crate::store::Entity;

#[derive(Debug, Subcommand)]
pub(super) enum OauthEntitiesCommand {
    /// List client applications, newest first.
    List {
        /// 1 to 500.
        #[arg(long)]
        limit: Option<String>,
        /// Cursor printed by the page before.
        #[arg(long)]
        after: Option<String>,
    },
    /// Create or change a client application; live sessions keep what was frozen when they signed in.
    Set(SetArgs),
    /// Delete a client application that has no live sessions.
    Unset {
        /// Name of the application.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct SetArgs {
    /// Name of the application.
    name: String,
    /// OAuth client id; made of the name when a new one has none.
    #[arg(long)]
    client_id: Option<String>,
    /// Lifespan of access tokens, 1 to 315360000 seconds; 1800 for a new one.
    #[arg(long, value_name = "SECONDS")]
    access_token_lifespan: Option<i64>,
    /// Lifespan of refresh tokens, 1 to 315360000 seconds; 8640000 for a new one.
    #[arg(long, value_name = "SECONDS")]
    refresh_token_lifespan: Option<i64>,
    /// Whether it has no secret (true), as an app that users install, or one that is shown once (false); true for a new one.
    #[arg(long)]
    public: Option<bool>,
    /// Replace the secret; the old one is void at once.
    #[arg(long)]
    new_client_secret: bool,
}

pub(super) async fn run(global: &Global, command: OauthEntitiesCommand) -> Result<(), Failure> {
    let operator = operator();
    let actor = actor(&operator);
    with_manager(global, async |manager| match command {
        OauthEntitiesCommand::List { limit, after } => {
            let after = after.as_deref().map(input::user_cursor).transpose()?;
            let page = manager.store().entities(input::limit(limit.as_deref())?, after).await?;
            if global.json {
                return document(&page);
            }
            table(&NAMES, &page.items.iter().map(row).collect::<Vec<_>>())?;
            if let Some(next) = page.next {
                note(&format!("More: --after {next}"));
            }
            Ok(())
        }
        OauthEntitiesCommand::Set(args) => {
            let name = input::entity_name(&args.name)?;
            let entity = EntityInput {
                name: None,
                client_id: args.client_id,
                public: args.public,
                access_token_lifespan: args.access_token_lifespan,
                refresh_token_lifespan: args.refresh_token_lifespan,
                new_client_secret: Some(args.new_client_secret),
            };
            let view = EntityView::from(manager.put_entity(&name, &entity.validate(&name)?, actor).await?);
            if global.json {
                return document(&view);
            }
            table(&NAMES, &[row(&view.entity)])?;
            if let Some(secret) = view.client_secret {
                note("Its secret is shown only now:");
                line(&secret)?;
            }
            Ok(())
        }
        OauthEntitiesCommand::Unset { name } => {
            let entity = manager.delete_entity(&input::entity_name(&name)?, None, actor).await?;
            if global.json { document(&entity) } else { line(&format!("Deleted {}.", entity.name)) }
        }
    })
    .await
}

const NAMES: [&str; 5] = ["name", "client id", "public", "access token", "refresh token"];

fn row(entity: &Entity) -> Vec<String> {
    vec![
        entity.name.clone(),
        entity.client_id.clone(),
        entity.public.to_string(),
        format!("{} s", entity.access_token_lifespan),
        format!("{} s", entity.refresh_token_lifespan),
    ]
}
