//! Section 8 by SQL: X1 explain without the program, and who was logged in at an instant.

use tenure::session::Explanation;
use tenure::store::SweepPosition;

use super::*;

/// A row of `tenure.explain`.
#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Row {
    state: String,
    limit: String,
    applies: bool,
    binding: bool,
    deadline_at: Option<DateTime<Utc>>,
    name: String,
    value: Option<String>,
    unit: Option<String>,
    source: String,
    ended_at: Option<DateTime<Utc>>,
    end_reason: Option<String>,
    ended_by: Option<String>,
}

async fn rows(db: &Db, id: uuid::Uuid) -> Vec<Row> {
    let mut reporter = db.connection().await;
    sqlx::raw_sql("set role tenure_reporter").execute(&mut reporter).await.unwrap();
    sqlx::query_as("select * from tenure.explain($1)").bind(id).fetch_all(&mut reporter).await.unwrap()
}

/// The same of what the program says.
fn expected(explained: &Explanation) -> Vec<Row> {
    let ended = explained.ended.as_ref();
    explained
        .candidates
        .iter()
        .map(|candidate| Row {
            state: explained.state.to_owned(),
            limit: candidate.limit.to_owned(),
            applies: candidate.applies,
            binding: explained.binding == Some(candidate.limit),
            deadline_at: candidate.deadline_at,
            name: candidate.name.to_owned(),
            value: candidate.value.clone(),
            unit: candidate.unit.map(ToOwned::to_owned),
            source: candidate.source.to_owned(),
            ended_at: ended.map(|ended| ended.at),
            end_reason: ended.map(|ended| ended.reason.as_str().to_owned()),
            ended_by: ended.map(|ended| ended.by.clone()),
        })
        .collect()
}

/// SQL first, because the program ends what it finds over; and again, because then it reads another table.
async fn agree(db: &Db, session: &Created) -> Explanation {
    let before = rows(db, session.session.id).await;
    let explained = db.manager.explain(session.session.id, ADMIN).await.unwrap();
    assert_eq!(before, expected(&explained), "{} before the program looked", session.session.kind);
    assert_eq!(rows(db, session.session.id).await, before, "{} after it", session.session.kind);
    explained
}

#[tokio::test]
async fn rule_x1_sql_explains_as_the_program_does() {
    let db = stopped().await;
    mobile_app(&db, 1_800, 86_400).await;
    set(&db, "glide.unauthorized.session_timeout", "20").await;
    let leaving = create(&db, user()).await;
    let (view, token) = db.manager.sign_out(leaving.session.id, ADMIN).await.unwrap().guest.unwrap();
    let mut sessions = vec![Created { session: view, token, grant: None, ended: None, barrier: None }, leaving];
    for new in [
        user(),
        CreateSession { idle_limit_minutes: Some(7), ..user() },
        CreateSession { homepage_refresh_minutes: Some(5), ..user() },
        CreateSession { remember_me: Some(true), ..user() },
        CreateSession { remember_me: Some(true), idle_limit_minutes: Some(9), ..user() },
        guest(),
        integration(),
        mobile(),
    ] {
        sessions.push(create(&db, new).await);
    }
    let terminated = create(&db, user()).await;
    db.manager.terminate(terminated.session.id, false, ADMIN).await.unwrap();
    sessions.push(terminated);

    let mut bound = std::collections::BTreeSet::new();
    let mut all_agree = async |what: &str| {
        for session in &sessions {
            let explained = agree(&db, session).await;
            bound.insert((explained.state, explained.binding));
            println!("{what}: {} {} {:?}", session.session.kind, explained.state, explained.binding);
        }
    };
    all_agree("defaults").await;
    set(&db, "glide.ui.auto_req.extend.session", "false").await;
    set(&db, "glide.integration.session_timeout", "50").await;
    set(&db, "glide.active.session.timeout.invalidate.session", "true").await;
    for kind in ["glide.ui", "glide.guest", "glide.integrations", "tenure.mobile"] {
        set(&db, &format!("{kind}.active.session.life_span"), "60").await;
    }
    all_agree("maximum lives").await;
    set(&db, "glide.ui.forgetme", "true").await;
    all_agree("Remember Me off").await;
    unset(&db, "glide.ui.forgetme").await;
    unset(&db, "glide.integration.session_timeout").await;
    set(&db, "tenure.release_profile", "istanbul").await;
    all_agree("a release profile").await;
    set(&db, "tenure.maintenance_at", "2027-06-01T09:04:00Z").await;
    all_agree("maintenance").await;
    at(&db, "09:04").await;
    all_agree("over by deadline").await;
    unset(&db, "tenure.maintenance_at").await;
    all_agree("maintenance lifted").await;
    for binding in ["idle", "max_life", "remember_me", "residue", "mobile_window", "maintenance"] {
        assert!(bound.iter().any(|(_, bound)| *bound == Some(binding)), "{binding} was never the one that binds: {bound:?}");
    }
    assert!(bound.contains(&("ended", None)), "{bound:?}");

    let nobody = uuid::Uuid::nil();
    let unknown = refused_sql(&db, &format!("select * from tenure.explain('{nobody}')")).await;
    assert_eq!(unknown, ("TN404".to_owned(), "unknown_session".to_owned()));
}

#[tokio::test]
async fn rule_x1_sql_explains_what_the_users_state_ended() {
    let db = stopped().await;
    let session = create(&db, user()).await;
    // As after a sign-in that raced with a lock-out: the row is there, and no check accepts it.
    db.sql("update tenure.sessions set user_epoch = user_epoch - 1").await;
    at(&db, "09:07").await;
    let explained = agree(&db, &session).await;
    assert_eq!((explained.state, explained.binding), ("ended", None));
    assert_eq!(explained.ended.unwrap().reason.as_str(), "locked_out");
}

/// Who was logged in, as the reporter asks.
async fn logged_in(db: &Db, clock: &str) -> Vec<uuid::Uuid> {
    let mut reporter = db.connection().await;
    sqlx::raw_sql("set role tenure_reporter").execute(&mut reporter).await.unwrap();
    sqlx::query_scalar("select id from reporting.logged_in_at($1) order by created_at")
        .bind(t(clock))
        .fetch_all(&mut reporter)
        .await
        .unwrap()
}

#[tokio::test]
async fn who_was_logged_in_at_an_instant_is_the_same_before_and_after_the_sweep() {
    let db = stopped().await;
    let a = create(&db, user()).await.session.id;
    at(&db, "09:10").await;
    let b = create(&db, guest()).await.session.id;
    at(&db, "09:20").await;
    db.manager.terminate(a, false, ADMIN).await.unwrap();
    at(&db, "09:30").await;
    let c = create(&db, integration()).await.session.id;
    at(&db, "09:33").await;
    let expected = [
        ("08:59:59.999999", vec![]),
        ("09:00", vec![a]),
        ("09:09:59.999999", vec![a]),
        ("09:10", vec![a, b]),
        ("09:19:59.999999", vec![a, b]),
        ("09:20", vec![b]),
        ("09:30", vec![b, c]),
        ("09:34:59.999999", vec![b, c]),
        ("09:35", vec![b]),
        ("09:39:59.999999", vec![b]),
        ("09:40", vec![]),
    ];
    for (clock, ids) in &expected {
        assert_eq!(logged_in(&db, clock).await, *ids, "at {clock}, while b and c live");
    }
    at(&db, "10:00").await;
    for (clock, ids) in &expected {
        assert_eq!(logged_in(&db, clock).await, *ids, "at {clock}, over and not swept");
    }
    assert_eq!(db.count("select count(*) from reporting.sessions where state = 'live'").await, 0);
    let before = text(&db, "select string_agg(v::text, '|' order by v.id) from reporting.sessions v").await;
    db.store.sweep(SweepPosition::START, 100).await.unwrap();
    assert_eq!(db.count("select count(*) from tenure.sessions").await, 0);
    for (clock, ids) in &expected {
        assert_eq!(logged_in(&db, clock).await, *ids, "at {clock}, swept");
    }
    let after = text(&db, "select string_agg(v::text, '|' order by v.id) from reporting.sessions v").await;
    // Only the node that swept is known now.
    assert_eq!(after.replace(",node-1)", ",)"), before.replace(",node-1)", ",)"));
}

#[tokio::test]
async fn what_the_users_state_ended_counts_until_its_last_activity() {
    let db = stopped().await;
    let session = create(&db, user()).await;
    at(&db, "09:05").await;
    check(&db, &session, Activity::User).await;
    db.sql("update tenure.sessions set user_epoch = user_epoch - 1").await;
    at(&db, "09:07").await;
    assert_eq!(logged_in(&db, "09:04").await, [session.session.id]);
    assert_eq!(logged_in(&db, "09:06").await, [] as [uuid::Uuid; 0]);
    let row = "select concat_ws(',', state, end_reason, ended_by) from reporting.sessions";
    assert_eq!(text(&db, row).await, "ended,locked_out,tenure");
    assert_eq!(db.count("select count(*) from reporting.live_sessions").await, 0);
    // Its deadline, which nobody swept yet, says more than that.
    at(&db, "09:40").await;
    assert_eq!(text(&db, row).await, "ended,idle,tenure");
    assert_eq!(logged_in(&db, "09:06").await, [session.session.id]);
}

#[tokio::test]
async fn the_sessions_of_a_user_are_found_by_any_spelling_and_after_a_change_of_name() {
    let db = stopped().await;
    db.user("beth.anglin").await;
    create(&db, CreateSession { user: Some("beth.anglin".into()), ..user() }).await;
    let first = create(&db, user()).await.session.id;
    db.manager.terminate(first, false, ADMIN).await.unwrap();
    db.sql("update tenure.users set name = 'abel.tutor' where name = 'abel.tuter'").await;
    at(&db, "09:01").await;
    let second = create(&db, CreateSession { user: Some("abel.tutor".into()), ..user() }).await.session.id;
    for name in ["abel.tutor", "ABEL.Tutor"] {
        let ids: Vec<uuid::Uuid> = sqlx::query_scalar("select id from reporting.sessions_of($1) order by id")
            .bind(name)
            .fetch_all(db.pool())
            .await
            .unwrap();
        assert_eq!(ids, [first, second], "{name}");
    }
    assert_eq!(db.count("select count(*) from reporting.sessions_of('nobody')").await, 0);
    assert_eq!(db.count("select count(*) from reporting.sessions_of(null)").await, 0);
}
