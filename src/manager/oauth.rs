//! Client applications of mobile sessions, and their tokens (M1, M5).

use serde::Serialize;

use super::Manager;
use crate::error::{Error, Result};
use crate::session::{ClientSecret, Presented};
use crate::store::{Actor, Client, Entity, EntityPut, Introspected, Redeemed, Revision, TokenGrant};

/// A client application as it is now.
#[derive(Debug)]
pub struct ChangedEntity {
    /// The application.
    pub entity: Entity,
    /// Its secret, when it got one; shown once.
    pub secret: Option<ClientSecret>,
    /// Whether it is new.
    pub created: bool,
}

/// ENTITY with the secret it got, if it got one.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct EntityView {
    /// The application.
    #[serde(flatten)]
    pub entity: Entity,
    /// Shown once; left out when it got none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
}

impl From<ChangedEntity> for EntityView {
    fn from(changed: ChangedEntity) -> Self {
        Self { entity: changed.entity, client_secret: changed.secret.map(|secret| secret.reveal().to_owned()) }
    }
}

/// The tokens of a grant as documents show them (RFC 6749).
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Tokens {
    /// Shown once.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// How long the access token is good, seconds.
    pub expires_in: i32,
    /// Shown once; one that was redeemed is used up.
    pub refresh_token: String,
}

impl From<TokenGrant> for Tokens {
    fn from(grant: TokenGrant) -> Self {
        Self {
            access_token: grant.access.reveal().to_owned(),
            token_type: "Bearer",
            expires_in: grant.expires_in,
            refresh_token: grant.refresh.reveal().to_owned(),
        }
    }
}

fn unknown_entity() -> Error {
    Error::refused(404, "unknown_oauth_entity", "There is no OAuth entity of this name.", "Create it, or check the spelling.")
}

fn entity_exists() -> Error {
    Error::refused(
        409,
        "oauth_entity_exists",
        "There is an OAuth entity of this name already.",
        "Choose another name, or change that one.",
    )
}

impl Manager {
    /// A client application; refused when unknown.
    pub async fn entity(&self, name: &str) -> Result<Entity> {
        self.store.entity(name).await?.ok_or_else(unknown_entity)
    }

    /// Creates or changes a client application. Live sessions keep window and lifespans of their sign-in (P5).
    pub async fn put_entity(&self, name: &str, put: &EntityPut, actor: Actor<'_>) -> Result<ChangedEntity> {
        let (created, secret) = self.store.put_entity(name, put, actor).await?;
        Ok(ChangedEntity { entity: self.entity(name).await?, secret, created })
    }

    /// Creates a client application; refused when there is one of this name.
    pub async fn create_entity(&self, name: &str, put: &EntityPut, actor: Actor<'_>) -> Result<ChangedEntity> {
        let (created, secret) = self.store.create_entity(name, put, actor).await?.ok_or_else(entity_exists)?;
        Ok(ChangedEntity { entity: self.entity(name).await?, secret, created })
    }

    /// Changes a client application; refused when it is another one than was seen, and when unknown.
    pub async fn change_entity(&self, name: &str, put: &EntityPut, seen: Revision, actor: Actor<'_>) -> Result<ChangedEntity> {
        let (created, secret) = self.store.change_entity(name, put, seen, actor).await?.ok_or_else(unknown_entity)?;
        Ok(ChangedEntity { entity: self.entity(name).await?, secret, created })
    }

    /// Deletes a client application without live sessions; refused when unknown, and when it is another one than was seen.
    pub async fn delete_entity(&self, name: &str, seen: Option<Revision>, actor: Actor<'_>) -> Result<Entity> {
        let entity = self.entity(name).await?;
        if self.store.delete_entity(name, seen, actor).await? { Ok(entity) } else { Err(unknown_entity()) }
    }

    /// The client application that proved who it is: a public one by its id, any other by its secret.
    pub async fn client(&self, client_id: &str, secret: Option<&str>) -> Result<Option<Client>> {
        let client = self.store.client(client_id).await?;
        Ok(client.filter(|client| match secret {
            Some(secret) => client.has_secret(secret),
            None => client.is_public(),
        }))
    }

    /// Redeems a refresh token (M5). It is no activity: the session's deadline stays.
    pub async fn redeem(&self, client: &Client, token: &str) -> Result<Redeemed> {
        let Some(token) = Presented::parse(token) else { return Ok(Redeemed::Unknown) };
        self.store.redeem(&token, client.id, Actor(&client.name)).await
    }

    /// Revokes a token of a client application (RFC 7009); with a refresh token its session signs out, and no node accepts it
    /// any more when this returns.
    pub async fn revoke_token(&self, client: &Client, token: &str) -> Result<()> {
        let Some(token) = Presented::parse(token) else { return Ok(()) };
        // Nothing is forgotten here: mobile sessions are not remembered, and anybody may present anything.
        if self.store.revoke_token(&token, client.id, Actor(&client.name)).await? {
            self.barrier().await;
        }
        Ok(())
    }

    /// What a good token stands for (RFC 7662); `None` for any other. It is no activity.
    pub async fn introspect(&self, token: &str) -> Result<Option<Introspected>> {
        match Presented::parse(token) {
            Some(token) => self.store.introspect(&token).await,
            None => Ok(None),
        }
    }
}
