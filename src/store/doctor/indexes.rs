//! Indexes: those of the migrations must be there and usable; others must not cost checks their cheap update.

use sqlx::PgConnection;

use super::expected::expected;
use super::{Answer, Finding, schema};

/// Missing and unusable indexes.
pub(super) async fn expected_indexes(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let expected = expected(schema::version(connection).await?).indexes;
    let rows = sqlx::query!(
        r#"/* doctor_indexes */
        select t.relname as "table!", c.relname as "name!", x.indisvalid and x.indisready as "usable!", c.relkind::text as "kind!"
          from pg_index x
          join pg_class c on c.oid = x.indexrelid
          join pg_class t on t.oid = x.indrelid
          join pg_namespace n on n.oid = t.relnamespace
         where n.nspname = 'tenure'"#
    )
    .fetch_all(connection)
    .await?;
    let mut found: Vec<Finding> = rows
        .iter()
        .filter(|row| !row.usable)
        .map(|row| {
            let advice = if row.kind == "I" {
                format!(
                    "An index of a partition is missing: make it, and attach it: alter index tenure.{} attach partition ...;",
                    row.name
                )
            } else {
                format!("reindex index concurrently tenure.{};", row.name)
            };
            Finding::problem(
                "index_invalid",
                format!("The index {} of tenure.{} is not usable: it costs writes and serves nothing.", row.name, row.table),
                advice,
            )
        })
        .collect();
    found.extend(expected.iter().filter(|made| !rows.iter().any(|row| row.name == made.name && row.table == made.table)).map(
        |made| {
            Finding::problem(
                "index_missing",
                format!("The index {} of tenure.{} is missing.", made.name, made.table),
                made.statement.clone(),
            )
        },
    ));
    Ok(Answer { seen: format!("{} indexes", rows.len()), found })
}

/// Indexes that no migration made. On `sessions`, a column that checks write must be in none: its update would leave the page.
pub(super) async fn further(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let expected = expected(schema::version(connection).await?);
    let rows = sqlx::query!(
        r#"/* doctor_further_indexes */
        select t.relname as "table!", c.relname as "name!", pg_size_pretty(pg_relation_size(c.oid)) as "size!",
               t.relname = 'sessions' and pg_get_indexdef(c.oid) ~ '\m(anchor_at|node|app_state|app_reported_at)\M' as "hot!"
          from pg_index x
          join pg_class c on c.oid = x.indexrelid
          join pg_class t on t.oid = x.indrelid
          join pg_namespace n on n.oid = t.relnamespace
         where n.nspname = 'tenure' and not t.relispartition"#
    )
    .fetch_all(connection)
    .await?;
    let found = rows
        .iter()
        .filter(|row| !expected.indexes.iter().chain(&expected.constraints).any(|made| made.name == row.name))
        .map(|row| {
            let advice = format!("drop index concurrently tenure.{};", row.name);
            if row.hot {
                let message = format!(
                    "The index {} of tenure.sessions ({}) has a column that every check writes: no update stays within its page.",
                    row.name, row.size
                );
                Finding::warning("index_defeats_hot", message, advice)
            } else {
                let message =
                    format!("The index {} of tenure.{} ({}) is none of the migrations'.", row.name, row.table, row.size);
                Finding::note("index_added", message, format!("{advice}  -- if nobody needs it"))
            }
        })
        .collect();
    Ok(Answer { seen: String::new(), found })
}
