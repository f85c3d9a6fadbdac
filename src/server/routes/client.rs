//! The script that pages embed. It is part of the program, so it always fits the node that serves it.

use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

const SCRIPT: &str = include_str!("../assets/client.js");

/// Names the script's content.
static TAG: LazyLock<String> = LazyLock::new(|| format!("\"{}\"", URL_SAFE_NO_PAD.encode(&Sha256::digest(SCRIPT)[..12])));

/// The script for pages: "Extend your session", and what to do when it is over.
#[utoipa::path(get, operation_id = "client_script", path = "/client.js", security(()), responses(
    (status = 200, body = String, content_type = "text/javascript"), (status = 304, description = "The browser's copy is the current one")))]
pub(super) async fn script(headers: HeaderMap) -> Response {
    let mut known =
        headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).flat_map(|tags| tags.split(','));
    // A browser may keep it, but asks each time: page and node change together.
    let told = [(ETAG, TAG.as_str()), (CACHE_CONTROL, "no-cache")];
    if known.any(|tag| ["*", TAG.as_str()].contains(&tag.trim().trim_start_matches("W/"))) {
        return (StatusCode::NOT_MODIFIED, told).into_response();
    }
    (told, [(CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT).into_response()
}
