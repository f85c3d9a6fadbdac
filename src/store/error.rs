//! From driver errors to the store's: a refusal made by the database keeps its code, an absent database is `unavailable`.

use std::future::Future;

use crate::error::{Error, Refusal};

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_) => Self::unavailable(error),
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                if let Some(status) = code.strip_prefix("TN").and_then(|status| status.parse().ok()) {
                    return Refusal {
                        status,
                        code: database.constraint().unwrap_or("refused").to_owned().into(),
                        message: database.message().to_owned(),
                        advice: hint(database.as_ref()),
                        count: count(database.as_ref()),
                    }
                    .into();
                }
                match &*code {
                    "23503" if database.constraint() == Some("sessions_user_id_fkey") => {
                        Self::refused(409, "user_has_sessions", "The user still has live sessions.", "End them first.")
                    }
                    "23503" | "23505" if let Some(refusal) = database.constraint().and_then(super::entities::taken) => refusal,
                    "23505" if database.constraint() == Some("api_keys_name_key") => Self::refused(
                        409,
                        "key_exists",
                        "There is a key of this name already.",
                        "Choose another name, or revoke the old key first.",
                    ),
                    // PostgreSQL writes numbers out: 1e300 takes 301 digits.
                    "23514" if database.constraint() == Some("session_attributes_attributes_check") => Self::refused(
                        422,
                        "invalid_attributes",
                        "attributes: written out they are more than 131,072 bytes.",
                        "Store large values elsewhere and keep a reference.",
                    ),
                    // Connection exceptions, resources, shutdown and start-up, cancelled by a time-out, lock not available.
                    code if code.starts_with("08")
                        || code.starts_with("53")
                        || code.starts_with("57")
                        || matches!(code, "55P03" | "25006" | "40001" | "40P01") =>
                    {
                        Self::unavailable(error)
                    }
                    _ => Self::failed(error),
                }
            }
            _ => Self::failed(error),
        }
    }
}

fn hint(error: &dyn sqlx::error::DatabaseError) -> String {
    error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|error| error.hint()).unwrap_or_default().to_owned()
}

/// The number that `tenure.refuse` puts beside some refusals.
fn count(error: &dyn sqlx::error::DatabaseError) -> Option<i64> {
    error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?.detail()?.parse().ok()
}

/// Runs an operation again after a deadlock or serialization failure: PostgreSQL rolled it back and asks for just that.
pub(super) async fn retrying<T, E, F, Fut>(mut run: F) -> Result<T, Error>
where
    E: Into<Error>,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    const ATTEMPTS: usize = 5;
    let mut attempt = 1;
    loop {
        match run().await.map_err(Into::into) {
            Err(error) if attempt < ATTEMPTS && rolled_back(&error) => {
                attempt += 1;
                metrics::counter!("tenure_statement_retries_total").increment(1);
            }
            result => return result,
        }
    }
}

fn rolled_back(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<sqlx::Error>());
    matches!(source, Some(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("40001" | "40P01")))
}
