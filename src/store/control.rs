//! A node's own connection for its polls, and the one that listens for hints to poll sooner.

use std::time::Duration;

use serde::Deserialize;
use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::types::Json;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::Store;
use crate::error::{Error, Result};
use crate::session::{Kind, Policy};

/// The connection of a node's polls. A poll without an answer is given up with its connection.
#[derive(Debug)]
pub struct Control(PgConnection);

/// What one poll brought.
#[derive(Debug)]
pub struct PollAnswer {
    /// The snapshot it was answered from, for the next poll to say it was applied.
    pub snapshot: String,
    /// `tenure.now()`, microseconds since 1970.
    pub now: i64,
    /// The server process that answered. Another one than before means another connection, behind a pooler or not.
    pub backend: i32,
    /// Rows of the log that the applied snapshot did not show: kind and key.
    pub rows: Vec<(char, String)>,
    /// The policies by kind, on the first poll and whenever they changed.
    pub policies: Option<Vec<Policy>>,
    /// Whether the registry says that the node drains, by somebody's order or because it said so itself.
    pub draining: bool,
}

#[derive(Debug, Deserialize)]
struct PolicyRow {
    kind: Kind,
    #[serde(flatten)]
    policy: Policy,
}

impl Store {
    /// Opens a connection for polls.
    pub async fn control(&self) -> Result<Control> {
        let options =
            (*self.pool.connect_options()).clone().options([("synchronous_commit", "off"), ("statement_timeout", "1000")]);
        let mut connection = PgConnection::connect_with(&options).await?;
        // C23: an address may have moved to a standby.
        if sqlx::query_scalar("/* control_standby */ select pg_is_in_recovery()").fetch_one(&mut connection).await? {
            return Err(Error::unavailable("the server is a standby"));
        }
        Ok(Control(connection))
    }

    /// Waits for hints: `wake` is called for each, until the connection is lost. A hint may be lost, late or repeated; nothing
    /// rests on one.
    pub async fn listen(&self, wake: impl Fn()) -> Result<()> {
        // A listener that stopped reading would hold back vacuum until the kernel gives its connection up.
        let options = (*self.pool.connect_options()).clone().options([("tcp_user_timeout", "3000")]);
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(2)).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen("tenure_wake").await?;
        while listener.try_recv().await?.is_some() {
            wake();
        }
        Ok(())
    }

    /// Hints all nodes to poll, and returns a transaction begun after the call: a node that has applied a snapshot which shows
    /// it has applied everything committed before. Nothing waits for the disk: losing the mark costs time only. A statement of its own, because a full queue of notifications fails the
    /// transaction that carries the hint; then it is left out.
    pub async fn mark(&self) -> Result<String> {
        let hinted = sqlx::query_scalar!(
            r#"/* barrier_mark */ select pg_current_xact_id()::text as "xid!"
              from (select tenure.wake(), set_config('synchronous_commit', 'off', true) offset 0) w"#
        )
        .fetch_one(&self.pool)
        .await;
        let Err(sqlx::Error::Database(error)) = hinted else { return Ok(hinted?) };
        metrics::counter!("tenure_wake_failures_total").increment(1);
        tracing::warn!(%error, "nodes cannot be woken; they learn of changes within half a second");
        // Looking at a full queue frees what its slowest reader held back, once that one is gone.
        Ok(sqlx::query_scalar!(
            r#"/* barrier_mark_silently */
            select pg_current_xact_id()::text as "xid!" from (select pg_notification_queue_usage() offset 0) q"#
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// Every node that counts, and whether it has applied a transaction.
    pub async fn applied(&self, xid: &str) -> Result<Vec<Applied>> {
        Ok(sqlx::query_as!(
            Applied,
            r#"/* barrier_look */
            select n.name, pg_visible_in_snapshot($1::text::xid8, n.applied) as "applied!"
              from tenure.nodes n where not n.fenced order by n.name, n.id"#,
            xid
        )
        .fetch_all(&self.pool)
        .await?)
    }
}

/// How far a node is.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Its name.
    pub name: String,
    /// Whether it has applied the transaction asked for.
    pub applied: bool,
}

impl Control {
    /// Beats, says how far the node has applied and swept, and returns what it has not seen yet, all in one statement and one
    /// snapshot; `None` when the node was fenced and must register anew. Without `applied` no row is asked for. `stopping` is
    /// never taken back: a process that stops drains whatever was ordered.
    pub async fn poll(
        &mut self,
        node: Uuid,
        applied: Option<&str>,
        stopping: bool,
        idle_sweep: bool,
    ) -> Result<Option<PollAnswer>> {
        let row = sqlx::query!(
            r#"/* node_poll */
            with beat as (
                update tenure.nodes n
                   set beat = n.beat + 1, beat_at = at.now, draining = n.draining or $3,
                       applied = coalesce($2::text::pg_snapshot, n.applied),
                       swept_at = case when $4 then at.now else n.swept_at end
                  from (select tenure.now() as now offset 0) at
                 where n.id = $1 and not n.fenced
                returning at.now, n.draining
            ), news as materialized (
                select i.kind, i.key
                  from tenure.invalidations i
                 where i.xid >= pg_snapshot_xmin($2::text::pg_snapshot)
                   and not pg_visible_in_snapshot(i.xid, $2::text::pg_snapshot)
            )
            select pg_current_snapshot()::text as "snapshot!", b.now as "now!", b.draining as "draining!", pg_backend_pid() as "backend!",
                   array(select n.kind::text || coalesce(n.key, '') from news n) as "rows!",
                   case when $2 is null or exists (select from news n where n.kind = 'p')
                        then (select jsonb_agg(p) from tenure.policies p) end as "policies: Json<Vec<PolicyRow>>"
              from beat b"#,
            node,
            applied,
            stopping,
            idle_sweep
        )
        .fetch_optional(&mut self.0)
        .await?;
        row.map(|row| {
            Ok(PollAnswer {
                snapshot: row.snapshot,
                now: row.now.timestamp_micros(),
                backend: row.backend,
                draining: row.draining,
                rows: row
                    .rows
                    .into_iter()
                    .filter_map(|row| row.chars().next().map(|kind| (kind, row[kind.len_utf8()..].to_owned())))
                    .collect(),
                policies: row.policies.map(|Json(rows)| in_order(rows)).transpose()?,
            })
        })
        .transpose()
    }
}

/// The policies in the order of [`Kind::ALL`].
fn in_order(mut rows: Vec<PolicyRow>) -> Result<Vec<Policy>> {
    rows.sort_by_key(|row| row.kind as usize);
    if rows.iter().map(|row| row.kind).ne(Kind::ALL.iter().copied()) {
        return Err(Error::failed("policies does not hold one row of every kind"));
    }
    Ok(rows.into_iter().map(|row| row.policy).collect())
}
