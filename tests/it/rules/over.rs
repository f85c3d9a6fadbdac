//! A11, and section 5: what the caller is told when a session is over.

use std::collections::BTreeSet;

use tenure::cache::{Cache, Invalidation, PolicySet, Polled};
use tenure::clock::Reading;
use tenure::session::{Action, Activity, EndReason, Kind, Loaded, Policy, TokenHash, TokenParts};
use tenure::store::{ConnectSettings, StateFilter, Store, SweepPosition};

use super::*;
use crate::support::{begun, half_an_hour};

#[tokio::test]
async fn rule_a11_over_is_over_for_every_reader() {
    let db = stopped().await;
    at(&db, "10:00").await;
    let session = create(&db, user()).await;
    let other = create(&db, CreateSession { idle_limit_minutes: Some(120), ..user() }).await;
    at(&db, "10:30").await;
    // No sweeper, no check: views, lists and counts see it gone.
    for relation in ["reporting.live_sessions", "tenure.live"] {
        assert_eq!(db.count(&format!("select count(*) from {relation}")).await, 1, "{relation}");
    }
    assert_eq!(db.count("select sessions from reporting.logged_in_users").await, 1);
    assert_eq!(db.count("select sum(sessions)::bigint from reporting.sessions_by_node").await, 1);
    let live: Vec<_> = listed(&db, StateFilter::Live).await.iter().map(|item| item.id).collect();
    assert_eq!(live, [other.session.id]);
    let ended = listed(&db, StateFilter::Ended).await;
    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].end_reason, ended[0].ended_at), (Some(EndReason::Idle), Some(t("10:30"))));
    assert_eq!(listed(&db, StateFilter::All).await.len(), 2, "once each");
    let seen = view(&db, &session).await;
    assert_eq!((seen.state, seen.ended_at, seen.expires_at), ("ended", Some(t("10:30")), None));
}

#[tokio::test]
async fn rule_a11_nothing_later_brings_it_back() {
    // What happens at 10:31 to a session that was over at 10:30 and that nobody has looked at since.
    let later = [
        ("insert into tenure.properties (name, value) values ('glide.ui.session_timeout', '60')", "idle"),
        ("insert into tenure.properties (name, value) values ('glide.ui.user_cookie.life_span_in_days', '30')", "idle"),
        ("update tenure.users set locked_out = true", "idle"),
        ("update tenure.users set active = false", "idle"),
        ("update tenure.users set locked_out = true; update tenure.users set locked_out = false", "idle"),
        ("update tenure.users set display_name = 'Abel'", "idle"),
    ];
    for (what, reason) in later {
        let db = stopped().await;
        at(&db, "10:00").await;
        let session = create(&db, user()).await;
        at(&db, "10:31").await;
        db.sql(&format!("select set_config('tenure.actor', 'operator', true); {what}")).await;
        let over = over(&db, &session, Activity::User).await;
        assert_eq!((over.ending.reason.as_str(), over.ending.at), (reason, t("10:30")), "{what}");
        assert_eq!(over.ending.by, "tenure", "the store itself, not whoever came by later: {what}");
    }

    // Remember Me switched off ends what was idle; switched on again, it is not remembered.
    let db = stopped().await;
    at(&db, "10:00").await;
    let remembered = create(&db, CreateSession { remember_me: Some(true), ..user() }).await;
    at(&db, "10:40").await;
    set(&db, "glide.ui.forgetme", "true").await;
    at(&db, "10:41").await;
    unset(&db, "glide.ui.forgetme").await;
    assert_eq!(ending(&db, &remembered).await, ("idle", t("10:40")), "a change moved the deadline into the past");
}

#[tokio::test]
async fn rule_a11_lengthening_and_tightening() {
    let db = stopped().await;
    at(&db, "10:00").await;
    let first = create(&db, user()).await;
    at(&db, "10:02").await;
    let second = create(&db, user()).await;
    at(&db, "10:31").await;
    set(&db, "glide.ui.session_timeout", "60").await;
    assert_eq!(db.count("select count(*) from tenure.ended_sessions").await, 1, "in the transaction of the change");
    assert_eq!(ending(&db, &first).await, ("idle", t("10:30")));
    assert_eq!(check(&db, &second, Activity::Passive).await.session.idle_deadline_at, Some(t("11:02")));

    // To the microsecond: due at the instant of the change is due.
    for (clock, lives) in [("10:29:59.999999", true), ("10:30", false)] {
        let db = stopped().await;
        at(&db, "10:00").await;
        let session = create(&db, user()).await;
        at(&db, clock).await;
        set(&db, "glide.ui.session_timeout", "60").await;
        at(&db, "10:59:59.999999").await;
        if lives {
            check(&db, &session, Activity::Passive).await;
        } else {
            assert_eq!(ending(&db, &session).await, ("idle", t("10:30")));
        }
    }

    let db = stopped().await;
    at(&db, "10:00").await;
    let first = create(&db, user()).await;
    at(&db, "10:05:00.000001").await;
    let second = create(&db, user()).await;
    at(&db, "10:15").await;
    set(&db, "glide.ui.session_timeout", "10").await;
    assert_eq!(ending(&db, &first).await, ("idle", t("10:15")), "the moment of the change");
    check(&db, &second, Activity::Passive).await;
    at(&db, "10:15:00.000001").await;
    assert_eq!(ending(&db, &second).await, ("idle", t("10:15:00.000001")));
}

#[tokio::test]
async fn rule_a11_the_earliest_limit_is_the_reason() {
    let db = stopped().await;
    set(&db, "glide.ui.active.session.life_span", "60").await;
    let session = create(&db, user()).await;
    at(&db, "09:20").await;
    check(&db, &session, Activity::User).await;
    at(&db, "09:30").await;
    check(&db, &session, Activity::User).await;
    at(&db, "10:45").await;
    assert_eq!(ending(&db, &session).await, ("max_life", t("10:00")), "a tie is max_life");

    // The earliest in time, however late somebody looks.
    at(&db, "09:00").await;
    let idle = create(&db, user()).await;
    at(&db, "10:45").await;
    assert_eq!(ending(&db, &idle).await, ("idle", t("09:30")));

    // Ties of the others: max_life before remember_me, residue before idle is no tie of the rule but must be stable.
    at(&db, "09:00").await;
    set(&db, "glide.ui.user_cookie.life_span_in_days", "1").await;
    set(&db, "glide.ui.active.session.life_span", "1440").await;
    let remembered = create(&db, CreateSession { remember_me: Some(true), ..user() }).await;
    at(&db, "2027-06-02 09:00").await;
    assert_eq!(ending(&db, &remembered).await, ("max_life", t("2027-06-02 09:00")));
}

#[tokio::test]
async fn rule_a11_whoever_ends_it_says_the_same() {
    // Sweeper, check, reader, termination, sign-out, rotation and the job after a tightening agree on reason and instant,
    // from the deadline itself on.
    for (number, by) in ["sweep", "check", "read", "terminate", "sign_out", "rotate", "lower", "sign_in"].iter().enumerate() {
        let db = stopped().await;
        at(&db, "10:00").await;
        let session = create(&db, guest()).await;
        let id = session.session.id;
        let owe = "update tenure.policies set lowering_pass = 2, lowering_from = tenure.now() where kind = 'guest'";
        at(&db, "10:29:59.999999").await;
        assert_eq!(db.store.sweep(SweepPosition::START, 10).await.unwrap().ended, 0);
        db.sql(owe).await;
        assert_eq!(db.store.lower_deadlines(10).await.unwrap().unwrap().ended, 0);
        assert_eq!(db.count(&format!("select tenure.end_due('{id}')::int::bigint")).await, 0);
        assert_eq!(view(&db, &session).await.state, "live");
        at(&db, if number % 2 == 0 { "10:30" } else { "10:45" }).await;
        match *by {
            "sweep" => assert_eq!(db.store.sweep(SweepPosition::START, 10).await.unwrap().ended, 1),
            "check" => drop(over(&db, &session, Activity::User).await),
            "read" => drop(view(&db, &session).await),
            "terminate" => assert_eq!(db.manager.terminate(id, true, ADMIN).await.unwrap().terminated, 0),
            "sign_out" => assert!(db.manager.sign_out(id, ADMIN).await.unwrap().guest.is_none()),
            "rotate" => assert_eq!(refused(db.manager.rotate(id, ADMIN).await), (409, "session_ended".into())),
            "lower" => {
                db.sql(owe).await;
                assert_eq!(db.store.lower_deadlines(10).await.unwrap().unwrap().ended, 1);
            }
            _ => drop(create(&db, CreateSession { guest_token: Some(session.token.reveal().into()), ..user() }).await),
        }
        let query = format!("select count(*) from tenure.ended_sessions where id = '{id}'");
        assert_eq!(db.count(&query).await, 1, "{by} moved it");
        let over = over(&db, &session, Activity::User).await;
        assert_eq!((over.ending.reason.as_str(), over.ending.at), ("idle", t("10:30")), "{by}");
        assert_eq!(over.ending.by, "tenure", "{by}");
        let events = format!("select count(*) from tenure.session_events where type = 'session_ended' and session_id = '{id}'");
        assert_eq!(db.count(&events).await, 1, "{by}");
    }
}

#[test]
fn rule_e1_the_action() {
    let policy = |ajax_prompt, ajax_resubmit| Policy { ajax_prompt, ajax_resubmit, ..half_an_hour() };
    let mut seen = BTreeSet::new();
    for kind in Kind::ALL {
        for activity in Activity::ALL {
            for reason in EndReason::ALL {
                for bits in 0..8 {
                    let (prompt, resubmit, remembered) = (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0);
                    let timed_out = ["idle", "max_life", "remember_me"].contains(&reason.as_str());
                    // The lines of the table, in its order.
                    let (line, expected) = match (kind.as_str(), activity.as_str()) {
                        ("integration" | "mobile", _) => (1, Action::AuthenticateAgain),
                        ("guest", _) => (2, Action::StartGuestSession),
                        (_, other) if other != "ajax" => (3, Action::RedirectToLogin),
                        _ if !timed_out => (4, Action::RedirectToLogin),
                        _ if resubmit && remembered => (5, Action::ResubmitAfterLogin),
                        _ if prompt => (6, Action::PromptToContinue),
                        _ => (7, Action::None),
                    };
                    seen.insert(line);
                    let action = Action::after(*kind, remembered, *reason, *activity, &policy(prompt, resubmit));
                    assert_eq!(action, expected, "line {line}: {kind} {activity} {reason} {bits:03b}");
                }
            }
        }
    }
    assert_eq!(seen.len(), 7);
    assert_eq!(EndReason::ALL.len(), 12, "the twelve words of E1");
}

#[tokio::test]
async fn rule_e1_reason_time_and_advice() {
    let db = stopped().await;
    let timed_out = create(&db, user()).await;
    let remembered = create(&db, CreateSession { remember_me: Some(true), idle_limit_minutes: Some(30), ..user() }).await;
    let terminated = create(&db, user()).await;
    db.manager.terminate(terminated.session.id, true, ADMIN).await.unwrap();
    at(&db, "2027-06-16 09:00").await;
    let action = async |session: &Created, activity| over(&db, session, activity).await.action;
    assert_eq!(action(&timed_out, Activity::Ajax).await, Action::PromptToContinue);
    assert_eq!(action(&timed_out, Activity::User).await, Action::RedirectToLogin);
    assert_eq!(action(&terminated, Activity::Ajax).await, Action::RedirectToLogin);
    let told = over(&db, &terminated, Activity::User).await;
    assert_eq!((told.ending.reason.as_str(), told.ending.at, &*told.ending.by), ("terminated", t("09:00"), "admin-key"));

    // The properties are read when the caller asks, not when the session ended.
    set(&db, "glide.security.auto.resubmit.ajax", "true").await;
    assert_eq!(action(&remembered, Activity::Ajax).await, Action::ResubmitAfterLogin);
    assert_eq!(action(&timed_out, Activity::Ajax).await, Action::PromptToContinue);
    set(&db, "glide.security.csrf.handle.ajax.timeout", "false").await;
    assert_eq!(action(&timed_out, Activity::Ajax).await, Action::None);
    assert_eq!(action(&remembered, Activity::Ajax).await, Action::ResubmitAfterLogin);
}

#[tokio::test]
async fn rule_e2_for_a_day_at_least() {
    let db = stopped().await;
    let session = create(&db, user()).await;
    at(&db, "09:10").await;
    db.manager.terminate(session.session.id, true, ADMIN).await.unwrap();
    at(&db, "2027-06-02 09:10").await;
    db.store.keep_house().await.unwrap();
    assert_eq!(ending(&db, &session).await, ("terminated", t("09:10")));
}

#[tokio::test]
async fn rule_e3_one_answer_for_everything_unknown() {
    let db = stopped().await;
    let live = create(&db, user()).await;
    let ended = create(&db, user()).await;
    db.manager.terminate(ended.session.id, true, ADMIN).await.unwrap();
    let rotated_away = create(&db, user()).await;
    db.manager.rotate(rotated_away.session.id, ADMIN).await.unwrap();
    let forged = |id| tenure::session::TokenParts::new().for_session(id).reveal().to_owned();
    let good = live.token.reveal().to_owned();
    let unknown = [
        String::new(),
        " ".into(),
        "tn_".into(),
        "tnk_AAAA".into(),
        "tn_'; drop table tenure.sessions; --".into(),
        "\u{0}".into(),
        "ü".repeat(100_000),
        good.to_uppercase(),
        format!("{good}="),
        format!("{good} "),
        good[1..].to_owned(),
        good[..good.len() - 1].to_owned(),
        forged(live.session.id),
        forged(ended.session.id),
        forged(uuid::Uuid::nil()),
        forged(uuid::Uuid::max()),
        rotated_away.token.reveal().to_owned(),
    ];
    let before = everything(&db).await;
    for token in &unknown {
        for activity in [None, Some(Activity::Passive), Some(Activity::Foreground)] {
            let answer = db.manager.check(token, activity, CheckOptions::default(), ADMIN).await.unwrap();
            assert!(matches!(answer, Verdict::Unknown), "{token:?}: {answer:?}");
        }
    }
    assert_eq!(everything(&db).await, before);
    check(&db, &live, Activity::User).await;

    // A store that cannot know does not say that a session is over.
    let away = Store::connect_lazily(&ConnectSettings {
        url: "postgres://tenure@127.0.0.1:1/none".into(),
        connections: 2,
        node: Some("node-1".into()),
        allow_plaintext: true,
        allow_lossy: true,
    })
    .unwrap();
    for activity in [Activity::User, Activity::Passive] {
        let error = away.check(&good, Some(activity), ADMIN).await.unwrap_err();
        assert!(error.is_unavailable(), "{error:?}");
    }
}

#[test]
fn rule_a11_a_longer_limit_revives_nothing_that_memory_holds() {
    const SECOND: i64 = 1_000_000;
    const START: i64 = 1_800_000_000 * SECOND;
    let limits = |idle_seconds| -> PolicySet { std::array::from_fn(|_| Policy { idle_seconds, ..half_an_hour() }) };
    let reading = |after: i64| Reading { boot: after, offset: 0 };
    let poll = |cache: &Cache, after: i64, changes: usize, idle: i32| {
        let polled = Polled { rows: vec![Invalidation::Policies; changes], policies: Some(limits(idle)), now: START + after };
        cache.apply(cache.begin_poll(reading(after), changes == 0), polled, after);
    };
    let remember = |cache: &Cache, anchor: i64, seen: i64| {
        let (id, hash) = (uuid::Uuid::from_u128(anchor.unsigned_abs().into()), TokenParts::new().hash());
        let timing = begun(Kind::Guest, START);
        let load = cache.begin_load(id);
        assert!(cache.finish_load(&load, &Loaded { id, hash, timing, anchor, user: None }, reading(seen)));
        assert!(cache.hit(id, &hash, Activity::Passive, reading(seen)).is_some());
        (id, hash)
    };
    for changes in [1, 2] {
        let cache = Cache::new(10);
        poll(&cache, 0, 0, 60);
        let idle = remember(&cache, START, 0);
        let busy = remember(&cache, START + SECOND / 2, SECOND);
        // Nobody asks until the first is over, and then the limit is an hour.
        poll(&cache, 60 * SECOND + 1, changes, 3_600);
        let held =
            |(id, hash): &(uuid::Uuid, TokenHash)| cache.hit(*id, hash, Activity::Passive, reading(60 * SECOND + 1)).is_some();
        assert!(!held(&idle), "over under the limit before");
        assert_eq!(held(&busy), changes == 1, "what lay between two changes is not known");
    }
}
