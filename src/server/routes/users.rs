//! Users: active, locked out.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::super::AppState;
use super::super::auth::{Admins, Anybody, Caller, UserAdmins, Watchers};
use super::super::extract::{Body, Name, Params};
use super::super::problem::Problem;
use crate::input::{self, UserInput, UserRehearsalInput};
use crate::manager::ChangedUser;
use crate::session::Role;
use crate::store::{User, UserForecast, UserPatch};

/// Which users to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct UserQuery {
    /// Only active ones, or only the others.
    active: Option<String>,
    /// Only locked-out ones, or only the others.
    locked_out: Option<String>,
    /// 1 to 500; 50 when left out.
    limit: Option<String>,
    /// Cursor of the page before.
    after: Option<String>,
}

/// A page of users.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::server) struct UserPage {
    items: Vec<User>,
    next: Option<String>,
}

/// Lists users, newest first.
#[utoipa::path(get, operation_id = "list_users", path = "/v1/users", params(UserQuery), responses(
    (status = 200, body = UserPage)))]
pub(super) async fn list(
    _: Caller<Watchers>,
    State(app): AppState,
    Params(query): Params<UserQuery>,
) -> Result<Json<UserPage>, Problem> {
    let boolean = |name: &str, text: Option<String>| text.map(|text| input::boolean(name, &text)).transpose();
    let after = query.after.as_deref().map(input::user_cursor).transpose()?;
    let page = app
        .manager
        .store()
        .users(
            boolean("active", query.active)?,
            boolean("locked_out", query.locked_out)?,
            input::limit(query.limit.as_deref())?,
            after,
        )
        .await?;
    Ok(Json(UserPage { items: page.items, next: page.next }))
}

/// Shows a user.
#[utoipa::path(get, operation_id = "show_user", path = "/v1/users/{name}", params(("name" = String, Path, description = "User name")), responses(
    (status = 200, body = User)))]
pub(super) async fn show(_: Caller<Watchers>, State(app): AppState, Name(name): Name) -> Result<Json<User>, Problem> {
    Ok(Json(app.manager.user(&input::user_name(&name)?).await?))
}

/// Creates or replaces a user; what is left out takes its default.
#[utoipa::path(put, operation_id = "put_user", path = "/v1/users/{name}", params(("name" = String, Path, description = "User name")), request_body = UserInput, responses(
    (status = 200, body = ChangedUser), (status = 201, body = ChangedUser)))]
pub(super) async fn put(
    caller: Caller<Admins>,
    State(app): AppState,
    Name(name): Name,
    Body(user): Body<UserInput>,
) -> Result<(StatusCode, Json<ChangedUser>), Problem> {
    let name = input::user_name(&name)?;
    if user.expect.is_some() {
        return Err(Problem::new(422, "invalid_field", "expect: PUT has no preview.", "Use PATCH, or leave it out."));
    }
    let patch = user.validate(&name)?;
    let changed = app.manager.put_user(name, patch, caller.actor()).await?;
    Ok((if changed.created { StatusCode::CREATED } else { StatusCode::OK }, Json(changed)))
}

/// Changes a user: lock out, unlock, activate, deactivate.
#[utoipa::path(patch, operation_id = "patch_user", path = "/v1/users/{name}", params(("name" = String, Path, description = "User name")), request_body = UserInput, responses(
    (status = 200, body = ChangedUser), (status = 409, description = "preview_changed, with count")))]
pub(super) async fn patch(
    caller: Caller<UserAdmins>,
    State(app): AppState,
    Name(name): Name,
    Body(user): Body<UserInput>,
) -> Result<Json<ChangedUser>, Problem> {
    let name = input::user_name(&name)?;
    let expect = input::expect(user.expect, None)?;
    let patch = user.validate(&name)?;
    if caller.role() != Role::Admin && (UserPatch { locked_out: None, ..patch.clone() }) != UserPatch::default() {
        return Err(Problem::new(
            403,
            "role_not_allowed",
            "The key's role, user_admin, changes nothing of a user but locked_out.",
            "Leave the other fields out, or use a key of role admin.",
        ));
    }
    Ok(Json(app.manager.change_user(&name, &patch, &expect, caller.actor()).await?))
}

/// Says which live sessions a lock-out or inactivation of a user would end, and changes nothing (X2).
#[utoipa::path(post, operation_id = "what_if_user", path = "/v1/users/{name}/what-if", params(("name" = String, Path, description = "User name")), request_body = UserRehearsalInput, responses(
    (status = 200, body = UserForecast)))]
pub(super) async fn what_if(
    _: Caller<Watchers>,
    State(app): AppState,
    Name(name): Name,
    Body(change): Body<UserRehearsalInput>,
) -> Result<Json<UserForecast>, Problem> {
    let (name, change) = (input::user_name(&name)?, change.validate()?);
    Ok(Json(app.manager.rehearse_user(&name, change.active, change.locked_out).await?))
}

/// Through which door.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct AccessQuery {
    /// `login`, `email` or `integration`; `login` when left out.
    channel: Option<String>,
}

/// Whether a user has access.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::server) struct Access {
    /// Whether the user may act through the channel.
    allowed: bool,
    /// `locked_out` or `inactive`; null when allowed.
    reason: Option<&'static str>,
}

/// Whether a user may sign in or act through a channel (U1).
#[utoipa::path(get, operation_id = "user_access", path = "/v1/users/{name}/access", params(("name" = String, Path, description = "User name"), AccessQuery), responses(
    (status = 200, body = Access)))]
pub(super) async fn access(
    _: Caller<Anybody>,
    State(app): AppState,
    Name(name): Name,
    Params(query): Params<AccessQuery>,
) -> Result<Json<Access>, Problem> {
    if !matches!(query.channel.as_deref(), None | Some("login" | "email" | "integration")) {
        return Err(input::parameter("channel", "expected one of login, email, integration.").into());
    }
    let reason = app.manager.access(&input::user_name(&name)?).await?;
    Ok(Json(Access { allowed: reason.is_none(), reason }))
}
