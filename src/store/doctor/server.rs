//! The server: would a node start here, can it lose what was committed, and does the connection keep what was asked of it.

use std::time::Duration;

use sqlx::postgres::PgListener;
use sqlx::{PgConnection, PgPool};

use super::{Answer, Finding, counted};

/// What nodes refuse at their start, and what may lose commits.
pub(super) async fn settings(connection: &mut PgConnection, allow_lossy: bool) -> Result<Answer, sqlx::Error> {
    let server = sqlx::query!(
        r#"/* doctor_settings */
        select current_setting('server_version') as "name!", current_setting('server_version_num')::int as "version!",
               current_setting('server_encoding') as "encoding!", pg_is_in_recovery() as "standby!",
               current_setting('default_transaction_read_only') as "read_only!", current_setting('fsync') as "fsync!",
               current_setting('full_page_writes') as "full_page_writes!", current_setting('synchronous_commit') as "synchronous_commit!",
               current_setting('max_prepared_transactions')::int as "prepared!""#
    )
    .fetch_one(connection)
    .await?;
    let mut found = Vec::new();
    if server.version < 150_000 {
        found.push(Finding::problem(
            "server_too_old",
            format!("PostgreSQL {} is too old: 15 or newer is needed.", server.name),
            "Upgrade the server.",
        ));
    }
    if server.standby {
        found.push(Finding::problem(
            "standby",
            "The server is a standby: nodes cannot write here.",
            "Point the URL at the primary.",
        ));
    } else if server.read_only == "on" {
        found.push(Finding::problem(
            "read_only",
            "default_transaction_read_only is on: nodes cannot write here.",
            "alter database ... reset default_transaction_read_only; or the same for the role or the server.",
        ));
    }
    if server.encoding != "UTF8" {
        found.push(Finding::problem(
            "encoding",
            format!("The database's encoding is {}, not UTF8.", server.encoding),
            "Make a database with encoding UTF8: create database ... encoding 'UTF8' template template0;",
        ));
    }
    for (code, name, value) in
        [("fsync_off", "fsync", &server.fsync), ("full_page_writes_off", "full_page_writes", &server.full_page_writes)]
    {
        if value == "off" {
            let finding = if allow_lossy { Finding::warning } else { Finding::problem };
            found.push(finding(
                code,
                format!("{name} is off: a crash would bring ended sessions back, or destroy the database."),
                format!("alter system set {name} = on; select pg_reload_conf();"),
            ));
        }
    }
    if server.synchronous_commit == "off" {
        found.push(Finding::warning(
            "synchronous_commit_off",
            "synchronous_commit is off: a crash may bring sessions back that ended in its last second.",
            "alter database ... reset synchronous_commit; or the same for the role or the server. Tenure switches it off by itself where nothing is lost.",
        ));
    }
    if server.prepared > 0 {
        found.push(Finding::problem(
            "max_prepared_transactions",
            format!(
                "max_prepared_transactions is {}: one forgotten prepared transaction would hold back the invalidation log for ever.",
                server.prepared
            ),
            "alter system set max_prepared_transactions = 0; then restart the server.",
        ));
    }
    let role = if server.standby { "standby" } else { "primary" };
    Ok(Answer { seen: format!("PostgreSQL {}, {role}, {}", server.name, server.encoding), found })
}

/// Who works at another isolation level than the rules were written for, unless it asks for its own as nodes do.
pub(super) async fn isolation(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let rows = sqlx::query!(
        r#"/* doctor_isolation */
        select quote_ident(d.datname) as "database?", quote_ident(r.rolname) as "role?", split_part(c.setting, '=', 2) as "level!"
          from pg_db_role_setting s
          left join pg_database d on d.oid = s.setdatabase
          left join pg_roles r    on r.oid = s.setrole
         cross join unnest(s.setconfig) as c (setting)
         where (s.setdatabase = 0 or d.datname = current_database())
           and split_part(c.setting, '=', 1) = 'default_transaction_isolation' and split_part(c.setting, '=', 2) <> 'read committed'
         order by r.rolname nulls first, d.datname nulls first"#
    )
    .fetch_all(connection)
    .await?;
    let found = rows
        .iter()
        .map(|row| {
            let (whose, statement) = match (&row.role, &row.database) {
                (Some(role), Some(database)) => {
                    (format!("the role {role} in this database"), format!("alter role {role} in database {database}"))
                }
                (Some(role), None) => (format!("the role {role}"), format!("alter role {role}")),
                (None, Some(database)) => ("this database".to_owned(), format!("alter database {database}")),
                (None, None) => ("every role".to_owned(), "alter role all".to_owned()),
            };
            Finding::note(
                "default_isolation",
                format!(
                    "default_transaction_isolation is {} for {whose}: nodes ask for read committed themselves, plain SQL does not. Its \
                     changes may fail with 40001 and have to be repeated, and it signs nobody in under a limit of concurrent sessions.",
                    row.level
                ),
                format!("{statement} reset default_transaction_isolation;"),
            )
        })
        .collect();
    Ok(Answer { seen: String::new(), found })
}

/// Whether the pools of the nodes fit: each node has two connections besides its pool, one that polls and one that listens.
pub(super) async fn connections(connection: &mut PgConnection, node_connections: u32) -> Result<Answer, sqlx::Error> {
    let row = sqlx::query!(
        r#"/* doctor_connections */
        select current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
                   - coalesce(current_setting('reserved_connections', true)::bigint, 0) as "server!",
               (select d.datconnlimit::bigint from pg_database d where d.datname = current_database()) as "database!",
               (select r.rolconnlimit::bigint from pg_roles r where r.rolname = current_user) as "role!",
               (select count(*) from pg_stat_activity a where a.datname is not null) as "used!",
               (select count(distinct a.application_name) from pg_stat_activity a
                 where a.datname = current_database() and a.application_name like 'tenure %'
                   and a.application_name not in ('tenure tool', 'tenure migrate')) as "nodes!""#
    )
    .fetch_one(connection)
    .await?;
    let mut found = Vec::new();
    // A negative limit is none.
    let limits =
        [("max_connections", row.server), ("the connection limit of the database", row.database), ("that of the role", row.role)];
    let (name, admitted) =
        limits.into_iter().filter(|(_, limit)| *limit >= 0).min_by_key(|(_, limit)| *limit).unwrap_or(("max_connections", 0));
    let each = i64::from(node_connections) + 2;
    let wanted = row.nodes.max(1) * each + 4;
    if wanted > admitted {
        found.push(Finding::problem(
            "too_few_connections",
            format!(
                "{} of {each} connections and one command need {wanted}, and {name} leaves {admitted}.",
                counted(row.nodes.max(1), "node", "nodes")
            ),
            "Raise the limit (alter system set max_connections = ...; restart), or lower --connections.",
        ));
    } else if row.used * 10 > row.server * 9 {
        found.push(Finding::warning(
            "connections_nearly_used",
            format!("{} of {} connections are in use.", row.used, row.server),
            "Find out by whom (pg_stat_activity), raise max_connections, or lower --connections.",
        ));
    }
    Ok(Answer { seen: format!("{} of {} connections in use", row.used, row.server), found })
}

/// A standby that commits wait for and that is not there, or one that they do not wait for.
pub(super) async fn replication(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let row = sqlx::query!(
        r#"/* doctor_replication */
        select current_setting('synchronous_standby_names') as "names!", current_setting('synchronous_commit') as "commit!",
               pg_has_role(current_user, 'pg_read_all_stats', 'usage') as "sees!",
               count(*) as "standbys!", count(*) filter (where s.sync_state in ('sync', 'quorum')) as "synchronous!"
          from pg_stat_replication s"#
    )
    .fetch_one(connection)
    .await?;
    let mut found = Vec::new();
    if row.names.is_empty() {
        if row.standbys > 0 {
            found.push(Finding::note(
                "asynchronous_standby",
                format!(
                    "{} without synchronous_standby_names: a failover may lose the last commits, endings included.",
                    counted(row.standbys, "standby follows", "standbys follow")
                ),
                "To exclude that, name them: alter system set synchronous_standby_names = 'any 1 (...)';",
            ));
        }
    } else if row.synchronous == 0 && row.sees && matches!(&*row.commit, "on" | "remote_write" | "remote_apply") {
        found.push(Finding::problem(
            "no_synchronous_standby",
            format!("synchronous_standby_names is '{}' and no such standby is connected: every commit waits.", row.names),
            "Bring the standby back, or for the time being: alter system set synchronous_standby_names = ''; select pg_reload_conf();",
        ));
    } else if matches!(&*row.commit, "local" | "off") {
        found.push(Finding::note(
            "commits_do_not_wait",
            format!(
                "synchronous_standby_names is '{}', but synchronous_commit is {}: commits do not wait for it.",
                row.names, row.commit
            ),
            "alter database ... reset synchronous_commit; if a failover must lose nothing.",
        ));
    }
    Ok(Answer { seen: if row.standbys > 0 { counted(row.standbys, "standby", "standbys") } else { String::new() }, found })
}

/// Transactions that were prepared and forgotten: like a long one, only that no restart ends them.
pub(super) async fn prepared(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let names = sqlx::query_scalar!(
        r#"/* doctor_prepared */ select p.gid as "gid!" from pg_prepared_xacts p order by p.prepared limit 10"#
    )
    .fetch_all(connection)
    .await?;
    let found = names
        .first()
        .map(|oldest| {
            Finding::problem(
                "prepared_transactions",
                format!(
                    "{} on this server: the invalidation log and vacuum are held back.",
                    counted(
                        i64::try_from(names.len()).unwrap_or(i64::MAX),
                        "prepared transaction stays",
                        "prepared transactions stay"
                    )
                ),
                format!("In their database: rollback prepared '{}';", oldest.replace('\'', "''")),
            )
        })
        .into_iter()
        .collect();
    Ok(Answer { seen: String::new(), found })
}

/// A pooler between: settings that were asked for and are not in force, another server process at each statement, notifications that do not come.
pub(super) async fn pooler(connection: &mut PgConnection, pool: &PgPool) -> Result<Answer, sqlx::Error> {
    let mut found = Vec::new();
    let set = sqlx::query!(
        r#"/* doctor_session */
        select current_setting('statement_timeout') as "statement!", current_setting('idle_in_transaction_session_timeout') as "idle!",
               current_setting('search_path') as "path!", current_setting('TimeZone') as "zone!", pg_backend_pid() as "pid!",
               pg_is_in_recovery() as "standby!""#
    )
    .fetch_one(&mut *connection)
    .await?;
    if (&*set.statement, &*set.idle, &*set.path, &*set.zone) != ("5s", "5s", "pg_catalog", "UTC") {
        found.push(Finding::problem(
            "settings_not_in_force",
            format!(
                "What connections ask for at their start is not in force: statement_timeout is {}, idle_in_transaction_session_timeout {}, \
                 search_path {}, TimeZone {}.",
                set.statement, set.idle, set.path, set.zone
            ),
            "A pooler drops it. Set it for the role: alter role ... in database ... set statement_timeout = '5s'; the others likewise \
             (5s, pg_catalog, UTC).",
        ));
    }
    // While another connection keeps a transaction open, a pooler has to give the next statement another server process.
    let mut other = pool.begin().await?;
    let theirs =
        sqlx::query_scalar!(r#"/* doctor_other_session */ select pg_backend_pid() as "pid!""#).fetch_one(&mut *other).await?;
    let again =
        sqlx::query_scalar!(r#"/* doctor_same_session */ select pg_backend_pid() as "pid!""#).fetch_one(&mut *connection).await?;
    other.rollback().await?;
    let apart = again == set.pid && theirs != set.pid;
    let heard = set.standby || hears(connection, pool).await?;
    if !apart || !heard {
        let what = if apart {
            "a notification did not reach a listener"
        } else {
            "two statements of one connection met two server processes"
        };
        found.push(Finding::problem(
            "transaction_pooler",
            format!("The URL leads to a pooler in transaction mode: {what}."),
            "Give nodes and `tenure migrate` a URL of the server itself, or of a pooler in session mode.",
        ));
    }
    Ok(Answer { seen: if found.is_empty() { "no transaction pooler between".to_owned() } else { String::new() }, found })
}

/// Whether a notification reaches a listener of this process, within two seconds.
async fn hears(connection: &mut PgConnection, pool: &PgPool) -> Result<bool, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen("tenure_doctor").await?;
    sqlx::query!("/* doctor_notify */ select pg_notify('tenure_doctor', '')").execute(connection).await?;
    Ok(tokio::time::timeout(Duration::from_secs(2), listener.recv()).await.is_ok_and(|heard| heard.is_ok()))
}
