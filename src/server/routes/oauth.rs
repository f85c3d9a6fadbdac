//! OAuth 2.0 for native apps: the refresh grant with rotation (RFC 6749), introspection (RFC 7662), revocation (RFC 7009).
//!
//! Requests are forms and errors are those of RFC 6749, section 5.2, because the clients are libraries written by others.

mod client;
mod error;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::AppState;
use super::super::auth::{Apps, Caller};
use super::super::problem::Problem;
use crate::manager::Tokens;
use crate::store::Redeemed;
use client::{Credentials, Form};
use error::OauthError;

/// A request of tokens.
#[derive(Deserialize, utoipa::ToSchema)]
pub(in crate::server) struct TokenRequest {
    /// `refresh_token`, the only grant there is: apps sign in with POST /v1/sessions.
    grant_type: Option<String>,
    /// The refresh token.
    refresh_token: Option<String>,
    /// Not used: tokens have no scope.
    scope: Option<String>,
    #[serde(flatten)]
    credentials: Credentials,
}

/// Redeems a refresh token for a new access token and the refresh token's successor.
#[utoipa::path(post, operation_id = "redeem_token", path = "/oauth/token", security(()), request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, body = Tokens), (status = 400, body = OauthError), (status = 401, body = OauthError), (status = 408, body = OauthError), (status = 413, body = OauthError), (status = 500, body = OauthError), (status = 503, body = OauthError)))]
pub(super) async fn token(
    State(app): AppState,
    parts: Parts,
    Form(request): Form<TokenRequest>,
) -> Result<Json<Tokens>, OauthError> {
    let client = client::authenticate(&app, &parts, &request.credentials).await?;
    match request.grant_type.as_deref() {
        Some("refresh_token") => {}
        None | Some("") => return Err(OauthError::invalid_request("grant_type is missing.")),
        Some(_) => {
            return Err(OauthError::bad_request(
                "unsupported_grant_type",
                "The only grant is refresh_token; apps sign in with POST /v1/sessions.",
            ));
        }
    }
    if request.scope.is_some_and(|scope| !scope.is_empty()) {
        return Err(OauthError::bad_request("invalid_scope", "Tokens have no scope; leave it out."));
    }
    let token = request.refresh_token.filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| OauthError::invalid_request("refresh_token is missing."))?;
    let refused = |why: String| Err(OauthError::bad_request("invalid_grant", &format!("{why} Sign in again.")));
    match app.manager.redeem(&client, &token).await? {
        Redeemed::Granted(grant) => Ok(Json(grant.into())),
        Redeemed::Reused => refused("The refresh token was used before; the session and all its tokens are over.".to_owned()),
        Redeemed::Expired => refused("The refresh token has expired.".to_owned()),
        Redeemed::Ended(reason) => refused(format!("The session ended ({reason}).")),
        Redeemed::Unknown => refused("The refresh token is not one of this client's.".to_owned()),
    }
}

/// A token to revoke or to look into.
#[derive(Deserialize, utoipa::ToSchema)]
pub(in crate::server) struct TokenQuestion {
    /// The token.
    token: Option<String>,
    /// `access_token` or `refresh_token`; not needed, the token says it.
    #[allow(dead_code, reason = "a hint that the token makes superfluous")]
    token_type_hint: Option<String>,
    #[serde(flatten)]
    credentials: Credentials,
}

impl TokenQuestion {
    fn token(&self) -> Result<&str, OauthError> {
        self.token.as_deref().filter(|token| !token.is_empty()).ok_or_else(|| OauthError::invalid_request("token is missing."))
    }
}

/// Revokes a token: an access token alone; with a refresh token the whole session signs out.
#[utoipa::path(post, operation_id = "revoke_token", path = "/oauth/revoke", security(()), request_body(content = TokenQuestion, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, description = "Revoked, or not a token of this client"), (status = 400, body = OauthError), (status = 401, body = OauthError), (status = 408, body = OauthError), (status = 413, body = OauthError), (status = 500, body = OauthError), (status = 503, body = OauthError)))]
pub(super) async fn revoke(State(app): AppState, parts: Parts, Form(request): Form<TokenQuestion>) -> Result<(), OauthError> {
    let client = client::authenticate(&app, &parts, &request.credentials).await?;
    app.manager.revoke_token(&client, request.token()?).await?;
    Ok(())
}

/// What a token stands for; every field but `active` is left out when it is false.
#[derive(Default, Serialize, utoipa::ToSchema)]
pub(in crate::server) struct Introspection {
    /// Whether the token is good and its session lives.
    active: bool,
    /// The client application.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// User name.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// The same.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    /// `Bearer` for access tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// When it was issued, seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// When it stops being good, or its session ends without activity, seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<Uuid>,
}

/// Tells what a token stands for. Asked with an API key of role admin or app, or by a confidential client of its own tokens.
#[utoipa::path(post, operation_id = "introspect_token", path = "/oauth/introspect", security(("api_key" = []), ()), request_body(content = TokenQuestion, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, body = Introspection), (status = 400, body = OauthError),
    (status = 401, description = "invalid_client, or invalid_api_key", content((OauthError = "application/json"), (Problem = "application/problem+json"))),
    (status = 403, description = "role_not_allowed", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "too_many_requests", body = Problem, content_type = "application/problem+json"),
    (status = 408, body = OauthError), (status = 413, body = OauthError), (status = 500, body = OauthError), (status = 503, content((OauthError = "application/json"), (Problem = "application/problem+json")))))]
pub(super) async fn introspect(
    State(app): AppState,
    mut parts: Parts,
    Form(request): Form<TokenQuestion>,
) -> Result<Json<Introspection>, Response> {
    let own = if client::is_bearer(&parts) {
        Caller::<Apps>::from_request_parts(&mut parts, &app).await.map_err(IntoResponse::into_response)?;
        None
    } else {
        Some(client::authenticate_confidential(&app, &parts, &request.credentials).await.map_err(IntoResponse::into_response)?)
    };
    let token = request.token().map_err(IntoResponse::into_response)?;
    let found = app.manager.introspect(token).await.map_err(|error| OauthError::from(error).into_response())?;
    let Some(found) = found.filter(|found| own.as_ref().is_none_or(|own| *own == found.client_id)) else {
        return Ok(Json(Introspection::default()));
    };
    Ok(Json(Introspection {
        active: true,
        client_id: Some(found.client_id),
        username: Some(found.user.clone()),
        sub: Some(found.user),
        token_type: found.is_access.then_some("Bearer"),
        iat: Some(found.issued_at.timestamp()),
        exp: Some(found.expires_at.timestamp()),
        session_id: Some(found.session_id),
    }))
}
