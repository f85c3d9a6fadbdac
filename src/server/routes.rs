//! The routes: one file a resource, each handler with its description for `OpenAPI`.

mod attributes;
pub(super) mod browser;
mod check;
mod client;
mod cluster;
mod describe;
mod entities;
mod forward_auth;
mod health;
mod oauth;
pub(super) mod passwords;
mod properties;
pub(super) mod sessions;
pub(super) mod stream;
mod users;

use axum::routing::any;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;

/// The document's head; paths and schemas come from the handlers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tenure",
        description = "Sessions that any node lists, explains and ends. Every path wants an API key as bearer token, but for health, this document, and what proxies and browsers ask."
    ),
    components(schemas(super::problem::Problem)),
    modifiers(&Bearer),
    security(("api_key" = []))
)]
struct Document;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi.components.get_or_insert_with(Default::default).add_security_scheme("api_key", scheme);
    }
}

/// Every route.
pub(super) fn all() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(sessions::create, sessions::list))
        .routes(routes!(check::check))
        .routes(routes!(sessions::terminate_many))
        .routes(routes!(sessions::show, sessions::terminate))
        .routes(routes!(sessions::explain))
        .routes(routes!(sessions::events))
        .routes(routes!(sessions::extend))
        .routes(routes!(sessions::rotate))
        .routes(routes!(sessions::sign_out))
        .routes(routes!(sessions::app_state))
        .routes(routes!(sessions::close_transaction))
        .routes(routes!(attributes::read, attributes::replace, attributes::merge))
        .routes(routes!(users::list))
        .routes(routes!(users::show, users::put, users::patch))
        .routes(routes!(users::access))
        .routes(routes!(users::what_if))
        .routes(routes!(passwords::log_in))
        .routes(routes!(passwords::set))
        .routes(routes!(properties::list))
        .routes(routes!(properties::show, properties::set, properties::unset))
        .routes(routes!(properties::what_if))
        .routes(routes!(entities::list))
        .routes(routes!(entities::show, entities::put, entities::delete))
        .routes(routes!(oauth::token))
        .routes(routes!(oauth::revoke))
        .routes(routes!(oauth::introspect))
        .routes(routes!(cluster::nodes))
        .routes(routes!(cluster::drain, cluster::resume))
        .routes(routes!(cluster::events))
        .routes(routes!(forward_auth::auth))
        .route("/v1/auth/", any(forward_auth::auth_below))
        .route("/v1/auth/{*path}", any(forward_auth::auth_below))
        .routes(routes!(browser::session))
        .routes(routes!(browser::report))
        .routes(routes!(browser::extend))
        .routes(routes!(browser::sign_in))
        .routes(routes!(browser::sign_out))
        .routes(routes!(client::script))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(health::document))
}

/// The `OpenAPI` 3.1 document, generated from the handlers.
pub fn openapi() -> serde_json::Value {
    describe::complete(&all().split_for_parts().1)
}
