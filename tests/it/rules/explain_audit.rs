//! Section 8: X1 explain, X4 audit.

use std::collections::BTreeMap;

use tenure::session::{Activity, Candidate, Explanation, Role};
use tenure::store::{Event, EventFilter};

use super::*;

async fn explain(db: &Db, session: &Created) -> Explanation {
    db.manager.explain(session.session.id, ADMIN).await.unwrap()
}

fn limits(explanation: &Explanation) -> Vec<&'static str> {
    explanation.candidates.iter().map(|candidate| candidate.limit).collect()
}

fn candidate<'a>(explanation: &'a Explanation, limit: &str) -> &'a Candidate {
    explanation.candidates.iter().find(|candidate| candidate.limit == limit).unwrap()
}

#[tokio::test]
async fn rule_x1_explain_a_live_session() {
    let db = stopped().await;
    let plain = create(&db, user()).await;
    let explained = explain(&db, &plain).await;
    assert_eq!((explained.state, explained.binding), ("live", Some("idle")));
    assert!(explained.ended.is_none());
    assert_eq!(limits(&explained), ["idle", "max_life", "remember_me"]);
    let idle = candidate(&explained, "idle");
    assert_eq!((idle.applies, idle.deadline_at, idle.source), (true, Some(t("09:30")), "default"));
    assert_eq!((idle.name, idle.value.as_deref(), idle.unit), ("glide.ui.session_timeout", Some("30"), Some("minutes")));
    for off in ["max_life", "remember_me"] {
        let off = candidate(&explained, off);
        assert_eq!((off.applies, off.deadline_at), (false, None));
        assert!(!off.why.is_empty());
    }

    set(&db, "glide.ui.active.session.life_span", "31").await;
    at(&db, "09:10").await;
    check(&db, &plain, Activity::User).await;
    let explained = explain(&db, &plain).await;
    assert_eq!(explained.binding, Some("max_life"));
    let life = candidate(&explained, "max_life");
    assert_eq!((life.applies, life.deadline_at, life.source), (true, Some(t("09:31")), "row"));
    assert_eq!(candidate(&explained, "idle").deadline_at, Some(t("09:40")), "it applies too, and does not bind");

    // One refresh of grace names what it comes from.
    set(&db, "glide.ui.auto_req.extend.session", "false").await;
    let graced = create(&db, CreateSession { homepage_refresh_minutes: Some(5), ..user() }).await;
    let explained = explain(&db, &graced).await;
    let idle = candidate(&explained, "idle");
    assert_eq!(idle.deadline_at, Some(t("09:45")));
    for input in ["homepage_refresh_minutes=5", "glide.ui.auto_req.extend.session=false"] {
        assert!(idle.inputs.contains(&input.to_owned()), "{:?}", idle.inputs);
    }

    let remembered = create(&db, CreateSession { remember_me: Some(true), ..user() }).await;
    unset(&db, "glide.ui.active.session.life_span").await;
    let explained = explain(&db, &remembered).await;
    assert_eq!(explained.binding, Some("remember_me"));
    assert!(!candidate(&explained, "idle").applies);
    assert_eq!(candidate(&explained, "remember_me").name, "glide.ui.user_cookie.life_span_in_days");
    let both = create(&db, CreateSession { remember_me: Some(true), idle_limit_minutes: Some(9), ..user() }).await;
    let explained = explain(&db, &both).await;
    let idle = candidate(&explained, "idle");
    assert_eq!((idle.applies, idle.source), (false, "override"));
    assert!(idle.why.contains("Remember Me"), "why it does not apply: {}", idle.why);
    set(&db, "glide.ui.forgetme", "true").await;
    assert!(candidate(&explain(&db, &both).await, "idle").why.contains("its own idle limit"));
    let explained = explain(&db, &remembered).await;
    assert_eq!(explained.binding, Some("idle"));
    assert!(candidate(&explained, "remember_me").why.contains("glide.ui.forgetme"));
}

#[tokio::test]
async fn rule_x1_explain_every_kind() {
    let db = stopped().await;
    set(&db, "glide.unauthorized.session_timeout", "10").await;
    set(&db, "glide.integrations.active.session.life_span", "60").await;
    let left = create(&db, user()).await;
    let (view, token) = db.manager.sign_out(left.session.id, ADMIN).await.unwrap().guest.unwrap();
    let residue = Created { session: view, token, grant: None, ended: None, barrier: None };
    let explained = explain(&db, &residue).await;
    assert_eq!((limits(&explained), explained.binding), (vec!["idle", "max_life", "residue"], Some("residue")));
    assert_eq!(candidate(&explained, "residue").deadline_at, Some(t("09:10")));
    let visitor = create(&db, guest()).await;
    let explained = explain(&db, &visitor).await;
    assert_eq!((candidate(&explained, "residue").applies, explained.binding), (false, Some("idle")));
    assert_eq!(candidate(&explained, "idle").name, "glide.guest.session_timeout");

    let api = create(&db, integration()).await;
    let explained = explain(&db, &api).await;
    assert_eq!(limits(&explained), ["idle", "max_life"]);
    let life = candidate(&explained, "max_life");
    assert!(!life.applies && life.why.contains("glide.active.session.timeout.invalidate.session"), "{}", life.why);
    assert_eq!(candidate(&explained, "idle").source, "release_profile");

    // What explain says is what a check goes by, for each of them.
    for session in [&residue, &visitor, &api] {
        let explained = explain(&db, session).await;
        let earliest = explained.candidates.iter().filter(|candidate| candidate.applies).filter_map(|c| c.deadline_at).min();
        assert_eq!(earliest, check(&db, session, Activity::Passive).await.session.expires_at);
    }
}

#[tokio::test]
async fn rule_x1_explain_an_ended_session() {
    let db = stopped().await;
    let terminated = create(&db, user()).await;
    let idle = create(&db, user()).await;
    at(&db, "09:05").await;
    db.another("node-7").await.manager.terminate(terminated.session.id, true, ADMIN).await.unwrap();
    let explained = explain(&db, &terminated).await;
    assert_eq!((explained.state, explained.binding), ("ended", None), "no limit ended it");
    assert!(explained.candidates.iter().all(|candidate| !candidate.applies));
    let ended = explained.ended.unwrap();
    assert_eq!(
        (ended.reason.as_str(), &*ended.by, ended.at, ended.node.as_deref()),
        ("terminated", "admin-key", t("09:05"), Some("node-7"))
    );
    at(&db, "09:40").await;
    let explained = explain(&db, &idle).await;
    assert_eq!((explained.state, explained.binding), ("ended", Some("idle")));
    assert_eq!(candidate(&explained, "idle").deadline_at, Some(t("09:30")));
    let ended = explained.ended.unwrap();
    assert_eq!((ended.reason.as_str(), &*ended.by, ended.at), ("idle", "tenure", t("09:30")));
    assert_eq!(refused(db.manager.explain(uuid::Uuid::nil(), ADMIN).await), (404, "unknown_session".into()));
}

async fn events(db: &Db, session: Option<&Created>) -> Vec<Event> {
    let filter = EventFilter { session_id: session.map(|session| session.session.id), limit: 500, ..Default::default() };
    db.store.events(&filter).await.unwrap().items
}

fn counted(events: &[Event]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(&*event.kind).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn rule_x4_every_transition_is_recorded() {
    let db = stopped().await;
    let session = create(&db, user()).await;
    at(&db, "09:01").await;
    check(&db, &session, Activity::User).await;
    db.manager.rotate(session.session.id, ADMIN).await.unwrap();
    at(&db, "09:02").await;
    db.manager.sign_out(session.session.id, ADMIN).await.unwrap();
    let trail = events(&db, Some(&session)).await;
    let kinds: Vec<_> = trail.iter().map(|event| (&*event.kind, event.at)).collect();
    assert_eq!(kinds, [("session_ended", t("09:02")), ("token_rotated", t("09:01")), ("session_created", t("09:00"))]);
    for event in &trail {
        assert_eq!((&*event.actor, event.node.as_deref()), ("admin-key", Some("node-1")), "{}", event.kind);
        assert_eq!(event.user.as_deref(), Some("abel.tuter"));
    }
    assert_eq!(trail[0].reason.as_deref(), Some("signed_out"));

    let before = events(&db, None).await.len();
    for statement in [
        "update tenure.users set locked_out = true",
        "update tenure.users set locked_out = false",
        "update tenure.users set active = false",
        "update tenure.users set display_name = 'Abel'",
        "update tenure.users set display_name = display_name",
        "insert into tenure.users (name) values ('x'), ('y')",
        "delete from tenure.users where name = 'x'",
        "insert into tenure.properties (name, value) values ('glide.ui.session_timeout', '40'), ('glide.ui.forgetme', 'true')",
        "update tenure.properties set value = '50' where name = 'glide.ui.session_timeout'",
        "update tenure.properties set value = value",
        "delete from tenure.properties",
        "insert into tenure.oauth_entities (name, client_id) values ('App', 'app')",
        "update tenure.oauth_entities set access_token_lifespan = 60",
        "delete from tenure.oauth_entities",
        "insert into tenure.api_keys (name, role, key_hash) values ('k', 'admin', sha256('k'))",
        "delete from tenure.api_keys",
    ] {
        db.sql(statement).await;
    }
    let all = events(&db, None).await;
    let expected: BTreeMap<&str, usize> = [
        ("user_locked_out", 2),
        ("user_unlocked", 1),
        ("user_deactivated", 1),
        ("user_changed", 1),
        ("user_created", 2),
        ("user_deleted", 1),
        ("property_set", 3),
        ("property_removed", 2),
        ("oauth_entity_created", 1),
        ("oauth_entity_changed", 1),
        ("oauth_entity_deleted", 1),
        ("api_key_created", 1),
        ("api_key_revoked", 1),
    ]
    .into();
    // Newest first, all of one instant here: what came since is what was not there before.
    let old: Vec<_> = trail.iter().map(|event| event.id).collect();
    let new: Vec<_> = all
        .iter()
        .filter(|event| event.at == t("09:02") && event.actor != "admin-key" && !old.contains(&event.id))
        .cloned()
        .collect();
    assert_eq!(counted(&new), expected);
    assert_eq!(all.len(), before + expected.values().sum::<usize>());
    assert!(new.iter().all(|event| event.node.is_none()), "plain SQL comes through no node");
    let login = text(&db, "select session_user::text").await;
    assert!(new.iter().all(|event| event.actor == login), "the actor of plain SQL is its database user");
    let row = "select concat_ws(',', property, old_value, new_value) from reporting.property_changes
                where old_value = '40' and new_value = '50'";
    assert_eq!(text(&db, row).await, "glide.ui.session_timeout,40,50");

    // A write that is refused leaves no event.
    let count = events(&db, None).await.len();
    refused(db.manager.set_property("glide.ui.session_timeout", "0", false, ADMIN).await);
    refused(try_create(&db, user()).await);
    assert_eq!(events(&db, None).await.len(), count);
}

#[tokio::test]
async fn rule_x4_no_secret_in_the_trail() {
    let db = stopped().await;
    let session = create(&db, user()).await;
    db.store.create_key("ci", Role::Admin, ADMIN).await.unwrap();
    db.sql("update tenure.users set password_hash = '$argon2id$secret'").await;
    db.sql("insert into tenure.oauth_entities (name, client_id, client_secret_hash) values ('App', 'app', sha256('secret'))")
        .await;
    let trail = text(&db, "select string_agg(e::text, ' ') from tenure.session_events e").await;
    let stored = text(&db, "select encode(token_hash, 'hex') from tenure.sessions").await;
    for secret in [session.token.reveal(), &stored, "argon2id", "secret", "hash"] {
        assert!(!trail.contains(secret), "{secret} is in {trail}");
    }
}

#[tokio::test]
async fn rule_x4_the_trail_says_which_roles_were_given_and_taken() {
    let db = stopped().await;
    db.sql("delete from tenure.session_events").await;
    for statement in [
        "insert into tenure.users (name, roles) values ('bow.ruggeri', '{reporter}')",
        "update tenure.users set roles = '{admin}' where name = 'bow.ruggeri'",
        "update tenure.users set roles = '{}', locked_out = true where name = 'bow.ruggeri'",
    ] {
        db.sql(statement).await;
    }
    let told = "select string_agg(concat_ws(' ', type, details), '; ' order by type, details::text) from tenure.session_events";
    assert_eq!(
        text(&db, told).await,
        "user_changed {\"roles\": {\"new\": [\"admin\"], \"old\": [\"reporter\"]}}; \
         user_changed {\"roles\": {\"new\": [], \"old\": [\"admin\"]}}; \
         user_created {\"roles\": [\"reporter\"], \"active\": true, \"locked_out\": false}; user_locked_out"
    );
}

#[tokio::test]
async fn rule_x4_the_trail_says_what_a_client_application_has_to_be_told() {
    let db = stopped().await;
    db.sql("delete from tenure.session_events").await;
    for statement in [
        "insert into tenure.oauth_entities (name, client_id) values ('App', 'app')",
        "update tenure.oauth_entities set client_secret_hash = sha256('x')",
        "update tenure.oauth_entities set client_secret_hash = sha256('y'), access_token_lifespan = 60",
        "update tenure.oauth_entities set client_id = 'other'",
        "update tenure.oauth_entities set client_secret_hash = null",
        "update tenure.oauth_entities set access_token_lifespan = 61",
    ] {
        db.sql(statement).await;
    }
    let told = "select string_agg(more::text, '; ' order by type, more::text)
                  from tenure.session_events,
                       lateral (select details - array['name', 'access_token_lifespan', 'refresh_token_lifespan'] as more) m";
    assert_eq!(
        text(&db, told).await,
        "{\"client_id\": {\"new\": \"other\", \"old\": \"app\"}}; \
         {\"public\": {\"new\": false, \"old\": true}, \"secret_set\": true}; {\"public\": {\"new\": true, \"old\": false}}; \
         {\"secret_set\": true}; {}; {\"public\": true, \"client_id\": \"app\"}"
    );
}

/// A type is a word that any program can be written against, whoever writes the event.
#[tokio::test]
async fn an_event_has_a_type_of_lower_case_letters() {
    let db = stopped().await;
    let insert =
        "insert into tenure.session_events (id, at, type, actor) select tenure.uuid_v7(tenure.now()), tenure.now(), $1, 'x'";
    let longest = format!("a{}", "_z".repeat(31));
    for word in ["a", "z_", "session_ended", &longest] {
        sqlx::query(insert).bind(word).execute(db.pool()).await.unwrap_or_else(|error| panic!("{word}: {error}"));
    }
    let too_long = format!("{longest}a");
    for word in ["", "_", "_a", "A", "aB", "a1", "a b", " a", "a-b", "é", "aé", "a\n", "ａ", &too_long] {
        let refusal = sqlx::query(insert).bind(word).execute(db.pool()).await.unwrap_err();
        assert_eq!(refusal.as_database_error().and_then(|error| error.constraint()), Some("session_events_type_check"), "{word}");
    }
    let unread = "select count(*) from pg_constraint where conname = 'session_events_type_check' and not convalidated";
    assert_eq!(db.count(unread).await, 0);
}
