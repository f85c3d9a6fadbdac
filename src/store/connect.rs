//! Connections: what is asked of every session with PostgreSQL, and which databases are refused.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};

use super::Store;

/// How to connect.
#[derive(Clone)]
pub struct ConnectSettings {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// Connections of the pool, 2 to 200.
    pub connections: u32,
    /// Name of the node for `sessions.node` and events; `None` for tools.
    pub node: Option<String>,
    /// Accepts an unencrypted link to another machine, for a network that is private by other means.
    pub allow_plaintext: bool,
    /// Accepts a server that may lose or tear committed changes in a crash (`fsync` off).
    pub allow_lossy: bool,
}

impl ConnectSettings {
    /// Settings of a node of this name, with 10 connections and no concession.
    pub fn new(url: impl Into<String>, node: impl Into<String>) -> Self {
        Self { url: url.into(), connections: 10, node: Some(node.into()), allow_plaintext: false, allow_lossy: false }
    }
}

/// Why no connection was made; the URL, which may hold a password, is never part of it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not a PostgreSQL URL.
    #[error("The database URL cannot be read: {0}. Write postgres://USER:PASSWORD@HOST:PORT/DATABASE.")]
    Url(String),
    /// A remote server without verified encryption.
    #[error(
        "The database is on another machine ({0}) and the URL does not ask for sslmode=verify-full. \
         Add ?sslmode=verify-full (and sslrootcert=... for a private authority), or say --allow-plaintext-database on a private network."
    )]
    Plaintext(String),
    /// A number of connections outside its range.
    #[error("{0} database connections are not possible: choose 2 to 200 per node.")]
    Connections(u32),
    /// The server did not answer, or refused.
    #[error("PostgreSQL at {place} cannot be used: {reason}")]
    Refused {
        /// Host and port.
        place: String,
        /// What it said.
        reason: String,
    },
    /// A server this store does not run on.
    #[error("{0}")]
    Unsuitable(String),
}

impl Store {
    /// Connects, and refuses a server that cannot keep the store's promises (FAULTS, bad input 89 to 98).
    pub async fn connect(settings: &ConnectSettings) -> Result<Self, ConnectError> {
        let store = Self::connect_lazily(settings)?;
        // connect_probe
        let server = sqlx::query!(
            r#"/* connect_probe */
            select current_setting('server_version_num')::int as "version!", current_setting('server_encoding') as "encoding!",
                   pg_is_in_recovery() as "standby!", current_setting('fsync') as "fsync!",
                   current_setting('full_page_writes') as "full_page_writes!",
                   current_setting('max_prepared_transactions')::int as "prepared!",
                   current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as "connections!""#
        )
        .fetch_one(&store.pool)
        .await
        .map_err(|error| store.refused(&error))?;

        let unsuitable = |message: String| Err(ConnectError::Unsuitable(message));
        if server.version < 150_000 {
            return unsuitable(format!("PostgreSQL {} is too old: 15 or newer is needed.", server.version / 10_000));
        }
        if server.standby {
            return unsuitable("The server is a standby: point the URL at the primary.".to_owned());
        }
        if server.encoding != "UTF8" {
            return unsuitable(format!("The database's encoding is {}: make one with encoding UTF8.", server.encoding));
        }
        if (server.fsync == "off" || server.full_page_writes == "off") && !settings.allow_lossy {
            return unsuitable(
                "fsync or full_page_writes is off: a crash would bring ended sessions back. Switch both on, or say --allow-lossy-database.".to_owned(),
            );
        }
        if server.prepared > 0 {
            return unsuitable(
                "max_prepared_transactions is above 0: one forgotten prepared transaction would hold back the invalidation log for ever. \
                 Set it to 0 and restart the server."
                    .to_owned(),
            );
        }
        if settings.connections > u32::try_from(server.connections).unwrap_or(0) {
            return unsuitable(format!(
                "The server admits {} connections and this node alone wants {}. Raise max_connections, or lower --connections.",
                server.connections, settings.connections
            ));
        }
        store.primary.store(true, Ordering::Relaxed);
        Ok(store)
    }

    /// The server did not answer, or refused.
    pub(super) fn refused(&self, error: &sqlx::Error) -> ConnectError {
        let options = self.pool.connect_options();
        ConnectError::Refused {
            place: format!("{}:{}", options.get_host(), options.get_port()),
            reason: match error {
                sqlx::Error::PoolTimedOut => "no answer within 5 s; is it running, and is the address right?".to_owned(),
                error => error.to_string(),
            },
        }
    }

    /// A store that connects when it is first used, for programs that start before their database.
    pub fn connect_lazily(settings: &ConnectSettings) -> Result<Self, ConnectError> {
        if !(2..=200).contains(&settings.connections) {
            return Err(ConnectError::Connections(settings.connections));
        }
        if !settings.url.starts_with("postgres://") && !settings.url.starts_with("postgresql://") {
            return Err(ConnectError::Url("it does not begin with postgres://".to_owned()));
        }
        let options = PgConnectOptions::from_str(&settings.url).map_err(|error| ConnectError::Url(kind_of(&error)))?;
        let host = options.get_host().to_owned();
        let local = options.get_socket().is_some()
            || matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1" | "[::1]")
            || host.starts_with('/');
        if !local && !settings.allow_plaintext && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull) {
            return Err(ConnectError::Plaintext(host));
        }
        let options = options
            .application_name(&format!("tenure {}", settings.node.as_deref().unwrap_or("tool")))
            // 5 s bounds every statement that writes due_at, which the lowering job relies on.
            .options([
                ("statement_timeout", "5000"),
                ("idle_in_transaction_session_timeout", "5000"),
                ("TimeZone", "UTC"),
                ("search_path", "pg_catalog"),
                // Statements judge rows again after waiting for their locks, which only this level lets them see.
                ("default_transaction_isolation", "read committed"),
            ]);
        let primary = Arc::new(AtomicBool::new(false));
        let known_primary = Arc::clone(&primary);
        let pool = PgPoolOptions::new()
            .max_connections(settings.connections)
            .acquire_timeout(Duration::from_secs(if settings.node.is_some() { 2 } else { 5 }))
            // An address may move to a standby after the start, which `connect` has looked at.
            .after_connect(move |connection, _| {
                let looked = known_primary.load(Ordering::Relaxed);
                Box::pin(async move {
                    let standby = looked
                        && sqlx::query_scalar("/* connect_standby */ select pg_is_in_recovery()").fetch_one(connection).await?;
                    if standby { Err(sqlx::Error::Protocol("the server is a standby".to_owned())) } else { Ok(()) }
                })
            })
            // A ping for every statement would double its cost; one for a connection that has rested is cheap.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > Duration::from_secs(1) {
                        sqlx::Connection::ping(connection).await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Ok(Self { pool, node: settings.node.clone(), primary })
    }
}

/// What is wrong with a URL, without quoting it.
fn kind_of(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Configuration(source) => {
            let text = source.to_string();
            match (text.split_once('"'), text.rsplit_once('"')) {
                (Some((before, _)), Some((_, after))) => format!("{before}(left out here){after}"),
                _ => text,
            }
        }
        _ => "it is malformed".to_owned(),
    }
}
