//! What a node counted in memory, written in batches: activity, and transactions that are open for long.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Store;
use crate::error::Result;
use crate::session::{Law, instant};

/// What became of one session's activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Written: the anchor is here now, microseconds since 1970.
    Written(i64),
    /// Somebody held the row, or it is over and not yet moved: try again.
    Skipped,
    /// There is no such live session any more.
    Gone,
}

/// A transaction to write down.
#[derive(Debug, Clone, Copy)]
pub struct OpenTransaction {
    /// The session.
    pub session: Uuid,
    /// Its id.
    pub id: Uuid,
    /// When it began, microseconds since 1970.
    pub started_at: i64,
}

impl Store {
    /// Moves the anchors of sessions, given in the order of ids, as [`Law`] says, and answers for each what became of it. A
    /// session past its deadline does not move (A7), and none moves past the database's own time. The commit is not waited for: a crash of PostgreSQL may take the batch back.
    ///
    /// Rows are locked before they are changed so that locked ones can be skipped: an operator's statement never waits for a
    /// batch that waits for it. The second step finds them by their place in the table, which costs no second descent of the
    /// index; a row that moved in between is not found there and counts as skipped.
    pub async fn flush(&self, marks: &[(Uuid, Law)]) -> Result<Vec<Flushed>> {
        let ids: Vec<Uuid> = marks.iter().map(|(id, _)| *id).collect();
        #[expect(clippy::cast_precision_loss, reason = "whole seconds far below 2^53")]
        let shifts: Vec<f64> = marks.iter().map(|(_, law)| law.shift as f64 / 1e6).collect();
        let lows: Vec<Option<DateTime<Utc>>> = marks.iter().map(|(_, law)| law.low.map(instant)).collect();
        let highs: Vec<DateTime<Utc>> = marks.iter().map(|(_, law)| instant(law.high)).collect();
        let rows = sqlx::query!(
            r#"/* activity_flush */
            with context as materialized (
                select set_config('synchronous_commit', 'off', true) as set
            ), marks as materialized (
                select m.* from context, unnest($1::uuid[], $2::float8[], $3::timestamptz[], $4::timestamptz[]) m (id, shift, low, high)
            ), locked as materialized (
                select s.ctid as place, m.shift, m.low, m.high
                  from marks m join tenure.sessions s on s.id = m.id
                   for update of s skip locked
            ), written as (
                update tenure.sessions s
                   set anchor_at = greatest(s.anchor_at, least(greatest(s.anchor_at + make_interval(secs => l.shift), l.low), l.high, (select tenure.now()))),
                       node      = $5
                  from locked l, tenure.policies p
                 where s.ctid = l.place
                   and p.kind = s.kind
                   and (select l.expires_at from tenure.limits(s, p) l) > (select tenure.now())
                returning s.id, s.anchor_at
            )
            select m.id as "id!", w.anchor_at as "anchor_at?",
                   case when w.id is null then exists (select from tenure.sessions s where s.id = m.id) end as live
              from marks m left join written w on w.id = m.id"#,
            &ids,
            &shifts,
            &lows as _,
            &highs,
            self.node
        )
        .fetch_all(&self.pool)
        .await?;
        let mut flushed = vec![Flushed::Gone; marks.len()];
        for row in rows {
            if let Ok(place) = ids.binary_search(&row.id) {
                flushed[place] = match (row.anchor_at, row.live) {
                    (Some(anchor), _) => Flushed::Written(anchor.timestamp_micros()),
                    (None, Some(true)) => Flushed::Skipped,
                    (None, _) => Flushed::Gone,
                };
            }
        }
        Ok(flushed)
    }

    /// Writes down transactions that are still open (C2). One that was closed through another node meanwhile is left out.
    pub async fn write_transactions(&self, node: Uuid, open: &[OpenTransaction]) -> Result<()> {
        let sessions: Vec<Uuid> = open.iter().map(|open| open.session).collect();
        let ids: Vec<Uuid> = open.iter().map(|open| open.id).collect();
        let started: Vec<DateTime<Utc>> = open.iter().map(|open| instant(open.started_at)).collect();
        sqlx::query!(
            "/* transaction_write */
            insert into tenure.transactions (session_id, id, node_id, started_at)
            select t.session_id, t.id, $4, t.started_at from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) t (session_id, id, started_at)
            on conflict do nothing",
            &sessions,
            &ids,
            &started,
            node
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Closes a transaction that is written down, or may yet be: `owner`, the end of the id of the node that opened it, then
    /// says who will find it closed. `false` when there is no such transaction.
    ///
    /// A closed transaction whose opening was not written leaves a row that has lapsed already, so that the opening is not
    /// written after it; house-keeping clears it away.
    pub async fn close_transaction(&self, session: Uuid, transaction: Uuid, owner: Option<&str>) -> Result<bool> {
        Ok(sqlx::query!(
            "/* transaction_close */
            with closed as (
                delete from tenure.transactions t
                 where t.session_id = $1 and t.id = $2 and t.started_at > (select tenure.now()) - interval '10 minutes'
                returning t.id
            ), noted as (
                insert into tenure.transactions (session_id, id, node_id, started_at)
                select $1, $2, n.id, (select tenure.now()) - interval '10 minutes'
                  from tenure.nodes n
                 where right(n.id::text, 8) = $3
                   and exists (select from tenure.sessions s where s.id = $1)
                   and not exists (select from tenure.transactions t where t.session_id = $1 and t.id = $2)
                 limit 1
                on conflict do nothing
                returning id
            )
            select id from closed union all select id from noted",
            session,
            transaction,
            owner
        )
        .fetch_optional(&self.pool)
        .await?
        .is_some())
    }
}
