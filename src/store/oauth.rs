//! OAuth tokens of mobile sessions (M5): redeemed, introspected, revoked. The rules are in `migrations/V10__mobile.sql`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::retrying;
use super::{Actor, Store};
use crate::error::{Error, Result};
use crate::session::{EndReason, Presented, SessionToken, TokenForm, TokenParts};

/// Tokens for a client, shown once.
#[derive(Debug)]
pub struct TokenGrant {
    /// The access token.
    pub access: SessionToken,
    /// The refresh token.
    pub refresh: SessionToken,
    /// How long the access token is good, seconds.
    pub expires_in: i32,
}

/// What became of a refresh token.
#[derive(Debug)]
pub enum Redeemed {
    /// Its successor, and an access token.
    Granted(TokenGrant),
    /// It was used before: session and tokens are over now.
    Reused,
    /// It expired unused; the session lives.
    Expired,
    /// Its session is over.
    Ended(EndReason),
    /// None of this client's.
    Unknown,
}

/// What a token stands for, while it is good.
#[derive(Debug)]
pub struct Introspected {
    /// The session.
    pub session_id: Uuid,
    /// Whether it is an access token; a refresh token otherwise.
    pub is_access: bool,
    /// Whose session it is.
    pub user: String,
    /// The client application's id.
    pub client_id: String,
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// When it stops being good: its own end, or that of its session without further activity.
    pub expires_at: DateTime<Utc>,
}

impl Store {
    /// Redeems a refresh token of a client application.
    pub async fn redeem(&self, token: &Presented, entity_id: i64, actor: Actor<'_>) -> Result<Redeemed> {
        if token.form != TokenForm::Refresh {
            return Ok(Redeemed::Unknown);
        }
        let (access, refresh) = (TokenParts::of(TokenForm::Access), TokenParts::of(TokenForm::Refresh));
        let (access_hash, refresh_hash) = (access.hash(), refresh.hash());
        let sealed = refresh.sealed_under(token).ok_or_else(|| Error::failed("a token could not be sealed"))?;
        let row = retrying(|| async {
            sqlx::query!(
                r#"/* oauth_token_redeem */
                with context as materialized (select tenure.act_as($1, $2) as set)
                select r.outcome as "outcome!", r.sealed, r.access_seconds
                  from context cross join lateral tenure.redeem_refresh_token($3, $4, $5, $6, $7, $8) r
                 where context.set"#,
                actor.0,
                self.node,
                token.id,
                token.hash.as_bytes(),
                entity_id,
                refresh_hash.as_bytes(),
                sealed,
                access_hash.as_bytes()
            )
            .fetch_one(&self.pool)
            .await
        })
        .await?;
        let refresh = match &*row.outcome {
            "issued" => refresh,
            "repeated" => row
                .sealed
                .and_then(|sealed| token.open(&sealed, TokenForm::Refresh))
                .ok_or_else(|| Error::failed("a sealed successor could not be opened"))?,
            "reused" => return Ok(Redeemed::Reused),
            "expired" => return Ok(Redeemed::Expired),
            _ => {
                let ended = self.ended_row(token.id).await?.filter(|row| row.is_held_by(&token.hash));
                return Ok(ended.map(|row| row.reason()).transpose()?.map_or(Redeemed::Unknown, Redeemed::Ended));
            }
        };
        Ok(Redeemed::Granted(TokenGrant {
            access: access.for_session(token.id),
            refresh: refresh.for_session(token.id),
            expires_in: row.access_seconds.unwrap_or_default(),
        }))
    }

    /// Revokes a token of a client application: an access token alone, or with a refresh token the whole session. `true` when
    /// a session ended.
    pub async fn revoke_token(&self, token: &Presented, entity_id: i64, actor: Actor<'_>) -> Result<bool> {
        let revoked = retrying(|| async {
            sqlx::query_scalar!(
                r#"/* oauth_token_revoke */
                with context as materialized (select tenure.act_as($1, $2) as set)
                select tenure.revoke_token($3, $4, $5) as "type" from context where set"#,
                actor.0,
                self.node,
                token.id,
                token.hash.as_bytes(),
                entity_id
            )
            .fetch_one(&self.pool)
            .await
        })
        .await?;
        Ok(revoked.as_deref() == Some("refresh"))
    }

    /// What a good token of a live session stands for; `None` for any other.
    pub async fn introspect(&self, token: &Presented) -> Result<Option<Introspected>> {
        let row = sqlx::query!(
            r#"/* oauth_token_introspect */
            select t.type = 'access' as "is_access!", v.user_name as "user!", o.client_id, t.issued_at, least(t.expires_at, v.expires_at) as "expires_at!"
              from tenure.oauth_tokens t
              join tenure.live v           on v.id = t.session_id
              join tenure.oauth_entities o on o.id = v.oauth_entity_id
             where t.session_id = $1
               and t.token_hash = $2
               and t.used_at is null
               and t.expires_at > (select tenure.now())"#,
            token.id,
            token.hash.as_bytes()
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| Introspected {
            session_id: token.id,
            is_access: row.is_access,
            user: row.user,
            client_id: row.client_id,
            issued_at: row.issued_at,
            expires_at: row.expires_at,
        }))
    }

    /// The lifespan of the access tokens of a mobile session, frozen at sign-in, seconds; 0 when it is over already.
    pub(super) async fn access_lifespan(&self, id: Uuid) -> Result<i32> {
        let seconds = sqlx::query_scalar!(
            "/* oauth_lifespan_read */
            select t.access_seconds from tenure.oauth_tokens t where t.session_id = $1 and t.type = 'refresh' limit 1",
            id
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(seconds.flatten().unwrap_or_default())
    }

    /// Whether an access token has not expired; `None` when the session has no such token.
    pub(super) async fn access_token_lives(&self, token: &Presented) -> Result<Option<bool>> {
        Ok(sqlx::query_scalar!(
            r#"/* oauth_token_read */
            select t.expires_at > (select tenure.now()) as "lives!"
              from tenure.oauth_tokens t
             where t.session_id = $1 and t.token_hash = $2 and t.type = 'access'"#,
            token.id,
            token.hash.as_bytes()
        )
        .fetch_optional(&self.pool)
        .await?)
    }
}
