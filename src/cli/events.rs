//! `tenure events`

use clap::Args;
use uuid::Uuid;

use super::database::with_manager;
use super::output::{document, instant, note, or_dash, table};
use super::{Failure, Global};
use crate::input;
use crate::store::EventFilter;

#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Only of this session.
    #[arg(long)]
    session: Option<Uuid>,
    /// Only this type, for instance `session_ended`.
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,
    /// 1 to 500.
    #[arg(long)]
    limit: Option<String>,
    /// Cursor printed by the page before.
    #[arg(long)]
    after: Option<String>,
}

pub(super) async fn run(global: &Global, args: EventsArgs) -> Result<(), Failure> {
    with_manager(global, async |manager| {
        let filter = EventFilter {
            session_id: args.session,
            kind: args.r#type,
            limit: input::limit(args.limit.as_deref())?,
            after: args.after.as_deref().map(input::cursor).transpose()?,
            ..EventFilter::default()
        };
        let page = manager.store().events(&filter).await?;
        if global.json {
            return document(&page);
        }
        let rows: Vec<_> = page
            .items
            .iter()
            .map(|event| {
                vec![
                    instant(Some(event.at)),
                    event.kind.clone(),
                    or_dash(event.session_id),
                    or_dash(event.user.as_ref()),
                    event.actor.clone(),
                    or_dash(event.reason.as_ref()),
                    or_dash(event.node.as_ref()),
                    or_dash(event.details.as_ref()),
                ]
            })
            .collect();
        table(&["at", "type", "session", "user", "actor", "reason", "node", "details"], &rows)?;
        if let Some(next) = page.next {
            note(&format!("More: --after {next}"));
        }
        Ok(())
    })
    .await
}
