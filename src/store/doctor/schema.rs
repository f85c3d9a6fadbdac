//! The schema: is it the one that this program knows, and does everything in it still stand guard.

use sqlx::PgConnection;

use super::expected::{Made, expected};
use super::{Answer, Finding, counted};
use crate::store::migrate;

/// Whether there is anything to examine.
pub(super) async fn present(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"/* doctor_present */
        select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                        where n.nspname = 'tenure' and c.relname = 'sessions') as "present!""#
    )
    .fetch_one(connection)
    .await
}

/// Behind, ahead, or edited after it was applied.
pub(super) async fn history(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let Some(applied) = migrate::applied(&mut *connection).await? else {
        let missing = if present(connection).await? {
            Finding::problem(
                "history_missing",
                "Schema tenure is there, but public.refinery_schema_history is not: nobody knows which migrations were applied.",
                "Restore that table from the backup that the schema came from.",
            )
        } else {
            Finding::problem("no_schema", "The database has no Tenure schema yet.", "Run `tenure migrate` once.")
        };
        return Ok(Answer { seen: String::new(), found: vec![missing] });
    };
    let mut found = Vec::new();
    let mut known = migrate::known();
    known.sort();
    let newest = known.last().map_or(0, |migration| i64::from(migration.version()));
    let applied = match applied {
        Ok(applied) => applied,
        Err(reason) => {
            found.push(Finding::problem(
                "history_unreadable",
                format!("public.refinery_schema_history cannot be read: {reason}."),
                "Restore the row from a backup, or compare with a database that works.",
            ));
            return Ok(Answer { seen: String::new(), found });
        }
    };
    let version = applied.iter().map(|migration| i64::from(migration.version())).max().unwrap_or(0);
    let pending = known.iter().filter(|migration| i64::from(migration.version()) > version).count();
    if pending > 0 {
        found.push(Finding::problem(
            "schema_behind",
            format!(
                "The schema is at version {version} and this program brings {newest}: {} missing.",
                counted(i64::try_from(pending).unwrap_or(i64::MAX), "migration is", "migrations are")
            ),
            "Run `tenure migrate`.",
        ));
    }
    if version > newest {
        found.push(Finding::problem(
            "schema_ahead",
            format!("The schema is at version {version}, newer than this program knows ({newest})."),
            "Run the newer program; going back means restoring a backup.",
        ));
    }
    for ours in known.iter().filter(|migration| i64::from(migration.version()) <= version) {
        let name = format!("V{}__{}", ours.version(), ours.name());
        match applied.iter().find(|migration| migration.version() == ours.version()) {
            None => found.push(Finding::problem(
                "migration_missing",
                format!("{name} was never applied, though later ones were."),
                "Use the release that applied the others, or restore a backup.",
            )),
            Some(theirs) if theirs.checksum() != ours.checksum() || theirs.name() != ours.name() => found.push(Finding::problem(
                "checksum_differs",
                format!(
                    "{name} differs from what was applied: checksum {} in the database, {} in this program.",
                    theirs.checksum(),
                    ours.checksum()
                ),
                "Use the release that applied it. If the row was edited by hand, restore it from a backup.",
            )),
            Some(_) => {}
        }
    }
    Ok(Answer { seen: format!("version {version}"), found })
}

/// Triggers carry the rules that follow plain writes: without one, a lock-out ends nothing.
pub(super) async fn triggers(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let expected = expected(version(connection).await?).triggers;
    let rows = sqlx::query!(
        r#"/* doctor_triggers */
        select c.relname as "table!", t.tgname as "name!", t.tgenabled in ('O', 'A') as "fires!"
          from pg_trigger t
          join pg_class c on c.oid = t.tgrelid
          join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'tenure' and c.relkind in ('r', 'p') and not t.tgisinternal"#
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut found: Vec<Finding> = rows
        .iter()
        .filter(|row| !row.fires)
        .map(|row| {
            Finding::problem(
                "trigger_disabled",
                format!(
                    "The trigger {} of tenure.{} is disabled: what follows from a change of a row does not happen.",
                    row.name, row.table
                ),
                format!("alter table tenure.{} enable trigger {};", row.table, row.name),
            )
        })
        .collect();
    found.extend(expected.iter().filter(|made| !rows.iter().any(|row| row.name == made.name && row.table == made.table)).map(
        |made| {
            Finding::problem(
                "trigger_missing",
                format!("The trigger {} of tenure.{} is missing.", made.name, made.table),
                made.statement.clone(),
            )
        },
    ));
    let role =
        sqlx::query_scalar!(r#"/* doctor_replication_role */ select current_setting('session_replication_role') as "role!""#)
            .fetch_one(connection)
            .await?;
    if role != "origin" {
        found.push(Finding::problem(
            "triggers_bypassed",
            format!("session_replication_role is {role} for connections as this role: no trigger fires."),
            "alter role ... reset session_replication_role; alter database ... reset session_replication_role;",
        ));
    }
    Ok(Answer { seen: format!("{} triggers", rows.len()), found })
}

/// Constraints that are gone, or that were never checked against the rows.
pub(super) async fn constraints(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let expected = expected(version(connection).await?).constraints;
    let rows = sqlx::query!(
        r#"/* doctor_constraints */
        select c.relname as "table!", o.conname as "name!", o.convalidated as "validated!"
          from pg_constraint o
          join pg_class c on c.oid = o.conrelid
          join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'tenure'"#
    )
    .fetch_all(connection)
    .await?;
    let mut found: Vec<Finding> = rows
        .iter()
        .filter(|row| !row.validated)
        .map(|row| {
            Finding::warning(
                "constraint_not_validated",
                format!(
                    "The constraint {} of tenure.{} was never checked against the rows that were there.",
                    row.name, row.table
                ),
                format!("alter table tenure.{} validate constraint {};", row.table, row.name),
            )
        })
        .collect();
    let gone: Vec<&Made> =
        expected.iter().filter(|made| !rows.iter().any(|row| row.name == made.name && row.table == made.table)).collect();
    found.extend(gone.iter().map(|made| {
        Finding::problem(
            "constraint_missing",
            format!("The constraint {} of tenure.{} is missing: rows that must not be are not refused.", made.name, made.table),
            made.statement.clone(),
        )
    }));
    Ok(Answer { seen: format!("{} constraints", rows.len()), found })
}

/// The version the schema is at, to compare it with the migrations applied and no others.
pub(super) async fn version(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    // Without the right to read the history, the newest is the best guess.
    let applied = migrate::applied(connection).await.ok().flatten().and_then(Result::ok);
    Ok(applied.and_then(|applied| applied.iter().map(|migration| i64::from(migration.version())).max()).unwrap_or(i64::MAX))
}
