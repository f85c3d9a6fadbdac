//! The list of sessions: the one place where a statement is put together from a filter.
//!
//! Live and ended rows are two walks in the order of ids, newest first. A filter that has an index narrows the walk (user,
//! creation time); any other is applied to at most [`WALK`] rows, and then the page comes back short with a cursor.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::Store;
use super::rows::{EndedRow, LiveRow};
use crate::error::Result;
use crate::session::{Kind, Limits, Session, SessionView};

/// Rows one page may look at for a filter that no index serves.
const WALK: i64 = 10_000;

/// One page of a listing, and the cursor of the next.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; null at the end.
    pub next: Option<String>,
}

/// Which sessions to list by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StateFilter {
    /// Those a check would accept.
    #[default]
    Live,
    /// Those that are over, swept or not.
    Ended,
    /// Both.
    All,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Of this user, regardless of case.
    pub user: Option<String>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Last used on this node.
    pub node: Option<String>,
    /// With a transaction open, or without.
    pub active: Option<bool>,
    /// From this client address.
    pub address: Option<IpAddr>,
    /// Without activity for at least so many minutes.
    pub idle_minutes_min: Option<i32>,
    /// Created at or after.
    pub created_from: Option<DateTime<Utc>>,
    /// Created before.
    pub created_to: Option<DateTime<Utc>>,
    /// Last activity at or after.
    pub last_activity_from: Option<DateTime<Utc>>,
    /// Last activity before.
    pub last_activity_to: Option<DateTime<Utc>>,
    /// By state.
    pub state: StateFilter,
    /// At most so many, 1 to 500.
    pub limit: i64,
    /// Older than this session.
    pub after: Option<Uuid>,
}

/// Part of a walk: what matched, and the id down to which nothing is missing; `None` when the walk reached the end.
struct Walked {
    found: Vec<(Session, Option<Limits>)>,
    complete_to: Option<Uuid>,
}

impl ListFilter {
    fn walks(&self) -> bool {
        self.kind.is_some()
            || self.node.is_some()
            || self.active.is_some()
            || self.address.is_some()
            || self.idle_minutes_min.is_some()
            || self.last_activity_from.is_some()
            || self.last_activity_to.is_some()
    }

    /// The walk itself: ids in order, narrowed by what has an index. It is a sub-select, not a CTE: the planner then knows its
    /// order, and a page stops walking when it is full.
    fn push_walk(&self, query: &mut QueryBuilder<Postgres>, table: &str) {
        query.push("(select w.id from ").push(table).push(" w where true");
        if let Some(after) = self.after {
            query.push(" and w.id < ").push_bind(after);
        }
        if let Some(user) = &self.user {
            query
                .push(r#" and w.user_id = (select u.id from tenure.users u where lower(u.name collate "und-x-icu") = lower("#)
                .push_bind(user.clone())
                .push(r#" collate "und-x-icu"))"#);
        }
        // Ids carry the milliseconds of created_at, made from the same instant.
        // No id is older than 1970, where its milliseconds begin.
        if let Some(from) = self.created_from {
            query
                .push(" and w.id >= tenure.uuid_v7_floor(")
                .push_bind(from.max(DateTime::UNIX_EPOCH))
                .push(") and w.created_at >= ")
                .push_bind(from);
        }
        if let Some(to) = self.created_to {
            query
                .push(" and w.id < tenure.uuid_v7_floor(")
                .push_bind(to.max(DateTime::UNIX_EPOCH))
                .push("::timestamptz + interval '1 millisecond') and w.created_at < ")
                .push_bind(to);
        }
        query.push(" order by w.id desc limit ").push_bind(WALK).push(") walk");
    }

    fn push_conditions(&self, query: &mut QueryBuilder<Postgres>, now: &str) {
        if let Some(kind) = self.kind {
            query.push(" and f.kind = ").push_bind(kind.as_str());
        }
        if let Some(node) = &self.node {
            query.push(" and f.node = ").push_bind(node.clone());
        }
        if let Some(address) = self.address {
            query.push(" and f.client_address = ").push_bind(address);
        }
        if let Some(minutes) = self.idle_minutes_min {
            query.push(format!(" and f.anchor_at <= {now} - make_interval(mins => ")).push_bind(minutes).push(")");
        }
        if let Some(from) = self.last_activity_from {
            query.push(" and f.anchor_at >= ").push_bind(from);
        }
        if let Some(to) = self.last_activity_to {
            query.push(" and f.anchor_at < ").push_bind(to);
        }
    }

    /// The statement over rows of `tenure.sessions`; `over` chooses between those that are over and those that are not.
    /// The view reads the clock, so it is not merged into the statement; only lateral, and fenced by offset, is each row looked up by id.
    fn live_statement(&self, prefix: &str, over: Option<bool>) -> QueryBuilder<Postgres> {
        let mut query = QueryBuilder::new(format!("{prefix}/* session_list */ select f.* from "));
        self.push_walk(&mut query, "tenure.sessions");
        query.push(" cross join lateral (select v.* from tenure.session_facts v where v.id = walk.id offset 0) f where true");
        self.push_conditions(&mut query, "f.now");
        match over {
            Some(true) => query.push(" and (f.expires_at <= f.now or f.barred is not null)"),
            Some(false) => query.push(" and f.expires_at > f.now and f.barred is null"),
            None => &mut query,
        };
        if let Some(active) = self.active {
            query.push(" and (f.active and f.expires_at > f.now) = ").push_bind(active);
        }
        query.push(" order by walk.id desc limit ").push_bind(self.limit + 1);
        query
    }

    /// The statement over rows of `tenure.ended_sessions`.
    fn ended_statement(&self, prefix: &str) -> QueryBuilder<Postgres> {
        let mut query = QueryBuilder::new(format!("{prefix}/* ended_session_list */ select f.* from "));
        self.push_walk(&mut query, "tenure.ended_sessions");
        query.push(" cross join lateral (select v.* from tenure.ended_sessions v where v.id = walk.id offset 0) f where true");
        self.push_conditions(&mut query, "(select tenure.now())");
        if self.active == Some(true) {
            query.push(" and false");
        }
        query.push(" order by walk.id desc limit ").push_bind(self.limit + 1);
        query
    }
}

/// Which live sessions to end together (X3).
#[derive(Debug, Clone, Default)]
pub struct Bulk {
    /// Those the list would show under this filter; its state, limit and cursor do not count.
    pub filter: ListFilter,
    /// Only these.
    pub ids: Option<Vec<Uuid>>,
    /// Not these.
    pub except: Vec<Uuid>,
}

impl Bulk {
    /// Whether no condition is given, so that every live session is meant.
    pub fn is_everything(&self) -> bool {
        let filter = &self.filter;
        let narrowed = filter.walks() || filter.user.is_some() || filter.created_from.is_some() || filter.created_to.is_some();
        !narrowed && self.ids.is_none()
    }

    /// A statement over the live sessions meant, as `f`, which has the columns of `tenure.session_facts`.
    pub(super) fn statement(&self, select: &str, among: Option<&[Uuid]>) -> QueryBuilder<Postgres> {
        let mut query = QueryBuilder::new(select);
        query.push(" from tenure.session_facts f where f.expires_at > f.now and f.barred is null");
        let filter = &self.filter;
        if let Some(user) = &filter.user {
            query
                .push(r#" and f.user_id = (select u.id from tenure.users u where lower(u.name collate "und-x-icu") = lower("#)
                .push_bind(user.clone())
                .push(r#" collate "und-x-icu"))"#);
        }
        if let Some(from) = filter.created_from {
            query.push(" and f.created_at >= ").push_bind(from);
        }
        if let Some(to) = filter.created_to {
            query.push(" and f.created_at < ").push_bind(to);
        }
        filter.push_conditions(&mut query, "f.now");
        if let Some(active) = filter.active {
            query.push(" and f.active = ").push_bind(active);
        }
        for ids in [self.ids.as_deref(), among].into_iter().flatten() {
            query.push(" and f.id = any (").push_bind(ids.to_vec()).push(")");
        }
        if !self.except.is_empty() {
            query.push(" and f.id <> all (").push_bind(self.except.clone()).push(")");
        }
        query
    }
}

#[cfg(any(test, feature = "test-util"))]
impl ListFilter {
    /// The statements of a page with something in front, for tests of their plans.
    pub fn statements(&self, prefix: &str) -> [QueryBuilder<Postgres>; 2] {
        [self.live_statement(prefix, Some(self.state == StateFilter::Ended)), self.ended_statement(prefix)]
    }
}

impl Store {
    /// A page of sessions, newest first.
    pub async fn list(&self, filter: &ListFilter) -> Result<Page<SessionView>> {
        let mut walks = Vec::new();
        let over = match filter.state {
            StateFilter::Live => Some(false),
            StateFilter::Ended => Some(true),
            StateFilter::All => None,
        };
        let rows: Vec<LiveRow> = filter.live_statement("", over).build_query_as().fetch_all(&self.pool).await?;
        let found = rows
            .into_iter()
            .map(|row| row.into_domain().map(|(session, policy, _)| (Limits::of(&session, &policy), session)))
            .map(|row| row.map(|(limits, session)| (session, Some(limits))))
            .collect::<Result<Vec<_>>>()?;
        // Rows that are over are few, but a filter by state walks past the others like any filter without an index.
        walks.push(self.walked(filter, "tenure.sessions", found, true).await?);
        if filter.state != StateFilter::Live {
            let rows: Vec<EndedRow> = filter.ended_statement("").build_query_as().fetch_all(&self.pool).await?;
            let found =
                rows.into_iter().map(|row| Session::try_from(row).map(|session| (session, None))).collect::<Result<Vec<_>>>()?;
            walks.push(self.walked(filter, "tenure.ended_sessions", found, filter.walks()).await?);
        }

        // What lies below the highest point where a walk stopped may miss sessions of that walk.
        let complete_to = walks.iter().filter_map(|walk| walk.complete_to).max();
        let mut found: Vec<_> = walks.into_iter().flat_map(|walk| walk.found).collect();
        found.sort_by_key(|(session, _)| std::cmp::Reverse(session.id));
        // A session that moved between the two statements is shown once.
        found.dedup_by_key(|(session, _)| session.id);
        if let Some(complete_to) = complete_to {
            found.retain(|(session, _)| session.id >= complete_to);
        }
        let limit = usize::try_from(filter.limit).unwrap_or(1);
        let more = found.len() > limit;
        found.truncate(limit);
        let next = if more { found.last().map(|(session, _)| session.id) } else { complete_to };
        Ok(Page {
            items: found.into_iter().map(|(session, limits)| SessionView::new(session, limits.as_ref())).collect(),
            next: next.map(|id| id.to_string()),
        })
    }

    async fn walked(
        &self,
        filter: &ListFilter,
        table: &str,
        found: Vec<(Session, Option<Limits>)>,
        filtered: bool,
    ) -> Result<Walked> {
        let limit = usize::try_from(filter.limit).unwrap_or(1);
        if found.len() > limit {
            let complete_to = found.last().map(|(session, _)| session.id);
            return Ok(Walked { found, complete_to });
        }
        if !filtered {
            return Ok(Walked { found, complete_to: None });
        }
        // The page is short: either the walk reached its end, or it stopped after WALK rows.
        let mut query = QueryBuilder::new("/* session_list_end */ select walk.id from ");
        filter.push_walk(&mut query, table);
        query.push(" order by walk.id desc offset ").push_bind(WALK - 1);
        let complete_to = query.build_query_scalar::<Uuid>().fetch_optional(&self.pool).await?;
        Ok(Walked { found, complete_to })
    }
}
