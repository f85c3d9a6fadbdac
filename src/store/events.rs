//! The audit trail (X4): transitions, newest first.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::list::Page;
use super::{Actor, Store};
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
    /// Only those that happened to this user or a session of theirs.
    pub user: Option<String>,
    /// Only what this actor did.
    pub actor: Option<String>,
    /// At most so many, 1 to 500.
    pub limit: i64,
    /// Older than this event.
    pub after: Option<Uuid>,
}

/// Rows one page may look at for a filter that no index serves.
const WALK: i64 = 10_000;

impl Store {
    /// Events, newest first. By user or actor it looks at 10,000 of them, and then the page comes back short with a cursor.
    pub async fn events(&self, filter: &EventFilter) -> Result<Page<Event>> {
        let narrowed = filter.user.is_some() || filter.actor.is_some();
        let mut events = sqlx::query_as!(
            Event,
            r#"/* event_list */
            select e.id, e.at, e.type as "kind", e.session_id, e.user_name as "user", e.actor, e.reason, e.node, e.details
              from (select w.* from tenure.session_events w
                     where ($1::uuid is null or w.session_id = $1)
                       and ($2::text is null or w.type = $2)
                       and w.id < coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
                     order by w.id desc
                     limit $7) e
             where ($5::text is null or lower(e.user_name collate "und-x-icu") = lower($5 collate "und-x-icu"))
               and ($6::text is null or e.actor = $6)
             order by e.id desc
             limit $4::bigint + 1"#,
            filter.session_id,
            filter.kind,
            filter.after,
            filter.limit,
            filter.user,
            filter.actor,
            if narrowed { WALK } else { filter.limit + 1 }
        )
        .fetch_all(&self.pool)
        .await?;
        let limit = usize::try_from(filter.limit).unwrap_or(1);
        let more = events.len() > limit;
        events.truncate(limit);
        let next = match (more, narrowed) {
            (true, _) => events.last().map(|event| event.id),
            (false, false) => None,
            (false, true) => self.event_walk_end(filter).await?,
        };
        Ok(Page { items: events, next: next.map(|id| id.to_string()) })
    }

    /// Whether every token that a session ever had was handed out by this actor.
    pub async fn has_tokens_of(&self, session: Uuid, actor: Actor<'_>) -> Result<bool> {
        Ok(sqlx::query_scalar!(
            r#"/* token_actors */
            select coalesce(bool_and(e.actor = $2), false) as "only!"
              from tenure.session_events e
             where e.session_id = $1 and e.type in ('session_created', 'session_imported', 'token_rotated')"#,
            session,
            actor.0
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// Where a walk over events stopped; `None` when it saw all there are.
    async fn event_walk_end(&self, filter: &EventFilter) -> Result<Option<Uuid>> {
        Ok(sqlx::query_scalar!(
            r#"/* event_walk_end */
            select w.id
              from tenure.session_events w
             where ($1::uuid is null or w.session_id = $1)
               and ($2::text is null or w.type = $2)
               and w.id < coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
             order by w.id desc offset $4 limit 1"#,
            filter.session_id,
            filter.kind,
            filter.after,
            WALK - 1
        )
        .fetch_optional(&self.pool)
        .await?)
    }
}
