//! Section 6: users.

use sqlx::Connection;
use tenure::session::{Activity, ApiKey, Role};
use tenure::store::{User, UserPatch};

use super::*;

async fn patch(db: &Db, patch: UserPatch) -> Option<i64> {
    db.manager.patch_user("abel.tuter", &patch, ADMIN).await.unwrap().ended
}

fn locked_out(locked_out: bool) -> UserPatch {
    UserPatch { locked_out: Some(locked_out), ..Default::default() }
}

fn active(active: bool) -> UserPatch {
    UserPatch { active: Some(active), ..Default::default() }
}

async fn abel(db: &Db) -> User {
    db.manager.user("abel.tuter").await.unwrap()
}

#[tokio::test]
async fn rule_u1_locked_out() {
    let db = stopped().await;
    db.user("beth.anglin").await;
    let sessions = [
        create(&db, user()).await,
        create(&db, CreateSession { remember_me: Some(true), ..user() }).await,
        create(&db, integration()).await,
    ];
    let others = [create(&db, guest()).await, create(&db, CreateSession { user: Some("beth.anglin".into()), ..user() }).await];
    assert_eq!(db.manager.access("abel.tuter").await.unwrap(), None);
    at(&db, "09:01").await;
    assert_eq!(patch(&db, locked_out(true)).await, Some(3));
    assert_eq!(db.manager.access("abel.tuter").await.unwrap(), Some("locked_out"));
    for session in &sessions {
        let over = over(&db, session, Activity::User).await;
        assert_eq!((over.ending.reason.as_str(), over.ending.at, &*over.ending.by), ("locked_out", t("09:01"), "admin-key"));
    }
    for session in &others {
        check(&db, session, Activity::User).await;
    }
    for new in [user(), integration(), CreateSession { user: Some("ABEL.Tuter".into()), ..user() }] {
        assert_eq!(refused(try_create(&db, new).await), (403, "user_locked_out".into()));
    }
    assert_eq!(db.count("select count(*) from reporting.locked_out_users").await, 1);

    assert_eq!(patch(&db, locked_out(false)).await, None);
    assert_eq!(db.manager.access("abel.tuter").await.unwrap(), None);
    for session in &sessions {
        assert_eq!(ending(&db, session).await.0, "locked_out", "unlocking brings none of them back");
    }
    create(&db, user()).await;
}

#[tokio::test]
async fn rule_u2_inactive_means_locked_out_as_a_rule() {
    let db = stopped().await;
    patch(&db, active(false)).await;
    assert_eq!((abel(&db).await.active, abel(&db).await.locked_out), (false, true));
    let transactions =
        "select count(distinct xid) from tenure.session_events where type in ('user_deactivated', 'user_locked_out')";
    assert_eq!(db.count(transactions).await, 1, "in the same transaction");
    assert_eq!(db.count("select count(*) from reporting.active_users").await, 0);
    assert!(db.store.users(Some(true), None, 10, None).await.unwrap().items.is_empty(), "in no list of active users");
    patch(&db, active(true)).await;
    assert_eq!((abel(&db).await.active, abel(&db).await.locked_out), (true, true), "active again is not unlocked");
    assert_eq!(db.store.users(Some(true), None, 10, None).await.unwrap().items.len(), 1);

    // Also by inserting such a user, by whatever way.
    db.sql("insert into tenure.users (name, active) values ('ina.ctive', false)").await;
    assert!(db.manager.user("ina.ctive").await.unwrap().locked_out);
    db.manager.put_user("ivy".into(), active(false), ADMIN).await.unwrap();
    assert!(db.manager.user("ivy").await.unwrap().locked_out);

    // Only becoming inactive locks out: an inactive user who was unlocked stays unlocked, whoever writes the row again.
    patch(&db, UserPatch { locked_out: Some(false), active: Some(false), ..Default::default() }).await;
    assert!(abel(&db).await.locked_out, "unlocked and made inactive at once: it became inactive");
    patch(&db, locked_out(false)).await;
    assert!(!abel(&db).await.locked_out);
    patch(&db, active(false)).await;
    assert!(!abel(&db).await.locked_out);
    db.manager.put_user("abel.tuter".into(), active(false), ADMIN).await.unwrap();
    assert!(!abel(&db).await.locked_out, "replaced by one who is inactive as before");
    db.manager.put_user("abel.tuter".into(), UserPatch::default(), ADMIN).await.unwrap();
    db.manager.put_user("abel.tuter".into(), active(false), ADMIN).await.unwrap();
    assert!(abel(&db).await.locked_out, "replaced by one who becomes inactive");

    set(&db, "tenure.lock_out_inactive_users", "false").await;
    db.user("cal").await;
    db.sql("update tenure.users set active = false where name = 'cal'").await;
    assert!(!db.manager.user("cal").await.unwrap().locked_out);
}

#[tokio::test]
async fn rule_u3_inactive_means_no_access_as_a_rule() {
    const ONLY_ACTIVE: &str = "glide.authenticate.only.allow.active.user.login";
    // lock out, only active -> locked out by clearing active, reason of the end; sign-in of the inactive who is not locked out.
    let table = [
        ("true", "true", true, Some("inactivated"), Some("user_inactive")),
        ("true", "false", true, Some("locked_out"), None),
        ("false", "true", false, Some("inactivated"), Some("user_inactive")),
        ("false", "false", false, None, None),
    ];
    for (lock_out, only_active, locks, reason, refused_as) in table {
        let case = format!("lock_out {lock_out}, only active {only_active}");
        let db = stopped().await;
        set(&db, "tenure.lock_out_inactive_users", lock_out).await;
        set(&db, ONLY_ACTIVE, only_active).await;
        let session = create(&db, user()).await;
        let api = create(&db, integration()).await;
        at(&db, "09:01").await;
        db.sql("update tenure.users set active = false").await;
        assert_eq!(abel(&db).await.locked_out, locks, "{case}");
        let moved = db.count("select count(*) from tenure.ended_sessions where ended_at = '2027-06-01 09:01+00'").await;
        assert_eq!(moved, if reason.is_some() { 2 } else { 0 }, "{case}: in the same transaction");
        for session in [&session, &api] {
            match reason {
                Some(reason) => assert_eq!(ending(&db, session).await, (reason, t("09:01")), "{case}"),
                None => drop(check(&db, session, Activity::User).await),
            }
        }
        if locks {
            assert_eq!(refused(try_create(&db, user()).await), (403, "user_locked_out".into()), "{case}: both");
            db.sql("update tenure.users set locked_out = false").await;
        }
        for new in [user(), integration()] {
            match refused_as {
                Some(code) => assert_eq!(refused(try_create(&db, new).await), (403, code.to_owned()), "{case}"),
                None => drop(create(&db, new).await),
            }
        }
        assert_eq!(db.manager.access("abel.tuter").await.unwrap(), refused_as.map(|_| "inactive"), "{case}");
    }

    // Setting the property ends the sessions concerned, and only those.
    let db = stopped().await;
    db.user("beth.anglin").await;
    set(&db, "tenure.lock_out_inactive_users", "false").await;
    set(&db, ONLY_ACTIVE, "false").await;
    let concerned = create(&db, user()).await;
    let other = create(&db, CreateSession { user: Some("beth.anglin".into()), ..user() }).await;
    let anonymous = create(&db, guest()).await;
    db.sql("update tenure.users set active = false where name = 'abel.tuter'").await;
    at(&db, "09:02").await;
    unset(&db, ONLY_ACTIVE).await;
    assert_eq!(db.count("select count(*) from tenure.ended_sessions").await, 1);
    assert_eq!(ending(&db, &concerned).await, ("inactivated", t("09:02")));
    check(&db, &other, Activity::User).await;
    check(&db, &anonymous, Activity::User).await;
}

#[tokio::test]
async fn rule_u4_by_whatever_way() {
    let by_sql = [
        "update tenure.users set locked_out = true where name = 'abel.tuter'",
        "update tenure.users set active = false where name like 'abel%'",
        "merge into tenure.users u using (values ('abel.tuter')) v (name) on u.name = v.name
             when matched then update set locked_out = true",
        "insert into tenure.users (name) values ('Abel.Tuter')
             on conflict (lower(name collate \"und-x-icu\")) do update set locked_out = true",
        "begin isolation level serializable; update tenure.users set locked_out = true; commit",
        // Locked out and unlocked in one transaction: the lock-out happened.
        "begin; update tenure.users set locked_out = true; update tenure.users set locked_out = false; commit",
    ];
    for way in by_sql {
        let db = stopped().await;
        let session = create(&db, user()).await;
        db.sql(way).await;
        let over = over(&db, &session, Activity::User).await;
        assert!(["locked_out", "inactivated"].contains(&over.ending.reason.as_str()), "{way}");
        assert_eq!(db.count("select count(*) from tenure.sessions").await, 0, "{way}: ended by the statement itself");
        assert_eq!(db.count("select count(*) from tenure.invalidations where kind = 'u'").await.min(1), 1, "{way}");
    }
    let db = stopped().await;
    let session = create(&db, user()).await;
    assert_eq!(refused_sql(&db, "truncate tenure.users cascade").await.0, "TN409");
    // The epoch is the store's: nobody sets it back, and setting it forward is no lock-out of others.
    db.sql("update tenure.users set locked_out = true; update tenure.users set epoch = 0, locked_out = false").await;
    assert_eq!(ending(&db, &session).await.0, "locked_out");
    assert_eq!(db.count("select epoch from tenure.users").await, 1);
}

#[tokio::test]
async fn rule_u4_a_sign_in_that_races_with_a_lock_out() {
    // The lock-out is first: the sign-in waits for it and is refused.
    let db = stopped().await;
    let mut operator = db.connection().await;
    let mut lock_out = operator.begin().await.unwrap();
    sqlx::raw_sql("update tenure.users set locked_out = true").execute(&mut *lock_out).await.unwrap();
    let store = db.store.clone();
    let sign_in = tokio::spawn(async move { store.create(&user().validate().unwrap(), ADMIN).await.map(drop) });
    blocked(&db).await;
    lock_out.commit().await.unwrap();
    assert_eq!(refused(sign_in.await.unwrap()), (403, "user_locked_out".into()));

    // The sign-in is first: the lock-out waits for it and ends its session, at every isolation level that lets it pass.
    for level in ["read committed", "repeatable read", "serializable"] {
        let db = stopped().await;
        let mut first = db.connection().await;
        let mut second = db.connection().await;
        sqlx::raw_sql(AssertSqlSafe(format!("begin isolation level {level}; select count(*) from tenure.sessions")))
            .execute(&mut second)
            .await
            .unwrap();
        let mut sign_in = first.begin().await.unwrap();
        sqlx::raw_sql(
            "select tenure.sign_in('user', 'abel.tuter', sha256('x'), null, 'desktop', null, null, null, null, false, null, null, '{}')",
        )
        .execute(&mut *sign_in)
        .await
        .unwrap();
        let lock_out = tokio::spawn(async move {
            sqlx::raw_sql("update tenure.users set locked_out = true; commit").execute(&mut second).await.map(drop)
        });
        blocked(&db).await;
        sign_in.commit().await.unwrap();
        let locked = lock_out.await.unwrap();
        // The snapshot of the stricter levels cannot see the new session; its epoch gives it away to every reader.
        assert_eq!(db.count("select count(*) from tenure.users where locked_out").await, i64::from(locked.is_ok()), "{level}");
        assert_eq!(db.count("select count(*) from tenure.live").await, i64::from(locked.is_err()), "{level}");
    }
}

#[tokio::test]
async fn rule_u4_a_session_the_lock_out_could_not_see() {
    let db = stopped().await;
    let session = create(&db, user()).await;
    // As a lock-out under an older snapshot leaves it: the epoch moved, the session still there.
    db.sql(
        "alter table tenure.users disable trigger user; update tenure.users set epoch = epoch + 1;
         alter table tenure.users enable trigger user",
    )
    .await;
    assert_eq!(db.count("select count(*) from reporting.live_sessions").await, 0);
    let seen = everything(&db).await;
    let passive = over(&db, &session, Activity::Passive).await;
    assert_eq!(passive.ending.reason.as_str(), "locked_out");
    assert_ne!(everything(&db).await, seen, "the check ended it");
}

#[tokio::test]
async fn rule_u5_terminating_is_not_locking_out() {
    let db = stopped().await;
    let terminated = create(&db, user()).await;
    let others = [create(&db, user()).await, create(&db, integration()).await];
    let before = text(&db, "select u::text from tenure.users u").await;
    assert_eq!(db.manager.terminate(terminated.session.id, true, ADMIN).await.unwrap().terminated, 1);
    assert_eq!(db.manager.terminate(terminated.session.id, true, ADMIN).await.unwrap().terminated, 0, "over already");
    db.sql(&format!("select tenure.terminate('{}')", others[1].session.id)).await;
    assert_eq!(text(&db, "select u::text from tenure.users u").await, before);
    check(&db, &others[0], Activity::User).await;
    assert_eq!(ending(&db, &others[1]).await.0, "terminated");
    let last = create(&db, user()).await;
    db.sql(&format!("select tenure.terminate('{}', 'maintenance')", others[0].session.id)).await;
    assert_eq!(ending(&db, &others[0]).await.0, "maintenance");
    for reason in ["idle", "max_life", "locked_out", "inactivated", "", "because"] {
        let statement = format!("select tenure.terminate('{}', '{reason}')", last.session.id);
        assert_eq!(refused_sql(&db, &statement).await, ("TN422".into(), "unknown_reason".into()), "no decision: {reason}");
    }
    assert_eq!(refused(db.manager.terminate(uuid::Uuid::nil(), true, ADMIN).await), (404, "unknown_session".into()));
}

#[tokio::test]
async fn rule_u6_roles_and_names() {
    let db = stopped().await;
    let (record, key) = db.store.create_key("ci", Role::Admin, ADMIN).await.unwrap();
    let digest = ApiKey::parse(key.reveal()).unwrap();
    assert_eq!(db.store.key(&digest).await.unwrap().unwrap().role, record.role);
    assert!(db.store.revoke_key("ci", ADMIN).await.unwrap());
    assert!(db.store.key(&digest).await.unwrap().is_none());
    assert_eq!(
        refused_sql(&db, "insert into tenure.api_keys (name, role, key_hash) values ('x', 'root', sha256('x'))").await.0,
        "23514"
    );

    // Names: 1..128 characters, no control characters, NFC, unique regardless of case.
    for bad in ["", &"x".repeat(129), "a\tb", "a\u{0}b", "a\u{85}b", "a\u{202e}b", " a", "a "] {
        assert!(tenure::input::user_name(bad).is_err(), "{bad:?}");
        let stored = sqlx::query("insert into tenure.users (name) values ($1)").bind(bad).execute(db.pool()).await;
        assert!(stored.is_err(), "{bad:?} by SQL");
    }
    for good in ["x", &"ü".repeat(128), "İ", "孙悟空", "o'brien; drop table"] {
        assert!(tenure::input::user_name(good).is_ok(), "{good:?}");
        db.user(good).await;
        assert_eq!(db.manager.user(good).await.unwrap().name, good);
    }
    let composed = tenure::input::user_name("Ame\u{301}lie").unwrap();
    assert_eq!(composed, "Am\u{e9}lie");
    db.user("Ame\u{301}lie").await;
    assert_eq!(db.manager.user("AM\u{c9}LIE").await.unwrap().name, composed, "stored composed, found regardless of case");
    for twin in ["am\u{e9}lie", "ame\u{301}lie", "ABEL.TUTER"] {
        let stored = sqlx::query("insert into tenure.users (name) values ($1)").bind(twin).execute(db.pool()).await;
        assert!(stored.is_err(), "{twin:?} is there already");
    }
}

#[tokio::test]
async fn rule_u6_a_revoked_key_is_void_on_every_node() {
    let db = stopped().await;
    let node = db.node("node-2").await;
    for _ in 0..10 {
        let (_, key) = db.store.create_key("ci", Role::Admin, ADMIN).await.unwrap();
        let digest = ApiKey::parse(key.reveal()).unwrap();
        assert!(node.key(&digest).await.unwrap().is_some(), "known, and remembered");
        assert!(db.manager.revoke_key("ci", ADMIN).await.unwrap());
        assert!(node.key(&digest).await.unwrap().is_none());
    }
    assert!(!db.manager.revoke_key("ci", ADMIN).await.unwrap());
}
