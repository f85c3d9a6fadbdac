//! Changes of properties, and what a preview of a change said (X2).

use serde::Deserialize;

use super::{invalid, parameter, whole};
use crate::error::Result;
use crate::store::Expect;

/// A new value of a property.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PropertyInput {
    /// The value as text.
    pub value: String,
    /// Accept a life span not above its idle limit, and more than 10,000 endings.
    pub force: Option<bool>,
    /// How many live sessions end with the change, as its preview said; another number is refused with 409 `preview_changed`.
    #[serde(default, deserialize_with = "whole")]
    pub expect: Option<i64>,
    /// `expect_basis` of the preview: refused in the same way when a property has changed since.
    pub expect_basis: Option<String>,
}

impl PropertyInput {
    /// What the preview said.
    pub fn expect(&self) -> Result<Expect> {
        expect(self.expect, self.expect_basis.clone())
    }
}

/// A change of a property to rehearse.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RehearsalInput {
    /// The value as text; null rehearses restoring the default.
    #[serde(deserialize_with = "named")]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub value: Option<String>,
}

/// A change of a user to rehearse: at least one of the two.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UserRehearsalInput {
    /// Whether active.
    pub active: Option<bool>,
    /// Whether locked out.
    pub locked_out: Option<bool>,
}

impl UserRehearsalInput {
    /// Refuses a change that is none.
    pub fn validate(self) -> Result<Self> {
        if self.active.or(self.locked_out).is_none() {
            return Err(invalid("locked_out", "neither it nor active is given.", "Give the one that is to change."));
        }
        Ok(self)
    }
}

/// A field that may be null and may not be left out: nobody rehearses the loss of a row by forgetting the value.
fn named<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// What a preview said: a count from 0, and a digest of 16 hexadecimal digits.
pub fn expect(count: Option<i64>, basis: Option<String>) -> Result<Expect> {
    if count.is_some_and(|count| count < 0) {
        return Err(invalid("expect", "it is a number of sessions, 0 or more.", "Take it from the preview."));
    }
    if basis.as_deref().is_some_and(|basis| !is_basis(basis)) {
        return Err(invalid("expect_basis", "it is 16 hexadecimal digits.", "Take it from the preview."));
    }
    Ok(Expect { expect: count, expect_basis: basis })
}

/// The same as parameters of a request or command, which call them by these names.
pub fn expect_parameters(count_name: &str, count: Option<&str>, basis_name: &str, basis: Option<String>) -> Result<Expect> {
    let count = count.map(|text| {
        text.parse()
            .ok()
            .filter(|count: &i64| *count >= 0)
            .ok_or_else(|| parameter(count_name, "give a number of sessions, 0 or more."))
    });
    if basis.as_deref().is_some_and(|basis| !is_basis(basis)) {
        return Err(parameter(basis_name, "give the 16 hexadecimal digits of the preview."));
    }
    Ok(Expect { expect: count.transpose()?, expect_basis: basis })
}

fn is_basis(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
