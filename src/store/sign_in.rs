//! Signing in: how every session but the residue of a sign-out begins. The rules are in `migrations/V13__admission.sql`.

use std::net::IpAddr;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::error::retrying;
use super::{Actor, Store, TokenGrant};
use crate::error::{Error, Result};
use crate::session::{Device, Kind, SessionToken, TokenForm, TokenHash, TokenParts};

/// A validated sign-in.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Kind.
    pub kind: Kind,
    /// User name, for kinds that have one.
    pub user: Option<String>,
    /// Remember Me; `None` takes the property's default.
    pub remember_me: Option<bool>,
    /// Device.
    pub device: Option<Device>,
    /// Client address.
    pub client_address: Option<IpAddr>,
    /// User agent, already cut.
    pub user_agent: Option<String>,
    /// Homepage refresh interval, minutes; `None` takes the user's.
    pub homepage_refresh_minutes: Option<i32>,
    /// Own idle limit, minutes.
    pub idle_limit_minutes: Option<i32>,
    /// The guest session this sign-in replaces, if its token was well-formed.
    pub guest: Option<(Uuid, TokenHash)>,
    /// Whether the guest's attributes move over.
    pub carry_attributes: bool,
    /// Client application, for kind mobile.
    pub oauth_entity: Option<String>,
    /// The app's payload.
    pub attributes: Map<String, Value>,
}

/// What makes a sign-in repeatable: digests only.
#[derive(Debug, Clone)]
pub struct Once {
    /// The API key that asks: each has idempotency keys of its own.
    pub api_key: Uuid,
    /// SHA-256 of the idempotency key.
    pub key: [u8; 32],
    /// SHA-256 of the request.
    pub request: [u8; 32],
}

/// What a sign-in did.
#[derive(Debug)]
pub enum SignIn {
    /// It started a session.
    Started(SignedIn),
    /// It was a repetition: its session has this token now, and no earlier one.
    Repeated(SignedIn),
    /// It was a repetition, and its session is over.
    Ended,
}

/// What a sign-in made: what its client gets to see once.
#[derive(Debug)]
pub struct SignedIn {
    /// The session.
    pub id: Uuid,
    /// Its token.
    pub token: SessionToken,
    /// Its first OAuth tokens, for kind mobile.
    pub grant: Option<TokenGrant>,
    /// How many other sessions of the user it ended to stay within their limit (X5).
    pub displaced: i64,
}

/// The secrets of a sign-in before the id of its session is known; only kind mobile uses the last two.
struct NewTokens {
    session: TokenParts,
    access: TokenParts,
    refresh: TokenParts,
}

impl NewTokens {
    fn new() -> Self {
        Self {
            session: TokenParts::new(),
            access: TokenParts::of(TokenForm::Access),
            refresh: TokenParts::of(TokenForm::Refresh),
        }
    }

    fn hashes(&self) -> (TokenHash, TokenHash, TokenHash) {
        (self.session.hash(), self.access.hash(), self.refresh.hash())
    }
}

impl Store {
    /// Starts a session (K1, K3, U1, U3, X5); one of kind mobile with its first OAuth tokens (M5).
    pub async fn create(&self, new: &NewSession, actor: Actor<'_>) -> Result<SignedIn> {
        match self.sign_in(new, None, actor).await? {
            SignIn::Started(signed_in) => Ok(signed_in),
            SignIn::Repeated(_) | SignIn::Ended => Err(Error::failed("a sign-in without a key was taken for a repetition")),
        }
    }

    /// Starts a session; with `once` one only for its idempotency key, however often it is asked, and refused when the key named
    /// another request.
    pub async fn sign_in(&self, new: &NewSession, once: Option<&Once>, actor: Actor<'_>) -> Result<SignIn> {
        let tokens = NewTokens::new();
        let (hash, access_hash, refresh_hash) = tokens.hashes();
        let attributes = Value::Object(new.attributes.clone());
        let row = retrying(|| async {
            sqlx::query!(
                r#"/* session_create */
                with context as materialized (select tenure.act_as($1, $2) as set)
                select s.session_id as "id!", s.repeated as "repeated!", s.live as "live!", s.displaced as "displaced!"
                  from context
                 cross join lateral tenure.sign_in_once($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) s
                 where context.set"#,
                actor.0,
                self.node,
                once.map(|once| once.api_key),
                once.map(|once| once.key.as_slice()),
                once.map(|once| once.request.as_slice()),
                new.kind.as_str(),
                new.user,
                hash.as_bytes(),
                new.remember_me,
                new.device.map(Device::as_str),
                new.homepage_refresh_minutes,
                new.idle_limit_minutes,
                new.guest.as_ref().map(|(id, _)| *id),
                new.guest.as_ref().map(|(_, hash)| hash.as_bytes().as_slice()),
                new.carry_attributes,
                new.client_address as _,
                new.user_agent,
                attributes,
                new.oauth_entity,
                refresh_hash.as_bytes(),
                access_hash.as_bytes()
            )
            .fetch_one(&self.pool)
            .await
        })
        .await?;
        if row.repeated && !row.live {
            return Ok(SignIn::Ended);
        }
        let grant = match new.kind {
            Kind::Mobile => Some(TokenGrant {
                access: tokens.access.for_session(row.id),
                refresh: tokens.refresh.for_session(row.id),
                expires_in: self.access_lifespan(row.id).await?,
            }),
            _ => None,
        };
        let signed_in = SignedIn { id: row.id, token: tokens.session.for_session(row.id), grant, displaced: row.displaced };
        Ok(if row.repeated { SignIn::Repeated(signed_in) } else { SignIn::Started(signed_in) })
    }
}
