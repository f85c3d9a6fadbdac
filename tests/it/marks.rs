//! The law of activity marks: written late, in batches, by several nodes, some of them twice, they come to what counting each
//! activity at once in the database would have.
//!
//! Truth is `anchor := max(anchor, t)` (A3) and `anchor := max(anchor, min(anchor + r, t))` (A4), in the order of the activities.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::AssertSqlSafe;
use tenure::session::{Activity, Device, Kind, Law, Mark, Movement, Timing};
use tenure::store::Flushed;
use uuid::Uuid;

use crate::support::{Clock, Crowd, Db, begun, half_an_hour};

/// 2027-06-01 09:00, microseconds since 1970.
const BEGIN: i64 = 1_811_840_400_000_000;
const SECOND: i64 = 1_000_000;
/// Between two flushes of one node.
const FLUSH: i64 = 2 * SECOND;
const SEED: u64 = 20_270_602;

/// Something that happens to a session on some node.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Activity, so many microseconds after the last.
    Count(Movement, i64),
    /// The node writes what it has.
    Flush,
    /// It tries, and has to put it back after the next activity.
    FailedFlush,
}

fn movement() -> impl Strategy<Value = Movement> {
    prop_oneof![1 => Just(Movement::ToNow), 3 => Just(Movement::Refresh), 1 => Just(Movement::None)]
}

fn gap() -> impl Strategy<Value = i64> {
    prop_oneof![0..3 * SECOND, 0..200 * SECOND, Just(0), Just(60 * SECOND)]
}

fn refresh() -> impl Strategy<Value = i32> {
    prop_oneof![Just(60), 60..86_400_i32]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (movement(), gap()).prop_map(|(movement, gap)| Step::Count(movement, gap)),
        1 => Just(Step::Flush),
        1 => Just(Step::FailedFlush),
    ]
}

fn truth(anchor: i64, movement: Movement, at: i64, refresh_seconds: i32) -> i64 {
    match movement {
        Movement::None => anchor,
        Movement::ToNow => anchor.max(at),
        Movement::Refresh => anchor.max((anchor + i64::from(refresh_seconds) * SECOND).min(at)),
    }
}

/// What the flush statement does to a row.
fn written(anchor: i64, Law { shift, low, high }: Law) -> i64 {
    anchor.max(low.map_or(anchor + shift, |low| low.max(anchor + shift)).min(high))
}

fn check<S: Strategy>(cases: u32, strategy: &S, law: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::default()));
    runner.run(strategy, law).unwrap();
}

/// One node's clock never goes back: its first activity is not before the anchor that it read.
#[test]
fn on_one_node_the_marks_are_the_sequence_exactly() {
    let steps = proptest::collection::vec(step(), 0..60);
    check(10_000, &(steps, refresh(), -3_600_i64..=0), |(steps, refresh_seconds, began)| {
        let refresh = Some(refresh_seconds);
        let mut at = BEGIN;
        let begin = BEGIN + began * SECOND;
        let (mut true_anchor, mut anchor, mut mark, mut back) = (begin, begin, Mark::NONE, Mark::NONE);
        for step in steps {
            match step {
                Step::Count(movement, gap) => {
                    at += gap;
                    true_anchor = truth(true_anchor, movement, at, refresh_seconds);
                    mark = mark.moved(movement, at, refresh);
                }
                Step::Flush => {
                    mark = std::mem::take(&mut back).then(std::mem::take(&mut mark), refresh);
                    if !mark.is_none() {
                        let later = written(anchor, std::mem::take(&mut mark).law(refresh));
                        prop_assert!(later >= anchor, "backwards");
                        anchor = later;
                    }
                }
                Step::FailedFlush => back = back.then(std::mem::take(&mut mark), refresh),
            }
            // What the node answers meanwhile, whatever is on its way.
            let seen = back.then(mark, refresh).applied(anchor, refresh);
            prop_assert_eq!(seen, true_anchor, "at {} of {:?}", at, refresh);
        }
        Ok(())
    });
}

/// One session on several nodes.
struct Cluster {
    at: i64,
    refresh_seconds: i32,
    anchor: i64,
    nodes: [(Mark, i64); 3],
}

impl Cluster {
    /// Every node writes within a flush interval of its first unwritten activity; the order is chance.
    fn flush_due(&mut self, order: &[usize]) -> Result<(), TestCaseError> {
        for node in order {
            let (mark, since) = self.nodes[*node];
            if !mark.is_none() && self.at - since >= FLUSH {
                self.flush(*node)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, node: usize) -> Result<(), TestCaseError> {
        let mark = std::mem::take(&mut self.nodes[node].0);
        if !mark.is_none() {
            let later = written(self.anchor, mark.law(Some(self.refresh_seconds)));
            prop_assert!(later >= self.anchor, "backwards");
            self.anchor = later;
        }
        Ok(())
    }

    fn count(&mut self, node: usize, movement: Movement) {
        let (mark, since) = &mut self.nodes[node];
        if mark.is_none() {
            *since = self.at;
        }
        *mark = mark.moved(movement, self.at, Some(self.refresh_seconds));
    }
}

#[test]
fn fault_c33_on_several_nodes_the_marks_come_to_the_truth_within_a_flush_interval() {
    let log = proptest::collection::vec((0..3_usize, movement(), gap()), 1..40);
    let order = Just(vec![0, 1, 2]).prop_shuffle();
    check(10_000, &(log, refresh(), order), |(log, refresh_seconds, order)| {
        let mut cluster = Cluster { at: BEGIN, refresh_seconds, anchor: BEGIN, nodes: [(Mark::NONE, 0); 3] };
        let mut true_anchor = BEGIN;
        for (node, movement, gap) in log {
            // What falls due on the way is written on the way.
            let then = cluster.at + gap;
            while cluster.at < then {
                cluster.at = then.min(cluster.at + SECOND / 2);
                cluster.flush_due(&order)?;
            }
            cluster.count(node, movement);
            true_anchor = truth(true_anchor, movement, cluster.at, refresh_seconds);
            let all = order.iter().fold(cluster.anchor, |anchor, node| {
                let mark = cluster.nodes[*node].0;
                if mark.is_none() { anchor } else { written(anchor, mark.law(Some(refresh_seconds))) }
            });
            let off = true_anchor - all;
            prop_assert!(off.abs() <= FLUSH, "{} us off the truth", off);
        }
        for node in order {
            cluster.flush(node)?;
        }
        prop_assert!((true_anchor - cluster.anchor).abs() <= FLUSH);
        Ok(())
    });
}

/// What the marks are for: each node writing the latest anchor it knows of loses every refresh that another node counted.
#[test]
fn fault_c33_a_maximum_of_anchors_computed_apart_loses_minutes() {
    const REFRESH: i32 = 60;
    let (mut at, mut true_anchor) = (BEGIN, BEGIN);
    let (mut greatest, mut local) = (BEGIN, [BEGIN; 2]);
    let mut composed = BEGIN;
    for number in 0..20 {
        at += 300 * SECOND;
        true_anchor = truth(true_anchor, Movement::Refresh, at, REFRESH);
        composed = written(composed, Mark::NONE.moved(Movement::Refresh, at, Some(REFRESH)).law(Some(REFRESH)));
        let node = &mut local[number % 2];
        *node = truth(*node, Movement::Refresh, at, REFRESH);
        greatest = greatest.max(*node);
    }
    assert_eq!(composed, true_anchor);
    let lost = (true_anchor - greatest) / SECOND;
    println!("lost {lost} s");
    assert_eq!(lost, 600, "ten of twenty refreshes");
}

fn pick<T: Copy>(random: &mut StdRng, from: &[T]) -> T {
    from[random.random_range(0..from.len())]
}

#[tokio::test]
async fn sql_and_rust_agree_on_what_an_activity_does() {
    const CASES: usize = 20_000;
    println!("seed {SEED}");
    let db = Db::with(Clock::Real).await;
    let mut random = StdRng::seed_from_u64(SEED);
    let mut policy = half_an_hour();
    let (mut rows, mut expected, mut moved) = (Vec::new(), Vec::new(), 0);
    for _ in 0..CASES {
        let kind = pick(&mut random, &[Kind::User, Kind::User, Kind::Guest, Kind::Integration]);
        let device = pick(&mut random, &[None, Some(Device::Desktop), Some(Device::Desktop), Some(Device::Phone)]);
        let refresh_seconds = pick(&mut random, &[None, Some(60), Some(300), Some(86_400)]);
        policy.auto_refresh_extends = random.random_bool(0.7);
        let activity =
            pick(&mut random, &[Activity::User, Activity::Ajax, Activity::ChatPoll, Activity::AutoRefresh, Activity::Passive]);
        let anchor = BEGIN + random.random_range(-1_000 * SECOND..1_000 * SECOND);
        let at = BEGIN + random.random_range(-1_000 * SECOND..1_000 * SECOND);
        let timing = Timing { device, refresh_seconds, ..begun(kind, BEGIN) };
        let there =
            Mark::NONE.moved(Movement::of(activity, &timing, &policy), at, refresh_seconds).applied(anchor, refresh_seconds);
        moved += usize::from(there != anchor);
        expected.push(there);
        let word = |device: Option<Device>| device.map_or("null".to_owned(), |device| format!("'{device}'"));
        rows.push(format!(
            "('{kind}', {}, {}, {}, '{activity}', {anchor}, {at})",
            word(device),
            refresh_seconds.map_or("null".to_owned(), |seconds| seconds.to_string()),
            policy.auto_refresh_extends,
        ));
    }
    let ask = format!(
        "select (extract(epoch from tenure.counted_anchor(
             row('00000000-0000-0000-0000-000000000000', '', c.kind, null, null, c.device, false, false, tenure.now(), c.anchor, tenure.now(),
                 c.refresh::int, null, null, null, null, null, null, null)::tenure.sessions,
             row(c.kind, 1800, null, null, null, 120, c.extends, true, true, false, 0, 0, null, null, null, null, 'end_idlest', null)::tenure.policies, c.activity, c.at))
             * 1000000)::bigint
           from (select v.kind, v.device, v.refresh, v.extends, v.activity, v.number,
                        'epoch'::timestamptz + v.anchor * interval '1 microsecond' as anchor,
                        'epoch'::timestamptz + v.at * interval '1 microsecond' as at
                   from (select *, row_number() over () as number
                           from (values {}) as t (kind, device, refresh, extends, activity, anchor, at)) v) c
          order by c.number",
        rows.join(",")
    );
    let answers: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(ask)).fetch_all(db.pool()).await.unwrap();
    for ((answer, expected), row) in answers.iter().zip(&expected).zip(&rows) {
        assert_eq!(answer, expected, "{row}");
    }
    assert!(answers.len() == CASES && (CASES / 10..CASES * 9 / 10).contains(&moved), "{moved} of {CASES} moved");
}

/// Marks against real rows: what [`Mark::applied`] says is what the flush statement writes.
#[tokio::test]
async fn the_flush_statement_moves_anchors_as_the_marks_say() {
    const SESSIONS: u32 = 500;
    println!("seed {SEED}");
    let db = Db::new().await;
    db.crowd(Crowd { sessions: SESSIONS, users: 10, oldest: 1_500, youngest: 600 }).await;
    db.sql("update tenure.sessions set refresh_seconds = 60 where get_byte(token_hash, 0) < 128").await;
    let mut random = StdRng::seed_from_u64(SEED);
    let mut moved = 0;
    for _ in 0..5 {
        let now = db.now().await.timestamp_micros();
        let rows: Vec<(Uuid, chrono::DateTime<chrono::Utc>, Option<i32>)> =
            sqlx::query_as("select id, anchor_at, refresh_seconds from tenure.sessions order by id")
                .fetch_all(db.pool())
                .await
                .unwrap();
        let marks: Vec<_> = rows
            .iter()
            .map(|(id, anchor, refresh)| {
                let mut mark = Mark::NONE;
                for _ in 0..random.random_range(1..5) {
                    let kind = pick(&mut random, &[Movement::ToNow, Movement::Refresh, Movement::Refresh]);
                    let kind = if refresh.is_some() { kind } else { Movement::ToNow };
                    mark = mark.moved(kind, now - random.random_range(0..1_500 * SECOND), *refresh);
                }
                (*id, mark.law(*refresh), mark.applied(anchor.timestamp_micros(), *refresh))
            })
            .collect();
        let batch: Vec<_> = marks.iter().map(|(id, law, _)| (*id, *law)).collect();
        let flushed = db.store.flush(&batch).await.unwrap();
        for (((_, before, _), (id, law, there)), flushed) in rows.iter().zip(&marks).zip(flushed) {
            assert_eq!(flushed, Flushed::Written(*there), "{id} {law:?}");
            moved += u32::from(before.timestamp_micros() != *there);
        }
    }
    assert!(moved > SESSIONS, "{moved} moved");

    // Never past the database's own time, whatever a node takes for now.
    let (id, token) = db.tokens(SESSIONS).await.remove(0);
    let ahead = Mark::NONE.moved(Movement::ToNow, db.now().await.timestamp_micros() + 3_600 * SECOND, None);
    let [Flushed::Written(there)] = db.store.flush(&[(id, ahead.law(None))]).await.unwrap()[..] else { panic!("{token}") };
    assert!(there <= db.now().await.timestamp_micros());
}

#[tokio::test]
async fn fault_c32_a_mark_never_moves_a_session_past_its_deadline() {
    let db = Db::new().await;
    // Idle for 31 minutes under a limit of 30; no sweeper runs.
    db.crowd(Crowd { sessions: 3, users: 1, oldest: 1_860, youngest: 1_860 }).await;
    let now = db.now().await;
    // Activity of a minute ago would have come after the deadline, of five minutes ago before it: both come too late (A7).
    for ago in [60, 300] {
        let mark = Mark::NONE.moved(Movement::ToNow, now.timestamp_micros() - ago * SECOND, None).law(None);
        let ids: Vec<Uuid> = sqlx::query_scalar("select id from tenure.sessions order by id").fetch_all(db.pool()).await.unwrap();
        let batch: Vec<_> = ids.into_iter().map(|id| (id, mark)).collect();
        assert_eq!(db.store.flush(&batch).await.unwrap(), [Flushed::Skipped; 3]);
    }
    assert_eq!(db.count("select count(*) from tenure.sessions where anchor_at = created_at").await, 3, "a zombie");
    let id = Uuid::nil();
    let mark = Mark::NONE.moved(Movement::ToNow, now.timestamp_micros(), None).law(None);
    assert_eq!(db.store.flush(&[(id, mark)]).await.unwrap(), [Flushed::Gone]);
    assert_eq!(db.count("select count(*) from tenure.sessions").await, 3, "writing makes no session");
}
