//! Forms that change something: from a page of this very origin, and of bounded size.
//!
//! There is no token in the forms. It would guard against a browser that sends a form of another site along with our cookie, and
//! there every browser in use says where the form comes from; one that says nothing is refused.

use std::fmt::Write as _;

use axum::body::Body;
use axum::extract::{FromRequest, Request};

use super::super::App;
use super::super::extract::read;
use super::super::problem::Problem;
use super::super::same_origin::is_same_origin;
use super::failure::Failure;

/// The fields of a form, in their order.
#[derive(Debug)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// The first value of a field; empty without one.
    pub(super) fn one<'a>(&'a self, name: &'a str) -> &'a str {
        self.all(name).next().unwrap_or_default()
    }

    /// Every value of a field.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

impl FromRequest<App> for Form {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        if !is_same_origin(request.headers()) {
            return Err(Problem::new(
                403,
                "cross_site_request",
                "The form does not come from a page of this console, so nothing was done.",
                "Go back to the page and send it from there; a proxy must pass Host, Origin and Sec-Fetch-Site.",
            )
            .into());
        }
        let (parts, body) = request.into_parts();
        let head = Request::from_parts(parts.clone(), ());
        let bytes = read(Request::from_parts(parts, body), app).await?;
        let form = axum::Form::<Vec<(String, String)>>::from_request(head.map(|()| Body::from(bytes)), app).await;
        let fields = form.map_err(|_| Problem::new(400, "malformed_body", "The form cannot be read.", "Send it again."))?.0;
        Ok(Self(fields))
    }
}

/// A value as part of a query string.
pub(super) fn encoded(value: &str) -> String {
    value.bytes().fold(String::with_capacity(value.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn what_is_put_into_a_query_string_stays_one_value() {
        assert_eq!(encoded("/console/sessions?user=a&b=ü"), "/console/sessions%3Fuser%3Da%26b%3D%C3%BC");
    }
}
