//! API keys: made, looked up by digest, revoked.

use serde::Serialize;
use uuid::Uuid;

use super::rows::word;
use super::{Actor, Store};
use crate::error::Result;
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
}

impl Store {
    /// Makes a key; the text is returned once and kept nowhere.
    pub async fn create_key(&self, name: &str, role: Role, actor: Actor<'_>) -> Result<(KeyRecord, ApiKey)> {
        let key = ApiKey::new();
        let hash = ApiKey::parse(key.reveal());
        let id = sqlx::query_scalar!(
            "/* key_create */
            with context as materialized (select tenure.act_as($4, $5) as set)
            insert into tenure.api_keys (name, role, key_hash) select $1, $2, $3 from context where set
            returning id",
            name,
            role.as_str(),
            hash.as_ref().map(|hash| hash.as_bytes().as_slice()),
            actor.0,
            self.node
        )
        .fetch_one(&self.pool)
        .await?;
        Ok((KeyRecord { id, name: name.to_owned(), role }, key))
    }

    /// The key of a digest; `None` when there is none.
    pub async fn key(&self, hash: &TokenHash) -> Result<Option<KeyRecord>> {
        let row = sqlx::query!(
            "/* key_read */ select id, name, role from tenure.api_keys where key_hash = $1",
            hash.as_bytes().as_slice()
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| Ok(KeyRecord { id: row.id, name: row.name, role: word("role", row.role)? })).transpose()
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
