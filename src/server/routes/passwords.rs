//! Signing in by name and password, and setting one.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tokio::time::Instant;

use super::super::auth::{Admins, Apps, Caller};
use super::super::extract::{Body, Name};
use super::super::problem::Problem;
use super::super::{App, AppState};
use crate::input::{self, LogIn, PasswordInput};
use crate::manager::{Created, CreatedView};
use crate::store::{Actor, User};

/// Starts a session of kind user, for who knows the user's password: the sign-in of an application that keeps no passwords.
#[utoipa::path(post, operation_id = "log_in", path = "/v1/login", request_body = LogIn, responses(
    (status = 201, body = CreatedView), (status = 401, description = "invalid_credentials or invalid_api_key"),
    (status = 403, description = "user_locked_out or user_inactive"), (status = 409, description = "session_limit_reached"),
    (status = 503, description = "maintenance, or unavailable"),
    (status = 429, description = "too_many_requests")))]
pub(super) async fn log_in(
    caller: Caller<Apps>,
    State(app): AppState,
    Body(request): Body<LogIn>,
) -> Result<(StatusCode, Json<CreatedView>), Problem> {
    app.limits.create(caller.key_id(), Instant::now())?;
    Ok((StatusCode::CREATED, Json(proved(&app, request, |_| Ok(()), caller.actor()).await?.into())))
}

/// Judges whoever has proved their password, before they have a session.
pub(in crate::server) type Admits = fn(&User) -> crate::Result<()>;

/// The session of whoever proves to be its user.
pub(super) async fn proved(app: &App, request: LogIn, admits: Admits, actor: Actor<'_>) -> Result<Created, Problem> {
    let (new, password) = request.validate()?;
    let (address, user, actor) = (new.client_address, new.user.clone().unwrap_or_default(), actor.0.to_owned());
    let manager = Arc::clone(&app.manager);
    let created = async move { manager.log_in_if(admits, &new, password, Actor(&actor)).await };
    Ok(attempted(app, address, user, created).await??)
}

/// Whether this is the password of a user.
#[cfg(feature = "console")]
pub(in crate::server) async fn is_of(app: &App, user: &str, password: &str, address: Option<IpAddr>) -> Result<bool, Problem> {
    let (manager, name, password) = (Arc::clone(&app.manager), user.to_owned(), input::presented_password(password));
    let proved = async move { manager.prove(&name, password).await };
    match attempted(app, address, user.to_owned(), proved).await? {
        Err(error) if is_wrong(&error) => Ok(false),
        proved => Ok(proved.map(|()| true)?),
    }
}

fn is_wrong(error: &crate::Error) -> bool {
    error.code() == "invalid_credentials"
}

/// An attempt to prove a password; failed ones are limited by user and address.
async fn attempted<T: Send + 'static>(
    app: &App,
    address: Option<IpAddr>,
    user: String,
    attempt: impl Future<Output = crate::Result<T>> + Send + 'static,
) -> Result<crate::Result<T>, Problem> {
    app.limits.attempt(address, &user, Instant::now())?;
    // It goes on when the client does not wait: a right password must not count as a wrong one.
    let app = app.clone();
    let attempt = tokio::spawn(async move {
        let proved = attempt.await;
        if !proved.as_ref().is_err_and(is_wrong) {
            app.limits.excuse(address, &user, Instant::now());
        }
        proved
    });
    Ok(attempt.await.map_err(crate::Error::failed)?)
}

/// Gives a user another password. Sessions go on; an application that wants the others ended ends them.
#[utoipa::path(put, operation_id = "set_password", path = "/v1/users/{name}/password", params(("name" = String, Path, description = "User name")), request_body = PasswordInput, responses(
    (status = 200, body = User),
    (status = 422, description = "invalid_password: 8 to 128 characters")))]
pub(super) async fn set(
    caller: Caller<Admins>,
    State(app): AppState,
    Name(name): Name,
    Body(input): Body<PasswordInput>,
) -> Result<Json<User>, Problem> {
    let name = input::user_name(&name)?;
    let password = input::new_password(&input.password)?;
    Ok(Json(app.manager.set_password(&name, password, caller.actor()).await?))
}
