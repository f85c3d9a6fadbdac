//! Section 4: mobile sessions and OAuth, M1 to M6.

use tenure::input::{EntityInput, entity_name};
use tenure::manager::ChangedEntity;
use tenure::session::{Activity, ApiKey, TokenParts};
use tenure::store::{Client, Redeemed, TokenGrant};

use super::*;

const REUSED: &str = "token_reuse";

/// The client application `Mobile App` as the token endpoint knows it.
async fn client(db: &Db) -> Client {
    db.manager.client("mobile-app", None).await.unwrap().unwrap()
}

/// A mobile session with its first tokens.
async fn signed_in(db: &Db) -> (Created, TokenGrant) {
    let mut created = create(db, mobile()).await;
    let grant = created.grant.take().unwrap();
    (created, grant)
}

async fn redeem(db: &Db, token: &str) -> Redeemed {
    db.manager.redeem(&client(db).await, token).await.unwrap()
}

async fn granted(db: &Db, token: &str) -> TokenGrant {
    match redeem(db, token).await {
        Redeemed::Granted(grant) => grant,
        other => panic!("it was not granted: {other:?}"),
    }
}

async fn check_by(db: &Db, token: &str, activity: Option<Activity>) -> Verdict {
    db.manager.check(token, activity, CheckOptions::default(), ADMIN).await.unwrap()
}

#[tokio::test]
async fn rule_m1_an_entity_has_two_lifespans_in_seconds() {
    let db = stopped().await;
    let put = |input: EntityInput| input.validate("Mobile App");
    for wrong in [0, -1, 315_360_001, i64::MAX] {
        for input in [
            EntityInput { access_token_lifespan: Some(wrong), ..Default::default() },
            EntityInput { refresh_token_lifespan: Some(wrong), ..Default::default() },
        ] {
            assert_eq!(refused(put(input)), (422, "invalid_field".into()), "{wrong}");
        }
    }
    for wrong in ["", "a b", "ä", "a:b", &"x".repeat(256)] {
        assert_eq!(refused(put(EntityInput { client_id: Some(wrong.into()), ..Default::default() })).0, 422, "{wrong:?}");
    }
    assert_eq!(refused(put(EntityInput { name: Some("Another".into()), ..Default::default() })).0, 422);
    for wrong in ["", " x", "a\u{1}", &"x".repeat(129)] {
        assert_eq!(refused(entity_name(wrong)).0, 422, "{wrong:?}");
    }
    for (access, refresh) in [(1, 315_360_000), (315_360_000, 1)] {
        mobile_app(&db, access, refresh).await;
        let entity = db.manager.entity("Mobile App").await.unwrap();
        assert_eq!((entity.access_token_lifespan, entity.refresh_token_lifespan, entity.public), (access, refresh, true));
    }
    for column in ["access_token_lifespan", "refresh_token_lifespan"] {
        for wrong in ["0", "315360001"] {
            let (state, constraint) = refused_sql(&db, &format!("update tenure.oauth_entities set {column} = {wrong}")).await;
            assert_eq!((state.as_str(), constraint), ("23514", format!("oauth_entities_{column}_check")));
        }
    }

    // A confidential one gets a secret, once; what a change leaves out stays; another secret voids the old one at once.
    let put = |input: EntityInput| input.validate("Backend").unwrap();
    let confidential = put(EntityInput { public: Some(false), ..Default::default() });
    let ChangedEntity { entity, secret, created } = db.manager.put_entity("Backend", &confidential, ADMIN).await.unwrap();
    assert_eq!((entity.client_id.as_str(), entity.public, created), ("backend", false, true));
    assert_eq!((entity.access_token_lifespan, entity.refresh_token_lifespan), (1_800, 8_640_000));
    let first = secret.unwrap();
    let shorter = put(EntityInput { access_token_lifespan: Some(60), ..Default::default() });
    let changed = db.manager.put_entity("Backend", &shorter, ADMIN).await.unwrap();
    assert!(changed.secret.is_none() && !changed.created && !changed.entity.public);
    assert!(db.manager.client("backend", Some(first.reveal())).await.unwrap().is_some());
    let renewed = put(EntityInput { new_client_secret: Some(true), ..Default::default() });
    let second = db.manager.put_entity("Backend", &renewed, ADMIN).await.unwrap().secret.unwrap();
    for (secret, good) in [(Some(first.reveal()), false), (Some(second.reveal()), true), (None, false), (Some(""), false)] {
        assert_eq!(db.manager.client("backend", secret).await.unwrap().is_some(), good);
    }
    // A secret is nothing to a public client.
    assert!(db.manager.client("mobile-app", Some(second.reveal())).await.unwrap().is_none());
    let twin = EntityInput { client_id: Some("backend".into()), ..Default::default() }.validate("Twin").unwrap();
    assert_eq!(refused(db.manager.put_entity("Twin", &twin, ADMIN).await), (409, "client_id_taken".into()));

    create(&db, mobile()).await;
    assert_eq!(refused(db.manager.delete_entity("Mobile App", None, ADMIN).await), (409, "oauth_entity_has_sessions".into()));
    assert_eq!(db.manager.delete_entity("Backend", None, ADMIN).await.unwrap().name, "Backend");
    assert_eq!(refused(db.manager.delete_entity("Backend", None, ADMIN).await), (404, "unknown_oauth_entity".into()));
}

#[tokio::test]
async fn rule_m2_the_window_is_the_greatest_of_four_and_frozen() {
    let db = stopped().await;
    let minutes = |count: i32| count * 60;
    for (access, refresh, ui, integration, window) in [
        (60, 7_200, 30, None, 7_200),
        (9_000, 60, 30, None, 9_000),
        (60, 60, 45, None, minutes(45)),
        (60, 60, 30, Some(90), minutes(90)),
        (60, 60, 4, None, minutes(5)),
    ] {
        mobile_app(&db, access, refresh).await;
        set(&db, "glide.ui.session_timeout", &ui.to_string()).await;
        match integration {
            Some(minutes) => set(&db, "glide.integration.session_timeout", &minutes.to_string()).await,
            None => unset(&db, "glide.integration.session_timeout").await,
        }
        let session = create(&db, mobile()).await.session;
        assert_eq!(session.window_seconds, Some(window), "{access} {refresh} {ui} {integration:?}");
        assert_eq!(session.idle_deadline_at, Some(t("09:00") + chrono::TimeDelta::seconds(window.into())));
    }
    // P5: frozen at sign-in, whatever changes afterwards.
    let session = create(&db, mobile()).await;
    mobile_app(&db, 1, 1).await;
    set(&db, "glide.ui.session_timeout", "60").await;
    assert_eq!(view(&db, &session).await.window_seconds, Some(300));
    // The profile decides where no row does.
    for (profile, seconds) in [("istanbul", 60), ("helsinki", 300)] {
        set(&db, "glide.ui.session_timeout", "1").await;
        set(&db, "tenure.release_profile", profile).await;
        assert_eq!(create(&db, mobile()).await.session.window_seconds, Some(seconds), "{profile}");
    }
}

/// M3: only what happens in the background counts as inactivity, and a lapsed lease is the background.
#[tokio::test]
async fn rule_m3_inactivity_counts_in_the_background() {
    let db = stopped().await;
    mobile_app(&db, 1_800, 1_800).await;
    let session = create(&db, mobile()).await;
    let state = async |clock: &str, activity: Activity, anchor: &str, shown: &str| {
        at(&db, clock).await;
        let seen = check(&db, &session, activity).await.session;
        assert_eq!((seen.last_activity_at, seen.app_state.as_deref()), (t(anchor), Some(shown)), "{clock} {activity}");
        assert_eq!(seen.idle_deadline_at, Some(t(anchor) + chrono::TimeDelta::minutes(30)), "{clock}");
        let listed = listed(&db, StateFilter::Live).await;
        assert_eq!(listed[0].app_state.as_deref(), Some(shown), "{clock}: the list");
        assert_eq!(text(&db, "select app_state from reporting.live_sessions").await, shown, "{clock}: the view");
    };
    state("09:01", Activity::Foreground, "09:01", "foreground").await;
    state("09:02", Activity::Task, "09:02", "task").await;
    // Sent to the background within the lease of 60 s: until then it was active.
    state("09:02:59.999999", Activity::Background, "09:02:59.999999", "background").await;
    state("09:20", Activity::Background, "09:02:59.999999", "background").await;
    state("09:21", Activity::Passive, "09:02:59.999999", "background").await;
    state("09:22", Activity::Foreground, "09:22", "foreground").await;
    // Not heard of for longer than the lease: the report of the background counts from what was heard last.
    state("09:22:59.999999", Activity::Passive, "09:22", "foreground").await;
    state("09:23", Activity::Passive, "09:22", "background").await;
    state("09:23:00.000001", Activity::Background, "09:22", "background").await;

    // The lease is a property, in force at once.
    state("09:30", Activity::Foreground, "09:30", "foreground").await;
    set(&db, "tenure.mobile.heartbeat_seconds", "600").await;
    state("09:39", Activity::Passive, "09:30", "foreground").await;
    state("09:39:30", Activity::Background, "09:39:30", "background").await;
    at(&db, "10:09:30").await;
    assert_eq!(ending(&db, &session).await.1, t("10:09:30"));
}

/// A1 for mobile: without a word the app is on the screen, unless it last said that it is in the background.
#[tokio::test]
async fn rule_m3_a_check_without_a_word_follows_the_last_report() {
    let db = stopped().await;
    mobile_app(&db, 1_800, 1_800).await;
    let session = create(&db, mobile()).await;
    let token = session.token.reveal();
    at(&db, "09:05").await;
    check_by(&db, token, None).await;
    let seen = view(&db, &session).await;
    assert_eq!((seen.last_activity_at, seen.app_state.as_deref()), (t("09:05"), Some("foreground")));
    check(&db, &session, Activity::Background).await;
    at(&db, "09:10").await;
    assert!(matches!(check_by(&db, token, None).await, Verdict::Live(_)));
    let seen = view(&db, &session).await;
    assert_eq!((seen.last_activity_at, seen.app_state_at), (t("09:05"), Some(t("09:05"))), "passive");

    // The app may also be reported for, by the id of its session.
    let report = async |state| db.manager.report_state(session.session.id, state, ADMIN).await;
    let Verdict::Live(checked) = report(Activity::Task).await.unwrap() else { panic!() };
    assert_eq!((checked.session.app_state.as_deref(), checked.session.last_activity_at), (Some("task"), t("09:10")));
    let browser = create(&db, user()).await;
    let refusal = db.manager.report_state(browser.session.id, Activity::Task, ADMIN).await;
    assert_eq!(refused(refusal), (422, "activity_not_for_kind".into()));
    at(&db, "12:00").await;
    assert!(matches!(report(Activity::Task).await.unwrap(), Verdict::Over(_)), "a late report revives nothing (A7)");
}

/// The validation of the mobile page itself: with every limit at 30 minutes at most, an app that spends 30 to 35 minutes in the
/// background is signed out when it is opened again, and one that spends less is not.
#[tokio::test]
async fn rule_m4_half_an_hour_in_the_background_signs_out() {
    for (away, signed_out) in [("09:39:59", false), ("09:40", true), ("09:45", true)] {
        let db = stopped().await;
        mobile_app(&db, 1_800, 1_800).await;
        set(&db, "glide.ui.session_timeout", "30").await;
        let (session, _) = signed_in(&db).await;
        // Used for a while: heard of every half minute, then sent to the background.
        for minute in 1..=9 {
            at(&db, &format!("09:{minute:02}:30")).await;
            check(&db, &session, Activity::Foreground).await;
        }
        at(&db, "09:10").await;
        check(&db, &session, Activity::Background).await;
        at(&db, away).await;
        match check_by(&db, session.token.reveal(), Some(Activity::Foreground)).await {
            Verdict::Over(over) => {
                assert!(signed_out, "{away}");
                assert_eq!((over.ending.reason.as_str(), over.ending.at), ("idle", t("09:40")));
                assert_eq!(serde_json::to_value(over.action).unwrap(), "authenticate_again");
            }
            verdict => assert!(!signed_out && matches!(verdict, Verdict::Live(_)), "{away}: {verdict:?}"),
        }
    }
}

#[tokio::test]
async fn rule_m5_a_check_takes_a_live_access_token() {
    let db = stopped().await;
    mobile_app(&db, 600, 3_600).await;
    let (session, grant) = signed_in(&db).await;
    assert_eq!(grant.expires_in, 600);
    let (access, refresh) = (grant.access.reveal(), grant.refresh.reveal());
    at(&db, "09:01").await;
    assert!(matches!(check_by(&db, access, None).await, Verdict::Live(_)));
    assert_eq!(view(&db, &session).await.last_activity_at, t("09:01"), "it counts like the session token");
    assert!(matches!(check_by(&db, refresh, None).await, Verdict::Unknown), "a refresh token is for one thing only");
    // The same secret in another form is another token.
    let disguised = access.replacen("tna_", "tn_", 1);
    assert!(matches!(check_by(&db, &disguised, None).await, Verdict::Unknown));
    let disguised = session.token.reveal().replacen("tn_", "tna_", 1);
    assert!(matches!(check_by(&db, &disguised, None).await, Verdict::Unknown));

    at(&db, "09:09:59.999999").await;
    assert!(matches!(check_by(&db, access, Some(Activity::Passive)).await, Verdict::Live(_)));
    at(&db, "09:10").await;
    for activity in [None, Some(Activity::Foreground), Some(Activity::Passive)] {
        assert!(matches!(check_by(&db, access, activity).await, Verdict::TokenExpired), "{activity:?}");
    }
    assert_eq!(view(&db, &session).await.last_activity_at, t("09:01"), "an expired token counts nothing");
    assert!(matches!(check_by(&db, session.token.reveal(), None).await, Verdict::Live(_)), "the session lives");

    // Ending the session ends its tokens in the same transaction; whoever holds a good one learns the reason (E2).
    let second = granted(&db, refresh).await;
    db.manager.terminate(session.session.id, true, ADMIN).await.unwrap();
    assert_eq!(db.count("select count(*) from tenure.oauth_tokens").await, 0);
    let Verdict::Over(over) = check_by(&db, second.access.reveal(), None).await else { panic!() };
    assert_eq!(over.ending.reason.as_str(), "terminated");
    assert!(matches!(redeem(&db, second.refresh.reveal()).await, Redeemed::Ended(reason) if reason.as_str() == "terminated"));
    assert!(matches!(check_by(&db, access, None).await, Verdict::Unknown), "one that had expired says nothing");
}

#[tokio::test]
async fn rule_m5_refresh_tokens_rotate() {
    let db = stopped().await;
    mobile_app(&db, 600, 3_600).await;
    let (session, first) = signed_in(&db).await;
    mobile_app(&db, 60, 60).await;
    at(&db, "09:30").await;
    let second = granted(&db, first.refresh.reveal()).await;
    assert_eq!(second.expires_in, 600, "lifespans are those of the sign-in");
    assert_ne!(second.refresh.reveal(), first.refresh.reveal());
    assert_eq!(view(&db, &session).await.last_activity_at, t("09:00"), "a refresh is no activity");
    let expiry = "select string_agg(to_char(expires_at at time zone 'UTC', 'HH24:MI'), ' ' order by type) from tenure.oauth_tokens where used_at is null and expires_at > tenure.now()";
    assert_eq!(text(&db, expiry).await, "09:40 10:30");

    // Within the grace and while its successor is unused, the used one gives the same successor and a fresh access token.
    at(&db, "09:30:09.999999").await;
    let again = granted(&db, first.refresh.reveal()).await;
    assert_eq!(again.refresh.reveal(), second.refresh.reveal());
    assert_ne!(again.access.reveal(), second.access.reveal());
    for token in [&second.access, &again.access] {
        assert!(matches!(check_by(&db, token.reveal(), Some(Activity::Passive)).await, Verdict::Live(_)));
    }
    // The successor's first use erases what was kept for the lost answer: from then on the old one is a replay.
    let third = granted(&db, second.refresh.reveal()).await;
    assert_eq!(db.count("select count(*) from tenure.oauth_tokens where sealed_successor is not null").await, 1);
    assert!(matches!(redeem(&db, first.refresh.reveal()).await, Redeemed::Reused));
    assert_eq!(ending(&db, &session).await.0, REUSED);
    assert!(matches!(redeem(&db, third.refresh.reveal()).await, Redeemed::Ended(reason) if reason.as_str() == REUSED));
    assert_eq!(view(&db, &session).await.ended_by.as_deref(), Some("tenure"));
}

/// What is kept of a family is bounded: its newest hundred tokens of each type. An access token that expired is known as such for a
/// day, so that a late request after a refresh is not told that it is signed out.
#[tokio::test]
async fn rule_m5_a_family_stays_small_and_an_expired_token_stays_known() {
    let db = stopped().await;
    mobile_app(&db, 60, 86_400).await;
    let (session, first) = signed_in(&db).await;
    at(&db, "09:02").await;
    let mut newest = granted(&db, first.refresh.reveal()).await;
    assert!(matches!(check_by(&db, first.access.reveal(), None).await, Verdict::TokenExpired));
    let second = newest.refresh.reveal().to_owned();
    for round in 0..250 {
        at(&db, &format!("09:02:{:02}.{round:03}", round / 10)).await;
        newest = granted(&db, newest.refresh.reveal()).await;
    }
    let most = "select max(n) from (select count(*) as n from tenure.oauth_tokens group by type) t";
    assert!(db.count(most).await <= 101, "{}", db.count(most).await);
    // One from before the hundred is no longer told from a stranger's; a younger one still is a replay.
    assert!(matches!(redeem(&db, &second).await, Redeemed::Unknown));
    let used = newest.refresh.reveal().to_owned();
    granted(&db, &used).await;
    at(&db, "09:10").await;
    assert!(matches!(redeem(&db, &used).await, Redeemed::Reused));
    assert_eq!(ending(&db, &session).await.0, REUSED);
}

#[tokio::test]
async fn rule_m5_a_replay_after_the_grace_ends_the_session() {
    let db = stopped().await;
    mobile_app(&db, 600, 3_600).await;
    let (session, first) = signed_in(&db).await;
    let (other, _) = signed_in(&db).await;
    granted(&db, first.refresh.reveal()).await;
    at(&db, "09:00:10").await;
    assert!(matches!(redeem(&db, first.refresh.reveal()).await, Redeemed::Reused));
    assert_eq!(ending(&db, &session).await, (REUSED, t("09:00:10")));
    check(&db, &other, Activity::Passive).await;
    // Nothing of the plain tokens is in the database.
    let everything = text(&db, "select string_agg(t::text, ' ') from tenure.oauth_tokens t").await;
    assert!(!everything.contains("tnr_") && !everything.contains("tna_"));
}

#[tokio::test]
async fn rule_m5_an_expired_token_ends_no_session_and_nobody_elses_does_anything() {
    let db = stopped().await;
    mobile_app(&db, 60, 600).await;
    let put = EntityInput::default().validate("Another").unwrap();
    db.manager.put_entity("Another", &put, ADMIN).await.unwrap();
    let (session, grant) = signed_in(&db).await;
    // 71: another client's refresh token, and what is none, changes nothing.
    let another = db.manager.client("another", None).await.unwrap().unwrap();
    let before = everything(&db).await;
    let (made_up, key) = (TokenParts::new().for_session(session.session.id), ApiKey::new());
    for token in [session.token.reveal(), grant.access.reveal(), made_up.reveal(), key.reveal(), "", "tnr_", "x"] {
        assert!(matches!(redeem(&db, token).await, Redeemed::Unknown), "not a refresh token");
    }
    assert!(matches!(db.manager.redeem(&another, grant.refresh.reveal()).await.unwrap(), Redeemed::Unknown));
    db.manager.revoke_token(&another, grant.refresh.reveal()).await.unwrap();
    assert_eq!(everything(&db).await, before);

    at(&db, "09:10").await;
    assert!(matches!(redeem(&db, grant.refresh.reveal()).await, Redeemed::Expired));
    check(&db, &session, Activity::Foreground).await;
    // A locked-out user's tokens are dead before anybody asks.
    let (_, grant) = signed_in(&db).await;
    db.sql("update tenure.users set locked_out = true").await;
    assert!(matches!(redeem(&db, grant.refresh.reveal()).await, Redeemed::Ended(reason) if reason.as_str() == "locked_out"));
}

#[tokio::test]
async fn rule_m5_introspection_and_revocation() {
    let db = stopped().await;
    mobile_app(&db, 600, 36_000).await;
    let (session, grant) = signed_in(&db).await;
    let introspect = async |token: &str| db.manager.introspect(token).await.unwrap();
    at(&db, "09:01").await;
    let found = introspect(grant.access.reveal()).await.unwrap();
    assert_eq!((found.user.as_str(), found.client_id.as_str(), found.is_access), ("abel.tuter", "mobile-app", true));
    assert_eq!((found.issued_at, found.expires_at, found.session_id), (t("09:00"), t("09:10"), session.session.id));
    let found = introspect(grant.refresh.reveal()).await.unwrap();
    assert_eq!((found.is_access, found.expires_at), (false, t("19:00")));
    for token in [session.token.reveal(), "", "x"] {
        assert!(introspect(token).await.is_none());
    }
    assert_eq!(view(&db, &session).await.last_activity_at, t("09:00"), "asking is no activity");

    let second = granted(&db, grant.refresh.reveal()).await;
    assert!(introspect(grant.refresh.reveal()).await.is_none(), "a used one is good for nothing");
    // An access token is revoked alone; with a refresh token the session signs out.
    db.manager.revoke_token(&client(&db).await, second.access.reveal()).await.unwrap();
    assert!(introspect(second.access.reveal()).await.is_none());
    assert!(matches!(check_by(&db, second.access.reveal(), None).await, Verdict::Unknown));
    assert!(introspect(grant.access.reveal()).await.is_some());
    db.manager.revoke_token(&client(&db).await, "tnr_nothing").await.unwrap();
    db.manager.revoke_token(&client(&db).await, second.refresh.reveal()).await.unwrap();
    assert_eq!(ending(&db, &session).await.0, "signed_out");
    assert!(introspect(grant.access.reveal()).await.is_none());
    assert_eq!(view(&db, &session).await.ended_by.as_deref(), Some("Mobile App"));
}

/// U says the original cannot; here they are sessions like any other.
#[tokio::test]
async fn rule_m6_mobile_sessions_are_listed_explained_and_ended() {
    let db = stopped().await;
    mobile_app(&db, 600, 3_600).await;
    let (session, _) = signed_in(&db).await;
    let (second, _) = signed_in(&db).await;
    let all = listed(&db, StateFilter::Live).await;
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|view| view.kind.as_str() == "mobile" && view.oauth_entity.as_deref() == Some("Mobile App")));
    let explained = db.manager.explain(session.session.id, ADMIN).await.unwrap();
    assert_eq!(explained.binding, Some("mobile_window"));
    let window = &explained.candidates[0];
    assert_eq!((window.source, window.value.as_deref(), window.deadline_at), ("frozen", Some("3600"), Some(t("10:00"))));
    assert_eq!(db.manager.terminate(session.session.id, true, ADMIN).await.unwrap().terminated, 1);
    assert_eq!(ending(&db, &session).await.0, "terminated");
    // The absolute cap is live (P5), and the other limits end them too.
    set(&db, "tenure.mobile.active.session.life_span", "20").await;
    assert_eq!(view(&db, &second).await.expires_at, Some(t("09:20")));
    at(&db, "09:20").await;
    assert_eq!(ending(&db, &second).await, ("max_life", t("09:20")));
}
