//! Files that browsers get. They are part of the program, so they always fit the node that serves them.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// A file and the name of its content.
pub(super) struct Asset {
    content: &'static str,
    content_type: &'static str,
    tag: String,
}

impl Asset {
    pub(super) fn new(content_type: &'static str, content: &'static str) -> Self {
        Self { content, content_type, tag: format!("\"{}\"", URL_SAFE_NO_PAD.encode(&Sha256::digest(content)[..12])) }
    }

    /// The file, unless the browser says that it has this very one.
    pub(super) fn answer(&self, headers: &HeaderMap) -> Response {
        let tag = self.tag.as_str();
        let mut known =
            headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).flat_map(|tags| tags.split(','));
        // A browser may keep it, but asks each time: page and node change together.
        let told = [(ETAG, tag), (CACHE_CONTROL, "no-cache")];
        if known.any(|known| ["*", tag].contains(&known.trim().trim_start_matches("W/"))) {
            return (StatusCode::NOT_MODIFIED, told).into_response();
        }
        (told, [(CONTENT_TYPE, self.content_type)], self.content).into_response()
    }
}
