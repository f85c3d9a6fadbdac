//! Client applications.

use super::{invalid, whole};
use crate::error::Result;
use crate::store::EntityPut;

/// An OAuth entity as JSON gives it. What is left out stays, or takes its default in a new one.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EntityInput {
    /// Must be the name in the path, when given.
    pub name: Option<String>,
    /// 1 to 255 letters, digits and `.` `_` `~` `-`; made of the name when a new one has none.
    pub client_id: Option<String>,
    /// Whether it has no secret; by default true.
    pub public: Option<bool>,
    /// Seconds, 1 to 315360000; by default 1800.
    #[serde(default, deserialize_with = "whole")]
    pub access_token_lifespan: Option<i64>,
    /// Seconds, 1 to 315360000; by default 8640000.
    #[serde(default, deserialize_with = "whole")]
    pub refresh_token_lifespan: Option<i64>,
    /// Replace the secret of a confidential one; the old one is void at once.
    pub new_client_secret: Option<bool>,
}

impl EntityInput {
    /// Checks every field; `path_name` is the entity the path names (M1).
    pub fn validate(self, path_name: &str) -> Result<EntityPut> {
        if self.name.as_deref().is_some_and(|name| name != path_name) {
            return Err(invalid("name", "it is not the name in the path.", "Names do not change; leave it out."));
        }
        let id_made_of_name = path_name.contains(|c: char| c.is_ascii_alphanumeric());
        let fits = |id: &str| {
            (1..=255).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '-'))
        };
        match &self.client_id {
            Some(id) if !fits(id) => {
                return Err(invalid(
                    "client_id",
                    "it has 1 to 255 letters, digits, dots, dashes, underscores and tildes.",
                    "Choose such an id.",
                ));
            }
            None if !id_made_of_name => {
                return Err(invalid("client_id", "none can be made of this name.", "Give one."));
            }
            _ => {}
        }
        Ok(EntityPut {
            client_id: self.client_id,
            public: self.public,
            access_token_lifespan: self.access_token_lifespan.map(|s| lifespan("access_token_lifespan", s)).transpose()?,
            refresh_token_lifespan: self.refresh_token_lifespan.map(|s| lifespan("refresh_token_lifespan", s)).transpose()?,
            new_secret: self.new_client_secret.unwrap_or(false),
        })
    }
}

fn lifespan(field: &str, seconds: i64) -> Result<i32> {
    i32::try_from(seconds).ok().filter(|seconds| (1..=315_360_000).contains(seconds)).ok_or_else(|| {
        invalid(field, format!("{seconds} is not 1 to 315360000 seconds."), "Choose a number of seconds within ten years.")
    })
}

/// The name of a client application: 1 to 128 characters, none of them a control character.
pub fn entity_name(name: &str) -> Result<String> {
    let count = name.chars().take(129).count();
    if count == 0 || count > 128 || name.chars().any(char::is_control) || name.trim() != name {
        return Err(invalid(
            "oauth_entity",
            "a name has 1 to 128 characters, no control characters and no space around it.",
            "Correct the name.",
        ));
    }
    Ok(name.to_owned())
}
