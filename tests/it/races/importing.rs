//! U1, U4: an import comes wholly before a lock-out, which ends it, or wholly after, and imports nothing.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tenure::session::ForeignToken;
use tenure::store::{Actor, ForeignFacts, ImportSession, ImportWay, UserPatch};

use super::{pid, until_waiting};
use crate::support::{Db, rounds};

const WAY: ImportWay<'static> = ImportWay { source: "connect", strict_idle: false, ignore_case: false, rehearse: false };

fn batch(round: u32) -> Vec<ImportSession> {
    (0..20)
        .map(|n| {
            let token = ForeignToken::parse(&format!("a-token-of-another-store-{round}-{n}")).unwrap();
            ImportSession::foreign(n, &token, Some("abel.tuter".to_owned()), &ForeignFacts::default()).unwrap()
        })
        .collect()
}

/// The import is at the point where it has judged the user and not yet committed; the lock-out waits for it, and ends what it wrote.
#[tokio::test]
async fn a_lock_out_waits_for_an_import_under_way_and_ends_it() {
    let db = Db::new().await;
    db.user("abel.tuter").await;
    let rows = serde_json::to_value(batch(0)).unwrap();
    let mut importing = db.connection().await;
    let mut transaction = importing.begin().await.unwrap();
    sqlx::query("select tenure.import_sessions(0, 'connect', false, false, false, array['abel.tuter'], $1)")
        .bind(&rows)
        .fetch_all(&mut *transaction)
        .await
        .unwrap();
    let mut locking = db.connection().await;
    let waiter = pid(&mut locking).await;
    let lock_out = tokio::spawn(async move {
        sqlx::query("update tenure.users set locked_out = true").execute(&mut locking).await.unwrap();
    });
    let mut watcher = PgConnection::connect(&db.url).await.unwrap();
    until_waiting(&mut watcher, waiter).await;
    transaction.commit().await.unwrap();
    lock_out.await.unwrap();
    assert_eq!(db.count("select count(*) from tenure.sessions").await, 0);
    assert_eq!(db.count("select count(*) from tenure.ended_sessions where end_reason = 'locked_out'").await, 20);
}

/// The other way round: the lock-out has not committed; the import waits for it, and finds the user locked out.
#[tokio::test]
async fn an_import_waits_for_a_lock_out_under_way_and_imports_nothing() {
    let db = Db::new().await;
    db.user("abel.tuter").await;
    let mut locking = db.connection().await;
    let mut transaction = locking.begin().await.unwrap();
    sqlx::query("update tenure.users set locked_out = true").execute(&mut *transaction).await.unwrap();
    let blocker = pid(&mut transaction).await;
    let store = db.store.clone();
    let import = tokio::spawn(async move { store.import_sessions(0, &batch(0), WAY, Actor("import")).await.unwrap() });
    let mut watcher = PgConnection::connect(&db.url).await.unwrap();
    let waiting = format!("select count(*) from pg_stat_activity where {blocker} = any (pg_blocking_pids(pid))");
    while sqlx::query_scalar::<_, i64>(AssertSqlSafe(waiting.clone())).fetch_one(&mut watcher).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    transaction.commit().await.unwrap();
    let outcomes = import.await.unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.word == "user_locked_out"), "{outcomes:?}");
    assert_eq!(db.count("select count(*) from tenure.sessions").await, 0);
}

/// The same with the lock taken away: the import judges what the lock-out has not yet changed, and its sessions outlive it.
#[tokio::test]
async fn without_its_lock_an_import_outlives_a_lock_out() {
    let db = Db::new().await;
    db.user("abel.tuter").await;
    db.sql(
        "do $do$
         declare v_body text := pg_get_functiondef('tenure.import_sessions'::regproc);
         begin
             assert position('for no key update' in v_body) > 0;
             execute replace(v_body, 'for no key update', '');
         end $do$",
    )
    .await;
    let mut locking = db.connection().await;
    let mut transaction = locking.begin().await.unwrap();
    sqlx::query("update tenure.users set locked_out = true").execute(&mut *transaction).await.unwrap();
    let outcomes = db.store.import_sessions(0, &batch(0), WAY, Actor("import")).await.unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.word == "imported"), "{outcomes:?}");
    transaction.commit().await.unwrap();
    assert_eq!(db.count("select count(*) from tenure.sessions").await, 20, "the lock is what the rule rests on");
}

#[tokio::test]
async fn no_live_session_is_left_whoever_comes_first() {
    let db = Db::new().await;
    db.user("abel.tuter").await;
    for round in 0..rounds(200) {
        db.sql("update tenure.users set locked_out = false").await;
        let rows = batch(round);
        let out = UserPatch { locked_out: Some(true), ..Default::default() };
        let (imported, locked) = tokio::join!(
            db.store.import_sessions(0, &rows, WAY, Actor("import")),
            db.manager.patch_user("abel.tuter", &out, Actor("lock"))
        );
        locked.unwrap();
        let words: std::collections::BTreeSet<_> = imported.unwrap().into_iter().map(|outcome| outcome.word).collect();
        assert_eq!(words.len(), 1, "a batch is wholly before or wholly after: {words:?}");
        assert_eq!(db.count("select count(*) from tenure.sessions").await, 0, "round {round}: {words:?}");
    }
}
