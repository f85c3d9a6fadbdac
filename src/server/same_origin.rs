//! Keeps other sites from acting through a browser that holds our cookie.

use axum::extract::FromRequestParts;
use axum::http::header::{HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::App;
use super::problem::Problem;

/// Says that a script made the request: a form cannot, and a script of another origin is asked for a permission that no route
/// gives.
pub(super) const CLIENT: HeaderName = HeaderName::from_static("x-tenure-client");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A request that a page of this very origin made; any other is refused (28).
pub(super) struct SameOrigin;

impl FromRequestParts<App> for SameOrigin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        if is_same_origin(&parts.headers) && single(&parts.headers, &CLIENT).is_ok_and(|value| value == Some("1")) {
            return Ok(Self);
        }
        Err(Problem::new(
            403,
            "cross_site_request",
            "The request does not come from a page of this origin.",
            "Send it from a script of the same origin with X-Tenure-Client: 1; a proxy must pass Host, Origin and Sec-Fetch-Site.",
        ))
    }
}

/// Whether a page of this very origin sent it: the browser's own word where it gives one, which no script can set; else the
/// origin must be the host that was asked.
pub(super) fn is_same_origin(headers: &HeaderMap) -> bool {
    match single(headers, &SEC_FETCH_SITE) {
        Ok(Some(site)) => site == "same-origin",
        Ok(None) => match (single(headers, &ORIGIN), single(headers, &HOST)) {
            (Ok(Some(origin)), Ok(Some(host))) => names(origin, host),
            _ => false,
        },
        Err(()) => false,
    }
}

/// Whether an origin is that of a host. A proxy may have taken the TLS away, so the scheme says nothing; its default port does.
fn names(origin: &str, host: &str) -> bool {
    let (authority, port) = match origin.split_once("://") {
        Some(("https", authority)) => (authority, ":443"),
        Some(("http", authority)) => (authority, ":80"),
        _ => return false,
    };
    let bare = |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
    !authority.is_empty() && bare(authority) == bare(host)
}

/// The one value of a header; an error when there are more, or it is not text.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter().map(HeaderValue::to_str);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(value)), None) => Ok(Some(value)),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn an_origin_names_its_host_whatever_took_the_tls_away() {
        for (origin, host) in [
            ("https://app.example", "app.example"),
            ("https://app.example", "APP.example:443"),
            ("http://127.0.0.1:7080", "127.0.0.1:7080"),
            ("http://[::1]:7080", "[::1]:7080"),
        ] {
            assert!(names(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("null", "app.example"),
            ("", ""),
            ("https://", ""),
            ("https://evil.example", "app.example"),
            ("https://app.example.evil.example", "app.example"),
            ("https://app.example:8443", "app.example"),
            ("https://app.example", "app.example:8443"),
            ("file://app.example", "app.example"),
            ("https://app.example/", "app.example"),
        ] {
            assert!(!names(origin, host), "{origin} {host}");
        }
    }
}
