//! `tenure users ...`

use clap::{Args, Subcommand};

use super::database::{actor, operator, with_manager};
use super::output::{document, line, note, or_dash, table};
use super::properties::examples;
use super::{Failure, Global, password};
use crate::input::{self, UserInput};
use crate::store::{User, UserForecast, UserPatch};

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
    ///
    /// With --what-if nothing is changed: it shows how many live sessions of which kind on which node would end. With --expect-count
    /// and that number just so many end, or the user is not locked out.
    #[command(after_help = "Examples:\n  \
        tenure users lock-out abel.tuter\n  \
        tenure users lock-out abel.tuter --what-if\n  \
        tenure users lock-out abel.tuter --expect-count 3")]
    LockOut {
        /// User name.
        name: String,
        #[command(flatten)]
        rehearsal: RehearsalArgs,
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
    /// Make a user inactive; by default that locks out too, and ends all sessions.
    ///
    /// With --what-if nothing is changed: it shows the user as it would be, and how many live sessions of which kind on which node
    /// would end. With --expect-count and that number just so many end, or the user stays active.
    #[command(after_help = "Examples:\n  \
        tenure users deactivate abel.tuter --what-if\n  \
        tenure users deactivate abel.tuter --expect-count 3")]
    Deactivate {
        /// User name.
        name: String,
        #[command(flatten)]
        rehearsal: RehearsalArgs,
    },
    /// Make a user active; that does not unlock.
    Activate {
        /// User name.
        name: String,
    },
}

/// Whether to look before, and what was seen then.
#[derive(Debug, Args)]
pub(super) struct RehearsalArgs {
    /// Show which live sessions would end, and change nothing.
    #[arg(long)]
    what_if: bool,
    /// How many live sessions end with it, as --what-if said: refused when it would be another number.
    #[arg(long, value_name = "N", conflicts_with = "what_if")]
    expect_count: Option<String>,
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
        let not_rehearsed = RehearsalArgs { what_if: false, expect_count: None };
        let (name, patch, rehearsal) = match command {
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
                let patch = user.validate(&name)?;
                let created = manager.create_user(name, patch, None, actor).await?;
                return if global.json { document(&created) } else { line(&format!("Created {}.", created.name)) };
            }
            UsersCommand::SetPassword { name } => {
                let name = input::user_name(&name)?;
                let password = input::new_password(&password::read()?)?;
                let user = manager.set_password(&name, password, actor).await?;
                return if global.json { document(&user) } else { line(&format!("Set the password of {}.", user.name)) };
            }
            UsersCommand::LockOut { name, rehearsal } => {
                (name, UserPatch { locked_out: Some(true), ..UserPatch::default() }, rehearsal)
            }
            UsersCommand::Unlock { name } => (name, UserPatch { locked_out: Some(false), ..UserPatch::default() }, not_rehearsed),
            UsersCommand::Deactivate { name, rehearsal } => {
                (name, UserPatch { active: Some(false), ..UserPatch::default() }, rehearsal)
            }
            UsersCommand::Activate { name } => (name, UserPatch { active: Some(true), ..UserPatch::default() }, not_rehearsed),
        };
        let name = input::user_name(&name)?;
        if rehearsal.what_if {
            let forecast = manager.rehearse_user(&name, patch.active, patch.locked_out).await?;
            return if global.json { document(&forecast) } else { show(&forecast) };
        }
        let expect = input::expect_parameters("expect-count", rehearsal.expect_count.as_deref(), "expect-basis", None)?;
        let changed = manager.change_user(&name, &patch, &expect, actor).await?;
        if global.json {
            return document(&changed);
        }
        line(&format!("{}; {} sessions ended.", state(&changed.user), changed.ended.unwrap_or(0)))
    })
    .await
}

fn state(user: &User) -> String {
    let active = if user.active { "active" } else { "inactive" };
    let locked_out = if user.locked_out { "locked out" } else { "not locked out" };
    format!("{}: {active}, {locked_out}", user.name)
}

/// A rehearsal for people.
fn show(forecast: &UserForecast) -> Result<(), Failure> {
    let nodes: std::collections::BTreeSet<_> = forecast.sessions.iter().map(|place| &place.node).collect();
    line(&format!("What if: {}; {} sessions on {} nodes will end.", state(&forecast.user), forecast.ends_now, nodes.len()))?;
    if forecast.ends_now == 0 {
        return Ok(());
    }
    let rows: Vec<_> = forecast
        .sessions
        .iter()
        .map(|place| vec![place.kind.to_string(), or_dash(place.node.as_ref()), place.sessions.to_string()])
        .collect();
    table(&["kind", "node", "sessions"], &rows)?;
    examples(&forecast.examples)?;
    note(&format!("To do just this: repeat it with --expect-count {} instead of --what-if", forecast.ends_now));
    Ok(())
}
