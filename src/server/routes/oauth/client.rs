//! Which client application asks, and its form.

use axum::body::Body;
use axum::extract::rejection::FormRejection;
use axum::extract::{FromRequest, Request};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::super::App;
use super::super::super::extract::read;
use super::error::OauthError;
use crate::store::Client;

/// A form; what cannot be read is `invalid_request`. Parameters nobody asked for are ignored, as RFC 6749 wants it.
pub(in crate::server) struct Form<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Form<T> {
    type Rejection = OauthError;

    async fn from_request(request: Request, app: &App) -> Result<Self, OauthError> {
        // A secret in a URL would end up in logs (74).
        if request.uri().query().is_some_and(|query| !query.is_empty()) {
            return Err(OauthError::invalid_request("Send every parameter in the body, none in the URL."));
        }
        let (parts, body) = request.into_parts();
        let head = Request::from_parts(parts.clone(), Body::empty());
        let bytes = read(Request::from_parts(parts, body), app).await?;
        match axum::Form::<T>::from_request(head.map(|_| Body::from(bytes)), app).await {
            Ok(axum::Form(form)) => Ok(Self(form)),
            Err(FormRejection::InvalidFormContentType(_)) => {
                Err(OauthError::invalid_request("Send Content-Type: application/x-www-form-urlencoded."))
            }
            Err(_) => Err(OauthError::invalid_request("The body is not a form, or has a parameter twice.")),
        }
    }
}

/// How a client says who it is in the body.
#[derive(Deserialize, utoipa::ToSchema)]
pub(in crate::server) struct Credentials {
    /// Client id, unless HTTP Basic has it.
    client_id: Option<String>,
    /// Secret of a confidential client, unless HTTP Basic has it.
    client_secret: Option<String>,
}

/// Whether the request carries a bearer token, so that an API key asks.
pub(super) fn is_bearer(parts: &Parts) -> bool {
    scheme(parts).is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
}

fn scheme(parts: &Parts) -> Option<(&str, &str)> {
    parts.headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')
}

/// The client application: by HTTP Basic, by id and secret in the body, or a public one by its id alone. Never two ways at once.
pub(super) async fn authenticate(app: &App, parts: &Parts, credentials: &Credentials) -> Result<Client, OauthError> {
    let (client_id, secret) = identify(parts, credentials)?;
    app.manager.client(&client_id, secret.as_deref()).await?.ok_or_else(OauthError::invalid_client)
}

/// The id of a client application that has a secret and proved it.
pub(super) async fn authenticate_confidential(app: &App, parts: &Parts, credentials: &Credentials) -> Result<String, OauthError> {
    Some(authenticate(app, parts, credentials).await?)
        .filter(|client| !client.is_public())
        .map(|client| client.client_id)
        .ok_or_else(OauthError::invalid_client)
}

fn identify(parts: &Parts, credentials: &Credentials) -> Result<(String, Option<String>), OauthError> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (body_id, body_secret) = (given(&credentials.client_id), given(&credentials.client_secret));
    let (client_id, secret) = if parts.headers.contains_key(AUTHORIZATION) {
        let (id, secret) = basic(parts).ok_or_else(OauthError::invalid_client)?;
        if body_secret.is_some() || body_id.is_some_and(|other| other != id) {
            return Err(OauthError::invalid_request("Authenticate one way only: by HTTP Basic or in the body."));
        }
        (id, Some(secret).filter(|secret| !secret.is_empty()))
    } else {
        (body_id.ok_or_else(OauthError::invalid_client)?, body_secret)
    };
    // PostgreSQL has no text with a NUL in it, and no id or secret of ours is longer.
    let fits = |text: &str| text.len() <= 255 && !text.contains('\0');
    if !fits(&client_id) || !secret.as_deref().is_none_or(fits) {
        return Err(OauthError::invalid_client());
    }
    Ok((client_id, secret))
}

/// Ids and secrets have no character that form encoding changes, so nothing is decoded twice.
fn basic(parts: &Parts) -> Option<(String, String)> {
    let (_, encoded) = scheme(parts).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))?;
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}
