//! Sessions that another store began: the tokens their clients hold are good here, under every rule of this store.

use chrono::TimeDelta;
use tenure::session::ForeignToken;
use tenure::store::{ForeignFacts, ImportRow, ImportSession, ImportWay};

use super::*;

/// What a client of the other store holds.
const TOKEN: &str = "s:kYPpXyTmsqP8wlwHqg8QmVwZm1l7Q0pY.3Wn1Yb7Vv2o9";
const WAY: ImportWay<'static> = ImportWay { source: "connect", strict_idle: false, ignore_case: false, rehearse: false };

fn session(line: u64, token: &str, user: Option<&str>, facts: &ForeignFacts) -> ImportSession {
    ImportSession::foreign(line, &ForeignToken::parse(token).unwrap(), user.map(str::to_owned), facts).unwrap()
}

/// Imports them, and the word for each.
async fn import(db: &Db, batch: &[ImportSession], way: ImportWay<'_>) -> Vec<String> {
    let mut outcomes = db.store.import_sessions(0, batch, way, ADMIN).await.unwrap();
    outcomes.sort_by_key(|outcome| outcome.line);
    outcomes.into_iter().map(|outcome| outcome.word).collect()
}

async fn import_one(db: &Db, facts: &ForeignFacts, way: ImportWay<'_>) -> String {
    import(db, &[session(1, TOKEN, Some("abel.tuter"), facts)], way).await.remove(0)
}

async fn presented(db: &Db, token: &str) -> Verdict {
    let options = CheckOptions { foreign: true, ..CheckOptions::default() };
    db.manager.check(token, Some(Activity::User), options, ADMIN).await.unwrap()
}

async fn live(db: &Db, token: &str) -> SessionView {
    match presented(db, token).await {
        Verdict::Live(checked) => checked.session,
        verdict => panic!("it was not accepted: {verdict:?}"),
    }
}

#[tokio::test]
async fn an_imported_session_goes_on_with_its_own_token_and_times() {
    let db = stopped().await;
    at(&db, "10:00").await;
    let facts = ForeignFacts {
        created_at: Some(t("08:00")),
        last_activity_at: Some(t("09:50")),
        expires_at: Some(t("10:20")),
        attributes: [("cart".to_owned(), 3.into())].into_iter().collect(),
    };
    assert_eq!(import_one(&db, &facts, WAY).await, "imported");
    let session = live(&db, TOKEN).await;
    assert_eq!((session.created_at, session.user.as_deref()), (t("08:00"), Some("abel.tuter")));
    assert_eq!(db.count("select (attributes ->> 'cart')::int8 from tenure.session_attributes").await, 3);
    let event = "select string_agg(concat_ws(' ', details ->> 'source', details ->> 'kind', user_name, actor), '; ')
                   from tenure.session_events where type = 'session_imported'";
    assert_eq!(text(&db, event).await, "connect user abel.tuter admin-key");

    at(&db, "10:29:59").await;
    live(&db, TOKEN).await;
    at(&db, "11:00").await;
    match presented(&db, TOKEN).await {
        Verdict::Over(over) => assert_eq!((over.ending.reason.as_str(), over.ending.at), ("idle", t("10:59:59"))),
        verdict => panic!("E2: the holder learns how it ended: {verdict:?}"),
    }
}

#[tokio::test]
async fn rule_e3_what_nobody_was_imported_with_is_unknown() {
    let db = stopped().await;
    for token in [TOKEN, "short", "", &"x".repeat(513), "with a space in its middle", "naïve-naïve-naïve-naïve"] {
        assert!(matches!(presented(&db, token).await, Verdict::Unknown), "{token}");
    }
    import_one(&db, &ForeignFacts::default(), WAY).await;
    // Only an application may present one: what a browser sends by itself may have been read from the old table.
    let by_itself = db.manager.check(TOKEN, Some(Activity::User), CheckOptions::default(), ADMIN).await.unwrap();
    assert!(matches!(by_itself, Verdict::Unknown), "{by_itself:?}");
    for token in [&TOKEN[1..], &TOKEN.to_uppercase(), &format!("foreign {TOKEN}"), &format!(" {TOKEN}")] {
        assert!(matches!(presented(&db, token).await, Verdict::Unknown), "{token}");
    }
}

/// Digests of session tokens have no prefix: whoever knows the id of a session and the token it came with could else write a
/// native one of them, which is good at doors where the foreign one is not.
#[tokio::test]
async fn no_token_passes_for_another_kind() {
    use base64::Engine;

    let db = stopped().await;
    let facts = ForeignFacts::default();
    let prefix = "tenure: a token of another store: ";
    for (line, length) in (1..).zip(16..=32) {
        let token = format!("{line:c>length$}");
        assert_eq!(import(&db, &[session(line, &token, Some("abel.tuter"), &facts)], WAY).await, ["imported"]);
        let id = live(&db, &token).await.id;
        let before = ["foreign ", "tn_", "tna_", "tnr_", ""];
        let mut secrets: Vec<String> = before.iter().map(|before| format!("{before}{token}")).collect();
        let hashed = format!("{prefix}{token}");
        secrets.push(hashed[hashed.len() - 32..].to_owned());
        for secret in secrets.into_iter().filter(|secret| secret.len() == 32) {
            let bytes = [id.as_bytes(), secret.as_bytes()].concat();
            for form in ["tn_", "tna_", "tnr_"] {
                let native = format!("{form}{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&bytes));
                let verdict = db.manager.check(&native, Some(Activity::User), CheckOptions::default(), ADMIN).await.unwrap();
                assert!(matches!(verdict, Verdict::Unknown), "{secret}: {verdict:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_rotation_voids_the_foreign_token() {
    let db = stopped().await;
    import_one(&db, &ForeignFacts::default(), WAY).await;
    let id = live(&db, TOKEN).await.id;
    let rotated = db.manager.rotate(id, ADMIN).await.unwrap();
    assert!(matches!(presented(&db, TOKEN).await, Verdict::Unknown), "E3: it leads nowhere");
    live(&db, rotated.token.reveal()).await;
    // What was imported once does not come back by a second import: its row still knows the token it came with.
    assert_eq!(import_one(&db, &ForeignFacts::default(), WAY).await, "present");
    db.manager.terminate(id, false, ADMIN).await.unwrap();
    assert!(matches!(presented(&db, TOKEN).await, Verdict::Unknown));
    assert_eq!(import_one(&db, &ForeignFacts::default(), WAY).await, "present", "nor after its end");
}

#[tokio::test]
async fn a_second_import_brings_no_ended_session_back() {
    let db = stopped().await;
    assert_eq!(import_one(&db, &ForeignFacts::default(), WAY).await, "imported");
    let id = live(&db, TOKEN).await.id;
    let before = everything(&db).await;
    assert_eq!(import_one(&db, &ForeignFacts::default(), WAY).await, "present");
    assert_eq!(everything(&db).await, before);
    let token = ForeignToken::parse(TOKEN).unwrap();
    let never_seen = ForeignToken::parse(&TOKEN.to_lowercase()).unwrap();
    for ended in [false, true] {
        if ended {
            db.manager.terminate(id, false, ADMIN).await.unwrap();
        }
        let present = db.store.foreign_present(&[&never_seen, &token]).await.unwrap();
        assert_eq!(present.into_iter().collect::<Vec<_>>(), [token.hash().as_bytes().to_vec()], "ended: {ended}");
    }
    assert_eq!(import_one(&db, &ForeignFacts::default(), WAY).await, "present");
    match presented(&db, TOKEN).await {
        Verdict::Over(over) => assert_eq!(over.ending.reason.as_str(), "terminated", "E2"),
        verdict => panic!("{verdict:?}"),
    }
}

#[tokio::test]
async fn an_import_counts_as_activity_where_only_the_idle_limit_would_end_it() {
    let db = stopped().await;
    at(&db, "10:00").await;
    let idle = ForeignFacts {
        created_at: Some(t("08:00")),
        last_activity_at: Some(t("08:10")),
        expires_at: Some(t("12:00")),
        ..ForeignFacts::default()
    };
    let before = everything(&db).await;
    assert_eq!(import_one(&db, &idle, ImportWay { strict_idle: true, ..WAY }).await, "over");
    assert_eq!(import_one(&db, &idle, ImportWay { rehearse: true, ..WAY }).await, "imported");
    assert_eq!(everything(&db).await, before, "a rehearsal writes nothing");
    assert_eq!(import_one(&db, &idle, WAY).await, "imported");
    let row = "select count(*) from tenure.sessions s where s.anchor_at = tenure.now() and s.created_at = '2027-06-01 08:00+00'";
    assert_eq!(db.count(row).await, 1);
}

#[tokio::test]
async fn the_maximum_life_does_not_move() {
    let db = stopped().await;
    set(&db, "glide.ui.active.session.life_span", "60").await;
    at(&db, "10:00").await;
    let life = |created: &str| ForeignFacts {
        created_at: Some(t(created)),
        last_activity_at: Some(t("09:59")),
        ..ForeignFacts::default()
    };
    assert_eq!(import_one(&db, &life("09:00"), WAY).await, "over", "to the microsecond");
    // Where the idle limit came first, an import that counts as activity leads to the maximum life, which is over as well.
    let idle = ForeignFacts { last_activity_at: Some(t("08:10")), ..life("08:00") };
    assert_eq!(import_one(&db, &idle, WAY).await, "over");
    assert_eq!(db.count("select count(*) from tenure.sessions").await, 0);
    assert_eq!(import_one(&db, &life("09:00:00.000001"), WAY).await, "imported");
}

#[tokio::test]
async fn whoever_has_no_access_is_not_imported() {
    let db = stopped().await;
    for name in ["loc", "ina", "beth"] {
        db.user(name).await;
    }
    set(&db, "tenure.lock_out_inactive_users", "false").await;
    db.sql(
        "update tenure.users set locked_out = true where name = 'loc'; update tenure.users set active = false where name = 'ina'",
    )
    .await;
    let now = db.now().await;
    let facts = ForeignFacts::default();
    let expired = ForeignFacts { expires_at: Some(now), ..ForeignFacts::default() };
    let ahead = ForeignFacts { last_activity_at: Some(now + TimeDelta::hours(1)), ..ForeignFacts::default() };
    // Line, user and what comes of it; each with a token of its own but the last two.
    let rows = [
        (Some("loc"), &facts, "user_locked_out"),
        (Some("ina"), &facts, "user_inactive"),
        (Some("nobody"), &facts, "unknown_user"),
        (None, &facts, "imported"),
        (Some("beth"), &expired, "expired"),
        (Some("abel.tuter"), &ahead, "imported"),
    ];
    let mut batch: Vec<_> =
        (1..).zip(&rows).map(|(n, (user, facts, _))| session(n, &format!("{TOKEN}{n}"), *user, facts)).collect();
    batch.push(session(7, &format!("{TOKEN}6"), Some("abel.tuter"), &facts));
    let words = import(&db, &batch, WAY).await;
    let expected: Vec<_> = rows.iter().map(|(.., word)| *word).chain(["duplicate"]).collect();
    assert_eq!(words, expected);
    assert_eq!(db.count("select count(*) from tenure.sessions where anchor_at > tenure.now()").await, 0);
    assert_eq!(live(&db, &format!("{TOKEN}4")).await.user, None, "a guest");
    // U1: who is locked out after the import loses what was imported.
    let out = tenure::store::UserPatch { locked_out: Some(true), ..Default::default() };
    assert_eq!(db.manager.patch_user("abel.tuter", &out, ADMIN).await.unwrap().ended, Some(1));
}

/// Here names differ by more than case; a source may have both, with a session each.
#[tokio::test]
async fn two_users_of_a_source_do_not_become_one() {
    let db = stopped().await;
    db.user("zoë").await;
    let facts = ForeignFacts::default();
    let rows = [
        ("abel.tuter", "imported", "imported"),
        ("ABEL.TUTER", "user_differs", "imported"),
        ("ZOË", "user_differs", "imported"),
        ("zoë", "imported", "imported"),
    ];
    let batch = |tokens: &str| -> Vec<_> {
        (1..).zip(&rows).map(|(n, (user, ..))| session(n, &format!("{TOKEN}{tokens}{n}"), Some(user), &facts)).collect()
    };
    assert_eq!(import(&db, &batch("told"), WAY).await, rows.map(|(_, word, _)| word));
    let way = ImportWay { ignore_case: true, ..WAY };
    assert_eq!(import(&db, &batch("untold"), way).await, rows.map(|(.., word)| word));
    assert_eq!(live(&db, &format!("{TOKEN}untold2")).await.user.as_deref(), Some("abel.tuter"));
}

#[tokio::test]
async fn no_limit_on_their_number_keeps_a_session_out() {
    let db = stopped().await;
    set(&db, "tenure.user.max_sessions", "1").await;
    let facts = ForeignFacts::default();
    let batch: Vec<_> = (1..4).map(|n| session(n, &format!("{TOKEN}{n}"), Some("abel.tuter"), &facts)).collect();
    assert_eq!(import(&db, &batch, WAY).await, ["imported"; 3]);
}

/// What no index takes: one row is left out, not the import stopped.
#[tokio::test]
async fn what_only_postgresql_refuses_leaves_only_itself_out() {
    use sha2::{Digest, Sha256};

    let db = stopped().await;
    let long: String = (0..500_u32).flat_map(|n| Sha256::digest(n.to_be_bytes())).map(|byte| format!("{byte:02x}")).collect();
    let event = |line: u64, user: &str| {
        let row = serde_json::json!({
            "id": uuid::Uuid::from_u128(line.into()), "at": t("08:00"), "type": "noted", "session_id": null, "user_name": user, "actor": "a"
        });
        ImportRow::new(line, &row).unwrap()
    };
    let outcomes = db.store.import_events(&[event(1, "a"), event(2, &long), event(3, "b")], false, ADMIN).await.unwrap();
    let mut words: Vec<_> = outcomes.iter().map(|outcome| (outcome.line, &*outcome.word)).collect();
    words.sort_unstable();
    assert_eq!(words, [(1, "imported"), (2, "unfit"), (3, "imported")]);
}

/// X3: an import is no way around maintenance. What began before it ends with it, by the same limits as every session.
#[tokio::test]
async fn nobody_comes_in_by_an_import_during_maintenance() {
    let db = stopped().await;
    db.user("root").await;
    db.sql("update tenure.users set roles = '{admin}' where name = 'root'").await;
    set(&db, "tenure.maintenance_at", "2027-06-01T10:00:00Z").await;
    let since = |at: &str| ForeignFacts { created_at: Some(t(at)), last_activity_at: Some(t(at)), ..ForeignFacts::default() };

    at(&db, "09:50").await;
    let early = session(1, TOKEN, Some("abel.tuter"), &since("09:45"));
    assert_eq!(import(&db, &[early], WAY).await, ["imported"]);
    assert_eq!(live(&db, TOKEN).await.expires_at, Some(t("10:00")));
    at(&db, "10:05").await;
    match presented(&db, TOKEN).await {
        Verdict::Over(over) => assert_eq!((over.ending.reason.as_str(), over.ending.at), ("maintenance", t("10:00"))),
        verdict => panic!("{verdict:?}"),
    }
    let rows = [
        (Some("abel.tuter"), since("09:55"), "maintenance"),
        (Some("abel.tuter"), since("10:01"), "maintenance"),
        (Some("abel.tuter"), ForeignFacts::default(), "maintenance"),
        (None, ForeignFacts::default(), "maintenance"),
        (Some("root"), since("09:55"), "maintenance"),
        // Of what does not say when it began, nobody knows that it began in it.
        (Some("root"), ForeignFacts::default(), "maintenance"),
        (Some("root"), ForeignFacts { created_at: None, ..since("10:01") }, "maintenance"),
        (Some("root"), since("10:01"), "imported"),
    ];
    let batch: Vec<_> = (1..).zip(&rows).map(|(n, (user, facts, _))| session(n, &format!("{TOKEN}{n}"), *user, facts)).collect();
    assert_eq!(import(&db, &batch, WAY).await, rows.map(|(.., word)| word));
}
