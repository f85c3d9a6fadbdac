//! `tenure sessions ...`

mod terminate;

use std::io::{IsTerminal, Read};

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::database::{actor, operator, with_manager};
use super::output::{document, instant, line, note, or_dash, table};
use super::{Failure, Global};
use crate::error::Error;
use crate::input::{self, CreateSession, SessionFilter};
use crate::manager::{CheckOptions, CreatedView, Verdict};
use crate::session::SessionView;
use crate::store::ListFilter;

use terminate::TerminateArgs;

#[derive(Debug, Subcommand)]
pub(super) enum SessionsCommand {
    /// List sessions, newest first.
    List(ListArgs),
    /// Show one session, live or retained.
    Show {
        /// Session id.
        id: Uuid,
    },
    /// Show every deadline of a session and which one binds.
    Explain {
        /// Session id.
        id: Uuid,
    },
    /// End one session by its id, or every live session that meets the conditions; nobody is locked out.
    ///
    /// Several are ended in two steps. First look: --preview shows how many sessions of how many users would end, by kind and node,
    /// with the newest as examples. Then end them: on a terminal the number has to be typed; a script says --yes and --expect-count
    /// with the number of the preview. When it would be another number by then, nothing is ended. Sessions that begin after that
    /// are spared, and so are those named by --except, your own for instance.
    #[command(after_help = "Examples:\n  \
        tenure sessions terminate 0198c1f2-3a4b-7c5d-8e6f-0a1b2c3d4e5f\n  \
        tenure sessions terminate --kind guest --idle-minutes-min 20 --preview\n  \
        tenure sessions terminate --kind guest --idle-minutes-min 20 --yes --expect-count 120\n  \
        tenure sessions terminate --all --except 0198c1f2-3a4b-7c5d-8e6f-0a1b2c3d4e5f --reason maintenance\n\n\
        More than 10,000 end in batches of that size. Ctrl-C lets the batch under way finish, says how many ended and how many are \
        left, and exits with 130.")]
    Terminate(Box<TerminateArgs>),
    /// Start a session; prints its token once.
    Create(CreateArgs),
    /// Check a token read from standard input.
    Check {
        /// What the request is: user, ajax, `chat_poll`, `auto_refresh` or passive.
        #[arg(long)]
        activity: Option<String>,
    },
}

/// The conditions of a list.
#[derive(Debug, Args)]
pub(super) struct FilterArgs {
    /// Only of this user.
    #[arg(long)]
    user: Option<String>,
    /// Only of this kind: user, guest, integration or mobile.
    #[arg(long)]
    kind: Option<String>,
    /// Only last used on this node.
    #[arg(long)]
    node: Option<String>,
    /// Only with a transaction open (true) or without (false).
    #[arg(long)]
    active: Option<bool>,
    /// Only from this client address.
    #[arg(long)]
    address: Option<String>,
    /// Only without activity for so many minutes.
    #[arg(long)]
    idle_minutes_min: Option<String>,
    /// Only created at or after this instant with offset, such as 2027-03-01T22:00:00Z.
    #[arg(long, value_name = "INSTANT")]
    created_from: Option<String>,
    /// Only created before this instant.
    #[arg(long, value_name = "INSTANT")]
    created_to: Option<String>,
    /// Only with the last activity at or after this instant.
    #[arg(long, value_name = "INSTANT")]
    last_activity_from: Option<String>,
    /// Only with the last activity before this instant.
    #[arg(long, value_name = "INSTANT")]
    last_activity_to: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// live, ended or all.
    #[arg(long, default_value = "live", value_parser = ["live", "ended", "all"])]
    state: String,
    /// 1 to 500.
    #[arg(long)]
    limit: Option<String>,
    /// Cursor printed by the page before.
    #[arg(long)]
    after: Option<String>,
    // Last: its heading goes on to what follows.
    #[command(flatten, next_help_heading = "Conditions")]
    filter: FilterArgs,
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// user, guest, integration or mobile.
    #[arg(long)]
    kind: String,
    /// Client application; kind mobile only.
    #[arg(long, value_name = "NAME")]
    oauth_entity: Option<String>,
    /// User name.
    #[arg(long)]
    user: Option<String>,
    /// Remember Me.
    #[arg(long)]
    remember_me: Option<bool>,
    /// desktop, tablet, phone or app.
    #[arg(long)]
    device: Option<String>,
    /// Client address.
    #[arg(long)]
    client_address: Option<String>,
    /// User agent.
    #[arg(long)]
    user_agent: Option<String>,
    /// Homepage refresh interval, 1 to 1440 minutes.
    #[arg(long)]
    homepage_refresh_minutes: Option<i64>,
    /// Own idle limit, 1 to 1440 minutes.
    #[arg(long)]
    idle_limit_minutes: Option<i64>,
}

pub(super) async fn run(global: &Global, command: SessionsCommand) -> Result<(), Failure> {
    let operator = operator();
    let actor = actor(&operator);
    with_manager(global, async |manager| match command {
        SessionsCommand::List(args) => {
            let page = manager.store().list(&args.filter()?).await?;
            if global.json {
                return document(&page);
            }
            table(
                &["id", "kind", "user", "node", "state", "active", "last activity", "expires", "ended"],
                &page.items.iter().map(row).collect::<Vec<_>>(),
            )?;
            if let Some(next) = page.next {
                note(&format!("More: --after {next}"));
            }
            Ok(())
        }
        SessionsCommand::Show { id } => document(&manager.session(id, actor).await?),
        SessionsCommand::Explain { id } => {
            let explanation = manager.explain(id, actor).await?;
            if global.json {
                return document(&explanation);
            }
            let rows: Vec<_> = explanation
                .candidates
                .iter()
                .map(|candidate| {
                    vec![
                        if explanation.binding == Some(candidate.limit) {
                            format!("* {}", candidate.limit)
                        } else {
                            format!("  {}", candidate.limit)
                        },
                        instant(candidate.deadline_at),
                        format!(
                            "{} = {} {}",
                            candidate.name,
                            or_dash(candidate.value.as_ref()),
                            candidate.unit.unwrap_or_default()
                        ),
                        candidate.source.to_owned(),
                        candidate.why.clone(),
                    ]
                })
                .collect();
            table(&["limit", "deadline", "from", "source", "why"], &rows)?;
            if let Some(ended) = &explanation.ended {
                line(&format!(
                    "Ended at {}: {}, by {}, node {}.",
                    instant(Some(ended.at)),
                    ended.reason,
                    ended.by,
                    or_dash(ended.node.as_ref())
                ))?;
            }
            Ok(())
        }
        SessionsCommand::Terminate(args) => terminate::run(global, manager, *args, actor).await,
        SessionsCommand::Create(args) => {
            let created = manager.create(&args.request().validate()?, actor).await?;
            document(&CreatedView::from(created))
        }
        SessionsCommand::Check { activity } => {
            let activity = activity.as_deref().map(input::activity).transpose()?;
            let options = CheckOptions { foreign: true, ..Default::default() };
            match manager.check(read_token()?.trim(), activity, options, actor).await? {
                Verdict::Live(checked) => document(&checked),
                Verdict::Over(over) => {
                    document(&json!({
                        "code": "session_ended", "reason": over.ending.reason, "ended_at": over.ending.at, "action": over.action
                    }))?;
                    Err(Failure::Answered(4))
                }
                Verdict::TokenExpired => {
                    document(&json!({ "code": "token_expired" }))?;
                    Err(Failure::Answered(4))
                }
                Verdict::Unknown => {
                    document(&json!({ "code": "unknown_token" }))?;
                    Err(Failure::Answered(4))
                }
            }
        }
    })
    .await
}

fn row(session: &SessionView) -> Vec<String> {
    vec![
        session.id.to_string(),
        session.kind.to_string(),
        or_dash(session.user.as_ref()),
        or_dash(session.place.as_ref().and_then(|place| place.node.as_ref())),
        session.state.to_owned(),
        session.active.to_string(),
        instant(Some(session.last_activity_at)),
        instant(session.expires_at),
        session.end_reason.map_or_else(|| "-".to_owned(), |reason| format!("{reason} {}", instant(session.ended_at))),
    ]
}

/// A token never goes through the command line, where other users of the machine could read it.
fn read_token() -> Result<String, Failure> {
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        note("Paste the token, then press Enter and Ctrl-D:");
    }
    let mut token = String::new();
    let read = stdin.by_ref().take(4096).read_to_string(&mut token);
    read.map_err(|_| Failure::Usage("The token on standard input is not text. Pipe one token into the command.".to_owned()))?;
    Ok(token)
}

impl FilterArgs {
    fn conditions(self) -> Result<SessionFilter, Error> {
        let conditions = SessionFilter {
            user: self.user,
            kind: self.kind,
            node: self.node,
            active: None,
            address: self.address,
            idle_minutes_min: None,
            created_from: self.created_from,
            created_to: self.created_to,
            last_activity_from: self.last_activity_from,
            last_activity_to: self.last_activity_to,
        };
        let active = self.active.map(|active| active.to_string());
        conditions.with_text(active.as_deref(), self.idle_minutes_min.as_deref())
    }
}

impl ListArgs {
    fn filter(self) -> Result<ListFilter, Error> {
        Ok(ListFilter {
            state: input::state(Some(&self.state))?,
            limit: input::limit(self.limit.as_deref())?,
            after: self.after.as_deref().map(input::cursor).transpose()?,
            ..self.filter.conditions()?.validate()?
        })
    }
}

impl CreateArgs {
    fn request(self) -> CreateSession {
        CreateSession {
            kind: self.kind,
            user: self.user,
            remember_me: self.remember_me,
            device: self.device,
            client_address: self.client_address,
            user_agent: self.user_agent,
            homepage_refresh_minutes: self.homepage_refresh_minutes,
            idle_limit_minutes: self.idle_limit_minutes,
            oauth_entity: self.oauth_entity,
            ..CreateSession::default()
        }
    }
}
