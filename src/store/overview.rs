//! The overview: how many sessions there are, began and ended, hour by hour of the last day.

use chrono::{DateTime, TimeDelta, Utc};

use super::Store;
use super::rows::word;
use crate::error::Result;
use crate::session::{EndReason, Kind};

/// Hours that the overview counts: the running one, and those before it.
pub const HOURS: usize = 24;

/// Users named at most.
const USERS: i64 = 8;

/// How many of something hour by hour, the oldest hour first.
pub type Hours = [i64; HOURS];

/// What a store holds and did in the last day.
#[derive(Debug, Clone)]
pub struct Overview {
    /// The instant it was read at.
    pub at: DateTime<Utc>,
    /// When the first of the hours begins.
    pub since: DateTime<Utc>,
    /// Sessions live at the end of each hour, of the running one now, by kind.
    pub live: Vec<(Kind, Hours)>,
    /// Sessions that began, by kind.
    pub began: Vec<(Kind, Hours)>,
    /// Sessions that ended, by reason, the most frequent first.
    pub ended: Vec<(EndReason, Hours)>,
    /// Live sessions by the node that last counted their activity, the most first; `None` before any did.
    pub nodes: Vec<(Option<String>, i64)>,
    /// The users with the most live sessions.
    pub users: Vec<(String, i64)>,
}

/// A count of the statement.
struct Row {
    what: String,
    name: Option<String>,
    hour: Option<i32>,
    sessions: i64,
}

impl Overview {
    /// Live sessions now.
    pub fn live_sessions(&self) -> i64 {
        self.live.iter().map(|(_, hours)| hours[HOURS - 1]).sum()
    }

    fn new(at: DateTime<Utc>, since: DateTime<Utc>, rows: Vec<Row>) -> Result<Self> {
        let zero: Hours = [0; HOURS];
        let mut overview = Self {
            at,
            since,
            live: Kind::ALL.iter().map(|kind| (*kind, zero)).collect(),
            began: Kind::ALL.iter().map(|kind| (*kind, zero)).collect(),
            ended: Vec::new(),
            nodes: Vec::new(),
            users: Vec::new(),
        };
        // What ended in an hour was live before it, and what began in it was not.
        let mut gone = overview.began.clone();
        for Row { what, name, hour, sessions } in rows {
            let hour = hour.and_then(|hour| usize::try_from(hour).ok()).filter(|hour| *hour < HOURS);
            let kind = |name| -> Result<usize> {
                let kind: Kind = word("kind", name)?;
                Ok(Kind::ALL.iter().position(|known| *known == kind).unwrap_or_default())
            };
            match (&*what, hour, name) {
                ("live", _, Some(name)) => overview.live[kind(name)?].1[HOURS - 1] += sessions,
                ("began", Some(hour), Some(name)) => overview.began[kind(name)?].1[hour] += sessions,
                ("gone", Some(hour), Some(name)) => gone[kind(name)?].1[hour] += sessions,
                ("ended", Some(hour), Some(name)) => {
                    let reason: EndReason = word("end_reason", name)?;
                    let place = overview.ended.iter().position(|(known, _)| *known == reason).unwrap_or_else(|| {
                        overview.ended.push((reason, zero));
                        overview.ended.len() - 1
                    });
                    overview.ended[place].1[hour] += sessions;
                }
                ("node", _, name) => overview.nodes.push((name, sessions)),
                ("user", _, Some(name)) => overview.users.push((name, sessions)),
                _ => {}
            }
        }
        for (kind, (_, hours)) in overview.live.iter_mut().enumerate() {
            for hour in (1..HOURS).rev() {
                hours[hour - 1] = (hours[hour] - overview.began[kind].1[hour] + gone[kind].1[hour]).max(0);
            }
        }
        overview.ended.sort_by_key(|(_, hours)| std::cmp::Reverse(hours.iter().sum::<i64>()));
        overview.nodes.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        Ok(overview)
    }
}

impl Store {
    /// Reads it: every live session once, and what ended since the first of the hours.
    pub async fn overview(&self) -> Result<Overview> {
        let mut transaction = self.begin_rehearsal().await?;
        let at = sqlx::query!(
            r#"/* overview_clock */
            select n.at as "at!", date_trunc('hour', n.at, 'UTC') as "hour!" from (select tenure.now() as at offset 0) n"#
        )
        .fetch_one(&mut *transaction)
        .await?;
        let hours = TimeDelta::hours(i64::try_from(HOURS).unwrap_or_default() - 1);
        let since = at.hour - hours;
        let rows = sqlx::query_as!(
            Row,
            r#"/* overview */
            with live as materialized (
                select v.kind, v.node, v.user_id, v.user_name,
                       case when v.created_at >= $1 then floor(extract(epoch from v.created_at - $1) / 3600)::int end as began
                  from tenure.live v
            ), ended as materialized (
                select e.kind, e.end_reason, floor(extract(epoch from e.ended_at - $1) / 3600)::int as ended,
                       case when e.created_at >= $1 then floor(extract(epoch from e.created_at - $1) / 3600)::int end as began,
                       count(*) as sessions
                  from tenure.ended_sessions e
                 where e.ended_at >= $1
                 group by 1, 2, 3, 4
            ), busiest as (
                select l.user_id, min(l.user_name) as name, count(*) as sessions
                  from live l where l.user_id is not null
                 group by l.user_id order by count(*) desc, min(l.user_name) limit $2
            )
            select 'live' as "what!", l.kind as name, null::int as hour, count(*) as "sessions!" from live l group by l.kind
             union all
            select 'began', l.kind, l.began, count(*) from live l where l.began is not null group by l.kind, l.began
             union all
            select 'began', e.kind, e.began, sum(e.sessions)::bigint from ended e where e.began is not null group by e.kind, e.began
             union all
            select 'gone', e.kind, e.ended, sum(e.sessions)::bigint from ended e group by e.kind, e.ended
             union all
            select 'ended', e.end_reason, e.ended, sum(e.sessions)::bigint from ended e group by e.end_reason, e.ended
             union all
            select 'node', l.node, null, count(*) from live l group by l.node
             union all
            select 'user', b.name, null, b.sessions from busiest b"#,
            since,
            USERS
        )
        .fetch_all(&mut *transaction)
        .await?;
        transaction.rollback().await?;
        Overview::new(at.at, since, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_live_follows_from_what_is_and_what_began_and_ended() {
        let row = |what: &str, name: &str, hour, sessions| Row { what: what.into(), name: Some(name.into()), hour, sessions };
        let rows = vec![
            row("live", "user", None, 5),
            row("began", "user", Some(23), 2),
            row("began", "user", Some(20), 4),
            row("gone", "user", Some(22), 1),
            row("ended", "idle", Some(22), 1),
            row("live", "guest", None, 7),
        ];
        let overview = Overview::new(DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH, rows).unwrap();
        let of = |kind| overview.live.iter().find(|(known, _)| *known == kind).unwrap().1;
        assert_eq!(of(Kind::User)[18..], [0, 0, 4, 4, 3, 5]);
        assert_eq!(of(Kind::Guest), [7; HOURS]);
        assert_eq!((overview.live_sessions(), overview.ended[0].0, overview.ended[0].1[22]), (12, EndReason::Idle, 1));
    }
}
