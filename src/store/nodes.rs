//! The registry of node processes.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{Actor, Store};
use crate::error::Result;

/// What a node says of itself when it starts.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Its name, for people.
    pub name: String,
    /// Where its API listens; `None` for a library.
    pub address: Option<String>,
}

/// NODE as documents show it.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct NodeRecord {
    /// Name.
    pub name: String,
    /// Address of its API.
    pub address: Option<String>,
    /// Program version.
    pub version: String,
    /// `live`, `draining` or `silent`.
    pub state: String,
    /// When its lease ends without another heartbeat.
    pub lease_expires_at: DateTime<Utc>,
    /// Live sessions it was the last to count activity of, as counted some seconds ago: every one is looked at, so it is done
    /// once for all who ask.
    pub sessions: i64,
    /// Transactions open through it.
    pub in_flight: i64,
    /// Seconds since its sweeper last had nothing left to do.
    pub sweep_late_seconds: f64,
}

/// How many live sessions each node was the last to count activity of.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// The instant they were counted at.
    pub at: DateTime<Utc>,
    /// By name of node; those that hold none are not named.
    pub sessions: HashMap<String, i64>,
}

impl Store {
    /// Registers this process under a new id, durably.
    pub async fn register_node(&self, registration: &Registration) -> Result<Uuid> {
        self.register(registration, None, false).await
    }

    /// Registers this process once more, after its row was fenced. An order to drain goes on: as the fenced row has it, which
    /// knows of orders that no poll brought any more, else, when that is gone, as the process has heard it.
    pub async fn register_node_anew(&self, registration: &Registration, fenced: Uuid, ordered: bool) -> Result<Uuid> {
        self.register(registration, Some(fenced), ordered).await
    }

    async fn register(&self, registration: &Registration, fenced: Option<Uuid>, ordered: bool) -> Result<Uuid> {
        let mut transaction = self.pool.begin().await?;
        if fenced.is_some() {
            // An order that is given at this moment comes wholly before, and is carried over, or after, and finds the new row.
            sqlx::query!("/* node_register_lock */ select pg_advisory_xact_lock(hashtextextended('tenure.drain_node', 0))")
                .execute(&mut *transaction)
                .await?;
        }
        let id = sqlx::query_scalar!(
            "/* node_register */
            insert into tenure.nodes (id, name, address, version, started_at, beat_at, swept_at, applied, draining)
            select tenure.uuid_v7(n.at), $1, $2, $3, n.at, n.at, n.at, pg_current_snapshot(),
                   coalesce((select f.draining from tenure.nodes f where f.id = $4), $5)
              from (select tenure.now() as at offset 0) n
            returning id",
            registration.name,
            registration.address,
            env!("CARGO_PKG_VERSION"),
            fenced,
            ordered
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(id)
    }

    /// Orders every process of this name to drain, or takes the order back. Draining the last live node wants `force`.
    pub async fn drain_node(&self, name: &str, draining: bool, force: bool, actor: Actor<'_>) -> Result<()> {
        sqlx::query!(
            r#"/* node_drain */
            with context as materialized (select tenure.act_as($4, $5, $3) as set)
            select tenure.drain_node($1, $2) as "processes!" from context where set"#,
            name,
            draining,
            force,
            actor.0,
            self.node
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(())
    }

    /// Ends the sessions of users that a lock-out under an older snapshot could not see (U4).
    pub async fn end_outdated(&self, users: &[i64]) -> Result<i64> {
        Ok(sqlx::query_scalar!(
            r#"/* user_end_outdated */
            with context as materialized (select tenure.act_as('tenure', $2) as set)
            select tenure.end_outdated($1) as "ended!" from context where set"#,
            users,
            self.node
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// Removes this process from the registry, its transactions with it.
    pub async fn unregister_node(&self, node: Uuid) -> Result<()> {
        sqlx::query!(
            "/* node_unregister */
            with lapsed as (delete from tenure.transactions where node_id = $1)
            delete from tenure.nodes where id = $1",
            node
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Fences nodes whose beat an observer saw standing still.
    pub async fn fence_nodes(&self, still: &[(Uuid, i64)]) -> Result<u64> {
        let (ids, beats): (Vec<Uuid>, Vec<i64>) = still.iter().copied().unzip();
        Ok(sqlx::query!(
            "/* node_fence */
            update tenure.nodes n set fenced = true
              from unnest($1::uuid[], $2::bigint[]) as s (id, beat)
             where n.id = s.id and n.beat = s.beat and not n.fenced",
            &ids,
            &beats
        )
        .execute(&self.pool)
        .await?
        .rows_affected())
    }

    /// Id and beat of every node that counts, for an observer.
    pub async fn beats(&self) -> Result<Vec<(Uuid, i64)>> {
        Ok(sqlx::query!("/* node_beats */ select id, beat from tenure.nodes where not fenced")
            .fetch_all(&self.pool)
            .await?
            .into_iter()
            .map(|row| (row.id, row.beat))
            .collect())
    }

    /// Names of the nodes a barrier waits for.
    pub async fn registered_nodes(&self) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar!("/* node_names */ select name from tenure.nodes where not fenced order by name, id")
            .fetch_all(&self.pool)
            .await?)
    }

    /// How many changes of the log each node has yet to apply, by its name; counted to 1,000. One that beats has some for
    /// milliseconds at most.
    pub async fn nodes_behind(&self) -> Result<Vec<(String, i64)>> {
        Ok(sqlx::query!(
            r#"/* node_behind */
            select n.name, (select count(*) from (select from tenure.invalidations i
                                                   where not pg_visible_in_snapshot(i.xid, n.applied) limit 1000) l) as "changes!"
              from tenure.nodes n
             order by n.name, n.id"#
        )
        .fetch_all(&self.pool)
        .await?
        .into_iter()
        .map(|row| (row.name, row.changes))
        .collect())
    }

    /// Counts what each node holds, which looks at every live session.
    pub async fn held(&self) -> Result<Held> {
        let rows = sqlx::query!(
            r#"/* node_held */
            select n.at as "at!", v.node, count(v.id) as "sessions!"
              from (select tenure.now() as at offset 0) n
              left join tenure.live v on v.node is not null
             group by n.at, v.node"#
        )
        .fetch_all(&self.pool)
        .await?;
        let at = rows.first().map(|row| row.at).unwrap_or_default();
        Ok(Held { at, sessions: rows.into_iter().filter_map(|row| Some((row.node?, row.sessions))).collect() })
    }

    /// Every node, with what was counted to be held.
    pub async fn nodes(&self, held: &Held) -> Result<Vec<NodeRecord>> {
        let (names, sessions): (Vec<String>, Vec<i64>) = held.sessions.iter().map(|(name, count)| (name.clone(), *count)).unzip();
        Ok(sqlx::query_as!(
            NodeRecord,
            r#"/* node_list */
            select n.name, n.address, n.version, tenure.node_state(n) as "state!",
                   n.beat_at + tenure.lease_interval() as "lease_expires_at!",
                   coalesce(h.sessions, 0) as "sessions!",
                   (select count(*) from tenure.open_transactions t where t.node_id = n.id) as "in_flight!",
                   greatest(0, extract(epoch from tenure.now() - n.swept_at))::double precision as "sweep_late_seconds!"
              from tenure.nodes n
              left join unnest($1::text[], $2::bigint[]) as h (node, sessions) on h.node = n.name
             order by n.name, n.id"#,
            &names,
            &sessions
        )
        .fetch_all(&self.pool)
        .await?)
    }
}
