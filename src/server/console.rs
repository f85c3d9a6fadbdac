//! The console: pages for administrators. They are an app of the store like any other: whoever signs in has a session in it, what
//! a page shows and does goes through the same use cases as the API, and who may what is said by the same roles (U6).
//!
//! Pages are rendered here and work without a script, but for signing out by running out and for what appears by itself. A page
//! changes nothing when it is opened; a form that does must come from a page of this very origin.

mod audit;
mod chart;
mod entities;
mod failure;
mod form;
mod keys;
mod live;
mod nodes;
mod operator;
mod overview;
mod page;
mod properties;
mod session;
mod sessions;
mod shown;
mod sign_in;
mod sure;
mod users;

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::{Redirect, Response};
use axum::routing::{MethodRouter, get};
use tokio::time::Instant;

use super::App;
use super::asset::Asset;
use super::problem::Problem;
use failure::Failure;

/// Nothing but what this program serves itself, no inline code or style, no frames, and no text turned into markup except where
/// the page's own script says so.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types tenure";

/// What every answer of the console says besides. Without its own referrer policy a form of another site would learn addresses;
/// under `no-referrer` a browser would not say where a form comes from.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("text/css; charset=utf-8", include_str!("console/assets/console.css")));
static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("text/javascript; charset=utf-8", include_str!("console/assets/console.js")));

/// The pages, below `/console`.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/console", get(home))
        .route("/console/", get(home))
        .route("/console/overview", get(overview::show))
        .route("/console/sign-in", get(sign_in::show).post(sign_in::enter))
        .route("/console/sign-out", only_sent("/console/overview").post(sign_in::leave))
        .route("/console/sessions", get(sessions::list))
        .route("/console/sessions/{id}", get(session::show))
        .route("/console/sessions/terminate", only_sent("/console/sessions").post(sessions::terminate))
        .route("/console/sessions/matching", only_sent("/console/sessions").post(sessions::terminate_matching))
        .route("/console/users", get(users::list))
        .route("/console/users/new", get(users::show_new).post(users::create))
        .route("/console/user", get(users::show).post(users::change))
        .route("/console/user/roles", only_sent("/console/users").post(users::roles))
        .route("/console/properties", get(properties::list))
        .route("/console/property", get(properties::show).post(properties::change))
        .route("/console/entities", get(entities::list))
        .route("/console/entities/new", get(entities::show_new).post(entities::create))
        .route("/console/entity", get(entities::show).post(entities::change))
        .route("/console/nodes", get(nodes::list))
        .route("/console/nodes/drain", only_sent("/console/nodes").post(nodes::order))
        .route("/console/audit", get(audit::list))
        .route("/console/keys", get(keys::list).post(keys::change))
        .route(live::PATH, get(live::events))
        .route("/console/console.css", get(async |headers: HeaderMap| STYLE.answer(&headers)))
        .route("/console/console.js", get(async |headers: HeaderMap| SCRIPT.answer(&headers)))
        .route("/console/{*path}", get(nothing))
        .layer(from_fn(guard))
}

/// What only a form is sent to leads on to its list when it is opened, by the way back or by a bookmark.
fn only_sent(list: &'static str) -> MethodRouter<App> {
    get(async move || Redirect::to(list))
}

async fn home() -> Redirect {
    Redirect::to("/console/overview")
}

async fn nothing() -> Failure {
    Problem::new(404, "not_found", "There is no such page.", "Go back, or begin with the logged in users.").into()
}

/// Sets the headers, and tells the browser how long the answer took.
async fn guard(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let took = format!("page;dur={:.1}", started.elapsed().as_secs_f64() * 1e3);
    if let Ok(took) = HeaderValue::from_str(&took) {
        headers.insert(HeaderName::from_static("server-timing"), took);
    }
    response
}
