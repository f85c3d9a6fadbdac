//! The audit trail (X4): transitions, newest first.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::Store;
use super::list::Page;
use crate::error::Result;

/// One transition.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Event {
    /// Id: events sort by it.
    pub id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// What, for instance `session_ended`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The session it happened to.
    pub session_id: Option<Uuid>,
    /// The user it happened to.
    pub user: Option<String>,
    /// Who did it; `tenure` is the store itself.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
    /// The node it came through; null for plain SQL.
    pub node: Option<String>,
    /// What else is worth keeping.
    pub details: Option<Value>,
}

/// Which events to list.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only of this session.
    pub session_id: Option<Uuid>,
    /// Only this type.
    pub kind: Option<String>,
    /// At most so many, 1 to 500.
    pub limit: i64,
    /// Older than this event.
    pub after: Option<Uuid>,
}

impl Store {
    /// Events, newest first.
    pub async fn events(&self, filter: &EventFilter) -> Result<Page<Event>> {
        let mut events = sqlx::query_as!(
            Event,
            r#"/* event_list */
            select e.id, e.at, e.type as "kind", e.session_id, e.user_name as "user", e.actor, e.reason, e.node, e.details
              from tenure.session_events e
             where ($1::uuid is null or e.session_id = $1)
               and ($2::text is null or e.type = $2)
               and e.id < coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
             order by e.id desc
             limit $4::bigint + 1"#,
            filter.session_id,
            filter.kind,
            filter.after,
            filter.limit
        )
        .fetch_all(&self.pool)
        .await?;
        let limit = usize::try_from(filter.limit).unwrap_or(1);
        let more = events.len() > limit;
        events.truncate(limit);
        let next = more.then(|| events.last().map(|event| event.id)).flatten();
        Ok(Page { items: events, next: next.map(|id| id.to_string()) })
    }
}
