//! The script that pages embed.

use std::sync::LazyLock;

use axum::http::HeaderMap;
use axum::response::Response;

use super::super::asset::Asset;

static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("text/javascript; charset=utf-8", include_str!("../assets/client.js")));

/// The script for pages: "Extend your session", and what to do when it is over.
#[utoipa::path(get, operation_id = "client_script", path = "/client.js", security(()), responses(
    (status = 200, body = String, content_type = "text/javascript"), (status = 304, description = "The browser's copy is the current one")))]
pub(super) async fn script(headers: HeaderMap) -> Response {
    SCRIPT.answer(&headers)
}
