//! *Logged in users*: every live session on every node, and ending them.

mod filter;
mod matching;

use askama::Template;
use axum::extract::State;
use axum::response::Html;
use uuid::Uuid;

use super::super::auth::{Admins, Watchers};
use super::super::extract::Params;
use super::super::problem::Problem;
use super::super::{App, AppState};
use super::form::Form;
use super::operator::Operator;
use super::page::{Answer, Frame, rendered};
use super::shown::{self, Line};
use crate::cluster::Barrier;
use crate::session::Kind;
use filter::Filter;

pub(super) use matching::terminate as terminate_matching;

/// Sessions on a page, and the most that one form names.
const MOST: usize = 50;

#[derive(Template)]
#[template(path = "sessions.html")]
struct List {
    frame: Frame,
    filter: Filter,
    kinds: &'static [Kind],
    nodes: Vec<String>,
    lines: Vec<Line>,
    /// The query string of the next page.
    next: Option<String>,
    /// What is wrong with the filter.
    problem: Option<String>,
}

/// The list.
pub(super) async fn list(operator: Operator<Watchers>, State(app): AppState, filter: Result<Params<Filter>, Problem>) -> Answer {
    let Params(filter) = filter?;
    let nodes = app.manager.store().registered_nodes().await?;
    let (mut lines, mut next, mut problem) = (Vec::new(), None, None);
    match filter.judged() {
        Ok(judged) => {
            let page = app.manager.store().list(&judged).await?;
            let now = app.manager.time().await?;
            lines = page.items.into_iter().map(|session| Line::of(session, now, operator.session())).collect();
            next = page.next.map(|after| filter.query(&after));
        }
        Err(error) => problem = Some(shown::refusal(&error.to_string())),
    }
    let frame = Frame::of(&operator, "sessions");
    rendered(&List { frame, filter, kinds: Kind::ALL, nodes, lines, next, problem })
}

#[derive(Template)]
#[template(path = "sure.html")]
struct Sure {
    frame: Frame,
    lines: Vec<Line>,
    /// Sessions that were over before anybody was asked.
    over: usize,
}

#[derive(Template)]
#[template(path = "receipt.html")]
struct Receipt {
    frame: Frame,
    /// How many were ended.
    ended: u32,
    /// How many were over already.
    over: u32,
    /// Those that could not be ended, and why.
    failed: Vec<(Uuid, String)>,
    barrier: Barrier,
    /// The session of who did it is among them.
    own: bool,
}

/// Ends sessions: asks first what exactly is meant, and answers with the receipt when no node accepts them any more (C3). Their
/// users are not locked out (U5).
pub(super) async fn terminate(operator: Operator<Admins>, State(app): AppState, form: Form) -> Answer {
    let ids = named(&form)?;
    if form.one("sure") == "yes" { ended(&operator, &app, &ids).await } else { ask(&operator, &app, &ids).await }
}

/// The sessions a form names, each once.
fn named(form: &Form) -> Result<Vec<Uuid>, Problem> {
    let refused = |message: &str| Problem::new(400, "invalid_parameter", message, "Go back and select them again.");
    let mut ids: Vec<Uuid> = match form.one("only") {
        "" => form.all("id").map(Uuid::try_parse).collect::<Result<_, _>>(),
        only => Uuid::try_parse(only).map(|id| vec![id]),
    }
    .map_err(|_| refused("What was selected are not sessions."))?;
    ids.sort_unstable();
    ids.dedup();
    match ids.len() {
        0 => Err(refused("No session is selected.")),
        1..=MOST => Ok(ids),
        _ => Err(refused("More sessions are selected than a page shows.")),
    }
}

async fn ask(operator: &Operator<Admins>, app: &App, ids: &[Uuid]) -> Answer<Html<String>> {
    let now = app.manager.time().await?;
    let mut lines = Vec::new();
    for id in ids {
        let session = app.manager.session(*id, operator.actor()).await?;
        if session.state == "live" {
            lines.push(Line::of(session, now, operator.session()));
        }
    }
    let over = ids.len() - lines.len();
    rendered(&Sure { frame: Frame::of(operator, "sessions"), lines, over })
}

async fn ended(operator: &Operator<Admins>, app: &App, ids: &[Uuid]) -> Answer<Html<String>> {
    let (mut ended, mut own) = (0, false);
    let (mut failed, mut first) = (Vec::new(), None);
    for (at, id) in ids.iter().enumerate() {
        let error = match app.manager.terminate(*id, false, operator.actor()).await {
            Ok(done) => {
                ended += done.terminated;
                own |= *id == operator.session();
                continue;
            }
            Err(error) => error,
        };
        // What is wrong with one of them says nothing about the next; what is wrong with the store does.
        let goes_on = error.refusal().is_some();
        let problem = Problem::from(error);
        failed.push((*id, problem.detail().to_owned()));
        first.get_or_insert(problem);
        if !goes_on {
            let left = ids.get(at + 1..).unwrap_or_default();
            failed.extend(left.iter().map(|id| (*id, "It was not tried.".to_owned())));
            break;
        }
    }
    // One for all of them, whatever failed: of those that ended no node may accept one after this.
    let barrier = app.manager.barrier().await;
    if failed.len() == ids.len()
        && let Some(problem) = first
    {
        return Err(problem.into());
    }
    let over = u32::try_from(ids.len() - failed.len()).unwrap_or(u32::MAX).saturating_sub(ended);
    rendered(&Receipt { frame: Frame::of(operator, "sessions"), ended, over, failed, barrier, own })
}
