//! X2: a change rehearsed against the live sessions, and applied as it was previewed or not at all.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::{Connection, Row};
use tenure::session::Kind;
use tenure::store::{Expect, PropertyForecast, UserPatch};
use uuid::Uuid;

use super::*;
use crate::support::rounds;

const SEED: u64 = 20_270_602;
const UI: &str = "glide.ui.session_timeout";

/// Values that a change may give each property: mostly good ones, some that break a relation, some that are none.
const CHANGES: &[(&str, &[&str])] = &[
    (UI, &["1", "5", "20", "30", "45", "60", "240", "1440", "0"]),
    ("glide.guest.session_timeout", &["1", "10", "29", "30", "90"]),
    ("glide.integration.session_timeout", &["1", "5", "30", "120"]),
    ("glide.ui.active.session.life_span", &["0", "10", "61", "120", "600"]),
    ("glide.guest.active.session.life_span", &["0", "20", "100"]),
    ("glide.integrations.active.session.life_span", &["0", "3", "60", "200"]),
    ("glide.active.session.timeout.invalidate.session", &["true", "false"]),
    ("tenure.mobile.active.session.life_span", &["0", "30", "90", "300"]),
    ("tenure.mobile.heartbeat_seconds", &["10", "3600"]),
    ("glide.ui.user_cookie.life_span_in_days", &["1", "2", "30"]),
    ("glide.ui.forgetme", &["true", "false"]),
    ("glide.unauthorized.session_timeout", &["1", "10", "29"]),
    ("glide.session.unauthorized.timeout.enabled", &["true", "false"]),
    ("glide.ui.session_timeleft", &["0", "2", "29"]),
    ("glide.ui.auto_req.extend.session", &["true", "false"]),
    ("glide.authenticate.only.allow.active.user.login", &["true", "false", "perhaps"]),
    ("tenure.release_profile", &["istanbul", "helsinki", "yokohama"]),
    ("tenure.user.max_sessions", &["0", "1", "7"]),
    ("tenure.mobile.at_max_sessions", &["reject", "end_oldest"]),
    ("tenure.maintenance_at", &["2026-01-01T00:00:00Z", "2027-06-01T12:00:00Z", "2027-06-03T00:00:00Z", "2027-07-01T00:00:00Z"]),
];

/// What a session is at an instant: kind, deadline and reason.
type Seen = BTreeMap<Uuid, (Kind, DateTime<Utc>, String)>;

async fn seen(db: &Db, query: &str) -> Seen {
    let rows = sqlx::query(AssertSqlSafe(query.to_owned())).fetch_all(db.pool()).await.unwrap();
    let kind = |row: &sqlx::postgres::PgRow| row.get::<&str, _>(1).parse().unwrap();
    rows.iter().map(|row| (row.get(0), (kind(row), row.get(2), row.get(3)))).collect()
}

/// The sessions a check would accept.
async fn live(db: &Db) -> Seen {
    let query = "select f.id, f.kind, f.expires_at, l.reason from tenure.session_facts f
                   join tenure.sessions s on s.id = f.id join tenure.policies p on p.kind = s.kind, tenure.limits(s, p) l
                  where f.expires_at > f.now and f.barred is null";
    seen(db, query).await
}

/// Those that somebody ended.
async fn ended_by_admin(db: &Db) -> Seen {
    seen(db, "select id, kind, ended_at, end_reason from tenure.ended_sessions where ended_by = 'admin-key'").await
}

/// Sessions of every kind and age, with everything that a session can have of its own.
pub(super) async fn populate(db: &Db, rng: &mut StdRng, sessions: u32) {
    db.sql(&format!(
        "select setseed({});
         with made as (
             select n, (array['user', 'user', 'guest', 'integration', 'mobile'])[1 + floor(random() * 5)::int] as kind,
                    tenure.now() - make_interval(secs => floor(random() * 9000)) as created_at, random() as a, random() as b, random() as c
               from generate_series(1, {sessions}) n
         )
         insert into tenure.sessions (id, token_hash, kind, user_id, user_epoch, device, remember_me, residue, created_at, anchor_at, due_at,
                                      refresh_seconds, idle_limit_seconds, window_seconds, oauth_entity_id)
         select tenure.uuid_v7(m.created_at), sha256(gen_random_uuid()::text::bytea), m.kind, u.id, u.epoch,
                case m.kind when 'mobile' then 'app' when 'integration' then null else 'desktop' end,
                m.kind = 'user' and m.a < 0.2, m.kind = 'guest' and m.a < 0.4, m.created_at,
                least(tenure.now(), m.created_at + make_interval(secs => floor(m.b * 6000))), m.created_at,
                case when m.kind = 'user' and m.c < 0.3 then 600 end, case when m.kind = 'user' and m.c > 0.8 then 4200 end,
                case when m.kind = 'mobile' then 1800 + floor(m.c * 7200)::int end,
                case when m.kind = 'mobile' then (select min(e.id) from tenure.oauth_entities e) end
           from made m
           left join lateral (select x.* from tenure.users x where not x.locked_out and m.kind <> 'guest'
                                and (x.active or not (select bool_or(p.refuse_inactive) from tenure.policies p))
                              order by hashtext(x.name || m.n) limit 1) u on true
          where m.kind = 'guest' or u.id is not null",
        rng.random_range(-1.0..1.0)
    ))
    .await;
}

/// Compares what was previewed with what became of the sessions.
fn compare(forecast: &PropertyForecast, before: &Seen, after: &Seen, ended: &Seen, case: &str) {
    let mut now = BTreeMap::new();
    for (id, (kind, ..)) in before {
        let effect = match after.get(id) {
            None => 0,
            Some(then) => match then.1.cmp(&before[id].1) {
                std::cmp::Ordering::Less => 1,
                std::cmp::Ordering::Greater => 2,
                std::cmp::Ordering::Equal => 3,
            },
        };
        assert_eq!(after.contains_key(id), !ended.contains_key(id), "{case}: {id} ended by the change, or lives");
        now.entry(kind.as_str()).or_insert([0; 4])[effect] += 1;
    }
    for kind in Kind::ALL {
        let previewed = forecast.kinds.iter().find(|forecast| forecast.kind == *kind);
        let counts = now.get(kind.as_str()).copied().unwrap_or([0; 4]);
        match previewed {
            Some(k) => assert_eq!([k.ends_now, k.ends_earlier, k.ends_later, k.unchanged], counts, "{case}: {kind}"),
            None => assert_eq!(counts[..3], [0; 3], "{case}: {kind} was not to be concerned"),
        }
    }
    let total = |effect: usize| now.values().map(|counts| counts[effect]).sum::<i64>();
    assert_eq!([forecast.ends_now, forecast.ends_earlier, forecast.ends_later], [total(0), total(1), total(2)], "{case}");
    for example in &forecast.examples {
        let (kind, expires_at, reason) = &before[&example.id];
        assert_eq!((example.kind, example.expires_at, &example.reason), (*kind, *expires_at, reason), "{case}");
        let (_, at, reason) = if example.effect == "ends_now" { &ended[&example.id] } else { &after[&example.id] };
        assert_eq!((example.would_expire_at, &example.would_reason), (*at, reason), "{case}: {example:?}");
    }
    let shown: std::collections::BTreeSet<_> = forecast.examples.iter().map(|e| (e.kind.as_str(), e.effect.clone())).collect();
    let effects = forecast.kinds.iter().flat_map(|k| [k.ends_now, k.ends_earlier, k.ends_later]).filter(|count| *count > 0);
    assert_eq!(shown.len(), effects.count(), "{case}: each kind and effect has an example");
}

#[tokio::test]
async fn rule_x2_a_change_does_what_its_preview_said() {
    println!("seed {SEED}");
    let mut rng = StdRng::seed_from_u64(SEED);
    let db = stopped().await;
    mobile_app(&db, 1_800, 86_400).await;
    db.sql("insert into tenure.users (name) select 'u' || n from generate_series(1, 8) n").await;
    let mut covered: BTreeMap<&str, i64> = BTreeMap::new();
    for round in 0..rounds(1_000) {
        let minutes = rng.random_range(0..20_000);
        db.sql(&format!("update tenure_test.stopped set at = at + make_interval(secs => {})", f64::from(minutes) / 100.0)).await;
        if rng.random_bool(0.3) {
            let user = rng.random_range(1..=8);
            db.sql(&format!("update tenure.users set active = not active, locked_out = false where name = 'u{user}'")).await;
        }
        if rng.random_bool(0.05) {
            db.sql("delete from tenure.properties").await;
            set(&db, "tenure.lock_out_inactive_users", "false").await;
        }
        populate(&db, &mut rng, 30).await;
        let (name, values) = CHANGES[rng.random_range(0..CHANGES.len())];
        let value = rng.random_bool(0.85).then(|| values[rng.random_range(0..values.len())]);
        let case = format!("round {round}, {name} = {value:?}");

        let unchanged = everything(&db).await;
        let forecast = db.manager.rehearse_property(name, value).await;
        assert_eq!(everything(&db).await, unchanged, "{case}: a preview changes nothing");
        let forecast = match forecast {
            Ok(forecast) => forecast,
            Err(error) => {
                let change = db.manager.change_property(name, value, true, &Expect::default(), ADMIN).await;
                assert_eq!(error.refusal(), Some(&refusal(change)), "{case}");
                *covered.entry("refused").or_default() += 1;
                continue;
            }
        };
        if forecast.needs_force {
            assert!(db.manager.change_property(name, value, false, &forecast.guard, ADMIN).await.is_err(), "{case}");
            assert_eq!(everything(&db).await, unchanged, "{case}");
            *covered.entry("by force").or_default() += 1;
        }
        let wrong = Expect { expect: Some(forecast.ends_now + 1), ..forecast.guard.clone() };
        let refusal = refusal(db.manager.change_property(name, value, true, &wrong, ADMIN).await);
        assert_eq!((refusal.status, &*refusal.code, refusal.count), (409, "preview_changed", Some(forecast.ends_now)), "{case}");
        assert_eq!(everything(&db).await, unchanged, "{case}");

        // What ended before is not what this change ends.
        db.sql("delete from tenure.ended_sessions; delete from tenure.session_events").await;
        let before = live(&db).await;
        let changed = db.manager.change_property(name, value, forecast.needs_force, &forecast.guard, ADMIN).await;
        let changed = changed.unwrap_or_else(|error| panic!("{case}: {error}")).property;
        let shown = |p: &tenure::store::Property| (p.value.clone(), p.source.clone(), p.default.clone(), p.warnings.clone());
        assert_eq!(shown(&changed), shown(&forecast.property), "{case}");
        compare(&forecast, &before, &live(&db).await, &ended_by_admin(&db).await, &case);
        for (what, count) in
            [("now", forecast.ends_now), ("earlier", forecast.ends_earlier), ("later", forecast.ends_later), ("done", 1)]
        {
            *covered.entry(what).or_default() += count;
        }
    }
    println!("{covered:?}");
    for what in ["now", "earlier", "later", "done", "refused", "by force"] {
        assert!(covered.get(what).is_some_and(|count| *count > 0), "{what}: {covered:?}");
    }
}

/// The guard holds to the end: activity that comes between the scan and the locks makes it another number. Without its second
/// comparison the change would end one session where two were announced.
#[tokio::test]
async fn rule_x2_the_guard_counts_what_really_ends() {
    const GUEST: &str = "glide.guest.session_timeout";
    const RULE: &str = "perform tenure.guard(coalesce(cardinality(v_ids), 0));";
    for guarded in [true, false] {
        let db = stopped().await;
        if !guarded {
            let body =
                text(&db, "select pg_get_functiondef('tenure.settle_policy_change(tenure.policies[], text)'::regprocedure)")
                    .await;
            assert!(body.contains(RULE), "the rule is no longer part of tenure.settle_policy_change");
            db.sql(&body.replace(RULE, "")).await;
        }
        let active = create(&db, guest()).await;
        create(&db, guest()).await;
        at(&db, "09:20").await;
        let forecast = db.manager.rehearse_property(GUEST, Some("10")).await.unwrap();
        assert_eq!(forecast.ends_now, 2);

        let mut connection = db.connection().await;
        let mut checking = connection.begin().await.unwrap();
        sqlx::query("update tenure.sessions set anchor_at = tenure.now() where id = $1")
            .bind(active.session.id)
            .execute(&mut *checking)
            .await
            .unwrap();
        let (changed, ()) = tokio::join!(db.manager.change_property(GUEST, Some("10"), false, &forecast.guard, ADMIN), async {
            blocked(&db).await;
            checking.commit().await.unwrap();
        });
        if guarded {
            let refusal = refusal(changed);
            assert_eq!((&*refusal.code, refusal.count), ("preview_changed", Some(1)));
        } else {
            changed.unwrap();
        }
        let left = if guarded { 2 } else { 1 };
        assert_eq!(db.count("select count(*) from tenure.sessions").await, left, "guarded: {guarded}");
    }
}

#[tokio::test]
async fn rule_x2_a_change_of_a_user_does_what_its_preview_said() {
    println!("seed {SEED}");
    let mut rng = StdRng::seed_from_u64(SEED);
    let db = stopped().await;
    mobile_app(&db, 1_800, 86_400).await;
    db.sql("insert into tenure.users (name) select 'u' || n from generate_series(1, 4) n").await;
    let mut covered: BTreeMap<&str, i64> = BTreeMap::new();
    for round in 0..rounds(300) {
        let minutes = rng.random_range(0..20);
        db.sql(&format!("update tenure_test.stopped set at = at + make_interval(mins => {minutes})")).await;
        if rng.random_bool(0.2) {
            let names = ["tenure.lock_out_inactive_users", "glide.authenticate.only.allow.active.user.login"];
            set(&db, names[rng.random_range(0..2)], if rng.random_bool(0.5) { "true" } else { "false" }).await;
        }
        populate(&db, &mut rng, 20).await;
        let name = format!("U{}", rng.random_range(1..=4));
        let changes =
            [(None, Some(true)), (Some(false), None), (None, Some(false)), (Some(true), Some(false)), (Some(false), Some(false))];
        let (active, locked_out) = changes[rng.random_range(0..changes.len())];
        let case = format!("round {round}, {name}: active {active:?}, locked out {locked_out:?}");
        let patch = UserPatch { active, locked_out, ..UserPatch::default() };

        db.sql("delete from tenure.ended_sessions; delete from tenure.session_events").await;
        let (unchanged, before) = (everything(&db).await, live(&db).await);
        let forecast = db.manager.rehearse_user(&name, active, locked_out).await.unwrap();
        let wrong = Expect { expect: Some(forecast.ends_now + 1), ..Expect::default() };
        let refusal = refusal(db.manager.change_user(&name, &patch, &wrong, ADMIN).await);
        assert_eq!((refusal.status, &*refusal.code, refusal.count), (409, "preview_changed", Some(forecast.ends_now)), "{case}");
        assert_eq!(everything(&db).await, unchanged, "{case}: nothing changes");

        let changed = db.manager.change_user(&name, &patch, &forecast.guard, ADMIN).await;
        let changed = changed.unwrap_or_else(|error| panic!("{case}: {error}"));
        // What was over before is swept with the rest, and not counted.
        assert_eq!((changed.user, changed.ended.unwrap_or(0)), (forecast.user, forecast.ends_now), "{case}");
        let (ended, after) = (ended_by_admin(&db).await, live(&db).await);
        assert_eq!(i64::try_from(ended.len()).unwrap(), forecast.ends_now, "{case}");
        for place in &forecast.sessions {
            let of_kind = ended.values().filter(|(kind, ..)| *kind == place.kind).count();
            assert_eq!(i64::try_from(of_kind).unwrap(), place.sessions, "{case}: {place:?}");
        }
        let lost: Vec<_> = before.keys().filter(|id| !after.contains_key(id)).collect();
        assert_eq!(lost, ended.keys().collect::<Vec<_>>(), "{case}");
        assert_eq!(forecast.examples.len(), ended.len().min(5), "{case}");
        for example in &forecast.examples {
            let (kind, at, reason) = &ended[&example.id];
            assert_eq!((example.kind, example.would_expire_at, &example.would_reason), (*kind, *at, reason), "{case}");
        }
        *covered.entry(if ended.is_empty() { "none" } else { "some" }).or_default() += 1;
    }
    assert!(covered.len() == 2, "{covered:?}");
    assert_eq!(refused(db.manager.rehearse_user("nobody", Some(false), None).await), (404, "unknown_user".into()));
}
