//! OAuth entities: the client applications of mobile sessions (M1).

use serde::Serialize;

use super::list::Page;
use super::revision::{Revision, changed_since};
use super::{Actor, Store};
use crate::error::{Error, Result};
use crate::session::{ClientSecret, TokenHash};

/// ENTITY as documents show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Entity {
    /// Name of the application.
    pub name: String,
    /// OAuth client id.
    pub client_id: String,
    /// Whether it has no secret: an app that users install cannot keep one.
    pub public: bool,
    /// Seconds.
    pub access_token_lifespan: i32,
    /// Seconds.
    pub refresh_token_lifespan: i32,
}

/// What a client application is to be; what is `None` stays, or takes its default in a new one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntityPut {
    /// OAuth client id; a new entity without one gets the id that its name makes.
    pub client_id: Option<String>,
    /// Whether it has no secret; by default true.
    pub public: Option<bool>,
    /// Seconds; by default 1800.
    pub access_token_lifespan: Option<i32>,
    /// Seconds; by default 8640000.
    pub refresh_token_lifespan: Option<i32>,
    /// Replace the secret of a confidential application.
    pub new_secret: bool,
}

/// A client application as the token endpoint knows it.
#[derive(Debug)]
pub struct Client {
    /// Key inside the store.
    pub id: i64,
    /// Name of the application.
    pub name: String,
    /// OAuth client id.
    pub client_id: String,
    secret_hash: Option<Vec<u8>>,
}

impl Client {
    /// Whether it has no secret.
    pub fn is_public(&self) -> bool {
        self.secret_hash.is_none()
    }

    /// Whether this is its secret; a public client has none.
    pub fn has_secret(&self, presented: &str) -> bool {
        self.secret_hash.as_ref().is_some_and(|hash| ClientSecret::hash(presented).matches(hash))
    }
}

impl Store {
    /// A page of client applications, newest first.
    pub async fn entities(&self, limit: i64, after: Option<i64>) -> Result<Page<Entity>> {
        let rows = sqlx::query!(
            r#"/* oauth_entity_list */
            select id, name, client_id, client_secret_hash is null as "public!", access_token_lifespan, refresh_token_lifespan
              from tenure.oauth_entities
             where id < coalesce($1, 9223372036854775807)
             order by id desc
             limit $2::bigint + 1"#,
            after,
            limit
        )
        .fetch_all(&self.pool)
        .await?;
        let limit = usize::try_from(limit).unwrap_or(1);
        let next = (rows.len() > limit).then(|| rows[limit - 1].id.to_string());
        let items = rows
            .into_iter()
            .take(limit)
            .map(|row| Entity {
                name: row.name,
                client_id: row.client_id,
                public: row.public,
                access_token_lifespan: row.access_token_lifespan,
                refresh_token_lifespan: row.refresh_token_lifespan,
            })
            .collect();
        Ok(Page { items, next })
    }

    /// A client application by name.
    pub async fn entity(&self, name: &str) -> Result<Option<Entity>> {
        Ok(sqlx::query_as!(
            Entity,
            r#"/* oauth_entity_read */
            select name, client_id, client_secret_hash is null as "public!", access_token_lifespan, refresh_token_lifespan
              from tenure.oauth_entities where name = $1"#,
            name
        )
        .fetch_optional(&self.pool)
        .await?)
    }

    /// The revision of a client application, for a change that rests on having seen it: read it first, and then the application,
    /// so that it is never newer than what is seen.
    pub async fn entity_revision(&self, name: &str) -> Result<Option<Revision>> {
        let found = sqlx::query_scalar!(
            r#"/* oauth_entity_revision */ select xmin::text::bigint as "revision!" from tenure.oauth_entities where name = $1"#,
            name
        );
        Ok(found.fetch_optional(&self.pool).await?.map(Revision))
    }

    /// How many live sessions a client application has, at most `most`; those that are over and not swept yet count.
    pub async fn entity_sessions(&self, name: &str, most: i64) -> Result<i64> {
        Ok(sqlx::query_scalar!(
            r#"/* oauth_entity_sessions */
            select count(*) as "sessions!"
              from (select from tenure.sessions s join tenure.oauth_entities e on e.id = s.oauth_entity_id
                     where e.name = $1 limit $2) counted"#,
            name,
            most
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// Creates or changes a client application; whether it is new, and its secret when it got one.
    pub async fn put_entity(&self, name: &str, put: &EntityPut, actor: Actor<'_>) -> Result<(bool, Option<ClientSecret>)> {
        let mut connection = self.pool.acquire().await?;
        let written = self.write_entity(&mut connection, name, put, false, actor).await?;
        written.ok_or_else(|| Error::failed("an OAuth entity was neither made nor changed"))
    }

    /// Creates a client application, and never changes one: as [`Store::put_entity`], or `None` when there is one of this name.
    pub async fn create_entity(
        &self,
        name: &str,
        put: &EntityPut,
        actor: Actor<'_>,
    ) -> Result<Option<(bool, Option<ClientSecret>)>> {
        let mut connection = self.pool.acquire().await?;
        self.write_entity(&mut connection, name, put, true, actor).await
    }

    /// Changes a client application, refused when it is another one than was seen: as [`Store::put_entity`], or `None` when there is
    /// none of this name.
    pub async fn change_entity(
        &self,
        name: &str,
        put: &EntityPut,
        seen: Revision,
        actor: Actor<'_>,
    ) -> Result<Option<(bool, Option<ClientSecret>)>> {
        let mut transaction = self.pool.begin().await?;
        if !is_as_seen(&mut transaction, name, seen).await? {
            return Ok(None);
        }
        let written = self.write_entity(&mut transaction, name, put, false, actor).await?;
        transaction.commit().await?;
        Ok(written)
    }

    /// `None` when it is to be new and is not.
    async fn write_entity(
        &self,
        connection: &mut sqlx::PgConnection,
        name: &str,
        put: &EntityPut,
        only_new: bool,
        actor: Actor<'_>,
    ) -> Result<Option<(bool, Option<ClientSecret>)>> {
        let secret = ClientSecret::new();
        let hash: TokenHash = ClientSecret::hash(secret.reveal());
        let row = sqlx::query!(
            r#"/* oauth_entity_put */
            with context as materialized (select tenure.act_as($8, $9) as set)
            insert into tenure.oauth_entities as e (name, client_id, client_secret_hash, access_token_lifespan, refresh_token_lifespan)
            select $1, coalesce($2, $3), case when coalesce($4, true) then null else $5::bytea end, coalesce($6, 1800), coalesce($7, 8640000)
              from context where context.set
            on conflict (name) do update
               set client_id          = coalesce($2, e.client_id),
                   client_secret_hash = case when coalesce($4, e.client_secret_hash is null) then null
                                             when e.client_secret_hash is null or $10 then $5 else e.client_secret_hash end,
                   access_token_lifespan  = coalesce($6, e.access_token_lifespan),
                   refresh_token_lifespan = coalesce($7, e.refresh_token_lifespan)
             where not $11
            returning xmax = 0 as "created!", client_secret_hash is not distinct from $5 as "has_new_secret!""#,
            name,
            put.client_id,
            client_id_of(name),
            put.public,
            hash.as_bytes().as_slice(),
            put.access_token_lifespan,
            put.refresh_token_lifespan,
            actor.0,
            self.node,
            put.new_secret,
            only_new
        )
        .fetch_optional(connection)
        .await?;
        Ok(row.map(|row| (row.created, row.has_new_secret.then_some(secret))))
    }

    /// Deletes a client application without live sessions; `false` when there is none of this name.
    pub async fn delete_entity(&self, name: &str, seen: Option<Revision>, actor: Actor<'_>) -> Result<bool> {
        let mut transaction = self.pool.begin().await?;
        if let Some(seen) = seen
            && !is_as_seen(&mut transaction, name, seen).await?
        {
            return Ok(false);
        }
        let deleted = sqlx::query!(
            "/* oauth_entity_delete */
            with context as materialized (select tenure.act_as($2, $3) as set)
            delete from tenure.oauth_entities e using context where context.set and e.name = $1",
            name,
            actor.0,
            self.node
        );
        let deleted = deleted.execute(&mut *transaction).await?.rows_affected() > 0;
        transaction.commit().await?;
        Ok(deleted)
    }

    /// The client application of an id, for the token endpoint.
    pub async fn client(&self, client_id: &str) -> Result<Option<Client>> {
        Ok(sqlx::query_as!(
            Client,
            "/* oauth_client_read */ select id, name, client_id, client_secret_hash as secret_hash from tenure.oauth_entities where client_id = $1",
            client_id
        )
        .fetch_optional(&self.pool)
        .await?)
    }
}

/// Locks a client application, so that it stays as it was found until the change is made, and refuses when it is another one than
/// was seen; `false` when there is none.
async fn is_as_seen(connection: &mut sqlx::PgConnection, name: &str, Revision(seen): Revision) -> Result<bool> {
    let current = sqlx::query_scalar!(
        r#"/* oauth_entity_seen */
        select xmin::text::bigint as "revision!" from tenure.oauth_entities where name = $1 for update"#,
        name
    );
    match current.fetch_optional(connection).await? {
        None => Ok(false),
        Some(current) if current != seen => Err(changed_since("The OAuth entity")),
        Some(_) => Ok(true),
    }
}

/// A client id made of a name: its letters and digits in lower case, anything else a dash.
fn client_id_of(name: &str) -> String {
    let id: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    id.trim_matches('-').to_owned()
}

/// The name of nobody's application.
pub(super) fn taken(constraint: &str) -> Option<Error> {
    match constraint {
        "oauth_entities_client_id_key" => {
            Some(Error::refused(409, "client_id_taken", "Another OAuth entity has this client id.", "Choose another client_id."))
        }
        "sessions_oauth_entity_id_fkey" => Some(Error::refused(
            409,
            "oauth_entity_has_sessions",
            "The OAuth entity still has live sessions.",
            "End them first: list sessions of kind mobile.",
        )),
        _ => None,
    }
}
