//! The two functions that compute deadlines, `tenure.limits` in SQL and [`Limits::of`] in Rust, agree to the microsecond.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::{AssertSqlSafe, PgConnection};
use tenure::session::{Device, Kind, Limits, Policy, Session};

use crate::support::{Clock, Db};

const SEED: u64 = 20_270_601;
const CASES: usize = 100_000;
const BATCH: usize = 10_000;

struct Case {
    session: Session,
    policy: Policy,
    /// An instant to judge at, most often within a microsecond of the deadline.
    now: DateTime<Utc>,
}

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn pick<T: Copy>(rng: &mut StdRng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}

fn maybe<T>(rng: &mut StdRng, chance: f64, value: impl FnOnce(&mut StdRng) -> T) -> Option<T> {
    rng.random_bool(chance).then(|| value(rng))
}

/// Lengths that meet each other often, and any other.
fn seconds(rng: &mut StdRng) -> i32 {
    if rng.random_bool(0.7) { pick(rng, &[60, 300, 1_800, 3_600, 86_400, 1_296_000]) } else { rng.random_range(60..=31_536_000) }
}

fn case(rng: &mut StdRng, kind: Kind) -> Case {
    let mut policy = Policy {
        idle_seconds: if rng.random_bool(0.5) { pick(rng, &[60, 1_800, 86_400]) } else { rng.random_range(60..=86_400) },
        max_life_seconds: maybe(rng, 0.6, seconds),
        remember_me_seconds: maybe(rng, 0.7, |rng| rng.random_range(1..=30) * 86_400),
        residue_seconds: maybe(rng, 0.6, |rng| rng.random_range(1..=1_439) * 60),
        prompt_seconds: 120,
        auto_refresh_extends: rng.random_bool(0.5),
        ajax_prompt: true,
        ajax_resubmit: false,
        maintenance_at: None,
    };
    // Half of them around the hours that central Europe skips and repeats, the rest anywhere.
    let around = pick(rng, &["2027-03-28T01:00:00Z", "2027-10-31T01:00:00Z", "2026-11-23T00:00:00Z", "1999-12-31T23:59:59Z"]);
    let spread = pick(rng, &[2, 3_600, 172_800, 40_000_000]);
    let created_at = instant(around) + TimeDelta::microseconds(rng.random_range(-spread * 1_000_000..=spread * 1_000_000));
    let user = kind == Kind::User;
    let mut session = Session {
        id: uuid::Uuid::nil(),
        kind,
        user: None,
        device: maybe(rng, 0.9, |rng| pick(rng, &[Device::Desktop, Device::Desktop, Device::Tablet, Device::Phone, Device::App])),
        remember_me: user && rng.random_bool(0.4),
        residue: kind == Kind::Guest && rng.random_bool(0.5),
        created_at,
        last_activity_at: created_at,
        refresh_seconds: if user { maybe(rng, 0.5, |rng| rng.random_range(1..=1_440) * 60) } else { None },
        idle_limit_seconds: if user { maybe(rng, 0.3, |rng| rng.random_range(1..=1_440) * 60) } else { None },
        window_seconds: (kind == Kind::Mobile).then(|| seconds(rng) * pick(rng, &[1, 1, 10])),
        oauth_entity: None,
        app_state: None,
        app_state_at: None,
        node: None,
        client_address: None,
        user_agent: None,
        active: false,
        ended: None,
    };
    let limits = Limits::of(&session, &policy);
    let fixed = [limits.max_life_deadline_at, limits.remember_me_deadline_at, limits.residue_deadline_at].into_iter().flatten();
    session.last_activity_at = match (limits.idle_deadline_at, fixed.min()) {
        // The idle deadline meets the earliest of the others, or misses it by a microsecond.
        (Some(idle), Some(fixed)) if rng.random_bool(0.5) => {
            created_at + (fixed - idle) + TimeDelta::microseconds(rng.random_range(-1..=1))
        }
        _ => created_at + TimeDelta::microseconds(rng.random_range(0..=2_000_000_000_000)),
    };
    // Maintenance meets the earliest of the others, the creation, or misses them by a microsecond; or comes any time.
    policy.maintenance_at = maybe(rng, 0.4, |rng| {
        let near =
            pick(rng, &[Limits::of(&session, &policy).expires_at, Limits::of(&session, &policy).expires_at, session.created_at]);
        near + TimeDelta::microseconds(if rng.random_bool(0.7) {
            rng.random_range(-1..=1)
        } else {
            rng.random_range(-100_000_000..=100_000_000)
        })
    });
    let beside = if rng.random_bool(0.8) { rng.random_range(-1..=1) } else { rng.random_range(-100_000_000..=100_000_000) };
    let now = Limits::of(&session, &policy).expires_at + TimeDelta::microseconds(beside);
    Case { session, policy, now }
}

fn cases(seed: u64, count: usize) -> Vec<Case> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|number| case(&mut rng, Kind::ALL[number % Kind::ALL.len()])).collect()
}

type Answer =
    (Option<DateTime<Utc>>, Option<DateTime<Utc>>, Option<DateTime<Utc>>, Option<DateTime<Utc>>, DateTime<Utc>, String, bool);

const ASK: &str = "
    select l.idle_deadline_at, l.max_life_deadline_at, l.remember_me_deadline_at, l.residue_deadline_at, l.expires_at, l.reason,
           l.expires_at <= c.now
      from unnest($1::text[], $2::text[], $3::boolean[], $4::boolean[], $5::timestamptz[], $6::timestamptz[], $7::int[], $8::int[], $9::int[],
                  $10::int[], $11::int[], $12::int[], $13::int[], $14::boolean[], $15::timestamptz[], $16::timestamptz[])
           with ordinality as c (kind, device, remember_me, residue, created_at, anchor_at, refresh_seconds, idle_limit_seconds, window_seconds,
                                 idle_seconds, max_life_seconds, remember_me_seconds, residue_seconds, auto_refresh_extends, now, maintenance_at,
                                 number)
     cross join lateral tenure.limits(
           row('00000000-0000-0000-0000-000000000000', '', c.kind, null, null, c.device, c.remember_me, c.residue, c.created_at, c.anchor_at,
               c.created_at, c.refresh_seconds, c.idle_limit_seconds, c.window_seconds, null, null, null, null, null)::tenure.sessions,
           row(c.kind, c.idle_seconds, c.max_life_seconds, c.remember_me_seconds, c.residue_seconds, 120, c.auto_refresh_extends, true, true,
               false, 0, 0, null, null, null, null, 'end_idlest', c.maintenance_at)::tenure.policies) l
     order by c.number";

fn column<T>(cases: &[Case], value: impl Fn(&Case) -> T) -> Vec<T> {
    cases.iter().map(value).collect()
}

async fn ask(connection: &mut PgConnection, cases: &[Case]) -> Vec<Answer> {
    sqlx::query_as(ASK)
        .bind(column(cases, |case| case.session.kind.as_str()))
        .bind(column(cases, |case| case.session.device.map(Device::as_str)))
        .bind(column(cases, |case| case.session.remember_me))
        .bind(column(cases, |case| case.session.residue))
        .bind(column(cases, |case| case.session.created_at))
        .bind(column(cases, |case| case.session.last_activity_at))
        .bind(column(cases, |case| case.session.refresh_seconds))
        .bind(column(cases, |case| case.session.idle_limit_seconds))
        .bind(column(cases, |case| case.session.window_seconds))
        .bind(column(cases, |case| case.policy.idle_seconds))
        .bind(column(cases, |case| case.policy.max_life_seconds))
        .bind(column(cases, |case| case.policy.remember_me_seconds))
        .bind(column(cases, |case| case.policy.residue_seconds))
        .bind(column(cases, |case| case.policy.auto_refresh_extends))
        .bind(column(cases, |case| case.now))
        .bind(column(cases, |case| case.policy.maintenance_at))
        .fetch_all(connection)
        .await
        .unwrap()
}

fn expected(case: &Case) -> Answer {
    let limits = Limits::of(&case.session, &case.policy);
    (
        limits.idle_deadline_at,
        limits.max_life_deadline_at,
        limits.remember_me_deadline_at,
        limits.residue_deadline_at,
        limits.expires_at,
        limits.reason.as_str().to_owned(),
        limits.expires_at <= case.now,
    )
}

/// How many cases the two functions disagree on; the first few of them are printed.
async fn disagreements(connection: &mut PgConnection, cases: &[Case]) -> usize {
    let mut found = 0;
    for batch in cases.chunks(BATCH) {
        let answers = ask(connection, batch).await;
        assert_eq!(answers.len(), batch.len());
        for (case, answer) in batch.iter().zip(answers) {
            let expected = expected(case);
            if answer != expected {
                found += 1;
                if found <= 3 {
                    println!("{:?}\n{:?}\n  SQL  {answer:?}\n  Rust {expected:?}", case.session, case.policy);
                }
            }
        }
    }
    found
}

async fn in_zone(connection: &mut PgConnection, zone: &str) {
    sqlx::raw_sql(AssertSqlSafe(format!("set timezone to '{zone}'"))).execute(connection).await.unwrap();
}

#[tokio::test]
async fn sql_and_rust_agree_on_every_limit() {
    println!("seed {SEED}");
    let cases = cases(SEED, CASES);
    let db = Db::with(Clock::Real).await;
    let mut connection = db.connection().await;
    for zone in ["UTC", "Europe/Berlin"] {
        in_zone(&mut connection, zone).await;
        assert_eq!(disagreements(&mut connection, &cases).await, 0, "cases of {CASES} under {zone}");
    }

    // What the cases cover, so that a generator gone stale is noticed.
    let mut covered: BTreeMap<String, usize> = BTreeMap::new();
    for case in &cases {
        let answer = expected(case);
        let others = [answer.1, answer.2, answer.3].into_iter().flatten().min();
        *covered.entry(format!("kind {}", case.session.kind)).or_default() += 1;
        *covered.entry(format!("reason {}", answer.5)).or_default() += 1;
        *covered.entry(format!("tie {}", answer.0.is_some() && answer.0 == others)).or_default() += 1;
        let maintenance = Limits::of(&case.session, &case.policy).maintenance_at;
        *covered
            .entry(if maintenance.is_some() && maintenance == answer.0 {
                "tie maintenance".to_owned()
            } else {
                "no tie".to_owned()
            })
            .or_default() += 1;
        *covered.entry(format!("{} us from now", (answer.4 - case.now).num_microseconds().unwrap().clamp(-2, 2))).or_default() +=
            1;
        let summer = instant("2027-03-28T01:00:00Z");
        *covered.entry(format!("over the change {}", case.session.created_at < summer && summer <= answer.4)).or_default() += 1;
    }
    for (what, least) in [
        ("kind user", 10_000),
        ("kind guest", 10_000),
        ("kind integration", 10_000),
        ("kind mobile", 10_000),
        ("reason idle", 10_000),
        ("reason max_life", 10_000),
        ("reason remember_me", 1_000),
        ("reason residue", 1_000),
        ("reason maintenance", 1_000),
        ("tie maintenance", 1_000),
        ("tie true", 5_000),
        ("-1 us from now", 10_000),
        ("0 us from now", 10_000),
        ("1 us from now", 10_000),
        ("over the change true", 5_000),
    ] {
        assert!(covered.get(what).is_some_and(|count| *count >= least), "{what}: {covered:#?}");
    }
}

#[tokio::test]
async fn the_comparison_notices_what_it_is_for() {
    let cases = cases(SEED + 1, BATCH);
    // Each a mistake somebody could make in one of the two functions.
    let mistakes = [
        // A day of the calendar instead of 86,400 seconds: seen over a change of daylight saving only.
        ("make_interval(secs => p.remember_me_seconds)", "make_interval(days => p.remember_me_seconds / 86400)", "Europe/Berlin"),
        // Another precedence on a tie.
        ("when l.max_life    then 'max_life'", "when l.idle then 'idle' when l.max_life then 'max_life'", "UTC"),
        ("when s.created_at < p.maintenance_at", "when s.created_at <= p.maintenance_at", "UTC"),
        ("when l.maintenance then 'maintenance'", "when l.idle then 'idle' when l.maintenance then 'maintenance'", "UTC"),
        // The grace of a refresh for every device.
        ("and s.device = 'desktop' and not", "and not", "UTC"),
        ("coalesce(s.idle_limit_seconds, p.idle_seconds) + s.refresh_seconds", "p.idle_seconds + s.refresh_seconds", "UTC"),
    ];
    for (right, wrong, zone) in mistakes {
        let db = Db::with(Clock::Real).await;
        let mut connection = db.connection().await;
        let body = "select pg_get_functiondef('tenure.limits(tenure.sessions, tenure.policies)'::regprocedure)";
        let body: String = sqlx::query_scalar(body).fetch_one(&mut connection).await.unwrap();
        assert!(body.contains(right), "{right} is no longer part of tenure.limits");
        sqlx::raw_sql(AssertSqlSafe(body.replace(right, wrong))).execute(&mut connection).await.unwrap();
        in_zone(&mut connection, zone).await;
        assert!(disagreements(&mut connection, &cases).await > 0, "{wrong}");
    }
}
