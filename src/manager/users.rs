//! Users and properties: a change, and the barrier behind what it ended.

use serde::Serialize;

use super::Manager;
use crate::cluster::Barrier;
use crate::error::{Error, Result};
use crate::input;
use crate::session::Password;
use crate::store::{Actor, Expect, Property, PropertyForecast, Revision, User, UserForecast, UserPatch};

/// A changed user.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ChangedUser {
    /// The user as it is now.
    #[serde(flatten)]
    pub user: User,
    /// How many sessions ended; left out when none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<i64>,
    /// The receipt, when sessions ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub barrier: Option<Barrier>,
    /// Whether the user is new.
    #[serde(skip)]
    pub created: bool,
}

/// A changed property and the receipt.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Changed {
    /// The property as it is now.
    #[serde(flatten)]
    pub property: Property,
    /// The receipt.
    pub barrier: Barrier,
}

pub(super) fn unknown_user() -> Error {
    Error::refused(404, "unknown_user", "There is no user of this name.", "Create the user, or check the spelling.")
}

/// A user as a patch makes it of nothing.
fn new_user(name: String, patch: UserPatch) -> User {
    User {
        name,
        display_name: patch.display_name.flatten(),
        active: patch.active.unwrap_or(true),
        locked_out: patch.locked_out.unwrap_or(false),
        roles: patch.roles.unwrap_or_default(),
        homepage_refresh_minutes: patch.homepage_refresh_minutes.flatten(),
    }
}

fn unknown_property() -> Error {
    Error::refused(404, "unknown_property", "There is no property of this name.", "List the properties to see their names.")
}

impl Manager {
    /// A user; refused when unknown.
    pub async fn user(&self, name: &str) -> Result<User> {
        self.store.user(name).await?.ok_or_else(unknown_user)
    }

    /// Creates or replaces a user; what `patch` leaves out takes its default.
    pub async fn put_user(&self, name: String, patch: UserPatch, actor: Actor<'_>) -> Result<ChangedUser> {
        let user = new_user(name, patch);
        let (created, ended) = self.store.put_user(&user, actor).await?;
        self.changed_user(&user.name, created, ended).await
    }

    /// Creates a user, with a password if one is given; what `patch` leaves out takes its default. Refused when there is one of this
    /// name, in whatever case.
    pub async fn create_user(
        &self,
        name: String,
        patch: UserPatch,
        password: Option<Password>,
        actor: Actor<'_>,
    ) -> Result<User> {
        let user = new_user(name, patch);
        let hash = match password {
            Some(password) => Some(self.hashing(move || password.hash()).await?),
            None => None,
        };
        if !self.store.create_user(&user, hash.as_deref(), actor).await? {
            return Err(Error::refused(409, "user_exists", "There is a user of this name already.", "Choose another name."));
        }
        self.user(&user.name).await
    }

    /// What changing `active` or `locked_out` of a user would do to their live sessions (X2).
    pub async fn rehearse_user(&self, name: &str, active: Option<bool>, locked_out: Option<bool>) -> Result<UserForecast> {
        self.store.rehearse_user(name, active, locked_out).await?.ok_or_else(unknown_user)
    }

    /// Changes a user.
    pub async fn patch_user(&self, name: &str, patch: &UserPatch, actor: Actor<'_>) -> Result<ChangedUser> {
        self.change_user(name, patch, &Expect::default(), actor).await
    }

    /// Changes a user; refused when `expect` says that it was previewed otherwise (X2).
    pub async fn change_user(&self, name: &str, patch: &UserPatch, expect: &Expect, actor: Actor<'_>) -> Result<ChangedUser> {
        let ended = self.store.patch_user(name, patch, expect, actor).await?.ok_or_else(unknown_user)?;
        self.changed_user(name, false, ended).await
    }

    /// Changes a user for somebody who works in pages; refused too when the user is the last administrator who has access, and
    /// would be one no more (51).
    pub async fn change_user_and_keep_an_admin(
        &self,
        name: &str,
        patch: &UserPatch,
        expect: &Expect,
        actor: Actor<'_>,
    ) -> Result<ChangedUser> {
        let ended = self.store.patch_user_and_keep_an_admin(name, patch, expect, actor).await?.ok_or_else(unknown_user)?;
        self.changed_user(name, false, ended).await
    }

    /// The same for a change that ends nothing, refused when the user is another one than was seen.
    pub async fn change_user_as_seen(
        &self,
        name: &str,
        patch: &UserPatch,
        seen: Revision,
        actor: Actor<'_>,
    ) -> Result<ChangedUser> {
        let ended = self.store.patch_user_as_seen(name, patch, seen, actor).await?.ok_or_else(unknown_user)?;
        self.changed_user(name, false, ended).await
    }

    /// Deletes a user, and ends their sessions before; how many, and the receipt when there were any. Refused when `expect` says
    /// that it was previewed otherwise, when the user is another one than was seen, and when the user is the last administrator who has access.
    pub async fn delete_user(
        &self,
        name: &str,
        expect: &Expect,
        seen: Revision,
        actor: Actor<'_>,
    ) -> Result<(i64, Option<Barrier>)> {
        let ended = self.store.delete_user(name, expect, seen, actor).await?.ok_or_else(unknown_user)?;
        let barrier = self.barrier().await;
        Ok((ended, Some(barrier).filter(|_| ended > 0)))
    }

    async fn changed_user(&self, name: &str, created: bool, ended: i64) -> Result<ChangedUser> {
        let barrier = if created { None } else { Some(self.barrier().await) };
        let some = ended > 0;
        Ok(ChangedUser { user: self.user(name).await?, ended: some.then_some(ended), barrier: barrier.filter(|_| some), created })
    }

    /// Why a user has no access on any channel; `None` when nothing speaks against it (U1).
    pub async fn access(&self, name: &str) -> Result<Option<&'static str>> {
        self.store.access(name).await?.ok_or_else(unknown_user)
    }

    /// A property; refused when unknown.
    pub async fn property(&self, name: &str) -> Result<Property> {
        // PostgreSQL has no text with a NUL in it.
        if name.contains('\0') {
            return Err(unknown_property());
        }
        self.store.properties(Some(name)).await?.pop().ok_or_else(unknown_property)
    }

    /// What setting a property, or without a value restoring its default, would do to the live sessions (X2). The more sessions
    /// there are the longer it reads, about half a second for a million; it locks nothing.
    pub async fn rehearse_property(&self, name: &str, value: Option<&str>) -> Result<PropertyForecast> {
        self.property(name).await?;
        value.map(input::property_value).transpose()?;
        let _turn = self.rehearsing.acquire().await;
        self.store.rehearse_property(name, value).await
    }

    /// Sets a property.
    pub async fn set_property(&self, name: &str, value: &str, force: bool, actor: Actor<'_>) -> Result<Changed> {
        self.change_property(name, Some(value), force, &Expect::default(), actor).await
    }

    /// Restores the default of a property.
    pub async fn unset_property(&self, name: &str, force: bool, actor: Actor<'_>) -> Result<Changed> {
        self.change_property(name, None, force, &Expect::default(), actor).await
    }

    /// Sets a property, or without a value restores its default; refused when `expect` says that it was previewed otherwise (X2).
    pub async fn change_property(
        &self,
        name: &str,
        value: Option<&str>,
        force: bool,
        expect: &Expect,
        actor: Actor<'_>,
    ) -> Result<Changed> {
        self.property(name).await?;
        value.map(input::property_value).transpose()?;
        self.store.change_property(name, value, force, expect, actor).await?;
        Ok(Changed { barrier: self.barrier().await, property: self.property(name).await? })
    }
}
