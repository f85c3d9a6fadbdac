//! Section 2: properties.

use tenure::session::Activity;

use super::*;

/// The catalogue of section 2: name, type, unit, default.
const CATALOGUE: [(&str, &str, Option<&str>, Option<&str>); 30] = [
    ("glide.active.session.timeout.invalidate.session", "boolean", None, Some("false")),
    ("glide.authenticate.only.allow.active.user.login", "boolean", None, Some("true")),
    ("glide.guest.active.session.life_span", "integer", Some("minutes"), Some("0")),
    ("glide.guest.session_timeout", "integer", Some("minutes"), Some("30")),
    ("glide.integration.session_timeout", "string", Some("minutes"), Some("5")),
    ("glide.integrations.active.session.life_span", "integer", Some("minutes"), Some("0")),
    ("glide.security.auto.resubmit.ajax", "boolean", None, Some("false")),
    ("glide.security.csrf.handle.ajax.timeout", "boolean", None, Some("true")),
    ("glide.session.unauthorized.timeout.enabled", "boolean", None, Some("true")),
    ("glide.ui.active.session.life_span", "integer", Some("minutes"), Some("0")),
    ("glide.ui.auto_req.extend.session", "boolean", None, Some("true")),
    ("glide.ui.forgetme", "boolean", None, Some("false")),
    ("glide.ui.remember.me.default", "boolean", None, Some("false")),
    ("glide.ui.session_timeleft", "integer", Some("minutes"), Some("2")),
    ("glide.ui.session_timeout", "integer", Some("minutes"), Some("30")),
    ("glide.ui.user_cookie.life_span_in_days", "integer", Some("days"), Some("15")),
    ("glide.unauthorized.session_timeout", "integer", Some("minutes"), None),
    ("tenure.integration.at_max_sessions", "string", None, Some("end_idlest")),
    ("tenure.integration.max_sessions", "integer", Some("sessions"), Some("0")),
    ("tenure.lock_out_inactive_users", "boolean", None, Some("true")),
    ("tenure.maintenance_at", "string", None, None),
    ("tenure.mobile.active.session.life_span", "integer", Some("minutes"), Some("0")),
    ("tenure.mobile.at_max_sessions", "string", None, Some("end_idlest")),
    ("tenure.mobile.heartbeat_seconds", "integer", Some("seconds"), Some("60")),
    ("tenure.mobile.max_sessions", "integer", Some("sessions"), Some("0")),
    ("tenure.release_profile", "string", None, Some("yokohama")),
    ("tenure.retention.ended_sessions_days", "integer", Some("days"), Some("400")),
    ("tenure.retention.events_days", "integer", Some("days"), Some("400")),
    ("tenure.user.at_max_sessions", "string", None, Some("end_idlest")),
    ("tenure.user.max_sessions", "integer", Some("sessions"), Some("0")),
];

#[tokio::test]
async fn rule_p1_rows_override_defaults() {
    let db = stopped().await;
    let property = async || db.manager.property("glide.ui.session_timeout").await.unwrap();
    let before = property().await;
    assert_eq!((before.value.as_deref(), &*before.source), (Some("30"), "default"));
    let session = create(&db, user()).await;
    set(&db, "glide.ui.session_timeout", "45").await;
    let row = property().await;
    assert_eq!((row.value.as_deref(), row.default.as_deref(), &*row.source), (Some("45"), Some("30"), "row"));
    assert_eq!(view(&db, &session).await.idle_deadline_at, Some(t("09:45")));
    set(&db, "glide.ui.session_timeout", "30").await;
    assert_eq!(property().await.source, "row", "a row with the default's value is a row");
    set(&db, "glide.ui.session_timeout", "50").await;
    unset(&db, "glide.ui.session_timeout").await;
    let after = property().await;
    assert_eq!((after.value.as_deref(), &*after.source), (Some("30"), "default"));
    assert_eq!(view(&db, &session).await.idle_deadline_at, Some(t("09:30")));
    unset(&db, "glide.ui.session_timeout").await;
}

#[tokio::test]
async fn rule_p2_values_are_text_with_a_type() {
    let db = stopped().await;
    let properties = db.store.properties(None).await.unwrap();
    let catalogue: Vec<_> = properties.iter().map(|p| (&*p.name, &*p.kind, p.unit.as_deref(), p.default.as_deref())).collect();
    assert_eq!(catalogue, CATALOGUE);
    assert!(properties.iter().all(|property| property.description.len() > 20), "each with a description");

    let bounds = [
        ("glide.ui.session_timeout", "0", "1", "1440", "1441"),
        ("glide.guest.session_timeout", "0", "1", "1440", "1441"),
        ("glide.integration.session_timeout", "0", "1", "1440", "1441"),
        ("glide.ui.active.session.life_span", "-1", "0", "525600", "525601"),
        ("glide.guest.active.session.life_span", "-1", "0", "35791394", "35791395"),
        ("glide.integrations.active.session.life_span", "-1", "0", "35791394", "35791395"),
        ("glide.ui.user_cookie.life_span_in_days", "0", "1", "30", "31"),
        ("glide.ui.session_timeleft", "-1", "0", "29", "30"),
        ("glide.unauthorized.session_timeout", "0", "1", "29", "30"),
        ("tenure.mobile.active.session.life_span", "-1", "0", "35791394", "35791395"),
        ("tenure.mobile.heartbeat_seconds", "9", "10", "3600", "3601"),
        ("tenure.user.max_sessions", "-1", "0", "1000", "1001"),
        ("tenure.integration.max_sessions", "-1", "0", "1000", "1001"),
        ("tenure.mobile.max_sessions", "-1", "0", "1000", "1001"),
    ];
    for (name, below, least, most, above) in bounds {
        for good in [least, most] {
            set(&db, name, good).await;
            assert_eq!(value(&db, name).await.as_deref(), Some(good), "{name}");
        }
        unset(&db, name).await;
        let before = everything(&db).await;
        let words = ["", " 10", "10 ", "+10", "010", "1e1", "10.0", "0x10", "ten", "١٠", "10\n", "true"];
        for bad in [below, above].into_iter().chain(words) {
            let refusal = refusal(db.manager.set_property(name, bad, true, ADMIN).await);
            assert_eq!(refusal.status, 422, "{name} {bad:?}: {refusal:?}");
            let statement =
                format!("insert into tenure.properties (name, value) values ('{name}', '{bad}') on conflict (name) do nothing");
            let (state, _) = refused_sql(&db, &statement).await;
            assert!(["TN422", "23514"].contains(&&*state), "{name} {bad:?} by SQL: {state}");
        }
        assert_eq!(everything(&db).await, before, "nothing changed for {name}");
    }
    for (name, kind, ..) in CATALOGUE {
        if kind != "boolean" {
            continue;
        }
        for good in ["true", "false"] {
            set(&db, name, good).await;
        }
        for bad in ["", "True", "TRUE", "yes", "1", "0", " true", "on", "null"] {
            assert_eq!(refused(db.manager.set_property(name, bad, true, ADMIN).await).0, 422, "{name} {bad:?}");
        }
        unset(&db, name).await;
    }
    for bad in ["", "tokyo", "Istanbul", "istanbul "] {
        assert_eq!(refused(db.manager.set_property("tenure.release_profile", bad, true, ADMIN).await).0, 422, "{bad:?}");
    }
    for bad in ["", "End_oldest", "oldest", "reject "] {
        assert_eq!(refused(db.manager.set_property("tenure.user.at_max_sessions", bad, true, ADMIN).await).0, 422, "{bad:?}");
    }
    let instants = [
        "now",
        "2027-06-01",
        "2027-06-01T10:00Z",
        "2027-06-01T10:00:00",
        "2027-06-01T10:00:00+01:00",
        "2027-02-29T10:00:00Z",
        "2027-06-01T24:00:01Z",
        "2027-06-01T24:00:00Z",
        "2999-12-31T24:00:00Z",
        "2027-06-01T12:34:60Z",
        "2027-06-01T12:60:00Z",
        "2027-13-01T10:00:00Z",
        "infinity",
        "9999-06-01T10:00:00Z",
        "2027-06-01T10:00:00.1234567Z",
    ];
    for bad in instants {
        assert_eq!(
            refused(db.manager.set_property("tenure.maintenance_at", bad, true, ADMIN).await),
            (422, "invalid_value".into()),
            "{bad}"
        );
    }
    assert_eq!(refused(db.manager.set_property("glide.ui.nothing", "1", false, ADMIN).await), (404, "unknown_property".into()));
    let insert = "insert into tenure.properties (name, value) values ('glide.ui.nothing', '1')";
    assert_eq!(refused_sql(&db, insert).await, ("TN404".into(), "unknown_property".into()));
    set(&db, "glide.ui.session_timeout", "240").await;
    assert!(db.manager.property("glide.ui.session_timeout").await.unwrap().warnings.is_empty());
    set(&db, "glide.ui.session_timeout", "241").await;
    assert_eq!(db.manager.property("glide.ui.session_timeout").await.unwrap().warnings.len(), 1, "accepted with a warning");
}

/// Rows before, a write (`None` removes the row), and the other property of the relation it breaks; `None`: accepted.
type Case = (&'static [(&'static str, &'static str)], (&'static str, Option<&'static str>), Option<&'static str>);

const UI: &str = "glide.ui.session_timeout";
const UI_LIFE: &str = "glide.ui.active.session.life_span";
const GUEST: &str = "glide.guest.session_timeout";
const GUEST_LIFE: &str = "glide.guest.active.session.life_span";
const API: &str = "glide.integration.session_timeout";
const API_LIFE: &str = "glide.integrations.active.session.life_span";
const PROFILE: &str = "tenure.release_profile";
const PROMPT: &str = "glide.ui.session_timeleft";
const RESIDUE: &str = "glide.unauthorized.session_timeout";

/// Relations from either side; the last field of a life span's case can be forced.
const LIFE_SPANS: [Case; 17] = [
    (&[(UI_LIFE, "60")], (UI, Some("60")), Some(UI_LIFE)),
    (&[(UI_LIFE, "60")], (UI, Some("59")), None),
    (&[], (UI_LIFE, Some("30")), Some(UI)),
    (&[], (UI_LIFE, Some("31")), None),
    (&[(UI_LIFE, "31")], (UI_LIFE, Some("0")), None),
    (&[(UI, "10"), (UI_LIFE, "20")], (UI, None), Some(UI_LIFE)),
    (&[(UI, "60"), (UI_LIFE, "90")], (UI, None), None),
    (&[(UI, "10"), (UI_LIFE, "20")], (UI_LIFE, None), None),
    (&[], (GUEST_LIFE, Some("30")), Some(GUEST)),
    (&[(GUEST_LIFE, "60")], (GUEST, Some("60")), Some(GUEST_LIFE)),
    (&[(GUEST, "10"), (GUEST_LIFE, "20")], (GUEST, None), Some(GUEST_LIFE)),
    (&[], (API_LIFE, Some("5")), Some(API)),
    (&[(API_LIFE, "6")], (API, Some("6")), Some(API_LIFE)),
    (&[(API, "2"), (API_LIFE, "3")], (API, None), Some(API_LIFE)),
    // The default of the profile takes part, from every side.
    (&[(PROFILE, "istanbul"), (API_LIFE, "3")], (PROFILE, Some("helsinki")), Some(API_LIFE)),
    (&[(PROFILE, "istanbul"), (API_LIFE, "3")], (PROFILE, None), Some(API_LIFE)),
    (&[(PROFILE, "istanbul"), (API, "2"), (API_LIFE, "3")], (PROFILE, None), None),
];

const OTHERS: [Case; 14] = [
    (&[], (PROMPT, Some("30")), Some(UI)),
    (&[], (PROMPT, Some("29")), None),
    (&[(PROMPT, "10")], (UI, Some("10")), Some(PROMPT)),
    (&[(PROMPT, "10")], (UI, Some("11")), None),
    (&[(UI, "60"), (PROMPT, "40")], (UI, None), Some(PROMPT)),
    (&[(PROMPT, "0")], (UI, Some("1")), None),
    // Without a row the default counts as min(2, idle - 1): it never stands in the way.
    (&[], (UI, Some("1")), None),
    (&[], (UI, Some("2")), None),
    (&[(UI, "1"), (PROMPT, "0")], (PROMPT, None), None),
    (&[], (RESIDUE, Some("30")), Some(UI)),
    (&[], (RESIDUE, Some("29")), None),
    (&[(RESIDUE, "10")], (UI, Some("10")), Some(RESIDUE)),
    (&[(UI, "60"), (RESIDUE, "40")], (UI, None), Some(RESIDUE)),
    (&[(UI, "60"), (RESIDUE, "40")], (RESIDUE, None), None),
];

async fn write(db: &Db, name: &str, value: Option<&str>, force: bool) -> Result<(), Error> {
    match value {
        Some(value) => db.manager.set_property(name, value, force, ADMIN).await.map(drop),
        None => db.manager.unset_property(name, force, ADMIN).await.map(drop),
    }
}

#[tokio::test]
async fn rule_p3_every_write_is_validated() {
    let db = stopped().await;
    for (number, (rows, (name, value), breaks)) in LIFE_SPANS.iter().chain(&OTHERS).enumerate() {
        // Removed together, rows cannot break a relation on the way.
        db.sql("delete from tenure.properties").await;
        for (name, value) in *rows {
            set(&db, name, value).await;
        }
        let case = format!("{rows:?} then {name} = {value:?}");
        let Some(other) = breaks else {
            write(&db, name, *value, false).await.unwrap_or_else(|error| panic!("{case}: {error}"));
            continue;
        };
        let before = everything(&db).await;
        let refusal = refusal(write(&db, name, *value, false).await);
        assert_eq!((refusal.status, &*refusal.code), (422, "relation_broken"), "{case}");
        assert!(refusal.message.contains(other), "{case}: {} does not name {other}", refusal.message);
        let statement = match value {
            Some(value) => format!(
                "insert into tenure.properties (name, value) values ('{name}', '{value}')
                 on conflict (name) do update set value = excluded.value"
            ),
            None => format!("delete from tenure.properties where name = '{name}'"),
        };
        assert_eq!(refused_sql(&db, &statement).await, ("TN422".into(), "relation_broken".into()), "{case} by SQL");
        assert_eq!(everything(&db).await, before, "{case}: then nothing changes at all");
        let forced = write(&db, name, *value, true).await;
        assert_eq!(forced.is_ok(), number < LIFE_SPANS.len(), "{case}: only a life span can be forced");
    }
}

#[tokio::test]
async fn rule_p3_force_and_what_was_broken_before() {
    let db = stopped().await;
    set(&db, UI_LIFE, "60").await;
    force(&db, UI, "60").await;
    assert!(!db.manager.property(UI).await.unwrap().warnings.is_empty());
    let session = create(&db, user()).await;
    at(&db, "09:50").await;
    check(&db, &session, Activity::User).await;
    at(&db, "10:00").await;
    assert_eq!(ending(&db, &session).await, ("max_life", t("10:00")));

    // Only a relation that held before can be broken; this one is broken already, the others still hold.
    set(&db, UI, "70").await;
    assert_eq!(refused(write(&db, PROMPT, Some("70"), false).await), (422, "relation_broken".into()));
    set(&db, UI_LIFE, "71").await;
    assert_eq!(refused(write(&db, UI, Some("71"), false).await), (422, "relation_broken".into()), "it held again");

    // One statement is one write: both sides at once are judged by the result.
    db.sql("update tenure.properties set value = case name when 'glide.ui.session_timeout' then '100' else '200' end").await;
    assert_eq!(value(&db, UI_LIFE).await.as_deref(), Some("200"));
    let worse = "update tenure.properties set value = '100'";
    assert_eq!(refused_sql(&db, worse).await, ("TN422".into(), "relation_broken".into()));
    db.sql(&format!("select set_config('tenure.force', 'on', true); {worse}")).await;
    assert_eq!(value(&db, UI_LIFE).await.as_deref(), Some("100"));
}

#[tokio::test]
async fn rule_p4_the_release_profile() {
    let db = stopped().await;
    let session = create(&db, integration()).await;
    for (profile, minutes) in [("helsinki", 5), ("istanbul", 1), ("yokohama", 5)] {
        set(&db, PROFILE, profile).await;
        assert_eq!(value(&db, API).await, Some(minutes.to_string()), "{profile}");
        assert_eq!(view(&db, &session).await.idle_deadline_at, Some(t(&format!("09:{minutes:02}"))), "{profile}");
        let explained = db.manager.explain(session.session.id, ADMIN).await.unwrap();
        let idle = explained.candidates.iter().find(|candidate| candidate.limit == "idle").unwrap();
        assert_eq!(idle.source, "release_profile");
        assert!(idle.inputs.contains(&format!("tenure.release_profile={profile}")), "{:?}", idle.inputs);
    }
    set(&db, API, "7").await;
    for profile in ["helsinki", "istanbul", "yokohama"] {
        set(&db, PROFILE, profile).await;
        assert_eq!(view(&db, &session).await.idle_deadline_at, Some(t("09:07")), "a row wins over {profile}");
    }
    let explained = db.manager.explain(session.session.id, ADMIN).await.unwrap();
    let idle = explained.candidates.iter().find(|candidate| candidate.limit == "idle").unwrap();
    assert_eq!((idle.source, idle.value.as_deref()), ("row", Some("7")));
    // A change of the profile ends what it moves into the past, like any other tightening.
    unset(&db, API).await;
    at(&db, "09:03").await;
    set(&db, PROFILE, "istanbul").await;
    assert_eq!(ending(&db, &session).await, ("idle", t("09:03")));
}

#[tokio::test]
async fn rule_p5_live_limits() {
    let db = stopped().await;
    let other_node = db.another("node-2").await;
    for (new, property, minutes) in
        [(user(), UI, "11"), (guest(), GUEST, "12"), (integration(), API, "13"), (user(), UI_LIFE, "14")]
    {
        let session = create(&db, new).await;
        set(&db, property, minutes).await;
        for node in [&db, &other_node] {
            let seen = check(node, &session, Activity::Passive).await.session;
            let deadline = if property == UI_LIFE { seen.max_life_deadline_at } else { seen.idle_deadline_at };
            assert_eq!(deadline, Some(t(&format!("09:{minutes}"))), "{property}");
        }
        // The instant that the sweeper goes by follows too, once the job owed has run.
        while other_node.store.lower_deadlines(100).await.unwrap().is_some() {}
        let late = "select count(*) from tenure.sessions s join tenure.policies p on p.kind = s.kind, tenure.limits(s, p) l
                     where s.due_at > l.expires_at";
        assert_eq!(db.count(late).await, 0, "{property}: a session would be swept late");
    }
}

#[tokio::test]
async fn rule_p5_too_many_endings() {
    let db = stopped().await;
    let many = |count: usize| {
        format!(
            "insert into tenure.sessions (id, token_hash, kind, created_at, anchor_at, due_at)
             select tenure.uuid_v7(n.at), sha256('x'), 'guest', n.at, n.at, n.at + interval '30 minutes'
               from (select tenure.now() as at) n, generate_series(1, {count})"
        )
    };
    // Sessions that are over already do not count.
    db.sql(&many(5)).await;
    at(&db, "09:30").await;
    db.sql(&many(10_000)).await;
    let last = create(&db, guest()).await;
    at(&db, "09:40").await;
    let before = everything(&db).await;
    let refusal = refusal(db.manager.set_property(GUEST, "10", false, ADMIN).await);
    assert_eq!((refusal.status, &*refusal.code), (409, "too_many_endings"));
    assert!(refusal.message.contains("10001"), "with the count: {}", refusal.message);
    let update = format!("insert into tenure.properties (name, value) values ('{GUEST}', '10')");
    assert_eq!(refused_sql(&db, &update).await, ("TN409".into(), "too_many_endings".into()));
    assert_eq!(everything(&db).await, before);
    // 10,000 are not more than 10,000.
    db.manager.terminate(last.session.id, true, ADMIN).await.unwrap();
    set(&db, GUEST, "10").await;
    assert_eq!(db.count("select count(*) from tenure.sessions").await, 0);
    assert_eq!(db.count("select count(*) from tenure.ended_sessions where ended_at = '2027-06-01 09:40+00'").await, 10_001);
    assert_eq!(db.count("select count(*) from tenure.ended_sessions where ended_at = '2027-06-01 09:30+00'").await, 5);
    db.sql(&many(10_001)).await;
    at(&db, "09:45").await;
    force(&db, GUEST, "5").await;
    assert_eq!(db.count("select count(*) from tenure.sessions").await, 0, "forced");
}
