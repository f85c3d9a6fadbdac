//! Properties: the catalogue with effective values, and plain writes whose consequences are the trigger's.

use serde::Serialize;

use super::error::retrying;
use super::{Actor, Expect, Store};
use crate::error::Result;
use crate::session::{Origin, Origins};

/// PROPERTY as documents show it.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Property {
    /// Name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Effective value; null when unset.
    pub value: Option<String>,
    /// `integer`, `string` or `boolean`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Unit; null for booleans and choices.
    pub unit: Option<String>,
    /// Value without a row; null when unset.
    pub default: Option<String>,
    /// `row`, `default` or `release_profile`.
    pub source: String,
    /// What the value deserves to hear.
    pub warnings: Vec<String>,
}

impl Store {
    /// Every property, or the one named.
    pub async fn properties(&self, name: Option<&str>) -> Result<Vec<Property>> {
        under(&self.pool, name, None).await
    }

    /// Effective values and their sources, for explanations.
    pub async fn origins(&self) -> Result<Origins> {
        let source = |source: &str| match source {
            "row" => "row",
            "release_profile" => "release_profile",
            _ => "default",
        };
        Ok(self
            .properties(None)
            .await?
            .into_iter()
            .map(|property| (property.name, Origin { value: property.value, source: source(&property.source) }))
            .collect())
    }

    /// Sets a property, or without a value removes its row, so that its default is in force again (P1, P3); `force` accepts a life
    /// span not above its idle limit, and more than 10,000 endings; `expect` refuses what was previewed otherwise.
    pub async fn change_property(
        &self,
        name: &str,
        value: Option<&str>,
        force: bool,
        expect: &Expect,
        actor: Actor<'_>,
    ) -> Result<()> {
        retrying(|| self.try_change_property(name, value, force, expect, actor)).await
    }

    async fn try_change_property(
        &self,
        name: &str,
        value: Option<&str>,
        force: bool,
        expect: &Expect,
        actor: Actor<'_>,
    ) -> Result<()> {
        let mut transaction = self.begin_guarded(actor, force, expect).await?;
        let change = match value {
            Some(value) => sqlx::query!(
                "/* property_set */
                insert into tenure.properties (name, value) values ($1, $2)
                on conflict (name) do update set value = excluded.value",
                name,
                value
            ),
            None => sqlx::query!("/* property_unset */ delete from tenure.properties where name = $1", name),
        };
        change.execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// The instant so many minutes from now by the database's clock, as `tenure.maintenance_at` is written.
    pub async fn instant_in(&self, minutes: i32) -> Result<String> {
        Ok(sqlx::query_scalar!(
            r#"/* instant_in */
            select to_char((tenure.now() + make_interval(mins => $1)) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as "at!""#,
            minutes
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// A transaction for a change that may end many sessions: it may run for two minutes.
    pub(super) async fn begin_long(&self, actor: Actor<'_>, force: bool) -> Result<sqlx::Transaction<'static, sqlx::Postgres>> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query!(
            r#"/* begin_long */ select tenure.act_as($1, $2, $3) as "set!", set_config('statement_timeout', '120000', true) as "timeout!""#,
            actor.0,
            self.node,
            force
        )
        .fetch_one(&mut *transaction)
        .await?;
        Ok(transaction)
    }
}

/// Every property, or the one named, under other overrides than those in force when they are given.
pub(super) async fn under(
    executor: impl sqlx::PgExecutor<'_>,
    name: Option<&str>,
    rows: Option<&serde_json::Value>,
) -> Result<Vec<Property>> {
    Ok(sqlx::query_as!(
        Property,
        r#"/* property_list */
        select c.name, c.description, tenure.property_value(c.name, r.rows) as value, c.type as "kind", c.unit,
               tenure.property_value(c.name, r.rows - c.name) as "default",
               case when r.rows ? c.name then 'row'
                    when c.name = 'glide.integration.session_timeout' then 'release_profile'
                    else 'default' end as "source!",
               tenure.property_warnings(c.name, r.rows) as "warnings!"
          from tenure.property_catalogue c
         cross join (select coalesce($2::jsonb, tenure.property_rows()) as rows offset 0) r
         where $1::text is null or c.name = $1
         order by c.name"#,
        name,
        rows
    )
    .fetch_all(executor)
    .await?)
}
