//! Sign-ins that are sent again: one session, whatever was lost (bad input 30 and 31).

use std::time::Duration;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tenure::Manager;
use tenure::session::Role;
use tenure::store::{Actor, Registration, Store};

use crate::support::{Answer, Api, Link, Node, Proxy, send, served, settings};

const KEY: &str = "idempotency-key";

async fn create(api: &Api, node: &Node, key: &str, body: &Value) -> Answer {
    send(api.to(node, Method::POST, "/v1/sessions").header(KEY, key).json(body)).await
}

/// The session's id and token, and whether it was a repetition.
fn made(answer: &Answer) -> (String, String, bool) {
    let body = answer.expect(201);
    let repeated = answer.header("idempotent-replayed");
    assert!(matches!(repeated, None | Some("true")), "{repeated:?}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&body["session"]["id"]), text(&body["token"]), repeated.is_some())
}

async fn checked(api: &Api, node: &Node, token: &str) -> Answer {
    send(api.to(node, Method::POST, "/v1/sessions/check").json(&json!({"token": token}))).await
}

#[tokio::test]
async fn a_repetition_gets_the_same_session_and_the_lost_token_is_dead_everywhere() {
    let api = Api::start().await;
    let two = api.another("node-2").await;
    api.db.user("abel.tuter").await;
    let body = json!({"kind": "user", "user": "abel.tuter", "attributes": {"cart": [1]}});
    let (id, lost, repeated) = made(&create(&api, &api.node, "k1", &body).await);
    assert!(!repeated);
    // Both nodes have it in memory.
    for node in [&api.node, &two] {
        checked(&api, node, &lost).await.expect(200);
    }
    // Null counts as absent, and the order of fields as nothing.
    let again = json!({"attributes": {"cart": [1]}, "remember_me": null, "user": "abel.tuter", "kind": "user"});
    let (same, token, repeated) = made(&create(&api, &two, "k1", &again).await);
    assert_eq!((&same, repeated), (&id, true));
    for node in [&api.node, &two] {
        checked(&api, node, &lost).await.refused(401, "unknown_token");
        checked(&api, node, &token).await.expect(200);
    }
    assert_eq!(api.db.count("select count(*) from tenure.sessions").await, 1);
    // Only digests are kept.
    let kept = format!(
        "select count(*) from tenure.idempotency_keys k where k::text like '%abel%' or k::text like '%{}%'",
        &token[25..]
    );
    assert_eq!(api.db.count(&kept).await, 0);

    // Without a key, and with another, it is another session.
    let (_, other) = api.create(&body).await;
    assert_ne!(other, token);
    let (third, ..) = made(&create(&api, &api.node, "k2", &body).await);
    assert_ne!(third, id);
}

#[tokio::test]
async fn input_030_031_another_body_and_a_key_that_is_none_are_refused() {
    let mut api = Api::start().await;
    let guest = json!({"kind": "guest"});
    let (id, token, _) = made(&create(&api, &api.node, "k1", &guest).await);
    let other = json!({"kind": "guest", "attributes": {"n": 1}});
    create(&api, &api.node, "k1", &other).await.refused(422, "idempotency_key_reused");
    checked(&api, &api.node, &token).await.expect(200);

    for key in ["", &"k".repeat(256), "\u{e9}", "a\tb"] {
        create(&api, &api.node, key, &guest).await.refused(400, "invalid_idempotency_key");
    }
    let twice = api.request(Method::POST, "/v1/sessions").header(KEY, "a").header(KEY, "a").json(&guest);
    send(twice).await.refused(400, "invalid_idempotency_key");
    made(&create(&api, &api.node, &"k".repeat(255), &guest).await);
    made(&create(&api, &api.node, "~ !\"\\", &guest).await);

    // A refused sign-in leaves no key behind.
    let nobody = json!({"kind": "user", "user": "abel.tuter"});
    create(&api, &api.node, "k3", &nobody).await.refused(404, "unknown_user");
    api.db.user("abel.tuter").await;
    assert!(!made(&create(&api, &api.node, "k3", &nobody).await).2);

    // Another API key has keys of its own.
    let (_, key) = api.db.store.create_key("other", Role::App, Actor("setup")).await.unwrap();
    key.reveal().clone_into(&mut api.key);
    let (theirs, _, repeated) = made(&create(&api, &api.node, "k1", &guest).await);
    assert!(theirs != id && !repeated);
}

#[tokio::test]
async fn sixteen_at_once_over_two_nodes_make_one_session() {
    let api = Api::start().await;
    let two = api.another("node-2").await;
    api.db.user("abel.tuter").await;
    let body = json!({"kind": "user", "user": "abel.tuter"});
    for round in 0..4 {
        let key = format!("round {round}");
        let mut answers = tokio::task::JoinSet::new();
        for number in 0..16 {
            let node = if number % 2 == 0 { &api.node } else { &two };
            let request = api.to(node, Method::POST, "/v1/sessions").header(KEY, &key).json(&body);
            answers.spawn(served(request));
        }
        let answers: Vec<_> = answers.join_all().await.iter().map(made).collect();
        assert!(answers.iter().all(|(id, ..)| *id == answers[0].0), "{answers:?}");
        assert_eq!(answers.iter().filter(|(.., repeated)| !repeated).count(), 1);
        assert_eq!(api.db.count("select count(*) from tenure.sessions").await, round + 1);
        // The one that came last has the token.
        let mut good = 0;
        for (_, token, _) in &answers {
            let here = checked(&api, &api.node, token).await.status;
            assert_eq!(checked(&api, &two, token).await.status, here);
            good += u32::from(here == 200);
        }
        assert_eq!(good, 1);
    }
}

#[tokio::test]
async fn a_session_that_has_ended_is_not_started_again() {
    let api = Api::start().await;
    let guest = json!({"kind": "guest"});
    let (id, token, _) = made(&create(&api, &api.node, "k1", &guest).await);
    api.delete(&format!("/v1/sessions/{id}")).await.expect(200);
    create(&api, &api.node, "k1", &guest).await.refused(409, "session_ended");
    assert_eq!(checked(&api, &api.node, &token).await.refused(401, "session_ended")["reason"], "terminated");

    // By its deadline, which nobody has noticed yet.
    let (_, token, _) = made(&create(&api, &api.node, "k2", &guest).await);
    api.db.advance(TimeDelta::hours(1)).await;
    create(&api, &api.node, "k2", &guest).await.refused(409, "session_ended");
    assert_eq!(checked(&api, &api.node, &token).await.refused(401, "session_ended")["reason"], "idle");
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    let api = Api::start().await;
    let guest = json!({"kind": "guest"});
    let (id, ..) = made(&create(&api, &api.node, "k1", &guest).await);
    made(&create(&api, &api.node, "k2", &guest).await);
    api.db.advance(TimeDelta::minutes(24 * 60 - 1)).await;
    create(&api, &api.node, "k1", &guest).await.refused(409, "session_ended");
    // Pruned or not, it names nothing any more: another body may use it.
    api.db.advance(TimeDelta::minutes(2)).await;
    let (other, _, repeated) = made(&create(&api, &api.node, "k1", &json!({"kind": "guest", "attributes": {"n": 1}})).await);
    assert!(other != id && !repeated);
    api.db.store.keep_house().await.unwrap();
    assert_eq!(api.db.count("select count(*) from tenure.idempotency_keys").await, 1, "the one used again");
}

/// The answer is lost after the commit, or the request before it: whoever asks again has one session and a token that works.
#[tokio::test]
async fn a_cut_between_commit_and_answer_makes_no_second_session() {
    let api = Api::start().await;
    let proxy = Proxy::to(&api.db.url).await;
    let store = Store::connect(&settings(&proxy.url, "far")).await.unwrap();
    let far = Node::start(Manager::start(store, Registration { name: "far".to_owned(), address: None }).await.unwrap()).await;
    let guest = json!({"kind": "guest"});
    let mut unknown = 0;
    for round in 0..12_u64 {
        let key = format!("round {round}");
        let cut = async {
            tokio::time::sleep(Duration::from_micros(700 * round)).await;
            proxy.set(Link::Down);
        };
        let (first, ()) = tokio::join!(create(&api, &far, &key, &guest), cut);
        proxy.set(Link::Up);
        if first.status != 201 {
            first.refused(503, "unavailable");
            unknown += 1;
        }
        let (id, token, repeated) = made(&create(&api, &api.node, &key, &guest).await);
        checked(&api, &api.node, &token).await.expect(200);
        if first.status == 201 {
            let (same, lost, _) = made(&first);
            assert!(same == id && repeated);
            checked(&api, &api.node, &lost).await.refused(401, "unknown_token");
        }
        let begun = api.db.count("select count(*) from tenure.session_events where type = 'session_created'").await;
        assert_eq!(begun, i64::try_from(round).unwrap() + 1, "one session a key");
    }
    println!("{unknown} of 12 answers were lost");
}

/// A mobile sign-in gets new tokens of every form, and none of the lost answer is good any more.
#[tokio::test]
async fn a_repeated_mobile_sign_in_gets_new_oauth_tokens() {
    let api = Api::start().await;
    api.db.user("abel.tuter").await;
    api.put("/v1/oauth-entities/Phone", &json!({"access_token_lifespan": 600})).await.expect(201);
    let body = json!({"kind": "mobile", "user": "abel.tuter", "oauth_entity": "Phone"});
    let lost = create(&api, &api.node, "m", &body).await.expect(201);
    api.put("/v1/oauth-entities/Phone", &json!({"access_token_lifespan": 60})).await.expect(200);
    let again = create(&api, &api.node, "m", &body).await.expect(201);
    assert_eq!((&again["session"]["id"], &again["expires_in"]), (&lost["session"]["id"], &json!(600)), "frozen at sign-in");
    let refresh = async |token: &Value| {
        let form = format!("grant_type=refresh_token&client_id=phone&refresh_token={}", token.as_str().unwrap());
        let request = api.client.post(format!("{}/oauth/token", api.node.url));
        send(request.header("content-type", "application/x-www-form-urlencoded").body(form)).await
    };
    for form in ["token", "access_token"] {
        checked(&api, &api.node, lost[form].as_str().unwrap()).await.refused(401, "unknown_token");
        checked(&api, &api.node, again[form].as_str().unwrap()).await.expect(200);
    }
    assert_eq!(refresh(&lost["refresh_token"]).await.expect(400)["error"], "invalid_grant");
    refresh(&again["refresh_token"]).await.expect(200);
    assert_eq!(api.db.count("select count(*) from tenure.sessions").await, 1);
}
