//! Which sessions: the conditions of the list, and an order to end those that meet them (X3).

use serde::Deserialize;
use uuid::Uuid;

use super::{address, boolean, instant, invalid, kind, minutes, parameter, range, text, user_name, whole};
use crate::error::Result;
use crate::store::{Bulk, BulkOrder, BulkReason, ListFilter};

/// Ids one order may name.
const IDS: usize = 1_000;
/// Sessions one order may spare.
const EXCEPT: usize = 100;

/// The conditions of the list, as the body of an order has them. Those of a query and of a command become these.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SessionFilter {
    /// Of this user.
    pub user: Option<String>,
    /// Of this kind: `user`, `guest`, `integration` or `mobile`.
    pub kind: Option<String>,
    /// Last used on this node.
    pub node: Option<String>,
    /// With a transaction open, or without.
    pub active: Option<bool>,
    /// From this client address.
    pub address: Option<String>,
    /// Without activity for at least so many minutes.
    #[serde(default, deserialize_with = "whole")]
    pub idle_minutes_min: Option<i64>,
    /// Created at or after.
    pub created_from: Option<String>,
    /// Created before.
    pub created_to: Option<String>,
    /// Last activity at or after.
    pub last_activity_from: Option<String>,
    /// Last activity before.
    pub last_activity_to: Option<String>,
}

impl SessionFilter {
    /// Checks every condition (37, 38, 56); state, limit and cursor are left at their defaults.
    pub fn validate(self) -> Result<ListFilter> {
        let at = |name: &str, text: Option<String>| text.map(|text| instant(name, &text)).transpose();
        let filter = ListFilter {
            user: self.user.as_deref().map(user_name).transpose()?,
            kind: self.kind.as_deref().map(kind).transpose()?,
            node: self.node.map(|node| text("node", node)).transpose()?,
            active: self.active,
            address: self.address.as_deref().map(address).transpose()?,
            idle_minutes_min: self.idle_minutes_min.map(|number| minutes("idle_minutes_min", &number.to_string())).transpose()?,
            created_from: at("created_from", self.created_from)?,
            created_to: at("created_to", self.created_to)?,
            last_activity_from: at("last_activity_from", self.last_activity_from)?,
            last_activity_to: at("last_activity_to", self.last_activity_to)?,
            ..ListFilter::default()
        };
        range("created_to", filter.created_from, filter.created_to)?;
        range("last_activity_to", filter.last_activity_from, filter.last_activity_to)?;
        Ok(filter)
    }

    /// The same with the two conditions that a query or a command gives as text.
    pub fn with_text(mut self, active: Option<&str>, idle_minutes_min: Option<&str>) -> Result<Self> {
        self.active = active.map(|text| boolean("active", text)).transpose()?;
        self.idle_minutes_min = idle_minutes_min.map(|text| minutes("idle_minutes_min", text)).transpose()?.map(i64::from);
        Ok(self)
    }
}

/// An order to end sessions together, or to preview that.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TerminateInput {
    /// Those that the list shows under these conditions.
    pub filter: Option<SessionFilter>,
    /// Instead of a filter: these, 1 to 1,000; one that is named twice counts once.
    pub ids: Option<Vec<Uuid>>,
    /// Not these, at most 100: all but me.
    pub except: Option<Vec<Uuid>>,
    /// `terminated` (default) or `maintenance`.
    pub reason: Option<String>,
    /// Only say what would end; nothing is changed.
    pub preview: Option<bool>,
    /// How many end, as the preview said.
    #[serde(default, deserialize_with = "whole")]
    pub expect: Option<i64>,
    /// Every live session is meant: without a condition this has to be said.
    pub all: Option<bool>,
}

impl TerminateInput {
    /// Checks every field (54); whether the order is confirmed is judged with the number of sessions.
    pub fn validate(self) -> Result<BulkOrder> {
        if self.ids.is_some() && self.filter.is_some() {
            return Err(invalid("ids", "they are given beside a filter.", "Give either ids or a filter."));
        }
        let ids = self.ids.map(|ids| {
            if ids.is_empty() || ids.len() > IDS {
                return Err(invalid("ids", format!("{} ids are not 1 to {IDS}.", ids.len()), "Send them in several requests."));
            }
            Ok(distinct(ids))
        });
        let except = distinct(self.except.unwrap_or_default());
        if except.len() > EXCEPT {
            return Err(invalid("except", format!("{} ids are more than {EXCEPT}.", except.len()), "Narrow the filter instead."));
        }
        let reason = match self.reason.as_deref() {
            None | Some("terminated") => BulkReason::Terminated,
            Some("maintenance") => BulkReason::Maintenance,
            Some(_) => return Err(invalid("reason", "expected terminated or maintenance.", "Use one of them.")),
        };
        if self.expect.is_some_and(|count| count < 0) {
            return Err(invalid("expect", "it is a number of sessions, 0 or more.", "Take it from the preview."));
        }
        let filter = self.filter.unwrap_or_default().validate()?;
        Ok(BulkOrder {
            bulk: Bulk { filter, ids: ids.transpose()?, except },
            reason,
            expect: self.expect,
            all: self.all.unwrap_or(false),
        })
    }
}

fn distinct(mut ids: Vec<Uuid>) -> Vec<Uuid> {
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// A state of the list.
pub fn state(word: Option<&str>) -> Result<crate::store::StateFilter> {
    use crate::store::StateFilter;
    match word {
        None | Some("live") => Ok(StateFilter::Live),
        Some("ended") => Ok(StateFilter::Ended),
        Some("all") => Ok(StateFilter::All),
        Some(_) => Err(parameter("state", "expected one of live, ended, all.")),
    }
}
