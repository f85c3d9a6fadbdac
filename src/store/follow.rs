//! Following the events in the order of their transactions, so that what is committed late is not missed.
//!
//! A snapshot says exactly what has been seen; its oldest running transaction is a position to come back to, once it is on the
//! disk: after a crash PostgreSQL numbers transactions anew from what it had written.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Event, Store};
use crate::error::{Error, Result};

/// A place in the events in the order of their transactions: whoever stands here has been told every event of all transactions
/// before it. Text of it is what a client keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventPosition {
    /// The server's timeline: a promoted standby may have less than what was told, and numbers transactions anew.
    timeline: u32,
    /// The oldest transaction that was running.
    xid: u64,
}

impl fmt::Display for EventPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}-{}", self.timeline, self.xid)
    }
}

impl FromStr for EventPosition {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (timeline, xid) = text.split_once('-').filter(|(timeline, _)| timeline.len() == 8).ok_or(())?;
        let position = Self { timeline: u32::from_str_radix(timeline, 16).map_err(drop)?, xid: xid.parse().map_err(drop)? };
        // Only as it is written: no sign, no zero in front.
        if position.xid > 0 && position.to_string() == text { Ok(position) } else { Err(()) }
    }
}

/// What was committed at some moment.
#[derive(Debug, Clone)]
pub struct EventSnapshot {
    text: String,
    /// What may be told to a client once everything the snapshot shows has been.
    pub position: EventPosition,
}

impl EventSnapshot {
    /// The most that a client at the position can be known to have seen.
    pub fn before(position: EventPosition) -> Self {
        Self { text: format!("{0}:{0}:", position.xid), position }
    }

    /// Whether a position can be one of this database: of its timeline, and no later than this moment.
    pub fn knows(&self, position: EventPosition) -> bool {
        let next = self.text.split(':').nth(1).and_then(|next| next.parse().ok()).unwrap_or(0);
        position.timeline == self.position.timeline && position.xid <= next
    }
}

/// Events that one snapshot shows and another does not, a page at a time.
#[derive(Debug, Clone)]
pub struct EventRead {
    since: EventSnapshot,
    until: EventSnapshot,
    /// The transaction and id read last.
    reached: (String, Uuid),
}

impl EventRead {
    /// Events of a page.
    pub const PAGE: usize = 500;

    /// What `until` shows and `since` does not.
    pub fn between(since: EventSnapshot, until: EventSnapshot) -> Self {
        Self { since, until, reached: ("0".to_owned(), Uuid::nil()) }
    }

    /// Where a client stands once it has been told every page.
    pub fn position(&self) -> EventPosition {
        self.until.position
    }
}

/// An event and its transaction.
struct Row {
    id: Uuid,
    at: DateTime<Utc>,
    kind: String,
    session_id: Option<Uuid>,
    user: Option<String>,
    actor: String,
    reason: Option<String>,
    node: Option<String>,
    details: Option<Value>,
    xid: String,
}

impl Store {
    /// What is committed now, and what may be told to clients of it: no transaction begins afterwards, not even after a crash, with
    /// a number that this snapshot shows as over. For that a transaction with a later number goes to the disk, in the same
    /// statement, so that no crash lies between. Its message in the write-ahead log is a write that leaves nothing behind;
    /// without any write it would not wait for the disk.
    pub async fn event_snapshot(&self) -> Result<EventSnapshot> {
        let row = sqlx::query!(
            r#"/* event_snapshot */
            select pg_current_snapshot()::text as "text!", pg_snapshot_xmin(pg_current_snapshot())::text as "xmin!",
                   left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) as "timeline!",
                   set_config('synchronous_commit', 'on', true) as "durable!",
                   pg_logical_emit_message(true, 'tenure', 'events')::text as "written!""#
        )
        .fetch_one(&self.pool)
        .await?;
        let position = format!("{}-{}", row.timeline, row.xmin).parse();
        Ok(EventSnapshot { text: row.text, position: position.map_err(|()| Error::failed("a snapshot without a position"))? })
    }

    /// Whether there is an event that a snapshot does not show, or the snapshot is of another server.
    pub async fn has_news(&self, seen: &EventSnapshot) -> Result<bool> {
        let timeline = format!("{:08X}", seen.position.timeline);
        Ok(sqlx::query_scalar!(
            r#"/* event_news */
            select left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) <> $2
                or exists (select from tenure.session_events e
                            where e.xid >= pg_snapshot_xmin($1::text::pg_snapshot)
                              and e.xid < pg_snapshot_xmax(pg_current_snapshot())
                              and not pg_visible_in_snapshot(e.xid, $1::text::pg_snapshot)) as "news!""#,
            seen.text,
            timeline
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// The next page; a short one is the last.
    pub async fn event_page(&self, read: &mut EventRead) -> Result<Vec<Event>> {
        let rows = sqlx::query_as!(
            Row,
            r#"/* event_follow */
            select e.id, e.at, e.type as "kind", e.session_id, e.user_name as "user", e.actor, e.reason, e.node, e.details,
                   e.xid::text as "xid!"
              from tenure.session_events e
             where e.xid >= pg_snapshot_xmin($1::text::pg_snapshot)
               and e.xid < pg_snapshot_xmax($2::text::pg_snapshot)
               and not pg_visible_in_snapshot(e.xid, $1::text::pg_snapshot)
               and pg_visible_in_snapshot(e.xid, $2::text::pg_snapshot)
               and (e.xid, e.id) > ($3::text::xid8, $4::uuid)
             order by e.xid, e.id
             limit $5"#,
            read.since.text,
            read.until.text,
            read.reached.0,
            read.reached.1,
            i64::try_from(EventRead::PAGE).unwrap_or(i64::MAX)
        )
        .fetch_all(&self.pool)
        .await?;
        if let Some(last) = rows.last() {
            read.reached = (last.xid.clone(), last.id);
        }
        let event = |Row { id, at, kind, session_id, user, actor, reason, node, details, .. }: Row| Event {
            id,
            at,
            kind,
            session_id,
            user,
            actor,
            reason,
            node,
            details,
        };
        Ok(rows.into_iter().map(event).collect())
    }
}
