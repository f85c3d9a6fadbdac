//! Dead rows, and who keeps them: a check is an update, so hot rows need a vacuum that gets through.

use sqlx::PgConnection;

use super::{Answer, Finding, counted, grouped, lasting};

/// Dead rows a table may have before anybody is told.
const DEAD: i64 = 10_000;

/// Dead rows, and the share of updates that stayed within their page.
pub(super) async fn tables(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let rows = sqlx::query!(
        r#"/* doctor_tables */
        select s.relname as "table!", s.n_live_tup as "live!", s.n_dead_tup as "dead!", s.n_tup_upd as "updated!", s.n_tup_hot_upd as "hot!",
               extract(epoch from tenure.now() - greatest(s.last_vacuum, s.last_autovacuum))::double precision as vacuumed
          from pg_stat_all_tables s
         where s.schemaname = 'tenure'
         order by s.relname"#
    )
    .fetch_all(connection)
    .await?;
    let mut found = Vec::new();
    for row in &rows {
        let vacuumed =
            row.vacuumed.map_or_else(|| "never vacuumed".to_owned(), |ago| format!("last vacuumed {} ago", lasting(ago)));
        if row.dead > DEAD && row.dead * 5 > row.live {
            found.push(Finding::warning(
                "dead_rows",
                format!(
                    "tenure.{} has {} beside {} live ones, {vacuumed}.",
                    row.table,
                    counted(row.dead, "dead row", "dead rows"),
                    grouped(row.live)
                ),
                format!(
                    "vacuum (analyze) tenure.{};  -- if they stay: somebody holds them, see long transactions and slots",
                    row.table
                ),
            ));
        }
        if row.table == "sessions" && row.updated > DEAD && row.hot * 2 < row.updated {
            found.push(Finding::warning(
                "few_hot_updates",
                format!(
                    "Of {} of tenure.sessions only {} % stayed within their page.",
                    counted(row.updated, "update", "updates"),
                    row.hot * 100 / row.updated
                ),
                "Look for an added index, a long transaction and a changed fillfactor; then vacuum tenure.sessions;",
            ));
        }
    }
    let dead: i64 = rows.iter().map(|row| row.dead).sum();
    Ok(Answer { seen: counted(dead, "dead row", "dead rows"), found })
}

/// Autovacuum switched off, everywhere or for one table, and transaction numbers running out.
pub(super) async fn autovacuum(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let row = sqlx::query!(
        r#"/* doctor_autovacuum */
        select current_setting('autovacuum') = 'on' as "on!", current_setting('track_counts') = 'on' as "counts!",
               (select age(d.datfrozenxid)::bigint from pg_database d where d.datname = current_database()) as "age!",
               array(select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
                      where n.nspname = 'tenure' and c.reloptions && array['autovacuum_enabled=false', 'autovacuum_enabled=off']
                      order by 1) as "off!""#
    )
    .fetch_one(connection)
    .await?;
    let mut found = Vec::new();
    for (name, on) in [("autovacuum", row.on), ("track_counts", row.counts)] {
        if !on {
            found.push(Finding::warning(
                "autovacuum_off",
                format!("{name} is off: dead rows of tenure.sessions pile up, and each check reads through them."),
                format!("alter system set {name} = on; select pg_reload_conf();"),
            ));
        }
    }
    found.extend(row.off.iter().map(|table| {
        Finding::warning(
            "autovacuum_off",
            format!("Autovacuum is off for tenure.{table}."),
            format!("alter table tenure.{table} reset (autovacuum_enabled);"),
        )
    }));
    if row.age > 1_000_000_000 {
        found.push(Finding::problem(
            "wraparound",
            format!(
                "The database is {} transactions from its last freeze; at 2,147,483,647 PostgreSQL stops writing.",
                grouped(row.age)
            ),
            "Remove what holds vacuum back (long transactions, slots), then: vacuum freeze;",
        ));
    }
    Ok(Answer { seen: String::new(), found })
}

/// Transactions open for longer than five minutes, in any database of the server: one with a number of its own holds back the
/// pruning of the invalidation log wherever it runs, one with a snapshot in this database holds back vacuum here.
pub(super) async fn long_transactions(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let rows = sqlx::query!(
        r#"/* doctor_long_transactions */
        select a.pid as "pid!", coalesce(a.datname, '') as "database!", coalesce(a.usename, '') as "user!", a.application_name as "program!",
               coalesce(a.state, '') as "state!", extract(epoch from tenure.now() - a.xact_start)::double precision as "seconds!",
               coalesce(a.datname = current_database(), false) as "here!", a.backend_xid is not null as "numbered!"
          from pg_stat_activity a
         where a.pid <> pg_backend_pid() and coalesce(a.backend_type, '') in ('client backend', 'background worker', '')
           and extract(epoch from tenure.now() - a.xact_start) > 300
           and (a.backend_xid is not null or a.datname = current_database())
         order by a.xact_start limit 5"#
    )
    .fetch_all(connection)
    .await?;
    let found = rows
        .iter()
        .map(|row| {
            let held = match (row.here, row.numbered) {
                (true, true) => "vacuum and the pruning of the invalidation log",
                (true, false) => "vacuum",
                (false, _) => "the pruning of the invalidation log",
            };
            Finding::warning(
                "long_transaction",
                format!(
                    "Process {} of {} ({}, database {}, {}) has had a transaction open for {}: it holds back {held}.",
                    row.pid,
                    row.user,
                    if row.program.is_empty() { "no name" } else { &row.program },
                    row.database,
                    if row.state.is_empty() { "state not visible" } else { &row.state },
                    lasting(row.seconds)
                ),
                format!("Let its owner end it, or: select pg_terminate_backend({});", row.pid),
            )
        })
        .collect();
    Ok(Answer { seen: if rows.is_empty() { "no transaction above 5 minutes".to_owned() } else { String::new() }, found })
}

/// Slots that nobody reads: they keep dead rows and the write-ahead log.
pub(super) async fn slots(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let rows = sqlx::query!(
        r#"/* doctor_slots */
        select s.slot_name::text as "name!", s.active as "active!", s.wal_status = 'lost' as lost,
               greatest(age(s.xmin), age(s.catalog_xmin))::bigint as held,
               case when not pg_is_in_recovery() then pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)) end as kept
          from pg_replication_slots s
         order by s.slot_name"#
    )
    .fetch_all(connection)
    .await?;
    let mut found = Vec::new();
    for row in &rows {
        let held = row.held.unwrap_or(0);
        let what = format!(
            "it keeps {} of write-ahead log{}",
            row.kept.as_deref().unwrap_or("nothing"),
            if held > 0 { format!(" and dead rows of {} transactions", grouped(held)) } else { String::new() }
        );
        if !row.active {
            found.push(Finding::warning(
                "slot_inactive",
                format!("Nobody reads the replication slot {}: {what}.", row.name),
                format!("Bring its reader back, or: select pg_drop_replication_slot('{}');", row.name.replace('\'', "''")),
            ));
        } else if held > 1_000_000 || row.lost == Some(true) {
            found.push(Finding::warning(
                "slot_behind",
                format!("The replication slot {} is far behind: {what}.", row.name),
                "Look at its reader; for a standby, at hot_standby_feedback and its long queries.",
            ));
        }
    }
    Ok(Answer { seen: String::new(), found })
}
