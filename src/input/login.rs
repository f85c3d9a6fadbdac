//! Names with passwords: what is presented at a sign-in, and what a new password may be.

use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use super::{CreateSession, whole};
use crate::error::{Error, Result};
use crate::session::Password;
use crate::store::NewSession;

/// A sign-in by password, before it is checked.
#[derive(serde::Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// User name.
    pub user: String,
    /// The password as it was typed.
    pub password: String,
    /// Remember Me; null takes the property's default.
    pub remember_me: Option<bool>,
    /// `desktop`, `tablet`, `phone` or `app`; null is desktop.
    pub device: Option<String>,
    /// Client address: failed attempts are limited by it.
    pub client_address: Option<String>,
    /// User agent; cut at 512 characters.
    pub user_agent: Option<String>,
    /// Homepage refresh interval, 1 to 1440 minutes; null takes the user's.
    #[serde(default, deserialize_with = "whole")]
    pub homepage_refresh_minutes: Option<i64>,
    /// Own idle limit, 1 to 1440 minutes.
    #[serde(default, deserialize_with = "whole")]
    pub idle_limit_minutes: Option<i64>,
    /// Token of the guest session this sign-in replaces.
    pub guest_token: Option<String>,
    /// Whether the guest's attributes move over.
    pub carry_attributes: Option<bool>,
    /// The app's payload: a JSON object.
    pub attributes: Option<Map<String, Value>>,
}

impl LogIn {
    /// Checks every field as a create of kind user does; whether the password is right, only its user's hash can say.
    pub fn validate(self) -> Result<(NewSession, Password)> {
        let password = presented_password(&self.password);
        let new = CreateSession {
            kind: "user".to_owned(),
            user: Some(self.user),
            remember_me: self.remember_me,
            device: self.device,
            client_address: self.client_address,
            user_agent: self.user_agent,
            homepage_refresh_minutes: self.homepage_refresh_minutes,
            idle_limit_minutes: self.idle_limit_minutes,
            guest_token: self.guest_token,
            carry_attributes: self.carry_attributes,
            attributes: self.attributes,
            ..CreateSession::default()
        };
        Ok((new.validate()?, password))
    }
}

/// The new password of a user.
#[derive(serde::Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PasswordInput {
    /// 8 to 128 characters.
    pub password: String,
}

/// A new password: 8 to 128 characters, whatever they are.
pub fn new_password(text: &str) -> Result<Password> {
    let text = composed(text);
    if !(8..=128).contains(&text.chars().count()) {
        return Err(Error::refused(
            422,
            "invalid_password",
            "A password has 8 to 128 characters.",
            "Choose a longer or a shorter one.",
        ));
    }
    Ok(Password::new(text))
}

/// A password as somebody presents it: one that could not have been set is simply wrong.
pub fn presented_password(text: &str) -> Password {
    Password::new(composed(text))
}

/// Composed, because keyboards differ in how they write the same letter. Composing at most quarters a text; what is longer than
/// four times the limit is cut, and still too long to have been set.
fn composed(text: &str) -> String {
    text.chars().take(513).nfc().collect()
}
