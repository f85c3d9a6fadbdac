//! Many sessions ended together (X3): what a filter means now, and the batches in which it is done.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row;
use uuid::Uuid;

use super::error::retrying;
use super::list::Bulk;
use super::rehearse::{Expect, PlaceForecast};
use super::{Actor, Store};
use crate::error::{Error, Result};
use crate::session::Kind;

/// Why sessions end together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BulkReason {
    /// By decision.
    #[default]
    Terminated,
    /// Before maintenance.
    Maintenance,
}

impl BulkReason {
    /// The reason as the ended sessions show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Terminated => "terminated",
            Self::Maintenance => "maintenance",
        }
    }
}

/// An order to end sessions together.
#[derive(Debug, Clone, Default)]
pub struct BulkOrder {
    /// Which.
    pub bulk: Bulk,
    /// Why.
    pub reason: BulkReason,
    /// How many, as the preview said.
    pub expect: Option<i64>,
    /// Whether it is meant that no condition narrows it.
    pub all: bool,
}

/// One session that would end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct BulkExample {
    /// Session id.
    pub id: Uuid,
    /// Its kind.
    pub kind: Kind,
    /// Its user; null for guests.
    pub user: Option<String>,
    /// The node it was last used on.
    pub node: Option<String>,
    /// Its activity anchor.
    pub last_activity_at: DateTime<Utc>,
    /// Its deadline as it is.
    pub expires_at: DateTime<Utc>,
}

/// What ending sessions together would do.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct BulkForecast {
    /// Live sessions that end.
    pub ends_now: i64,
    /// Users who lose a session.
    pub users: i64,
    /// The sessions by kind and node.
    pub sessions: Vec<PlaceForecast>,
    /// The newest of them, at most five.
    pub examples: Vec<BulkExample>,
    /// Sent with the order it ends just so many, or none.
    pub guard: Expect,
}

impl Store {
    /// What ending these sessions would do.
    pub async fn rehearse_bulk(&self, bulk: &Bulk) -> Result<BulkForecast> {
        let mut transaction = self.begin_rehearsal().await?;
        let places = bulk
            .statement("/* bulk_rehearsal */ select f.kind, f.node, count(*), count(distinct f.user_id), grouping(f.kind)", None)
            .push(" group by grouping sets ((f.kind, f.node), ()) order by f.kind, f.node")
            .build()
            .fetch_all(&mut *transaction)
            .await?;
        let rows = bulk
            .statement("/* bulk_examples */ select f.id, f.kind, f.user_name, f.node, f.anchor_at, f.expires_at", None)
            .push(" order by f.id desc limit 5")
            .build()
            .fetch_all(&mut *transaction)
            .await?;
        transaction.rollback().await?;

        let kind = |row: &sqlx::postgres::PgRow, place: usize| -> Result<Kind> {
            row.try_get::<&str, _>(place)?.parse().map_err(Error::failed)
        };
        let (mut ends_now, mut users, mut sessions) = (0, 0, Vec::new());
        for row in &places {
            if row.try_get::<i32, _>(4)? == 1 {
                (ends_now, users) = (row.try_get(2)?, row.try_get(3)?);
            } else {
                sessions.push(PlaceForecast { kind: kind(row, 0)?, node: row.try_get(1)?, sessions: row.try_get(2)? });
            }
        }
        let example = |row: &sqlx::postgres::PgRow| -> Result<BulkExample> {
            Ok(BulkExample {
                id: row.try_get(0)?,
                kind: kind(row, 1)?,
                user: row.try_get(2)?,
                node: row.try_get(3)?,
                last_activity_at: row.try_get(4)?,
                expires_at: row.try_get(5)?,
            })
        };
        Ok(BulkForecast {
            ends_now,
            users,
            sessions,
            examples: rows.iter().map(example).collect::<Result<_>>()?,
            guard: Expect { expect: Some(ends_now), expect_basis: None },
        })
    }

    /// The ids of these sessions, in order: 16 bytes each.
    pub async fn bulk_ids(&self, bulk: &Bulk) -> Result<Vec<Uuid>> {
        let mut transaction = self.begin_rehearsal().await?;
        let ids = bulk
            .statement("/* bulk_ids */ select f.id", None)
            .push(" order by f.id")
            .build_query_scalar()
            .fetch_all(&mut *transaction)
            .await?;
        transaction.rollback().await?;
        Ok(ids)
    }

    /// How many sessions these are, counted no further than `most`.
    pub async fn bulk_count(&self, bulk: &Bulk, most: i64) -> Result<i64> {
        let mut query = bulk.statement("/* bulk_count */ select count(*) from (select f.id", None);
        Ok(query.push(" limit ").push_bind(most).push(") counted").build_query_scalar().fetch_one(&self.pool).await?)
    }

    /// How many of these ids were never given to a session, or to none that is retained.
    pub async fn unknown_ids(&self, ids: &[Uuid]) -> Result<i64> {
        Ok(sqlx::query_scalar!(
            r#"/* bulk_unknown */
            select count(*) as "unknown!" from unnest($1::uuid[]) as i (id)
             where not exists (select from tenure.sessions s where s.id = i.id)
               and not exists (select from tenure.ended_sessions e where e.id = i.id)"#,
            ids
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// Ends those of `ids` that are still meant, in one transaction; `expect` refuses another number of them. How many ended.
    pub async fn terminate_batch(
        &self,
        bulk: &Bulk,
        ids: &[Uuid],
        reason: BulkReason,
        expect: &Expect,
        actor: Actor<'_>,
    ) -> Result<i64> {
        retrying(|| self.try_terminate_batch(bulk, ids, reason, expect, actor)).await
    }

    async fn try_terminate_batch(
        &self,
        bulk: &Bulk,
        ids: &[Uuid],
        reason: BulkReason,
        expect: &Expect,
        actor: Actor<'_>,
    ) -> Result<i64> {
        let mut transaction = self.begin_guarded(actor, false, expect).await?;
        // Locked first: what is asked of the filter afterwards stays true until the commit.
        sqlx::query!("/* bulk_lock */ select from tenure.sessions s where s.id = any ($1) order by s.id for update", ids)
            .execute(&mut *transaction)
            .await?;
        let meant: Vec<Uuid> =
            bulk.statement("/* bulk_meant */ select f.id", Some(ids)).build_query_scalar().fetch_all(&mut *transaction).await?;
        let ended = sqlx::query_scalar!(
            r#"/* bulk_terminate */ select tenure.terminate_many($1, $2) as "ended!""#,
            &meant,
            reason.as_str()
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(ended)
    }
}
