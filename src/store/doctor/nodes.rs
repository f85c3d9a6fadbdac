//! The cluster: who is silent, who holds back the log, and what the background work owes.

use sqlx::PgConnection;

use super::{Answer, Finding, counted, grouped, lasting};

/// Rows of the log beyond which something holds it back: a poll reads what a node has not seen, and house-keeping prunes the rest.
const LOG: i64 = 100_000;

/// Silent nodes, late sweepers, mixed versions.
pub(super) async fn registry(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let rows = sqlx::query!(
        r#"/* doctor_nodes */
        select n.name as "name!", n.version as "version!", tenure.node_state(n) as "state!", n.fenced as "fenced!",
               greatest(0, extract(epoch from tenure.now() - n.beat_at))::double precision as "silent!",
               greatest(0, extract(epoch from tenure.now() - n.swept_at))::double precision as "late!"
          from tenure.nodes n
         order by n.name, n.id"#
    )
    .fetch_all(connection)
    .await?;
    let mut found = Vec::new();
    for row in rows.iter().filter(|row| row.state == "silent") {
        let message = format!("The node {} has been silent for {}.", row.name, lasting(row.silent));
        found.push(if row.fenced {
            Finding::note(
                "node_silent",
                format!("{message} The others have found it dead; it holds nothing back."),
                "Forgotten a day later.",
            )
        } else {
            Finding::warning(
                "node_silent",
                format!("{message} Endings wait two seconds for it, and the log keeps what it has not applied."),
                "If it should run, look at it. Another node finds it dead within a minute; without one, start one.",
            )
        });
    }
    let live: Vec<_> = rows.iter().filter(|row| row.state != "silent").collect();
    let soonest = live.iter().map(|row| row.late).fold(f64::INFINITY, f64::min);
    if !live.is_empty() && soonest > 60.0 {
        found.push(Finding::warning(
            "sweeps_late",
            format!(
                "No sweeper has been done for {}: nothing is accepted past its deadline, but records come late.",
                lasting(soonest)
            ),
            "Look at the nodes' logs and at the load of the database; a further node sweeps too.",
        ));
    }
    if live.is_empty() {
        found.push(Finding::note("no_node", "No node runs: nobody sweeps or keeps house.", "Start one with `tenure serve`."));
    }
    let mut versions: Vec<&str> = live.iter().map(|row| &*row.version).collect();
    versions.sort_unstable();
    versions.dedup();
    if versions.len() > 1 {
        found.push(Finding::note(
            "versions_differ",
            format!(
                "Nodes of {} run: {}.",
                counted(i64::try_from(versions.len()).unwrap_or(0), "version", "versions"),
                versions.join(", ")
            ),
            "Fine while upgrading; finish it.",
        ));
    }
    Ok(Answer { seen: counted(i64::try_from(live.len()).unwrap_or(0), "node", "nodes"), found })
}

/// How much the log holds, and who keeps it from being pruned: a node that has not applied it, or a transaction that is open.
pub(super) async fn log(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let row = sqlx::query!(
        r#"/* doctor_log */
        select (select count(*) from (select from tenure.invalidations limit 1000001) i) as "rows!",
               array(select n.name from tenure.nodes n
                      where not n.fenced
                        and pg_snapshot_xmin(n.applied) = (select min(pg_snapshot_xmin(o.applied)::text::bigint)::text::xid8
                                                             from tenure.nodes o where not o.fenced)
                        and exists (select from tenure.invalidations i where not pg_visible_in_snapshot(i.xid, n.applied))
                      order by 1) as "nodes!",
               array(select format('process %s (%s, database %s)', a.pid, coalesce(a.usename, '?'), coalesce(a.datname, '?'))
                       from pg_stat_activity a
                      where a.backend_xid is not null and a.pid <> pg_backend_pid()
                      order by age(a.backend_xid) desc limit 1) as "oldest!""#
    )
    .fetch_one(connection)
    .await?;
    let mut found = Vec::new();
    if row.rows > LOG {
        let by = if let Some(node) = row.nodes.first() {
            format!("the node {node} has not applied it")
        } else if let Some(process) = row.oldest.first() {
            format!("{process} has the oldest open transaction")
        } else {
            "no node has kept house since".to_owned()
        };
        let rows = if row.rows > 1_000_000 { "more than 1,000,000".to_owned() } else { grouped(row.rows) };
        found.push(Finding::warning(
            "log_held_back",
            format!("The invalidation log has {rows} rows: {by}."),
            "Start a node if none runs; look at the one named, or end the transaction named with pg_terminate_backend.",
        ));
    }
    Ok(Answer { seen: counted(row.rows, "row in the invalidation log", "rows in the invalidation log"), found })
}

/// Sessions whose due instant passed a minute ago.
pub(super) async fn overdue(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let row = sqlx::query!(
        r#"/* doctor_overdue */
        select count(*) as "sessions!", coalesce(extract(epoch from tenure.now() - min(o.due_at)), 0)::double precision as "late!"
          from (select s.due_at from tenure.sessions s order by s.due_at, s.id limit 100001) o
         where extract(epoch from tenure.now() - o.due_at) > 60"#
    )
    .fetch_one(connection)
    .await?;
    let mut found = Vec::new();
    if row.sessions > 0 {
        let more = if row.sessions > 100_000 {
            "More than 100,000 sessions are".to_owned()
        } else {
            counted(row.sessions, "session is", "sessions are")
        };
        found.push(Finding::warning(
            "sessions_overdue",
            format!(
                "{more} due to be looked at, the first for {}: no check accepts one past its deadline, but records come late.",
                lasting(row.late)
            ),
            "Start a node if none runs; else look at its log and at the load of the database.",
        ));
    }
    Ok(Answer { seen: String::new(), found })
}

/// Passes of the lowering job that are owed.
pub(super) async fn lowering(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let rows = sqlx::query!(
        r#"/* doctor_lowering */
        select p.kind as "kind!", p.lowering_pass::bigint as "passes!",
               coalesce(extract(epoch from tenure.now() - p.lowering_from), 0)::double precision as "late!"
          from tenure.policies p
         where p.lowering_pass > 0
         order by p.kind"#
    )
    .fetch_all(connection)
    .await?;
    let found = rows
        .iter()
        .map(|row| {
            let owed = counted(row.passes, "pass", "passes");
            if row.late > 600.0 {
                Finding::warning(
                    "lowering_owed",
                    format!(
                        "The job after a tightened limit owes {owed} over {} sessions, since {}.",
                        row.kind,
                        lasting(row.late)
                    ),
                    "Start a node if none runs; else look at its log. Checks follow the new limit already.",
                )
            } else {
                let message = format!("A limit of {} sessions was tightened: {owed} over their due instants to come.", row.kind);
                Finding::note("lowering_owed", message, "Nodes do it by themselves.")
            }
        })
        .collect();
    Ok(Answer { seen: String::new(), found })
}
