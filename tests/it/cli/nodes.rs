//! `tenure nodes drain` and `tenure nodes resume`.

use tenure::store::Registration;

use super::*;

#[tokio::test]
async fn a_node_is_ordered_to_drain_from_anywhere() {
    let db = database().await;
    // Its clock stands, so that rows without a process behind them stay live.
    db.sql(
        "create or replace function tenure.now() returns timestamptz language sql volatile
             as $$ select timestamptz '2027-06-01 09:00:00+00' $$",
    )
    .await;
    let nodes = |args: &[&str]| run(&db.url, &[&["nodes"][..], args].concat());
    nodes(&["drain", "node-1"]).failed(4, "No node is called 'node-1'");
    nodes(&["resume", "node-1"]).failed(4, "No node is called 'node-1'");
    nodes(&["drain", "-x"]).failed(2, "-x");
    nodes(&["drain", "a b"]).failed(2, "a name has 1 to 63 letters");
    db.store.register_node(&Registration { name: "node-1".into(), address: None }).await.unwrap();
    nodes(&["drain", "node-1"]).failed(5, "the last live node");
    db.store.register_node(&Registration { name: "node-2".into(), address: None }).await.unwrap();

    let drained = nodes(&["drain", "node-1", "--json"]).document();
    assert_eq!((&drained["items"][0]["name"], &drained["items"][0]["state"]), (&"node-1".into(), &"draining".into()));
    assert_eq!(drained["items"].as_array().unwrap().len(), 1);
    nodes(&["drain", "node-2"]).failed(5, "use force");
    assert!(nodes(&["drain", "node-2", "--force"]).out.contains("draining"));
    let resumed = nodes(&["resume", "node-1"]);
    assert!(resumed.code == 0 && resumed.out.contains("live"), "{}{}", resumed.out, resumed.err);
    let actors =
        "select count(*) from tenure.session_events where type like 'node_drain_%' and actor = 'cli:tester' and node is null";
    assert_eq!(db.count(actors).await, 3);
    assert!(nodes(&["drain", "--help"]).out.contains("To restart a node so that nobody notices"));
}
