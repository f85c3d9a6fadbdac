//! Partitions of history: the coming months must be there, and those past retention must go.

use sqlx::PgConnection;

use super::{Answer, Finding, Severity, counted, grouped, lasting};

/// Sessions of a month that ended since, beyond which `tenure.retire_history` waits.
const LATE: i64 = 10_000;

/// The partitions of this month and the next two, which nodes make ahead of time.
pub(super) async fn coming(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let missing = sqlx::query_scalar!(
        r#"/* doctor_partitions */
        select w.name as "name!"
          from (select format('%s_%s', p.parent, to_char(date_trunc('month', tenure.now() at time zone 'UTC') + make_interval(months => n.n), 'YYYY_MM')) as name
                  from unnest(array['ended_sessions', 'session_events']) as p (parent)
                 cross join generate_series(0, 2) as n (n)) w
         where not exists (select from pg_class c join pg_namespace s on s.oid = c.relnamespace
                            where s.nspname = 'tenure' and c.relname = w.name and c.relispartition)
         order by 1"#
    )
    .fetch_all(connection)
    .await?;
    let mut found = Vec::new();
    if !missing.is_empty() {
        found.push(Finding::warning(
            "partition_missing",
            format!(
                "{} of this month and the next two: {}. Their rows go to the default partition.",
                counted(i64::try_from(missing.len()).unwrap_or(i64::MAX), "partition is missing", "partitions are missing"),
                missing.join(", ")
            ),
            "select tenure.make_partitions();  -- a month whose rows already lie in the default partition is left there",
        ));
    }
    Ok(Answer { seen: format!("{} partitions ahead", 6 - missing.len()), found })
}

/// Rows in default partitions that came because no partition of their month was there. Older ones lie there as designed: retention
/// keeps what ended late of a month that it drops.
pub(super) async fn default_partitions(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let row = sqlx::query!(
        r#"/* doctor_default_partitions */
        with history as (
            select h.parent, greatest(min(h.from_at), min(h.keep_from)) as from_at from tenure.history_partitions() h group by h.parent
        )
        select (select count(*) from (select from tenure.ended_sessions_default d
                                        join history h on h.parent = 'ended_sessions'
                                       where h.from_at is null or d.id >= tenure.uuid_v7_floor(h.from_at) limit 100001) e) as "ended!",
               (select count(*) from (select from tenure.session_events_default d
                                        join history h on h.parent = 'session_events'
                                       where h.from_at is null or d.id >= tenure.uuid_v7_floor(h.from_at) limit 100001) e) as "events!""#
    )
    .fetch_one(connection)
    .await?;
    let found = [("ended_sessions_default", row.ended), ("session_events_default", row.events)]
        .into_iter()
        .filter(|(_, rows)| *rows > 0)
        .map(|(table, rows)| {
            let more =
                if rows > 100_000 { "More than 100,000 rows lie".to_owned() } else { counted(rows, "row lies", "rows lie") };
            Finding::warning(
                "rows_in_default_partition",
                format!("{more} in tenure.{table} without a partition of their month: no node ran when it began."),
                "Keep a node running, which makes the months ahead. Leave the rows: they are found, and retired one by one.",
            )
        })
        .collect();
    Ok(Answer { seen: String::new(), found })
}

/// Months past retention for an hour and more. Nodes drop one of each kind a minute, so that a shorter retention takes its time.
pub(super) async fn retention(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let rows = sqlx::query!(
        r#"/* doctor_retention */
        select h.name as "name!", extract(epoch from h.keep_from - h.until_at)::double precision as "behind!",
               array(select distinct coalesce(pg_describe_object('pg_class'::regclass, r.ev_class, 0), pg_describe_object(d.classid, d.objid, d.objsubid))
                       from pg_depend d
                       left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
                      where d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid and d.deptype = 'n'
                        and not exists (select from pg_constraint k where d.classid = 'pg_constraint'::regclass and k.oid = d.objid and k.conrelid = c.oid)
                      order by 1) as "dependents!",
               case when h.parent = 'ended_sessions'
                    then (select count(*) from (select from tenure.ended_sessions e
                                                 where e.id >= tenure.uuid_v7_floor(h.from_at) and e.id < tenure.uuid_v7_floor(h.until_at)
                                                   and e.ended_at > h.keep_from
                                                 limit $1::bigint + 1) l)
                    else 0 end as "late!"
          from tenure.history_partitions() h
          join pg_class c on c.relname = h.name and c.relnamespace = 'tenure'::regnamespace
         where extract(epoch from h.keep_from - h.until_at) >= 3600
         order by h.until_at, h.name"#,
        LATE
    )
    .fetch_all(&mut *connection)
    .await?;
    let under_way = sqlx::query_scalar!(
        r#"/* doctor_retention_under_way */
        select exists (select from tenure.session_events e
                        where e.type = 'history_dropped' and e.session_id is null and extract(epoch from tenure.now() - e.at) < 600)
            or exists (select from tenure.properties p
                        where p.name like 'tenure.retention.%' and extract(epoch from tenure.now() - p.updated_at) < 3600) as "under_way!""#
    )
    .fetch_one(connection)
    .await?;
    let past = |name: &str, behind: f64| format!("tenure.{name} is past retention for {} and still there", lasting(behind));
    let mut found = Vec::new();
    let mut left = Vec::new();
    for row in &rows {
        if let Some(first) = row.dependents.first() {
            let advice = if first.starts_with("view ") || first.starts_with("materialized view ") {
                format!("drop {first};  -- made anew, let it read the whole table")
            } else {
                format!("Let {first} depend on the whole table, or on nothing.")
            };
            let names = row.dependents.join(", ");
            found.push(Finding::warning(
                "retention_behind",
                format!("{}: {names} depends on it, and keeps every other month too.", past(&row.name, row.behind)),
                advice,
            ));
        } else if row.late > LATE {
            found.push(Finding::note(
                "retention_behind",
                format!(
                    "{}: more than {} of its sessions ended since and must be kept.",
                    past(&row.name, row.behind),
                    grouped(LATE)
                ),
                "It goes when they are fewer.",
            ));
        } else {
            left.push(row);
        }
    }
    // A view that keeps one month keeps all: the others have nothing to be mended.
    let held = found.iter().any(|finding| finding.severity == Severity::Warning);
    if let (Some(oldest), false) = (left.first(), held) {
        let others = match left.len() - 1 {
            0 => String::new(),
            others => format!(", and {} after it", counted(i64::try_from(others).unwrap_or(i64::MAX), "month", "months")),
        };
        let message = format!("{}{others}.", past(&oldest.name, oldest.behind));
        found.push(if under_way {
            Finding::note("retention_behind", message, "Nodes are at it: one month of each kind a minute.")
        } else {
            Finding::warning(
                "retention_behind",
                message,
                "select tenure.retire_history();  -- as nodes do each minute: start one if none runs; else look at its log, and for who \
                 always holds a lock on that table (pg_locks)",
            )
        });
    }
    Ok(Answer { seen: String::new(), found })
}
