//! M5: one refresh token presented many times at once, through three nodes.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::TimeDelta;
use tenure::Manager;
use tenure::input::CreateSession;
use tenure::store::{Actor, EntityPut, Redeemed};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::support::{Db, rounds};

const CLIENTS: usize = 64;

/// What each of [`CLIENTS`] got who presented the token at the same time.
async fn redeem_at_once(nodes: &[Arc<Manager>], token: &str) -> Vec<Redeemed> {
    let start = Arc::new(Barrier::new(CLIENTS));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (node, start, token) = (Arc::clone(&nodes[number % nodes.len()]), Arc::clone(&start), token.to_owned());
        clients.spawn(async move {
            let client = node.client("mobile-app", None).await.unwrap().unwrap();
            start.wait().await;
            node.redeem(&client, &token).await.unwrap()
        });
    }
    clients.join_all().await
}

/// Within the grace everybody gets the one successor; after it everybody learns that the session is over, and one of them ended it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_m5_a_token_redeemed_by_many_at_once_has_one_successor() {
    let db = Db::new().await;
    db.user("abel.tuter").await;
    db.manager.put_entity("Mobile App", &EntityPut::default(), Actor("setup")).await.unwrap();
    let mut nodes = Vec::new();
    for name in ["node-2", "node-3", "node-4"] {
        nodes.push(Arc::new(db.node(name).await));
    }
    let sign_in = CreateSession {
        kind: "mobile".into(),
        user: Some("abel.tuter".into()),
        oauth_entity: Some("Mobile App".into()),
        ..Default::default()
    };
    for round in 0..rounds(1_000) {
        let session = nodes[0].create(&sign_in.clone().validate().unwrap(), Actor("app")).await.unwrap();
        let first = session.grant.unwrap().refresh;
        let mut successors = HashSet::new();
        let mut access = HashSet::new();
        for redeemed in redeem_at_once(&nodes, first.reveal()).await {
            let Redeemed::Granted(grant) = redeemed else { panic!("round {round}: {redeemed:?} within the grace") };
            successors.insert(grant.refresh.reveal().to_owned());
            access.insert(grant.access.reveal().to_owned());
        }
        assert_eq!((successors.len(), access.len()), (1, CLIENTS), "round {round}");
        let heads = "select count(*) from tenure.oauth_tokens where type = 'refresh' and used_at is null";
        assert_eq!(db.count(heads).await, 1, "round {round}: one family, one head");

        db.advance(TimeDelta::seconds(11)).await;
        let late = redeem_at_once(&nodes, first.reveal()).await;
        let reused = late.iter().filter(|redeemed| matches!(redeemed, Redeemed::Reused)).count();
        let told = late
            .iter()
            .filter(|redeemed| matches!(redeemed, Redeemed::Ended(reason) if reason.as_str() == "token_reuse"))
            .count();
        // Whoever presents a token that was used up when its session ended is told nothing of it.
        assert!(reused == 1 && told == 0, "round {round}: {late:?}");
        assert_eq!(nodes[1].session(session.session.id, Actor("app")).await.unwrap().end_reason.unwrap().as_str(), "token_reuse");
        let successor = successors.into_iter().next().unwrap();
        let client = nodes[2].client("mobile-app", None).await.unwrap().unwrap();
        let redeemed = nodes[2].redeem(&client, &successor).await.unwrap();
        assert!(matches!(redeemed, Redeemed::Ended(reason) if reason.as_str() == "token_reuse"), "{redeemed:?}");
    }
    assert_eq!(db.count("select count(*) from tenure.oauth_tokens").await, 0);
}
