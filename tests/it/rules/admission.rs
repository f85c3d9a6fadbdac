//! X5, limits of concurrent sessions, and X3, maintenance.

use tenure::session::Activity;

use super::*;
use crate::support::Crowd;

const MOST: &str = "tenure.user.max_sessions";
const AT_MOST: &str = "tenure.user.at_max_sessions";
const MAINTENANCE: &str = "tenure.maintenance_at";

async fn live(db: &Db) -> i64 {
    db.count("select count(*) from tenure.live where user_id is not null").await
}

async fn admin(db: &Db) -> CreateSession {
    db.sql("insert into tenure.users (name, roles) values ('night.shift', '{admin}') on conflict do nothing").await;
    CreateSession { kind: "user".into(), user: Some("night.shift".into()), ..Default::default() }
}

#[tokio::test]
async fn rule_x5_the_session_idle_for_longest_makes_room() {
    let db = stopped().await;
    set(&db, MOST, "2").await;
    let first = create(&db, user()).await;
    at(&db, "09:01").await;
    let second = create(&db, user()).await;
    assert_eq!((first.ended, second.ended, live(&db).await), (None, None, 2), "there was room");
    at(&db, "09:02").await;
    check(&db, &first, Activity::User).await;
    at(&db, "09:03").await;
    let third = create(&db, user()).await;
    assert_eq!(third.ended, Some(1));
    assert!(third.barrier.is_some(), "it waited until no node accepts the other");
    assert_eq!(ending(&db, &second).await, ("concurrent_limit", t("09:03")));
    check(&db, &first, Activity::Passive).await;
    let by = text(&db, "select actor from tenure.session_events where reason = 'concurrent_limit'").await;
    assert_eq!(by, ADMIN.0, "whoever signed in ended it");
    let told = format!("select count(*) from tenure.invalidations where kind = 's' and key = '{}'", second.session.id);
    assert_eq!(db.count(&told).await, 1);
}

#[tokio::test]
async fn rule_x5_the_oldest_makes_room_where_that_is_chosen() {
    let db = stopped().await;
    set(&db, MOST, "2").await;
    set(&db, AT_MOST, "end_oldest").await;
    let first = create(&db, user()).await;
    at(&db, "09:01").await;
    let second = create(&db, user()).await;
    at(&db, "09:02").await;
    check(&db, &first, Activity::User).await;
    create(&db, user()).await;
    assert_eq!(ending(&db, &first).await, ("concurrent_limit", t("09:02")));
    check(&db, &second, Activity::Passive).await;
}

#[tokio::test]
async fn rule_x5_input_053_a_sign_in_beyond_the_limit_is_refused_where_that_is_chosen() {
    let db = stopped().await;
    set(&db, MOST, "1").await;
    set(&db, AT_MOST, "reject").await;
    let first = create(&db, user()).await;
    let guest = create(&db, guest()).await;
    let before = everything(&db).await;
    let over_guest = CreateSession { guest_token: Some(guest.token.reveal().to_owned()), ..user() };
    let refusal = refusal(try_create(&db, over_guest).await);
    assert_eq!((refusal.status, &*refusal.code), (409, "session_limit_reached"));
    assert!(refusal.message.contains("may have 1 at once") && refusal.advice.contains("Sign out"), "{refusal:?}");
    assert_eq!(everything(&db).await, before, "the guest session is still there");
    // Signed out, there is room again; the guest that is left has no user and does not count.
    db.manager.sign_out(first.session.id, ADMIN).await.unwrap();
    create(&db, user()).await;
}

#[tokio::test]
async fn rule_x5_only_live_sessions_of_the_kind_and_user_count() {
    let db = stopped().await;
    set(&db, MOST, "1").await;
    set(&db, AT_MOST, "reject").await;
    create(&db, integration()).await;
    create(&db, admin(&db).await).await;
    let first = create(&db, user()).await;
    // Over by its deadline, and not swept yet: it does not count, and ends as what it was.
    at(&db, "09:30").await;
    create(&db, user()).await;
    assert_eq!(ending(&db, &first).await, ("idle", t("09:30")));
    assert_eq!(db.count("select count(*) from tenure.sessions s join tenure.users u on u.id = s.user_id where s.kind = 'user' and u.name = 'abel.tuter'").await, 1);

    mobile_app(&db, 60, 600).await;
    set(&db, "tenure.mobile.max_sessions", "1").await;
    let phone = create(&db, mobile()).await;
    assert_eq!(create(&db, mobile()).await.ended, Some(1));
    assert_eq!(ending(&db, &phone).await.0, "concurrent_limit");
}

#[tokio::test]
async fn rule_x5_a_lowered_limit_applies_at_the_next_sign_in() {
    let db = stopped().await;
    for _ in 0..5 {
        create(&db, user()).await;
    }
    set(&db, MOST, "3").await;
    assert_eq!(live(&db).await, 5);
    assert_eq!(create(&db, user()).await.ended, Some(3));
    assert_eq!(live(&db).await, 3);
    set(&db, MOST, "0").await;
    create(&db, user()).await;
    assert_eq!(live(&db).await, 4, "0 is off");
}

/// However many there are: a sign-in ends so many that it is done in time, or says who can help.
#[tokio::test]
async fn rule_x5_a_sign_in_ends_five_thousand_at_most() {
    let db = Db::new().await;
    set(&db, MOST, "1000").await;
    db.crowd(Crowd { sessions: 6_001, users: 1, oldest: 600, youngest: 60 }).await;
    let new = || CreateSession { user: Some("u1".into()), ..user() };
    let refusal = refusal(try_create(&db, new()).await);
    assert_eq!((refusal.status, &*refusal.code), (409, "session_limit_reached"));
    assert!(refusal.message.contains("has 6001 live sessions") && refusal.message.contains("ends 5000 at most"), "{refusal:?}");
    assert!(refusal.advice.contains("tenure sessions terminate"), "{refusal:?}");
    assert_eq!(live(&db).await, 6_001, "none of them ended");
    db.sql("select tenure.terminate(id) from (select id from tenure.sessions order by id limit 2) s").await;
    assert_eq!(create(&db, new()).await.ended, Some(5_000));
    assert_eq!(live(&db).await, 1_000);
}

#[tokio::test]
async fn rule_x5_nothing_is_counted_on_an_old_snapshot() {
    let db = stopped().await;
    set(&db, MOST, "1").await;
    let statement = "begin isolation level repeatable read;
        select tenure.sign_in('user', 'abel.tuter', sha256('x'), null, 'desktop', null, null, null, null, false, null, null, '{}'); commit";
    let mut connection = db.connection().await;
    let error = sqlx::raw_sql(statement).execute(&mut connection).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().constraint(), Some("isolation_level"));
}

#[tokio::test]
async fn rule_x3_maintenance_refuses_sign_ins_and_ends_what_began_before_it() {
    let db = stopped().await;
    let session = create(&db, user()).await;
    let guest_session = create(&db, guest()).await;
    mobile_app(&db, 60, 86_400).await;
    let phone = create(&db, mobile()).await;
    assert!(check(&db, &session, Activity::Passive).await.maintenance_at.is_none());
    set(&db, MAINTENANCE, "2027-06-01T09:20:00Z").await;

    for new in [user(), guest(), integration(), mobile()] {
        let refusal = refusal(try_create(&db, new).await);
        assert_eq!((refusal.status, &*refusal.code), (503, "maintenance"));
        assert!(refusal.message.contains("begins at 2027-06-01T09:20:00Z"), "{}", refusal.message);
    }
    let early = create(&db, admin(&db).await).await;
    at(&db, "09:10").await;
    for session in [&session, &phone] {
        let activity = if session.grant.is_some() { Activity::Foreground } else { Activity::User };
        let checked = check(&db, session, activity).await;
        assert_eq!((checked.session.expires_at, checked.maintenance_at), (Some(t("09:20")), Some(t("09:20"))));
        assert!(!checked.can_extend && checked.prompt_at.is_none(), "more activity moves nothing");
    }
    assert_eq!(refused(db.manager.extend(session.session.id, ADMIN).await), (409, "cannot_extend".into()));
    let explained = db.manager.explain(session.session.id, ADMIN).await.unwrap();
    assert_eq!(explained.binding, Some("maintenance"));
    let candidate = explained.candidates.iter().find(|candidate| candidate.limit == "maintenance").unwrap();
    assert_eq!((candidate.source, candidate.name, candidate.applies), ("row", MAINTENANCE, true));

    at(&db, "09:20").await;
    for session in [&session, &guest_session, &early] {
        assert_eq!(ending(&db, session).await, ("maintenance", t("09:20")));
    }
    assert_eq!(live(&db).await, 0);
    assert_eq!(db.manager.explain(session.session.id, ADMIN).await.unwrap().binding, Some("maintenance"));
    // Whoever is to lift it signs in again, and lives.
    let late = create(&db, admin(&db).await).await;
    assert!(check(&db, &late, Activity::User).await.maintenance_at.is_none());
    unset(&db, MAINTENANCE).await;
    create(&db, user()).await;
    assert_eq!(ending(&db, &phone).await.0, "maintenance", "nothing comes back (A11)");
    assert!(!db.manager.explain(late.session.id, ADMIN).await.unwrap().candidates.iter().any(|c| c.limit == "maintenance"));
}

#[tokio::test]
async fn rule_x3_lifted_in_time_it_leaves_every_limit_as_it_was() {
    let db = stopped().await;
    let session = create(&db, user()).await;
    set(&db, MAINTENANCE, "2027-06-01T09:10:00Z").await;
    while db.store.lower_deadlines(100).await.unwrap().is_some() {}
    assert_eq!(
        db.count("select count(*) from tenure.sessions where due_at = '2027-06-01 09:10+00'").await,
        1,
        "the sweeper knows"
    );
    at(&db, "09:05").await;
    unset(&db, MAINTENANCE).await;
    at(&db, "09:29").await;
    assert_eq!(check(&db, &session, Activity::Passive).await.session.expires_at, Some(t("09:30")));
}

#[tokio::test]
async fn rule_x3_an_instant_in_the_past_is_now() {
    let db = stopped().await;
    at(&db, "09:10").await;
    let session = create(&db, user()).await;
    at(&db, "09:15").await;
    // Begun after the instant that was asked for, it would outlive it.
    set(&db, MAINTENANCE, "2027-06-01T09:05:00Z").await;
    assert_eq!(value(&db, MAINTENANCE).await.as_deref(), Some("2027-06-01T09:15:00.000000Z"));
    assert_eq!(ending(&db, &session).await, ("maintenance", t("09:15")));
    let mine = create(&db, admin(&db).await).await;
    // Asked for again, in whatever words, it stays: who began since is not meant.
    at(&db, "09:16").await;
    for again in ["2027-06-01T09:15:00.000000Z", "2027-06-01T09:15:00Z", "2027-06-01T09:05:00Z"] {
        set(&db, MAINTENANCE, again).await;
        assert_eq!(value(&db, MAINTENANCE).await.as_deref(), Some("2027-06-01T09:15:00.000000Z"), "{again}");
        check(&db, &mine, Activity::User).await;
    }
    // A later one is another.
    set(&db, MAINTENANCE, "2027-06-01T09:15:30Z").await;
    assert_eq!(ending(&db, &mine).await, ("maintenance", t("09:16")));
}

#[tokio::test]
async fn rule_x3_rule_k4_a_sign_out_during_maintenance_leaves_no_guest() {
    let db = stopped().await;
    set(&db, MAINTENANCE, "2027-06-01T09:20:00Z").await;
    let early = create(&db, admin(&db).await).await;
    let left = db.manager.sign_out(early.session.id, ADMIN).await.unwrap();
    let (guest, _) = left.guest.expect("it has not begun");
    assert_eq!(guest.expires_at, Some(t("09:20")));
    at(&db, "09:20").await;
    let late = create(&db, admin(&db).await).await;
    let left = db.manager.sign_out(late.session.id, ADMIN).await.unwrap();
    assert!(left.guest.is_none());
    assert_eq!(left.session.end_reason.map(tenure::session::EndReason::as_str), Some("signed_out"));
    assert_eq!(db.count("select count(*) from tenure.live").await, 0);
    unset(&db, MAINTENANCE).await;
    let after = create(&db, user()).await;
    assert!(db.manager.sign_out(after.session.id, ADMIN).await.unwrap().guest.is_some());
}

/// Ended by hand for maintenance, while the announced one lies ahead: somebody ended it, not the limit.
#[tokio::test]
async fn rule_x3_rule_x1_what_was_ended_by_hand_no_limit_ended() {
    let db = stopped().await;
    let session = create(&db, user()).await;
    set(&db, MAINTENANCE, "2027-06-01T09:20:00Z").await;
    let id = session.session.id;
    db.sql(&format!("select tenure.terminate('{id}', 'maintenance')")).await;
    let by_sql = format!("select count(*) from tenure.explain('{id}') where binding");
    let explained = db.manager.explain(id, ADMIN).await.unwrap();
    assert_eq!((explained.binding, db.count(&by_sql).await), (None, 0));
    assert_eq!(explained.ended.unwrap().reason.as_str(), "maintenance");
    // Nor later, when it has begun.
    at(&db, "09:30").await;
    assert_eq!((db.manager.explain(id, ADMIN).await.unwrap().binding, db.count(&by_sql).await), (None, 0));
}
