//! Expiry and the work that follows a tightened policy, one batch a call; see `migrations/V5__limits.sql`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Store;
use crate::error::Result;

/// Where a sweeper stands in the order of (`due_at`, `id`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepPosition {
    /// Due instant reached.
    pub at: DateTime<Utc>,
    /// Id reached among those due then.
    pub id: Uuid,
}

impl SweepPosition {
    /// Before every session.
    pub const START: Self = Self { at: DateTime::<Utc>::UNIX_EPOCH, id: Uuid::nil() };
}

/// What one sweep batch did.
#[derive(Debug, Clone)]
pub struct Swept {
    /// Sessions ended.
    pub ended: i64,
    /// Sessions whose due instant was moved on.
    pub rearmed: i64,
    /// Where the sweeper stands now.
    pub reached: SweepPosition,
    /// How long until the next row is due; `None` when there is none.
    pub next_due_in: Option<std::time::Duration>,
    /// Until when no row can become due that this one did not see coming: the next one's due instant, and half a minute at most,
    /// because the smallest limit is a minute and what begins now cannot end sooner.
    pub calm_until: DateTime<Utc>,
    /// Revision of the policies: when it changes, rows may have become due behind the position.
    pub revision: i64,
}

/// Whether a sweeper may go on trusting what it saw last.
#[derive(Debug, Clone, Copy)]
pub struct SweepOutlook {
    /// The database's time.
    pub now: DateTime<Utc>,
    /// Revision of the policies.
    pub revision: i64,
    /// A tightened policy is still lowering due instants.
    pub lowering: bool,
}

/// What one batch of the lowering job did.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// The kind whose policy was tightened.
    pub kind: String,
    /// Rows looked at.
    pub examined: i64,
    /// Sessions ended.
    pub ended: i64,
    /// Sessions whose due instant was lowered.
    pub lowered: i64,
}

/// What is no longer kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired {
    /// Monthly partitions dropped.
    pub months: i32,
    /// Rows removed from the default partitions.
    pub removed: i64,
}

impl Store {
    /// One sweep batch (C4).
    pub async fn sweep(&self, from: SweepPosition, batch: i32) -> Result<Swept> {
        let row = sqlx::query!(
            r#"/* sweep_tick */
            with context as materialized (select tenure.act_as('tenure', $4) as set)
            select s.ended as "ended!", s.rearmed as "rearmed!", s.reached_at as "reached_at!", s.reached_id as "reached_id!",
                   (extract(epoch from s.next_due_at - tenure.now()) * 1000)::bigint as next_due_ms, s.revision as "revision!",
                   least(s.next_due_at, tenure.now() + interval '30 seconds') as "calm_until!"
              from context cross join lateral tenure.sweep($1, $2, $3) s where context.set"#,
            from.at,
            from.id,
            batch,
            self.node
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Swept {
            ended: row.ended,
            rearmed: row.rearmed,
            reached: SweepPosition { at: row.reached_at, id: row.reached_id },
            next_due_in: row.next_due_ms.map(|ms| std::time::Duration::from_millis(ms.try_into().unwrap_or(0))),
            calm_until: row.calm_until,
            revision: row.revision,
        })
    }

    /// What a sweeper asks that expects nothing: one page, however many sessions there are.
    pub async fn sweep_outlook(&self) -> Result<SweepOutlook> {
        Ok(sqlx::query_as!(
            SweepOutlook,
            r#"/* sweep_outlook */
            select tenure.now() as "now!", sum(p.revision)::bigint as "revision!", bool_or(p.lowering_pass > 0) as "lowering!" from tenure.policies p"#
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// One batch of the job owed after a tightened policy; `None` when nothing is owed now.
    pub async fn lower_deadlines(&self, batch: i32) -> Result<Option<Lowered>> {
        let row = sqlx::query!(
            r#"/* lower_deadlines */
            with context as materialized (select tenure.act_as('tenure', $2) as set)
            select l.kind, coalesce(l.examined, 0) as "examined!", coalesce(l.ended, 0) as "ended!", coalesce(l.lowered, 0) as "lowered!"
              from context cross join lateral tenure.lower_deadlines($1) l where context.set"#,
            batch,
            self.node
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(row.kind.map(|kind| Lowered { kind, examined: row.examined, ended: row.ended, lowered: row.lowered }))
    }

    /// Makes next months' partitions, prunes the invalidation log below what every registered node has applied, and drops
    /// lapsed transactions, idempotency keys of a day ago, nodes that were fenced then, and history past its retention.
    pub async fn keep_house(&self) -> Result<()> {
        // Each step by itself: who waits for one of them shall not keep the others from being taken.
        let done = [
            sqlx::query!("/* make_partitions */ select tenure.make_partitions()").fetch_one(&self.pool).await.map(drop),
            sqlx::query!(
                "/* invalidation_prune */
                delete from tenure.invalidations i
                 where i.xid < coalesce((select min(pg_snapshot_xmin(n.applied)::text::bigint)::text::xid8 from tenure.nodes n where not n.fenced),
                                        pg_snapshot_xmin(pg_current_snapshot()))"
            )
            .execute(&self.pool)
            .await
            .map(drop),
            sqlx::query!(
                "/* node_forget */
                delete from tenure.nodes n where n.fenced and n.beat_at < (select tenure.now()) - interval '1 day'"
            )
            .execute(&self.pool)
            .await
            .map(drop),
            sqlx::query!(
                "/* oauth_tokens_unseal */
                update tenure.oauth_tokens t set sealed_successor = null
                 where t.sealed_successor is not null and t.used_at < (select tenure.now()) - interval '10 seconds'"
            )
            .execute(&self.pool)
            .await
            .map(drop),
            sqlx::query!(
                // A minute longer than they count: a lapsed row may stand for a close that came before its opening was written.
                "/* transaction_lapse */ delete from tenure.transactions t where t.started_at < (select tenure.now()) - interval '11 minutes'"
            )
            .execute(&self.pool)
            .await
            .map(drop),
            sqlx::query!(
                "/* idempotency_prune */
                delete from tenure.idempotency_keys k
                 where (k.api_key_id, k.key_hash) in (select o.api_key_id, o.key_hash from tenure.idempotency_keys o
                                                       where o.created_at <= (select tenure.now()) - interval '24 hours'
                                                       order by o.created_at limit 100000)"
            )
            .execute(&self.pool)
            .await
            .map(drop),
        ];
        let retired = self.retire_history().await;
        done.into_iter().collect::<std::result::Result<(), sqlx::Error>>()?;
        retired.map(drop)
    }

    /// Drops a month each of ended sessions and events that is past its retention, if there is one, and removes what is past
    /// it in the default partitions (X4).
    pub async fn retire_history(&self) -> Result<Retired> {
        let months = sqlx::query_scalar!(
            r#"/* history_retire */
            with context as materialized (select tenure.act_as('tenure', $1) as set)
            select tenure.retire_history() as "months!" from context where context.set"#,
            self.node
        )
        .fetch_one(&self.pool)
        .await?;
        let removed = sqlx::query_scalar!(
            r#"/* history_leftovers */
            with context as materialized (select tenure.act_as('tenure', $1) as set)
            select tenure.retire_leftovers() as "removed!" from context where context.set"#,
            self.node
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Retired { months, removed })
    }
}
