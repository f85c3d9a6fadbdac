//! Section 3: activity and deadlines, A1 to A10.

use tenure::session::{Activity, Kind};

use super::*;

#[tokio::test]
async fn rule_a1_every_check_names_its_activity() {
    use Activity::{Ajax, AutoRefresh, Background, ChatPoll, Foreground, Passive, Task, User};
    let browser: &[Activity] = &[User, Ajax, ChatPoll, AutoRefresh, Passive];
    let table: [(Kind, &[Activity], CreateSession); 4] = [
        (Kind::User, browser, user()),
        (Kind::Guest, browser, guest()),
        (Kind::Integration, &[User, Ajax, Passive], integration()),
        (Kind::Mobile, &[Foreground, Task, Background, Passive], mobile()),
    ];
    let db = stopped().await;
    mobile_app(&db, 1_800, 1_800).await;
    assert_eq!(Activity::ALL.len(), 8);
    for (kind, allowed, new) in table {
        for activity in Activity::ALL {
            assert_eq!(activity.allowed_for(kind), allowed.contains(activity), "{kind} {activity}");
        }
        at(&db, "09:00").await;
        let session = create(&db, new).await;
        at(&db, "09:01").await;
        for activity in Activity::ALL {
            if allowed.contains(activity) {
                check(&db, &session, *activity).await;
                continue;
            }
            let before = everything(&db).await;
            let result = db.manager.check(session.token.reveal(), Some(*activity), CheckOptions::default(), ADMIN).await;
            assert_eq!(refused(result), (422, "activity_not_for_kind".into()), "{kind} {activity}");
            assert_eq!(everything(&db).await, before, "{kind} {activity} left a trace");
        }
        if kind == Kind::Mobile {
            check(&db, &session, Foreground).await;
        }
        at(&db, "09:02").await;
        db.manager.check(session.token.reveal(), None, CheckOptions::default(), ADMIN).await.unwrap();
        assert_eq!(view(&db, &session).await.last_activity_at, t("09:02"), "{kind}: without a word it counts");
    }
    assert_eq!(refused(tenure::input::activity("click")).0, 422);
}

#[tokio::test]
async fn rule_a2_one_anchor_one_deadline() {
    let db = stopped().await;
    for (new, minutes) in [(user(), 30), (guest(), 30), (integration(), 5)] {
        let session = create(&db, new).await.session;
        assert_eq!(session.last_activity_at, t("09:00"));
        assert_eq!(session.idle_deadline_at, Some(t(&format!("09:{minutes:02}"))));
        assert_eq!(session.expires_at, session.idle_deadline_at);
    }
    // The deadline is the earliest of all that apply.
    set(&db, "glide.ui.active.session.life_span", "40").await;
    let session = create(&db, user()).await;
    assert_eq!(session.session.expires_at, Some(t("09:30")));
    at(&db, "09:20").await;
    let later = check(&db, &session, Activity::User).await;
    assert_eq!((later.session.idle_deadline_at, later.session.max_life_deadline_at), (Some(t("09:50")), Some(t("09:40"))));
    assert_eq!((later.session.expires_at, later.seconds_left), (Some(t("09:40")), 1200));

    // Alive a microsecond before its deadline, over at it: by every way of looking.
    at(&db, "09:39:59.999999").await;
    check(&db, &session, Activity::Passive).await;
    assert_eq!(view(&db, &session).await.state, "live");
    assert_eq!(db.count("select count(*) from reporting.live_sessions").await, 1);
    at(&db, "09:40").await;
    assert_eq!(db.count("select count(*) from reporting.live_sessions").await, 0);
    assert_eq!(ending(&db, &session).await, ("max_life", t("09:40")));
}

#[tokio::test]
async fn rule_a3_full_activity() {
    let db = stopped().await;
    at(&db, "10:00").await;
    let session = create(&db, user()).await;
    at(&db, "10:12").await;
    assert_eq!(check(&db, &session, Activity::User).await.session.last_activity_at, t("10:12"));
    at(&db, "10:20").await;
    assert_eq!(check(&db, &session, Activity::Ajax).await.session.idle_deadline_at, Some(t("10:50")));
    at(&db, "10:45").await;
    let passive = check(&db, &session, Activity::Passive).await;
    assert_eq!((passive.session.idle_deadline_at, passive.seconds_left), (Some(t("10:50")), 300));
    assert_eq!(view(&db, &session).await.last_activity_at, t("10:20"), "a passive check leaves it there");
    at(&db, "10:46").await;
    assert_eq!(check(&db, &session, Activity::ChatPoll).await.session.last_activity_at, t("10:46"));
}

fn refreshing(device: &str, minutes: Option<i64>) -> CreateSession {
    CreateSession { device: Some(device.into()), homepage_refresh_minutes: minutes, ..user() }
}

#[tokio::test]
async fn rule_a4_the_homepages_refresh_when_it_extends() {
    let db = stopped().await;
    at(&db, "10:00").await;
    let session = create(&db, refreshing("desktop", Some(5))).await;
    let without = create(&db, refreshing("desktop", None)).await;
    at(&db, "10:03").await;
    assert_eq!(check(&db, &session, Activity::AutoRefresh).await.session.last_activity_at, t("10:03"), "never past now");
    at(&db, "10:00").await;
    let session = create(&db, refreshing("desktop", Some(5))).await;
    at(&db, "10:05").await;
    assert_eq!(check(&db, &session, Activity::AutoRefresh).await.session.last_activity_at, t("10:05"));
    at(&db, "10:20").await;
    let woken = check(&db, &session, Activity::AutoRefresh).await.session;
    assert_eq!((woken.last_activity_at, woken.idle_deadline_at), (t("10:10"), Some(t("10:40"))));
    assert_eq!(check(&db, &without, Activity::AutoRefresh).await.session.last_activity_at, t("10:20"), "without r it is now");

    // r: what the sign-in gave, else what the user had on record at sign-in, frozen; 1..1440.
    db.sql("update tenure.users set homepage_refresh_minutes = 7 where name = 'abel.tuter'").await;
    let recorded = create(&db, user()).await;
    let given = create(&db, refreshing("desktop", Some(5))).await;
    db.sql("update tenure.users set homepage_refresh_minutes = 20 where name = 'abel.tuter'").await;
    assert_eq!(view(&db, &recorded).await.homepage_refresh_minutes, Some(7));
    assert_eq!(view(&db, &given).await.homepage_refresh_minutes, Some(5));
    at(&db, "10:45").await;
    assert_eq!(check(&db, &recorded, Activity::AutoRefresh).await.session.last_activity_at, t("10:27"));
    for (minutes, fits) in [(0, false), (1, true), (1440, true), (1441, false)] {
        assert_eq!(try_create(&db, refreshing("desktop", Some(minutes))).await.is_ok(), fits, "{minutes}");
    }
}

#[tokio::test]
async fn rule_a5_the_homepages_refresh_when_it_does_not() {
    let db = stopped().await;
    let resting = [
        create(&db, refreshing("tablet", Some(5))).await,
        create(&db, refreshing("phone", Some(5))).await,
        create(&db, refreshing("tablet", None)).await,
        create(&db, guest()).await,
    ];
    let desktop = [create(&db, refreshing("desktop", Some(5))).await, create(&db, refreshing("desktop", None)).await];
    at(&db, "09:10").await;
    for session in &resting {
        assert_eq!(check(&db, session, Activity::AutoRefresh).await.session.last_activity_at, t("09:00"));
    }
    set(&db, "glide.ui.auto_req.extend.session", "false").await;
    for session in resting.iter().chain(&desktop) {
        assert_eq!(check(&db, session, Activity::AutoRefresh).await.session.last_activity_at, t("09:00"));
    }
}

#[tokio::test]
async fn rule_a6_one_interval_of_grace() {
    let db = stopped().await;
    set(&db, "glide.ui.auto_req.extend.session", "false").await;
    at(&db, "10:00").await;
    let session = create(&db, refreshing("desktop", Some(5))).await;
    for (device, minutes) in [("desktop", None), ("tablet", Some(5)), ("phone", Some(5))] {
        let without = create(&db, refreshing(device, minutes)).await;
        assert_eq!(without.session.idle_deadline_at, Some(t("10:30")), "{device} {minutes:?}");
    }
    assert_eq!(create(&db, guest()).await.session.idle_deadline_at, Some(t("10:30")));
    for minute in (5..35).step_by(5) {
        at(&db, &format!("10:{minute:02}")).await;
        let refreshed = check(&db, &session, Activity::AutoRefresh).await.session;
        assert_eq!(refreshed.idle_deadline_at, Some(t("10:35")), "once, whatever is refreshed");
    }
    at(&db, "10:34:59.999999").await;
    check(&db, &session, Activity::AutoRefresh).await;
    at(&db, "10:35").await;
    assert_eq!(ending(&db, &session).await, ("idle", t("10:35")));
}

#[tokio::test]
async fn rule_a7_forward_only() {
    let db = stopped().await;
    at(&db, "10:00").await;
    let session = create(&db, refreshing("desktop", Some(5))).await;
    at(&db, "10:07").await;
    check(&db, &session, Activity::User).await;
    at(&db, "10:05").await;
    for activity in [Activity::User, Activity::Ajax, Activity::ChatPoll, Activity::AutoRefresh] {
        assert_eq!(check(&db, &session, activity).await.session.last_activity_at, t("10:07"), "{activity}");
    }

    // Activity past the deadline, and on an ended session, changes nothing.
    at(&db, "10:37").await;
    let result = db.manager.extend(session.session.id, ADMIN).await.unwrap();
    assert!(matches!(result, Verdict::Over(_)), "{result:?}");
    let ended = everything(&db).await;
    for activity in [Activity::User, Activity::Ajax, Activity::ChatPoll, Activity::AutoRefresh, Activity::Passive] {
        let over = over(&db, &session, activity).await;
        assert_eq!((over.ending.at, over.session.last_activity_at), (t("10:37"), t("10:07")), "{activity}");
    }
    at(&db, "10:10").await;
    assert_eq!(ending(&db, &session).await, ("idle", t("10:37")), "not even by a clock that was set back");
    assert_eq!(everything(&db).await, ended);
}

#[tokio::test]
async fn rule_a7_requests_that_overtake_each_other() {
    let db = stopped().await;
    at(&db, "10:00").await;
    let session = create(&db, user()).await;
    let mut faster = db.connection().await;
    sqlx::raw_sql("begin; update tenure.sessions set anchor_at = '2027-06-01 10:07+00'").execute(&mut faster).await.unwrap();
    at(&db, "10:05").await;
    let (store, token) = (db.store.clone(), session.token.reveal().to_owned());
    let slower = tokio::spawn(async move { store.check(&token, Some(Activity::User), ADMIN).await.map(drop) });
    blocked(&db).await;
    sqlx::raw_sql("commit").execute(&mut faster).await.unwrap();
    slower.await.unwrap().unwrap();
    assert_eq!(view(&db, &session).await.last_activity_at, t("10:07"), "the later activity stands, whoever commits last");
}

fn remembered() -> CreateSession {
    CreateSession { remember_me: Some(true), homepage_refresh_minutes: Some(5), ..user() }
}

#[tokio::test]
async fn rule_a8_remember_me() {
    let db = stopped().await;
    at(&db, "10:00").await;
    let session = create(&db, remembered()).await;
    let seen = check(&db, &session, Activity::User).await;
    assert_eq!((seen.session.idle_deadline_at, seen.session.expires_at), (None, Some(t("2027-06-16 10:00"))));
    assert_eq!((seen.prompt, seen.prompt_at, seen.can_extend), (false, None, false));
    set(&db, "glide.ui.auto_req.extend.session", "false").await;
    assert_eq!(view(&db, &session).await.expires_at, Some(t("2027-06-16 10:00")), "no refresh rule either");
    at(&db, "2027-06-16 09:59:59.999999").await;
    check(&db, &session, Activity::User).await;
    at(&db, "2027-06-16 10:00").await;
    assert_eq!(ending(&db, &session).await, ("remember_me", t("2027-06-16 10:00")));

    // Days are 86,400 seconds, over a change of daylight saving too, whatever the session's time zone.
    at(&db, "2027-03-20 10:00").await;
    let spring = create(&db, remembered()).await;
    let zoned = "set timezone to 'Europe/Berlin'";
    let mut connection = db.connection().await;
    sqlx::raw_sql(zoned).execute(&mut connection).await.unwrap();
    let due: DateTime<Utc> = sqlx::query_scalar("select expires_at from tenure.live").fetch_one(&mut connection).await.unwrap();
    assert_eq!(due, t("2027-04-04 10:00"));

    // Chosen by default; switched off for everyone; the maximum life, lock-out and inactivation still end it.
    db.manager.terminate(spring.session.id, true, ADMIN).await.unwrap();
    at(&db, "10:00").await;
    set(&db, "glide.ui.remember.me.default", "true").await;
    let by_default = create(&db, user()).await;
    assert!(by_default.session.remember_me);
    let declined = create(&db, CreateSession { remember_me: Some(false), ..user() }).await;
    assert_eq!(declined.session.remember_me_deadline_at, None);
    set(&db, "glide.ui.user_cookie.life_span_in_days", "2").await;
    assert_eq!(view(&db, &by_default).await.expires_at, Some(t("2027-06-03 10:00")), "live");
    set(&db, "glide.ui.forgetme", "true").await;
    let forgotten = view(&db, &by_default).await;
    assert_eq!((forgotten.remember_me_deadline_at, forgotten.expires_at), (None, Some(t("10:30"))));
    assert!(check(&db, &by_default, Activity::User).await.can_extend);
    unset(&db, "glide.ui.forgetme").await;
    unset(&db, "glide.ui.user_cookie.life_span_in_days").await;
    set(&db, "glide.ui.active.session.life_span", "1440").await;
    at(&db, "2027-06-02 10:00").await;
    assert_eq!(ending(&db, &by_default).await, ("max_life", t("2027-06-02 10:00")));
    let locked = create(&db, remembered()).await;
    db.sql("update tenure.users set locked_out = true where name = 'abel.tuter'").await;
    assert_eq!(ending(&db, &locked).await.0, "locked_out");
}

#[tokio::test]
async fn rule_a9_maximum_life() {
    let db = stopped().await;
    for (kind, property, new) in [
        ("user", "glide.ui.active.session.life_span", user()),
        ("guest", "glide.guest.active.session.life_span", guest()),
        ("integration", "glide.integrations.active.session.life_span", integration()),
    ] {
        at(&db, "09:00").await;
        set(&db, property, "60").await;
        let session = create(&db, new).await;
        if kind == "integration" {
            assert_eq!(view(&db, &session).await.max_life_deadline_at, None, "off until it is switched on");
            set(&db, "glide.active.session.timeout.invalidate.session", "true").await;
        }
        assert_eq!(view(&db, &session).await.max_life_deadline_at, Some(t("10:00")));
        for minute in (4..60).step_by(4) {
            at(&db, &format!("09:{minute:02}")).await;
            check(&db, &session, Activity::User).await;
        }
        at(&db, "09:59:59.999999").await;
        check(&db, &session, Activity::User).await;
        at(&db, "10:00").await;
        assert_eq!(ending(&db, &session).await, ("max_life", t("10:00")), "{kind}");
    }
    // The switch is the integrations' alone.
    at(&db, "09:00").await;
    set(&db, "glide.active.session.timeout.invalidate.session", "false").await;
    assert_eq!(create(&db, user()).await.session.max_life_deadline_at, Some(t("10:00")));
    assert_eq!(create(&db, guest()).await.session.max_life_deadline_at, Some(t("10:00")));
    set(&db, "glide.ui.active.session.life_span", "0").await;
    assert_eq!(create(&db, user()).await.session.max_life_deadline_at, None, "0 is off");
}

#[tokio::test]
async fn rule_a10_the_prompt_to_extend() {
    let db = stopped().await;
    at(&db, "10:00").await;
    let session = create(&db, user()).await;
    for (clock, prompt) in [("10:27:59.999999", false), ("10:28:00", true), ("10:29:59.999999", true)] {
        at(&db, clock).await;
        let seen = check(&db, &session, Activity::Passive).await;
        assert_eq!((seen.prompt, seen.prompt_at, seen.can_extend), (prompt, Some(t("10:28")), true), "{clock}");
    }
    at(&db, "10:29").await;
    let Verdict::Live(extended) = db.manager.extend(session.session.id, ADMIN).await.unwrap() else { panic!() };
    assert_eq!((extended.session.idle_deadline_at, extended.prompt), (Some(t("10:59")), false));
    at(&db, "10:58").await;
    assert!(!check(&db, &session, Activity::User).await.prompt, "judged after the check's own activity was counted");
    set(&db, "glide.ui.session_timeleft", "0").await;
    at(&db, "11:27").await;
    let never = check(&db, &session, Activity::Passive).await;
    assert_eq!((never.prompt, never.prompt_at, never.can_extend), (false, None, true), "0 never prompts");
    unset(&db, "glide.ui.session_timeleft").await;

    // Where it would not help.
    at(&db, "09:00").await;
    set(&db, "glide.ui.active.session.life_span", "60").await;
    let capped = create(&db, user()).await;
    for clock in ["09:20", "09:35"] {
        at(&db, clock).await;
        check(&db, &capped, Activity::User).await;
    }
    at(&db, "09:59").await;
    let seen = check(&db, &capped, Activity::Passive).await;
    assert_eq!(seen.session.idle_deadline_at, Some(t("10:05")));
    assert_eq!((seen.prompt, seen.prompt_at, seen.can_extend), (false, None, false));
    let before = everything(&db).await;
    assert_eq!(refused(db.manager.extend(capped.session.id, ADMIN).await), (409, "cannot_extend".into()));
    assert_eq!(everything(&db).await, before, "and nothing moves");
    unset(&db, "glide.ui.active.session.life_span").await;

    // A tie is not earlier, and Remember Me has nothing to extend; other kinds are never prompted.
    at(&db, "09:00").await;
    let remembered = create(&db, remembered()).await;
    assert_eq!(refused(db.manager.extend(remembered.session.id, ADMIN).await), (409, "cannot_extend".into()));
    force(&db, "glide.ui.active.session.life_span", "30").await;
    let tie = create(&db, user()).await;
    assert!(!check(&db, &tie, Activity::Passive).await.can_extend);
    assert_eq!(refused(db.manager.extend(tie.session.id, ADMIN).await), (409, "cannot_extend".into()));
    for new in [guest(), integration()] {
        let session = create(&db, new).await;
        let seen = check(&db, &session, Activity::Passive).await;
        assert_eq!((seen.prompt, seen.prompt_at, seen.can_extend), (false, None, true));
    }
}
