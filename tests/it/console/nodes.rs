//! Orders to drain, given in the console.

use serde_json::json;

use super::{Console, page, sent_to};
use crate::support::{Api, Db, send};

const PASSWORD: &str = "correct horse battery";
const DRAIN: &str = "/console/nodes/drain";

/// A node on a clock that stands, so that none is found silent, and an administrator who is signed in.
async fn begun() -> (Api, Console) {
    let db = Db::new().await;
    db.sql(
        "create or replace function tenure.now() returns timestamptz language sql volatile
             as $$ select timestamptz '2027-06-01 09:00:00+00' $$",
    )
    .await;
    let api = Api::on(db).await;
    let console = Console::of(&api, "abel.tuter", &["admin"]).await;
    (api, console)
}

async fn draining(api: &Api) -> i64 {
    api.db.count("select count(*) from tenure.nodes where draining").await
}

#[tokio::test]
async fn a_node_drains_after_a_question_and_is_resumed_without_one() {
    let (api, console) = begun().await;
    let _two = api.another("node-2").await;
    let list = console.get("/console/nodes").await;
    assert_eq!(page(&list, 200).matches(">Drain…</button>").count(), 2, "{}", list.text);
    assert!(list.text.contains("Sessions as counted at 2027-06-01 09:00:00"), "{}", list.text);

    let asked = console.post(DRAIN, &[("name", "node-1"), ("act", "drain")]).await;
    let text = page(&asked, 200);
    for part in
        ["Drain node-1?", "The session it served last is answered by other nodes", "It is the node that shows you this page"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("name=\"typed\"") && !text.contains("name=\"password\""), "{text}");
    assert_eq!(draining(&api).await, 0, "a question does nothing");

    let done = console.send(&asked, DRAIN, &[("sure", "yes")]).await;
    assert!(page(&done, 200).contains("It says that it is not ready"), "{}", done.text);
    assert_eq!(draining(&api).await, 1);
    let list = console.get("/console/nodes").await;
    assert!(page(&list, 200).contains(">draining</span>") && list.text.contains("aria-label=\"Resume node-1\""), "{}", list.text);
    let trail = console.get("/console/audit?type=node_drain_ordered").await;
    assert!(trail.text.contains("<option>node_drain_lifted</option>"), "{}", trail.text);
    assert!(page(&trail, 200).contains("abel.tuter") && trail.text.contains("name node-1"), "{}", trail.text);

    let done = console.post(DRAIN, &[("name", "node-1"), ("act", "resume")]).await;
    assert!(page(&done, 200).contains("It is live"), "{}", done.text);
    assert_eq!(draining(&api).await, 0);
    page(&console.post(DRAIN, &[("name", "node-9"), ("act", "drain")]).await, 404);
    page(&console.post(DRAIN, &[("name", "node-9"), ("act", "resume")]).await, 404);
    page(&console.post(DRAIN, &[("name", "<b>"), ("act", "drain")]).await, 422);
    page(&console.post(DRAIN, &[("name", "node-1"), ("act", "stop")]).await, 400);
    sent_to(&console.get(DRAIN).await, "/console/nodes");
}

#[tokio::test]
async fn the_last_live_node_drains_only_for_who_types_its_name_and_the_password() {
    let (api, console) = begun().await;
    api.put("/v1/users/abel.tuter/password", &json!({ "password": PASSWORD })).await.expect(200);
    let asked = console.post(DRAIN, &[("name", "node-1"), ("act", "drain")]).await;
    assert!(!asked.text.contains("answered by other nodes"), "{}", asked.text);
    assert!(
        page(&asked, 200).contains("No other node is live") && asked.text.contains("Type node-1 to confirm"),
        "{}",
        asked.text
    );
    for (typed, password, status, said) in [
        ("", "", 422, "it takes the name of this one"),
        ("node-2", PASSWORD, 422, "it takes the name of this one"),
        ("node-1", "", 403, "The password is wrong"),
        ("node-1", "wrong", 403, "The password is wrong"),
    ] {
        let answer = console.send(&asked, DRAIN, &[("sure", "yes"), ("typed", typed), ("password", password)]).await;
        assert!(page(&answer, status).contains(said), "{typed}: {}", answer.text);
        assert_eq!(draining(&api).await, 0, "{typed}");
    }
    let done = console.send(&asked, DRAIN, &[("sure", "yes"), ("typed", "node-1"), ("password", PASSWORD)]).await;
    page(&done, 200);
    assert_eq!(draining(&api).await, 1);
}

#[tokio::test]
async fn who_reads_gives_no_orders_and_no_other_site_does() {
    let (api, console) = begun().await;
    let _two = api.another("node-2").await;
    let fields = [("name", "node-2"), ("act", "drain"), ("sure", "yes")];
    let reader = Console::of(&api, "bow.ruggeri", &["reporter"]).await;
    let list = reader.get("/console/nodes").await;
    assert!(!page(&list, 200).contains("<form method=\"post\" action=\"/console/nodes/drain\""), "{}", list.text);
    page(&reader.post(DRAIN, &fields).await, 403);
    let foreign = send(console.form(DRAIN, &fields).header("sec-fetch-site", "cross-site")).await;
    assert!(page(&foreign, 403).contains("nothing was done"));
    assert_eq!(draining(&api).await, 0);
}
