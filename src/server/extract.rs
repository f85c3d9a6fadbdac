//! Bodies, parameters and ids, read strictly: what cannot be read is refused before anything happens, quoting no value.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use uuid::Uuid;

use super::App;
use super::problem::Problem;

/// How long a client may take to send its body.
const BODY_TIME: Duration = Duration::from_secs(5);
/// Deepest JSON nesting.
const DEPTH: usize = 32;

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        // No route with a body has parameters, and a token in a URL would end up in logs (10).
        if request.uri().query().is_some_and(|query| !query.is_empty()) {
            return Err(Problem::new(
                400,
                "invalid_parameter",
                "This path takes no query parameters.",
                "Send everything in the body.",
            ));
        }
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut parts = content_type.split(';').map(str::trim);
        let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
        let utf8 = parts.all(|parameter| {
            let parameter = parameter.to_ascii_lowercase();
            !parameter.starts_with("charset=")
                || matches!(parameter.trim_start_matches("charset=").trim_matches('"'), "utf-8" | "utf8")
        });
        if !json || !utf8 {
            return Err(Problem::new(
                415,
                "unsupported_media_type",
                "The body must be JSON in UTF-8.",
                "Send Content-Type: application/json.",
            ));
        }
        parse(&read(request, app).await?).map(Self)
    }
}

/// The bytes of a body, within its time and size.
pub(super) async fn read(request: Request, app: &App) -> Result<Bytes, Problem> {
    match tokio::time::timeout(BODY_TIME, Bytes::from_request(request, app)).await {
        Err(_) => Err(Problem::new(408, "body_timeout", "The body did not arrive within 5 s.", "Send it again.")),
        Ok(Err(BytesRejection::FailedToBufferBody(rejection))) if rejection.status().as_u16() == 413 => {
            Err(Problem::new(413, "body_too_large", "The body is larger than 128 KiB.", "Send less."))
        }
        Ok(Err(_)) => Err(Problem::new(400, "malformed_body", "The body could not be read.", "Send it again.")),
        Ok(Ok(bytes)) => Ok(bytes),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let malformed =
        |error: &serde_json::Error| Problem::new(400, "malformed_body", &describe(error), "See /openapi.json for the shape.");
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Strict { depth: 0 }.deserialize(&mut deserializer).and_then(|()| deserializer.end()).map_err(|error| malformed(&error))?;
    serde_json::from_slice(bytes).map_err(|error| malformed(&error))
}

/// What serde says, without the values it quotes: they may be secrets.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!("line {}, column {}", error.line(), error.column());
    let named = ["unknown field", "missing field", "duplicate field", "duplicate key", "nested deeper"];
    if named.iter().any(|prefix| text.starts_with(prefix)) {
        let text: String = text.chars().take(200).collect();
        return format!("The body is not valid: {text}.");
    }
    match (error.classify(), text.rsplit_once(", expected ")) {
        (serde_json::error::Category::Data, Some((_, expected))) => {
            format!(
                "The body has a value of the wrong type at {place}: expected {}.",
                expected.split(" at line").next().unwrap_or(expected)
            )
        }
        _ => format!("The body is not valid JSON at {place}."),
    }
}

/// Walks a document once and refuses duplicate keys and deep nesting, which serde would let pass.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH {
            return Err(E::custom(format!("nested deeper than {DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if !keys.insert(key.clone()) {
                let key: String = key.chars().take(64).collect();
                return Err(serde::de::Error::custom(format!("duplicate key {key:?}")));
            }
            entries.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// Query parameters; unknown and repeated ones are refused.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, app).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => {
                let text = rejection.body_text();
                let known =
                    text.split(": ").find(|part| part.starts_with("unknown field") || part.starts_with("duplicate field"));
                let what = known.map_or_else(
                    || "The query string cannot be read.".to_owned(),
                    |part| {
                        format!(
                            "The query string has an {}.",
                            part.chars()
                                .take(300)
                                .collect::<String>()
                                .replace("field", "parameter")
                                .replace("duplicate", "repeated")
                        )
                    },
                );
                Err(Problem::new(
                    400,
                    "invalid_parameter",
                    &what.replace("an repeated", "a repeated"),
                    "Correct it and repeat the request.",
                ))
            }
        }
    }
}

/// A session id from the path; what is no UUID names no session.
pub(super) struct SessionId(pub(super) Uuid);

impl FromRequestParts<App> for SessionId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct Ids {
            id: String,
        }
        let id = Path::<Ids>::from_request_parts(parts, app).await.ok().and_then(|Path(ids)| Uuid::try_parse(&ids.id).ok());
        id.map(Self).ok_or_else(|| {
            Problem::new(
                404,
                "unknown_session",
                "There is no session of this id, live or retained.",
                "List sessions to find its id.",
            )
        })
    }
}

/// A name from the path: of a user or property.
pub(super) struct Name(pub(super) String);

impl FromRequestParts<App> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, app).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(_) => {
                Err(Problem::new(400, "malformed_path", "The path is not valid UTF-8.", "Percent-encode the name as UTF-8."))
            }
        }
    }
}
