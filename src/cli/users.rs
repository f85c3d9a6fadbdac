//! `tenure users ...`

use clap::{Args, Subcommand};

use super::database::{actor, operator, with_manager};
use super::output::{document, line, note, or_dash, table};
use super::{Failure, Global, password};
use crate::input::{self, UserInput};
use crate::store::UserPatch;

#[derive(Debug, Subcommand)]
pub(super) enum UsersCommand {
    /// List users, newest first.
    List {
        /// Only active (true) or inactive (false) ones.
        #[arg(long)]
        active: Option<bool>,
        /// Only locked-out (true) or other (false) ones.
        #[arg(long)]
        locked_out: Option<bool>,
        /// 1 to 500.
        #[arg(long)]
        limit: Option<String>,
        /// Cursor printed by the page before.
        #[arg(long)]
        after: Option<String>,
    },
    /// Create a user.
    Create(CreateArgs),
    /// Lock a user out: no sign-in, no action by e-mail, all sessions end.
    LockOut {
        /// User name.
        name: String,
    },
    /// Unlock a user; ended sessions stay ended.
    Unlock {
        /// User name.
        name: String,
    },
    /// Set a user's password, read from stdin or typed without echo; sessions go on.
    SetPassword {
        /// User name.
        name: String,
    },
    /// Make a user inactive; by default that locks out too.
    Deactivate {
        /// User name.
        name: String,
    },
    /// Make a user active; that does not unlock.
    Activate {
        /// User name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// User name, 1 to 128 characters.
    name: String,
    /// Name to show.
    #[arg(long)]
    display_name: Option<String>,
    /// Homepage refresh interval, 1 to 1440 minutes.
    #[arg(long)]
    homepage_refresh_minutes: Option<i64>,
}

pub(super) async fn run(global: &Global, command: UsersCommand) -> Result<(), Failure> {
    let operator = operator();
    let actor = actor(&operator);
    with_manager(global, async |manager| {
        let (name, patch) = match command {
            UsersCommand::List { active, locked_out, limit, after } => {
                let after = after.as_deref().map(input::user_cursor).transpose()?;
                let page = manager.store().users(active, locked_out, input::limit(limit.as_deref())?, after).await?;
                if global.json {
                    return document(&page);
                }
                let rows: Vec<_> = page
                    .items
                    .iter()
                    .map(|user| {
                        vec![
                            user.name.clone(),
                            or_dash(user.display_name.as_ref()),
                            user.active.to_string(),
                            user.locked_out.to_string(),
                        ]
                    })
                    .collect();
                table(&["name", "display name", "active", "locked out"], &rows)?;
                if let Some(next) = page.next {
                    note(&format!("More: --after {next}"));
                }
                return Ok(());
            }
            UsersCommand::Create(args) => {
                let name = input::user_name(&args.name)?;
                let user = UserInput {
                    display_name: args.display_name.map(Some),
                    homepage_refresh_minutes: args.homepage_refresh_minutes.map(Some),
                    ..UserInput::default()
                };
                if manager.store().user(&name).await?.is_some() {
                    return Err(crate::Error::refused(
                        409,
                        "user_exists",
                        "There is a user of this name already.",
                        "Choose another name.",
                    )
                    .into());
                }
                let patch = user.validate(&name)?;
                let created = manager.put_user(name, patch, actor).await?;
                return if global.json { document(&created) } else { line(&format!("Created {}.", created.user.name)) };
            }
            UsersCommand::SetPassword { name } => {
                let name = input::user_name(&name)?;
                let password = input::new_password(&password::read()?)?;
                let user = manager.set_password(&name, password, actor).await?;
                return if global.json { document(&user) } else { line(&format!("Set the password of {}.", user.name)) };
            }
            UsersCommand::LockOut { name } => (name, UserPatch { locked_out: Some(true), ..UserPatch::default() }),
            UsersCommand::Unlock { name } => (name, UserPatch { locked_out: Some(false), ..UserPatch::default() }),
            UsersCommand::Deactivate { name } => (name, UserPatch { active: Some(false), ..UserPatch::default() }),
            UsersCommand::Activate { name } => (name, UserPatch { active: Some(true), ..UserPatch::default() }),
        };
        let changed = manager.patch_user(&input::user_name(&name)?, &patch, actor).await?;
        if global.json {
            return document(&changed);
        }
        let user = &changed.user;
        line(&format!(
            "{}: {}, {}; {} sessions ended.",
            user.name,
            if user.active { "active" } else { "inactive" },
            if user.locked_out { "locked out" } else { "not locked out" },
            changed.ended.unwrap_or(0)
        ))
    })
    .await
}
