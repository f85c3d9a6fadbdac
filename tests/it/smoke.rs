use crate::support::Db;
use tenure::input::CreateSession;
use tenure::store::{Actor, CheckOutcome};

#[tokio::test]
async fn a_session_lives_and_dies() {
    let db = Db::new().await;
    db.user("abel.tuter").await;
    let new = CreateSession { kind: "user".into(), user: Some("abel.tuter".into()), ..Default::default() }.validate().unwrap();
    let created = db.manager.create(&new, Actor("test")).await.unwrap();
    let outcome = db.store.check(created.token.reveal(), None, Actor("test")).await.unwrap();
    assert!(matches!(outcome, CheckOutcome::Accepted(_)));
    db.advance(chrono::TimeDelta::minutes(30)).await;
    let outcome = db.store.check(created.token.reveal(), None, Actor("test")).await.unwrap();
    assert!(matches!(outcome, CheckOutcome::Over(_)), "{outcome:?}");
    println!("{}", serde_json::to_string_pretty(&db.manager.session(created.session.id, Actor("x")).await.unwrap()).unwrap());
}
