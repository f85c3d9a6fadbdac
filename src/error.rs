//! The public error: opaque, with predicates. A session that is over is not an error but a verdict.

use std::borrow::Cow;
use std::fmt;

/// A request that was understood and refused: what, and what to do. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status of the refusal: 400, 401, 403, 404, 409, 412, 422 or 503.
    pub status: u16,
    /// Stable code, for instance `unknown_user`.
    pub code: Cow<'static, str>,
    /// One sentence for people.
    pub message: String,
    /// What to do; empty when there is nothing to say.
    pub advice: String,
    /// How many sessions it is about, for codes that count: `too_many_endings`, `not_confirmed`, `preview_changed`.
    pub count: Option<i64>,
}

/// Why an operation did not happen.
pub struct Error(Box<Cause>);

#[derive(Debug)]
enum Cause {
    Refused(Refusal),
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

/// The result of an operation of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A refusal.
    pub fn refused(status: u16, code: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Refusal { status, code: code.into(), message: message.into(), advice: advice.into(), count: None }.into()
    }

    /// The same refusal, with the number of sessions that it is about.
    #[must_use]
    pub fn with_count(mut self, count: i64) -> Self {
        if let Cause::Refused(refusal) = &mut *self.0 {
            refusal.count = Some(count);
        }
        self
    }

    /// The store cannot know now: PostgreSQL is away, or too slow. Ask again in a second.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Box::new(Cause::Unavailable(source.into())))
    }

    /// A defect, or a database that is not ours.
    pub fn failed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Box::new(Cause::Failed(source.into())))
    }

    /// The refusal, when the request itself was the reason.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &*self.0 {
            Cause::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The stable code of a refusal; `unavailable` or `internal` otherwise.
    pub fn code(&self) -> &str {
        match &*self.0 {
            Cause::Refused(refusal) => &refusal.code,
            Cause::Unavailable(_) => "unavailable",
            Cause::Failed(_) => "internal",
        }
    }

    /// Whether what was named does not exist.
    pub fn is_not_found(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.status == 404)
    }

    /// Whether PostgreSQL was away: the caller must not take it for an ended session (E3).
    pub fn is_unavailable(&self) -> bool {
        matches!(&*self.0, Cause::Unavailable(_))
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self(Box::new(Cause::Refused(refusal)))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cause::Refused(refusal) => f.write_str(&refusal.message),
            Cause::Unavailable(_) => f.write_str("PostgreSQL cannot be reached; ask again in a second."),
            Cause::Failed(source) => write!(f, "The store failed: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Cause::Refused(_) => None,
            Cause::Unavailable(source) | Cause::Failed(source) => Some(source.as_ref()),
        }
    }
}
