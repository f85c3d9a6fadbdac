//! Who calls: an API key as bearer token, looked up by its digest. Deny by default: only extracting a caller opens a route.

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::App;
use super::problem::Problem;
use crate::manager::Key;
use crate::session::ApiKey;
use crate::store::Actor;

/// An authenticated caller.
pub(super) struct Caller {
    key: Key,
}

impl Caller {
    /// The caller as the actor of what it does.
    pub(super) fn actor(&self) -> Actor<'_> {
        Actor(&self.key.name)
    }
}

impl FromRequestParts<App> for Caller {
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
        match app.manager.key(&hash).await? {
            Some(key) if &*key.role == "admin" => Ok(Self { key }),
            Some(_) => {
                Err(Problem::new(403, "role_not_allowed", "The key's role does not allow this.", "Use a key of role admin."))
            }
            None => Err(Problem::invalid_api_key()),
        }
    }
}
