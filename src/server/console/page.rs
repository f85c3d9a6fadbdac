//! What every page has around it.

use askama::Template;
use axum::response::Html;

use super::failure::Failure;
use super::operator::Operator;
use crate::error::Error;

/// A page, or what is shown instead.
pub(super) type Answer<T = Html<String>> = Result<T, Failure>;

/// The frame: where one is, and what one may go to.
pub(super) struct Frame {
    /// Name of the user.
    pub(super) user: String,
    /// The entry of the navigation this page belongs to.
    pub(super) place: &'static str,
    /// Sees users, sessions and events.
    pub(super) watches: bool,
    /// Sees properties, client applications and nodes.
    pub(super) reads: bool,
    /// Ends sessions, changes properties and users.
    pub(super) changes: bool,
}

impl Frame {
    pub(super) fn of<C>(operator: &Operator<C>, place: &'static str) -> Self {
        Self {
            user: operator.name().to_owned(),
            place,
            watches: operator.may_watch(),
            reads: operator.may_read(),
            changes: operator.may_change(),
        }
    }
}

/// A page as HTML.
pub(super) fn rendered(page: &impl Template) -> Answer {
    Ok(Html(page.render().map_err(Error::failed)?))
}
