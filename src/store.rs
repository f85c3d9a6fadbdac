//! PostgreSQL, behind typed calls: the only room that speaks SQL.
//!
//! Every statement begins with a comment naming it, as `pg_stat_statements` and the logs will show it.

mod activity;
mod attributes;
mod bulk;
mod connect;
mod control;
#[cfg(feature = "cli")]
mod doctor;
mod entities;
mod error;
mod events;
#[cfg(feature = "cli")]
mod export;
mod follow;
#[cfg(feature = "cli")]
mod foreign;
#[cfg(feature = "cli")]
mod import;
mod keys;
mod list;
mod migrate;
mod nodes;
mod oauth;
mod overview;
mod properties;
mod rehearse;
mod revision;
mod rows;
mod sessions;
mod sign_in;
mod sweep;
mod users;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::error::Result;

pub use activity::{Flushed, OpenTransaction};
pub use attributes::{AttributeChange, Attributes};
pub use bulk::{BulkExample, BulkForecast, BulkOrder, BulkReason};
pub use connect::{ConnectError, ConnectSettings};
pub use control::{Applied, Control, PollAnswer};
#[cfg(feature = "cli")]
pub use doctor::{Area, Examination, ExamineSettings, Finding, Severity, examine};
pub use entities::{Client, Entity, EntityPut};
pub use events::{Event, EventFilter};
#[cfg(feature = "cli")]
pub use export::{ExportSnapshot, Section};
pub use follow::{EventPosition, EventRead, EventSnapshot};
#[cfg(feature = "cli")]
pub use foreign::{FOREIGN_DATA, ForeignDatabase, ForeignFormat, ForeignRow, ForeignUser};
#[cfg(feature = "cli")]
pub use import::{ForeignFacts, ImportClaim, ImportRow, ImportSession, ImportWay, LANES, Outcome, PropertyWay};
pub use keys::KeyRecord;
pub use list::{Bulk, ListFilter, Page, StateFilter};
pub use migrate::{MigrateError, Migrated, SchemaStatus, migrate, migrate_within, status};
#[cfg(feature = "cli")]
pub use migrate::{create_database, drop_database};
pub use nodes::{Held, NodeRecord, Registration};
pub use oauth::{Introspected, Redeemed, TokenGrant};
pub use overview::{HOURS, Hours, Overview};
pub use properties::Property;
pub use rehearse::{Expect, ForecastExample, KindForecast, PlaceForecast, PropertyForecast, UserForecast};
pub use revision::Revision;
pub use rows::LiveRow;
pub use sessions::{CheckOutcome, Looked, SignedOut};
pub use sign_in::{NewSession, Once, SignIn, SignedIn};
pub use sweep::{Lowered, Retired, SweepOutlook, SweepPosition, Swept};
pub use users::{User, UserPatch};

/// A handle to the database: a pool, and the name of the node that uses it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    node: Option<String>,
    /// The server was a primary when it was first looked at: every further connection must find one too.
    primary: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

/// Who acts, for the events and `ended_by`: the name of an API key, a console user, or `tenure`.
#[derive(Debug, Clone, Copy)]
pub struct Actor<'a>(pub &'a str);

impl Store {
    /// The pool, for tests and tools that need statements of their own.
    #[cfg(any(test, feature = "test-util"))]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The database's time.
    pub async fn time(&self) -> Result<DateTime<Utc>> {
        Ok(sqlx::query_scalar!(r#"/* now */ select tenure.now() as "now!""#).fetch_one(&self.pool).await?)
    }

    /// How many statements run at once.
    pub fn connections(&self) -> usize {
        self.pool.options().get_max_connections() as usize
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
