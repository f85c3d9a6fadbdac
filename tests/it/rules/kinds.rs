//! Section 1: session kinds.

use serde_json::json;
use tenure::session::{Action, Activity, Kind};
use tenure::store::StateFilter;

use super::*;

#[tokio::test]
async fn rule_k0_one_browser_one_session() {
    let db = stopped().await;
    let first = create(&db, user()).await;
    at(&db, "09:10").await;
    let second = create(&db, user()).await;
    let third = create(&db, user()).await;
    assert_ne!(first.session.id, second.session.id);
    assert_ne!(first.token.reveal(), second.token.reveal());
    assert_eq!(listed(&db, StateFilter::Live).await.len(), 3, "each is listed separately");

    db.manager.terminate(third.session.id, true, ADMIN).await.unwrap();
    check(&db, &second, Activity::Passive).await;
    at(&db, "09:30").await;
    assert_eq!(ending(&db, &first).await, ("idle", t("09:30")), "each expires separately");
    let left: Vec<_> = listed(&db, StateFilter::Live).await.iter().map(|session| session.id).collect();
    assert_eq!(left, [second.session.id]);
}

#[tokio::test]
async fn rule_k1_the_kind_is_fixed() {
    let db = stopped().await;
    mobile_app(&db, 1_800, 1_800).await;
    for (new, kind) in
        [(user(), Kind::User), (guest(), Kind::Guest), (integration(), Kind::Integration), (mobile(), Kind::Mobile)]
    {
        let session = create(&db, new).await;
        check(&db, &session, Activity::Passive).await;
        let rotated = db.manager.rotate(session.session.id, ADMIN).await.unwrap();
        assert_eq!(rotated.session.kind, kind);
        db.manager.terminate(session.session.id, true, ADMIN).await.unwrap();
        assert_eq!(view(&db, &session).await.kind, kind);
    }

    type Given = fn(&mut CreateSession);
    let fields: [(&str, Given, &[&str]); 7] = [
        ("user", |new| new.user = Some("abel.tuter".into()), &["user", "integration", "mobile"]),
        ("oauth_entity", |new| new.oauth_entity = Some("Mobile App".into()), &["mobile"]),
        ("remember_me", |new| new.remember_me = Some(false), &["user"]),
        ("homepage_refresh_minutes", |new| new.homepage_refresh_minutes = Some(5), &["user"]),
        ("idle_limit_minutes", |new| new.idle_limit_minutes = Some(5), &["user"]),
        ("guest_token", |new| new.guest_token = Some("tn_x".into()), &["user"]),
        ("carry_attributes", |new| new.carry_attributes = Some(true), &["user"]),
    ];
    for base in [user(), guest(), integration(), mobile()] {
        create(&db, base.clone()).await;
        for (field, give, kinds) in &fields {
            let mut new = base.clone();
            give(&mut new);
            let kind = new.kind.clone();
            let result = try_create(&db, new).await;
            if kinds.contains(&kind.as_str()) {
                assert!(result.is_ok(), "{field} belongs to {kind}: {result:?}");
            } else {
                let refusal = refusal(result);
                assert_eq!((refusal.status, &*refusal.code), (422, "field_not_for_kind"), "{field} of {kind}");
                assert!(refusal.message.contains(field), "{}", refusal.message);
            }
        }
    }
    for mut new in [user(), integration(), mobile()] {
        new.user = None;
        assert_eq!(refused(try_create(&db, new).await).0, 422, "the user is required");
    }
    let homeless = CreateSession { oauth_entity: None, ..mobile() };
    assert_eq!(refused(try_create(&db, homeless).await).0, 422, "the client application is required");
    let elsewhere = CreateSession { oauth_entity: Some("Nobody's".into()), ..mobile() };
    assert_eq!(refused(try_create(&db, elsewhere).await), (404, "unknown_oauth_entity".into()));
    let nulls: CreateSession = serde_json::from_value(json!({
        "kind": "guest", "user": null, "remember_me": null, "homepage_refresh_minutes": null, "idle_limit_minutes": null,
        "guest_token": null, "carry_attributes": null, "oauth_entity": null, "attributes": null, "device": null
    }))
    .unwrap();
    create(&db, nulls).await;
}

fn carrying(guest: &Created, carry: Option<bool>) -> CreateSession {
    CreateSession {
        guest_token: Some(guest.token.reveal().to_owned()),
        carry_attributes: carry,
        attributes: json!({"theme": "dark"}).as_object().cloned(),
        ..user()
    }
}

#[tokio::test]
async fn rule_k3_signing_in_over_a_guest_session() {
    let db = stopped().await;
    let with_cart = || CreateSession { attributes: json!({"cart": [1], "theme": "light"}).as_object().cloned(), ..guest() };

    for (carry, expected) in [
        (Some(true), json!({"cart": [1], "theme": "dark"})),
        (Some(false), json!({"theme": "dark"})),
        (None, json!({"theme": "dark"})),
    ] {
        let before = create(&db, with_cart()).await;
        let signed_in = create(&db, carrying(&before, carry)).await;
        assert_ne!(signed_in.session.id, before.session.id);
        assert_ne!(signed_in.token.reveal(), before.token.reveal());
        assert_eq!(ending(&db, &before).await, ("signed_in", t("09:00")));
        let attributes = db.store.attributes(signed_in.session.id).await.unwrap().unwrap().attributes;
        assert_eq!(serde_json::Value::Object(attributes), expected, "carry_attributes {carry:?}");
        let transactions = format!(
            "select count(distinct xid) from tenure.session_events
              where session_id = '{}' and type = 'session_ended' or session_id = '{}' and type = 'session_created'",
            before.session.id, signed_in.session.id
        );
        assert_eq!(db.count(&transactions).await, 1, "one transaction");
    }

    // A sign-in that is refused takes nothing with it.
    let kept = create(&db, with_cart()).await;
    let stranger = CreateSession { user: Some("nobody".into()), ..carrying(&kept, Some(true)) };
    assert_eq!(refused(try_create(&db, stranger).await), (404, "unknown_user".into()));
    check(&db, &kept, Activity::Passive).await;

    // Tokens that are not a live guest's are ignored, and nothing of theirs moves.
    let ended = create(&db, with_cart()).await;
    db.manager.terminate(ended.session.id, true, ADMIN).await.unwrap();
    let due = create(&db, with_cart()).await;
    let other = create(&db, user()).await;
    at(&db, "09:29:59").await;
    check(&db, &other, Activity::User).await;
    at(&db, "09:30").await;
    let mut forged = create(&db, with_cart()).await;
    let untouched = forged.session.id;
    forged.token = tenure::session::TokenParts::new().for_session(untouched);
    for (ignored, what) in [(&ended, "ended"), (&due, "due"), (&other, "a user session"), (&forged, "of another secret")] {
        let signed_in = create(&db, carrying(ignored, Some(true))).await;
        let attributes = db.store.attributes(signed_in.session.id).await.unwrap().unwrap().attributes;
        assert_eq!(serde_json::Value::Object(attributes), json!({"theme": "dark"}), "the guest token is {what}");
    }
    assert_eq!(ending(&db, &ended).await.0, "terminated");
    assert_eq!(ending(&db, &due).await, ("idle", t("09:30")));
    check(&db, &other, Activity::Passive).await;
    assert_eq!(db.manager.session(untouched, ADMIN).await.unwrap().state, "live");
    for malformed in ["", "tn_", "tn_AAAA", "not a token"] {
        create(&db, CreateSession { guest_token: Some(malformed.into()), ..user() }).await;
    }
}

/// Signs out at 10:00 and returns the guest session left behind.
async fn residue(db: &Db) -> Created {
    at(db, "09:45").await;
    let session = create(
        db,
        CreateSession { attributes: json!({"secret": 1}).as_object().cloned(), device: Some("tablet".into()), ..user() },
    )
    .await;
    at(db, "10:00").await;
    let left = db.manager.sign_out(session.session.id, ADMIN).await.unwrap();
    assert_eq!(ending(db, &session).await, ("signed_out", t("10:00")));
    let (view, token) = left.guest.expect("a user leaves a guest session");
    assert_ne!(token.reveal(), session.token.reveal());
    Created { session: view, token, grant: None, ended: None, barrier: None }
}

#[tokio::test]
async fn rule_k4_signing_out() {
    let db = stopped().await;
    for new in [guest(), integration()] {
        let session = create(&db, new).await;
        let left = db.manager.sign_out(session.session.id, ADMIN).await.unwrap();
        assert!(left.guest.is_none(), "only a user session leaves a guest");
        assert_eq!(ending(&db, &session).await, ("signed_out", t("09:00")));
        let again = db.manager.sign_out(session.session.id, ADMIN).await.unwrap();
        assert!(again.guest.is_none(), "a session that is over leaves nothing");
    }

    // The property unset: the guest limits alone.
    let unlimited = residue(&db).await;
    let seen = view(&db, &unlimited).await;
    assert_eq!((seen.kind, seen.residue, seen.user), (Kind::Guest, true, None));
    assert_eq!((seen.residue_deadline_at, seen.expires_at), (None, Some(t("10:30"))));
    let carried = db.store.attributes(seen.id).await.unwrap().unwrap().attributes;
    assert!(carried.is_empty(), "a residue carries no data of the user: {carried:?}");
    at(&db, "10:30").await;
    assert_eq!(ending(&db, &unlimited).await, ("idle", t("10:30")));

    // The property 10: fixed, whatever the activity; for residues only.
    set(&db, "glide.unauthorized.session_timeout", "10").await;
    let limited = residue(&db).await;
    let plain = create(&db, guest()).await;
    at(&db, "10:08").await;
    let used = check(&db, &limited, Activity::User).await.session;
    assert_eq!(used.idle_deadline_at, Some(t("10:38")));
    assert_eq!((used.residue_deadline_at, used.expires_at), (Some(t("10:10")), Some(t("10:10"))));
    assert_eq!(view(&db, &plain).await.residue_deadline_at, None);
    at(&db, "10:09:59.999999").await;
    check(&db, &limited, Activity::User).await;
    at(&db, "10:10").await;
    assert_eq!(ending(&db, &limited).await, ("residue", t("10:10")));
    check(&db, &plain, Activity::User).await;

    // Switched off, it does not apply; the earliest limit ends a residue.
    set(&db, "glide.session.unauthorized.timeout.enabled", "false").await;
    let switched_off = residue(&db).await;
    assert_eq!(view(&db, &switched_off).await.residue_deadline_at, None);
    set(&db, "glide.session.unauthorized.timeout.enabled", "true").await;
    set(&db, "glide.guest.session_timeout", "9").await;
    at(&db, "10:09").await;
    assert_eq!(ending(&db, &switched_off).await, ("idle", t("10:09")));
}

#[tokio::test]
async fn rule_k5_an_idle_limit_of_ones_own() {
    let db = stopped().await;
    for (minutes, fits) in [(0, false), (1, true), (1440, true), (1441, false), (-1, false)] {
        let result = try_create(&db, CreateSession { idle_limit_minutes: Some(minutes), ..user() }).await;
        assert_eq!(result.is_ok(), fits, "{minutes}");
    }

    at(&db, "10:00").await;
    let session = create(&db, CreateSession { idle_limit_minutes: Some(120), ..user() }).await;
    assert_eq!(session.session.idle_deadline_at, Some(t("12:00")));
    set(&db, "glide.ui.session_timeout", "5").await;
    let seen = check(&db, &session, Activity::Passive).await;
    assert_eq!((seen.session.idle_deadline_at, seen.prompt_at), (Some(t("12:00")), Some(t("11:58"))), "the prompt follows it");
    let explained = db.manager.explain(session.session.id, ADMIN).await.unwrap();
    let idle = explained.candidates.iter().find(|candidate| candidate.limit == "idle").unwrap();
    assert_eq!((idle.source, idle.name, idle.value.as_deref()), ("override", "idle_limit_minutes", Some("120")));

    // The refresh rule builds on it too.
    set(&db, "glide.ui.auto_req.extend.session", "false").await;
    let refreshing = CreateSession { idle_limit_minutes: Some(10), homepage_refresh_minutes: Some(3), ..user() };
    assert_eq!(create(&db, refreshing).await.session.idle_deadline_at, Some(t("10:13")));
    at(&db, "11:59:59.999999").await;
    check(&db, &session, Activity::Passive).await;
    at(&db, "12:00").await;
    assert_eq!(ending(&db, &session).await, ("idle", t("12:00")));
}

#[tokio::test]
async fn rule_k6_after_the_maximum_life() {
    let db = stopped().await;
    set(&db, "glide.ui.active.session.life_span", "60").await;
    set(&db, "glide.guest.active.session.life_span", "60").await;
    set(&db, "glide.integrations.active.session.life_span", "60").await;
    set(&db, "glide.active.session.timeout.invalidate.session", "true").await;
    let sessions = [
        (create(&db, user()).await, user(), Action::RedirectToLogin),
        (create(&db, integration()).await, integration(), Action::AuthenticateAgain),
        (create(&db, guest()).await, guest(), Action::StartGuestSession),
    ];
    for minute in (4..60).step_by(4) {
        at(&db, &format!("09:{minute:02}")).await;
        for (session, ..) in &sessions {
            check(&db, session, Activity::User).await;
        }
    }
    at(&db, "10:00").await;
    for (session, again, action) in sessions {
        let over = over(&db, &session, Activity::User).await;
        assert_eq!((over.ending.reason.as_str(), over.ending.at, over.action), ("max_life", t("10:00"), action));
        create(&db, again).await;
    }
}
