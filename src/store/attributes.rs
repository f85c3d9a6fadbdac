//! The app's payload of a session: compare-and-set by version, never read on the check path.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::Store;
use crate::error::{Error, Result};

/// The payload and its version.
#[derive(Debug, Clone)]
pub struct Attributes {
    /// The JSON object.
    pub attributes: Map<String, Value>,
    /// Grows with every change.
    pub version: i64,
}

/// How to change the payload.
#[derive(Debug, Clone)]
pub enum AttributeChange {
    /// Replace it.
    Replace(Map<String, Value>),
    /// Set the keys given; null removes a key (RFC 7396, one level).
    Merge(Map<String, Value>),
}

impl Store {
    /// The payload of a live session; `None` when the session is over or unknown.
    pub async fn attributes(&self, id: Uuid) -> Result<Option<Attributes>> {
        let row = sqlx::query!(
            "/* attributes_read */ select a.attributes, a.version from tenure.session_attributes a where a.session_id = $1",
            id
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| Ok(Attributes { attributes: object(row.attributes)?, version: row.version })).transpose()
    }

    /// Changes the payload of a live session; with `if_version` only while it still has one of these versions, else 412.
    /// `None` when the session is over or unknown.
    pub async fn change_attributes(
        &self,
        id: Uuid,
        change: &AttributeChange,
        if_version: Option<&[i64]>,
    ) -> Result<Option<Attributes>> {
        let (replace, patch) = match change {
            AttributeChange::Replace(map) => (true, map),
            AttributeChange::Merge(map) => (false, map),
        };
        let set: Map<String, Value> =
            patch.iter().filter(|(_, value)| replace || !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
        let removed: Vec<String> =
            patch.iter().filter(|(_, value)| !replace && value.is_null()).map(|(key, _)| key.clone()).collect();

        let mut transaction = self.pool.begin().await?;
        let row = sqlx::query!(
            "/* attributes_lock */
            select a.attributes, a.version from tenure.session_attributes a where a.session_id = $1 for update",
            id
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = row else { return Ok(None) };
        if if_version.is_some_and(|versions| !versions.contains(&row.version)) {
            return Err(Error::refused(
                412,
                "version_mismatch",
                "The attributes have changed since they were read.",
                "Read them again and repeat the change with the new ETag.",
            ));
        }
        let mut attributes = if replace { Map::new() } else { object(row.attributes)? };
        attributes.retain(|key, _| !removed.contains(key));
        attributes.extend(set);
        crate::input::attributes(&attributes)?;
        let version = sqlx::query_scalar!(
            "/* attributes_write */
            update tenure.session_attributes set attributes = $2, version = version + 1 where session_id = $1 returning version",
            id,
            Value::Object(attributes.clone())
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Some(Attributes { attributes, version }))
    }
}

fn object(value: Value) -> Result<Map<String, Value>> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(Error::failed("session attributes are not an object")),
    }
}
