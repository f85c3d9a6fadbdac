//! Who calls: an API key as bearer token, looked up by its digest. Deny by default: a handler names in its signature whose calls
//! it takes, and takes nobody else's.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use tokio::time::Instant;
use uuid::Uuid;

use super::App;
use super::address::ClientAddress;
use super::problem::Problem;
use crate::manager::Key;
use crate::session::{ApiKey, Role, TokenHash};
use crate::store::Actor;

/// Roles that may call a route (U6).
pub(super) trait Callers: Send + Sync {
    const ROLES: &'static [Role];
}

/// Defines who may call, by name.
macro_rules! callers {
    ($($(#[$doc:meta])* $name:ident: $($role:ident),+;)+) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl Callers for $name {
            const ROLES: &'static [Role] = &[$(Role::$role),+];
        }
    )+};
}

callers! {
    /// Changes of everything, and what nobody else was given.
    Admins: Admin;
    /// What an application does for its own clients.
    Apps: Admin, App;
    /// Locking and unlocking.
    UserAdmins: Admin, UserAdmin;
    /// Lists of users, sessions and events.
    Watchers: Admin, UserAdmin, Reporter;
    /// What else may be read: properties, client applications, nodes, metrics.
    Readers: Admin, Reporter;
    /// One session, and whether a user has access.
    Anybody: Admin, UserAdmin, App, Reporter;
}

/// An authenticated caller whose role may do this.
pub(super) struct Caller<C = Admins> {
    key: Key,
    hash: TokenHash,
    callers: PhantomData<C>,
}

impl<C> Caller<C> {
    /// The caller as the actor of what it does.
    pub(super) fn actor(&self) -> Actor<'_> {
        Actor(&self.key.name)
    }

    /// Its id: what it names is its own, and it is limited by it.
    pub(super) fn key_id(&self) -> Uuid {
        self.key.id
    }

    /// What it may do.
    pub(super) fn role(&self) -> Role {
        self.key.role
    }
}

/// Somebody who is given an answer that does not end.
pub(super) trait Lasting: Send + 'static {
    /// Whether it may still be given: asked again and again (C50). What cannot be known counts as no.
    fn is_still_allowed(&self, app: &App) -> impl Future<Output = bool> + Send;
}

impl<C: Callers + 'static> Lasting for Caller<C> {
    async fn is_still_allowed(&self, app: &App) -> bool {
        matches!(app.manager.key(&self.hash).await, Ok(Some(key)) if C::ROLES.contains(&key.role))
    }
}

impl<C: Callers> FromRequestParts<App> for Caller<C> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Problem::invalid_api_key());
        };
        let presented = value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let hash = presented.and_then(|(_, key)| ApiKey::parse(key.trim())).ok_or_else(Problem::invalid_api_key)?;
        let key = match app.manager.key_now(&hash) {
            Some(key) => key,
            None => look_up(&hash, parts, app).await?,
        };
        if C::ROLES.contains(&key.role) {
            return Ok(Self { key, hash, callers: PhantomData });
        }
        let roles = C::ROLES.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" or ");
        Err(Problem::new(
            403,
            "role_not_allowed",
            &format!("The key's role, {}, does not allow this.", key.role),
            &format!("Use a key of role {roles}."),
        ))
    }
}

/// Asks PostgreSQL for a key, for who did not ask for too many that do not exist.
async fn look_up(hash: &TokenHash, parts: &mut Parts, app: &App) -> Result<Key, Problem> {
    let Ok(ClientAddress(address)) = ClientAddress::from_request_parts(parts, app).await;
    if let Some(address) = address {
        app.limits.may_present(address, hash, Instant::now())?;
    }
    let key = app.manager.key(hash).await?;
    if let Some(address) = address {
        app.limits.presented(address, hash, key.is_some(), Instant::now());
    }
    key.ok_or_else(Problem::invalid_api_key)
}
