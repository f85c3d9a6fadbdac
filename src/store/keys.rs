//! API keys: made, looked up by digest, listed, revoked; when they were used.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::rows::word;
use super::{Actor, Store};
use crate::error::{Error, Result};
use crate::session::{ApiKey, Role, TokenHash};

/// A key without its secret.
#[derive(Debug, Clone, Serialize)]
pub struct KeyRecord {
    /// Public id.
    pub id: Uuid,
    /// Name: the actor of what it does.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when it is void; `None` is never.
    pub expires_at: Option<DateTime<Utc>>,
    /// When a node last noted its use, once a minute at most; `None` is never.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A key as the table holds it.
struct KeyRow {
    id: Uuid,
    name: String,
    role: String,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl TryFrom<KeyRow> for KeyRecord {
    type Error = Error;

    fn try_from(row: KeyRow) -> Result<Self> {
        Ok(Self {
            id: row.id,
            name: row.name,
            role: word("role", row.role)?,
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
        })
    }
}

impl Store {
    /// Makes a key that does not expire; the text is returned once and kept nowhere.
    pub async fn create_key(&self, name: &str, role: Role, actor: Actor<'_>) -> Result<(KeyRecord, ApiKey)> {
        self.create_key_for(name, role, None, actor).await
    }

    /// Makes a key that is good for so many days, or does not expire.
    pub async fn create_key_for(
        &self,
        name: &str,
        role: Role,
        days: Option<i32>,
        actor: Actor<'_>,
    ) -> Result<(KeyRecord, ApiKey)> {
        let key = ApiKey::new();
        let hash = ApiKey::parse(key.reveal());
        let row = sqlx::query_as!(
            KeyRow,
            "/* key_create */
            with context as materialized (select tenure.act_as($4, $5) as set)
            insert into tenure.api_keys (name, role, key_hash, created_at, expires_at)
            select $1, $2, $3, at.now, at.now + make_interval(hours => 24 * $6::int)
              from context cross join (select tenure.now() as now offset 0) at
             where set
            returning id, name, role, created_at, expires_at, last_used_at",
            name,
            role.as_str(),
            hash.as_ref().map(|hash| hash.as_bytes().as_slice()),
            actor.0,
            self.node,
            days
        )
        .fetch_one(&self.pool)
        .await?;
        Ok((row.try_into()?, key))
    }

    /// The key of a digest; `None` when there is none, or it has expired.
    pub async fn key(&self, hash: &TokenHash) -> Result<Option<KeyRecord>> {
        sqlx::query_as!(
            KeyRow,
            "/* key_read */
            select id, name, role, created_at, expires_at, last_used_at
              from tenure.api_keys
             where key_hash = $1 and (expires_at is null or expires_at > tenure.now())",
            hash.as_bytes().as_slice()
        )
        .fetch_optional(&self.pool)
        .await?
        .map(KeyRecord::try_from)
        .transpose()
    }

    /// Every key, expired ones included, oldest first.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>> {
        sqlx::query_as!(
            KeyRow,
            "/* key_list */
            select id, name, role, created_at, expires_at, last_used_at from tenure.api_keys order by id"
        )
        .fetch_all(&self.pool)
        .await?
        .into_iter()
        .map(KeyRecord::try_from)
        .collect()
    }

    /// Notes that these keys were used, unless another node did within the last minute.
    pub async fn note_key_use(&self, keys: &[Uuid]) -> Result<()> {
        sqlx::query!(
            "/* key_use */
            with used as (
                select k.id from tenure.api_keys k
                 where k.id = any($1) and (k.last_used_at is null or k.last_used_at <= tenure.now() - interval '55 seconds')
                 order by k.id
                   for no key update skip locked)
            update tenure.api_keys k set last_used_at = tenure.now() from used u where u.id = k.id",
            keys
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Revokes a key by name or id; `false` when there is none.
    pub async fn revoke_key(&self, name_or_id: &str, actor: Actor<'_>) -> Result<bool> {
        Ok(sqlx::query!(
            "/* key_revoke */
            with context as materialized (select tenure.act_as($2, $3) as set)
            delete from tenure.api_keys k using context where context.set and (k.name = $1 or k.id::text = $1)",
            name_or_id,
            actor.0,
            self.node
        )
        .execute(&self.pool)
        .await?
        .rows_affected()
            > 0)
    }
}
