//! What a node counted in memory, written in batches: activity, and transactions that are open for long.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};
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

/// How long a batch waits for a row that somebody holds: less than it takes PostgreSQL to look for a deadlock, so that an
/// operator's statement never meets one.
const LOCK_TIMEOUT: &str = "100ms";

impl Store {
    /// Moves the anchors of sessions, given in the order of ids, as [`Law`] says, and answers for each what became of it. A
    /// session past its deadline does not move (A7), and none moves past the database's own time. The commit is not waited
    /// for: a crash of PostgreSQL may take the batch back.
    pub async fn flush(&self, marks: &[(Uuid, Law)]) -> Result<Vec<Flushed>> {
        let mut connection = self.pool.acquire().await?;
        let written = match self.move_anchors(&mut connection, marks).await {
            // Somebody holds one of the rows: lock the others first, and write those.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55P03") => {
                self.move_free_anchors(&mut connection, marks).await?
            }
            written => written?,
        };
        let mut flushed = vec![Flushed::Gone; marks.len()];
        for (id, anchor) in written {
            if let Ok(place) = marks.binary_search_by_key(&id, |(id, _)| *id) {
                flushed[place] = Flushed::Written(anchor.timestamp_micros());
            }
        }
        let missing: Vec<Uuid> =
            marks.iter().zip(&flushed).filter(|(_, flushed)| **flushed == Flushed::Gone).map(|((id, _), _)| *id).collect();
        if !missing.is_empty() {
            let there =
                sqlx::query_scalar!("/* activity_skipped */ select id from tenure.sessions where id = any ($1)", &missing)
                    .fetch_all(&mut *connection)
                    .await?;
            for id in there {
                if let Ok(place) = marks.binary_search_by_key(&id, |(id, _)| *id) {
                    flushed[place] = Flushed::Skipped;
                }
            }
        }
        Ok(flushed)
    }

    async fn move_free_anchors(
        &self,
        connection: &mut PgConnection,
        marks: &[(Uuid, Law)],
    ) -> sqlx::Result<Vec<(Uuid, DateTime<Utc>)>> {
        let ids: Vec<Uuid> = marks.iter().map(|(id, _)| *id).collect();
        let mut transaction = connection.begin().await?;
        let free: HashSet<Uuid> = sqlx::query_scalar!(
            "/* activity_lock */ select id from tenure.sessions where id = any ($1) order by id for no key update skip locked",
            &ids
        )
        .fetch_all(&mut *transaction)
        .await?
        .into_iter()
        .collect();
        let marks: Vec<_> = marks.iter().filter(|(id, _)| free.contains(id)).copied().collect();
        let written = self.move_anchors(&mut transaction, &marks).await?;
        transaction.commit().await?;
        Ok(written)
    }

    /// Most marks are a point in time; those of homepage reloads alone are a shift.
    async fn move_anchors(
        &self,
        connection: &mut PgConnection,
        marks: &[(Uuid, Law)],
    ) -> sqlx::Result<Vec<(Uuid, DateTime<Utc>)>> {
        let (points, shifts): (Vec<_>, Vec<_>) = marks.iter().copied().partition(|(_, law)| law.low.is_some());
        let bounds = |marks: &[(Uuid, Law)]| -> (Vec<Uuid>, Vec<DateTime<Utc>>) {
            marks.iter().map(|(id, law)| (*id, instant(law.high))).unzip()
        };
        let mut written = Vec::with_capacity(marks.len());
        if !points.is_empty() {
            let (ids, ats) = bounds(&points);
            let rows = sqlx::query!(
                r#"/* activity_flush */
                with context as materialized (
                    select set_config('synchronous_commit', 'off', true), set_config('lock_timeout', $4, true)
                )
                update tenure.sessions s
                   set anchor_at = greatest(s.anchor_at, least(m.at, (select tenure.now()))),
                       node      = $3
                  from context, unnest($1::uuid[], $2::timestamptz[]) m (id, at), tenure.policies p
                 where s.id = m.id
                   and p.kind = s.kind
                   and (select l.expires_at from tenure.limits(s, p) l) > (select tenure.now())
                returning s.id, s.anchor_at"#,
                &ids,
                &ats,
                self.node,
                LOCK_TIMEOUT
            )
            .fetch_all(&mut *connection)
            .await?;
            written.extend(rows.into_iter().map(|row| (row.id, row.anchor_at)));
        }
        if !shifts.is_empty() {
            let (ids, ats) = bounds(&shifts);
            #[expect(clippy::cast_precision_loss, reason = "whole seconds far below 2^53")]
            let by: Vec<f64> = shifts.iter().map(|(_, law)| law.shift as f64 / 1e6).collect();
            let rows = sqlx::query!(
                r#"/* activity_flush_refreshes */
                with context as materialized (
                    select set_config('synchronous_commit', 'off', true), set_config('lock_timeout', $5, true)
                )
                update tenure.sessions s
                   set anchor_at = greatest(s.anchor_at, least(s.anchor_at + make_interval(secs => m.shift), m.at, (select tenure.now()))),
                       node      = $4
                  from context, unnest($1::uuid[], $2::float8[], $3::timestamptz[]) m (id, shift, at), tenure.policies p
                 where s.id = m.id
                   and p.kind = s.kind
                   and (select l.expires_at from tenure.limits(s, p) l) > (select tenure.now())
                returning s.id, s.anchor_at"#,
                &ids,
                &by,
                &ats,
                self.node,
                LOCK_TIMEOUT
            )
            .fetch_all(&mut *connection)
            .await?;
            written.extend(rows.into_iter().map(|row| (row.id, row.anchor_at)));
        }
        Ok(written)
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
