//! Rehearsals (X2): what a change would do to the live sessions, read in one snapshot and without a lock; and the guard with which
//! the change does that or nothing.

use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use super::properties::Property;
use super::users::User;
use super::{Actor, Store};
use crate::error::Result;
use crate::session::Kind;

/// More endings than this at once need force (P5).
const MANY: i64 = 10_000;

/// What a preview said, for the change to do just that: 409 `preview_changed` otherwise, and nothing is changed. Without either
/// part nothing is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Expect {
    /// How many live sessions end now.
    pub expect: Option<i64>,
    /// What else the preview rested on: all overrides of properties, as a digest.
    pub expect_basis: Option<String>,
}

/// How many live sessions of a kind, and what becomes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct KindForecast {
    /// Their kind.
    pub kind: Kind,
    /// They end with the change.
    pub ends_now: i64,
    /// Their deadline comes nearer.
    pub ends_earlier: i64,
    /// Their deadline moves away.
    pub ends_later: i64,
    /// Their deadline stays.
    pub unchanged: i64,
}

/// One session as it is and as it would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ForecastExample {
    /// Session id.
    pub id: uuid::Uuid,
    /// Its kind.
    pub kind: Kind,
    /// Its user; null for guests.
    pub user: Option<String>,
    /// `ends_now`, `ends_earlier` or `ends_later`.
    pub effect: String,
    /// Its deadline as it is.
    pub expires_at: chrono::DateTime<chrono::Utc>,
    /// Why it would end then.
    pub reason: String,
    /// Its deadline after the change; the instant of the preview for a session that ends with it.
    pub would_expire_at: chrono::DateTime<chrono::Utc>,
    /// Why it would end then.
    pub would_reason: String,
}

/// What a change of a property would do.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct PropertyForecast {
    /// The property as it would be, with its warnings.
    pub property: Property,
    /// The kinds whose deadlines the change concerns, as far as they have live sessions; others stay as they are.
    pub kinds: Vec<KindForecast>,
    /// Live sessions that end with the change.
    pub ends_now: i64,
    /// Live sessions that end earlier than they would have.
    pub ends_earlier: i64,
    /// Live sessions that end later than they would have.
    pub ends_later: i64,
    /// For each kind and effect its oldest and its newest session.
    pub examples: Vec<ForecastExample>,
    /// Whether the change needs `force`: it breaks a relation, or ends more than 10,000 live sessions.
    pub needs_force: bool,
    /// Sent with the change it does just this, or nothing.
    pub guard: Expect,
}

/// How many live sessions of a kind were last used on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct PlaceForecast {
    /// Their kind.
    pub kind: Kind,
    /// The node; null before the first activity.
    pub node: Option<String>,
    /// How many.
    pub sessions: i64,
}

/// What a change of a user would do.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct UserForecast {
    /// The user as the change would leave it: somebody who becomes inactive is locked out as well, unless a property says
    /// otherwise (U2).
    pub user: User,
    /// Live sessions that end with the change.
    pub ends_now: i64,
    /// The same by kind and node.
    pub sessions: Vec<PlaceForecast>,
    /// The newest of them, at most five.
    pub examples: Vec<ForecastExample>,
    /// Sent with the change it does just this, or nothing.
    pub guard: Expect,
}

impl Store {
    /// What changing `active` or `locked_out` of a user would do; `None` when there is no such user.
    pub async fn rehearse_user(
        &self,
        name: &str,
        active: Option<bool>,
        locked_out: Option<bool>,
    ) -> Result<Option<UserForecast>> {
        let mut transaction = self.begin_rehearsal().await?;
        let row = sqlx::query!(
            r#"/* user_rehearsal */
            select name as "name!", display_name, active as "active!", locked_out as "locked_out!", roles as "roles!",
                   homepage_refresh_minutes, sessions as "sessions!: Json<Vec<PlaceForecast>>",
                   examples as "examples!: Json<Vec<ForecastExample>>"
              from tenure.rehearse_user($1, $2, $3)"#,
            name,
            active,
            locked_out
        )
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.rollback().await?;
        Ok(row.map(|row| {
            let ends_now = row.sessions.iter().map(|place| place.sessions).sum();
            UserForecast {
                user: User {
                    name: row.name,
                    display_name: row.display_name,
                    active: row.active,
                    locked_out: row.locked_out,
                    roles: row.roles,
                    homepage_refresh_minutes: row.homepage_refresh_minutes,
                },
                ends_now,
                sessions: row.sessions.0,
                examples: row.examples.0,
                guard: Expect { expect: Some(ends_now), expect_basis: None },
            }
        }))
    }

    /// What setting a property would do, or without a value restoring its default. Refused like the change itself, except for
    /// what force accepts.
    pub async fn rehearse_property(&self, name: &str, value: Option<&str>) -> Result<PropertyForecast> {
        let mut transaction = self.begin_rehearsal().await?;
        let after = sqlx::query!(
            r#"/* property_rehearsal */
            select rows_after as "rows!", basis as "basis!", breaks_relation as "breaks_relation!" from tenure.rehearse_property($1, $2)"#,
            name,
            value
        )
        .fetch_one(&mut *transaction)
        .await?;
        let property = super::properties::under(&mut *transaction, Some(name), Some(&after.rows)).await?.pop();
        let counts = sqlx::query!(
            r#"/* property_rehearsal_count */
            select kind as "kind!", effect as "effect!", sessions as "sessions!", examples as "examples: Json<Vec<ForecastExample>>"
              from tenure.rehearse_policies($1)"#,
            after.rows
        )
        .fetch_all(&mut *transaction)
        .await?;
        transaction.rollback().await?;

        let mut kinds: Vec<KindForecast> = Vec::new();
        let mut examples = Vec::new();
        for row in counts {
            let kind = row.kind.parse().map_err(crate::error::Error::failed)?;
            if kinds.last().is_none_or(|last| last.kind != kind) {
                kinds.push(KindForecast { kind, ends_now: 0, ends_earlier: 0, ends_later: 0, unchanged: 0 });
            }
            if let Some(last) = kinds.last_mut() {
                *match &*row.effect {
                    "ends_now" => &mut last.ends_now,
                    "ends_earlier" => &mut last.ends_earlier,
                    "ends_later" => &mut last.ends_later,
                    _ => &mut last.unchanged,
                } += row.sessions;
            }
            examples.extend(row.examples.into_iter().flat_map(|Json(examples)| examples));
        }
        let total = |of: fn(&KindForecast) -> i64| kinds.iter().map(of).sum();
        let ends_now = total(|kind| kind.ends_now);
        Ok(PropertyForecast {
            // The rehearsal has refused a name that is not one.
            property: property.ok_or_else(|| crate::error::Error::failed("a rehearsed property is not in the catalogue"))?,
            ends_now,
            ends_earlier: total(|kind| kind.ends_earlier),
            ends_later: total(|kind| kind.ends_later),
            kinds,
            examples,
            needs_force: after.breaks_relation || ends_now > MANY,
            guard: Expect { expect: Some(ends_now), expect_basis: Some(after.basis) },
        })
    }

    /// One snapshot for all that a preview reads. It writes nothing, and may run as long as the change itself.
    pub(super) async fn begin_rehearsal(&self) -> Result<sqlx::Transaction<'static, sqlx::Postgres>> {
        let mut transaction = self.pool.begin_with("begin isolation level repeatable read, read only").await?;
        sqlx::query("/* begin_rehearsal */ set local statement_timeout = 120000").execute(&mut *transaction).await?;
        Ok(transaction)
    }

    /// A transaction for a change that may end many sessions, guarded by what its preview said.
    pub(super) async fn begin_guarded(
        &self,
        actor: Actor<'_>,
        force: bool,
        expect: &Expect,
    ) -> Result<sqlx::Transaction<'static, sqlx::Postgres>> {
        let mut transaction = self.begin_long(actor, force).await?;
        if *expect != Expect::default() {
            sqlx::query!(r#"/* expect */ select tenure.expect($1, $2) as "set!""#, expect.expect, expect.expect_basis.as_deref())
                .fetch_one(&mut *transaction)
                .await?;
        }
        Ok(transaction)
    }
}
