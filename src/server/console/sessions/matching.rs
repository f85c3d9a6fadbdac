//! Ending all sessions that match: previewed, confirmed by typing how many, and for all or very many of the store by
//! the password.

use std::ops::ControlFlow;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::super::super::address::ClientAddress;
use super::super::super::auth::Admins;
use super::super::super::problem::Problem;
use super::super::super::{App, AppState};
use super::super::failure::Refused;
use super::super::form::Form;
use super::super::operator::Operator;
use super::super::page::{Answer, Frame, rendered};
use super::super::{shown, sure};
use super::Receipt;
use super::filter::Filter;
use crate::store::{Bulk, BulkExample, BulkForecast, BulkOrder, PlaceForecast};

#[derive(Template)]
#[template(path = "matching.html")]
struct Page {
    frame: Frame,
    filter: Filter,
    /// No condition narrows it.
    everything: bool,
    /// It asks for the password.
    strong: bool,
    count: i64,
    users: i64,
    places: Vec<PlaceForecast>,
    examples: Vec<Example>,
    problem: Option<String>,
}

/// One of them.
struct Example {
    id: String,
    who: String,
    node: String,
    idle_since: String,
}

impl From<BulkExample> for Example {
    fn from(example: BulkExample) -> Self {
        Self {
            id: example.id.to_string(),
            who: format!("{} of {}", example.kind, example.user.as_deref().unwrap_or("a guest")),
            node: example.node.map(|node| format!(" on {node}")).unwrap_or_default(),
            idle_since: shown::instant(example.last_activity_at),
        }
    }
}

/// Ends what matches, but never the session of who does it: they would not see the receipt.
pub(in crate::server::console) async fn terminate(
    operator: Operator<Admins>,
    State(app): AppState,
    address: ClientAddress,
    form: Form,
) -> Answer<Response> {
    let filter = Filter::of(&form);
    let bulk = Bulk { filter: filter.judged()?, except: vec![operator.session()], ..Bulk::default() };
    let everything = bulk.is_everything();
    let refused = async |problem: Problem| -> Answer<Response> {
        let refused = Refused::from(problem);
        let page = page(&app, &operator, Filter::of(&form), &bulk, Some(refused.said().to_owned())).await?;
        Ok(refused.on(rendered(&page)?))
    };
    if form.one("sure") != "yes" {
        let page = page(&app, &operator, filter, &bulk, None).await?;
        return Ok(rendered(&page)?.into_response());
    }
    let Ok(expect) = form.one("typed").trim().parse() else {
        return refused(Problem::new(422, "invalid_field", "Type how many sessions are to end, as a number.", "")).await;
    };
    // By the number that was typed: it ends just so many, or none.
    let strong = everything || sure::is_needed(&app, &operator, expect).await?;
    // Whoever mistypes the number is told that, rather than asked for a password that the right one does not need.
    if strong && app.manager.store().bulk_count(&bulk, expect.saturating_add(1).max(0)).await? != expect {
        let problem = "The number is not that of the sessions that match now. Nothing was done.";
        return refused(Problem::new(409, "preview_changed", problem, "")).await;
    }
    if strong && let Err(problem) = sure::prove(&app, &operator, address, &form).await {
        return refused(problem).await;
    }
    let order = BulkOrder { bulk: bulk.clone(), expect: Some(expect), all: everything, ..BulkOrder::default() };
    let ended = app.manager.terminate_many(order, |_, _| ControlFlow::Continue(()), operator.actor()).await;
    match ended {
        Ok(ended) => {
            let count = u32::try_from(ended.terminated).unwrap_or(u32::MAX);
            let frame = Frame::of(&operator, "sessions");
            Ok(rendered(&Receipt { frame, ended: count, over: 0, failed: Vec::new(), barrier: ended.barrier, own: false })?
                .into_response())
        }
        Err(error) => match error.refusal().filter(|refusal| refusal.status == 409) {
            Some(refusal) => refused(Problem::new(409, &*refusal.code, &refusal.message, "Nothing was done.")).await,
            None => Err(error.into()),
        },
    }
}

async fn page(app: &App, operator: &Operator<Admins>, filter: Filter, bulk: &Bulk, problem: Option<String>) -> Answer<Page> {
    let BulkForecast { ends_now, users, sessions, examples, .. } = app.manager.rehearse_bulk(bulk).await?;
    Ok(Page {
        frame: Frame::of(operator, "sessions"),
        filter,
        everything: bulk.is_everything(),
        strong: bulk.is_everything() || sure::is_needed(app, operator, ends_now).await?,
        count: ends_now,
        users,
        places: sessions,
        examples: examples.into_iter().map(Example::from).collect(),
        problem,
    })
}
