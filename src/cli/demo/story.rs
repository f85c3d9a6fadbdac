//! The story: what a cluster with shared sessions does that one node's memory cannot.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::super::Failure;
use super::client::{Answer, Client};
use super::nodes::Nodes;
use super::report::Report;
use super::traffic::Traffic;

type Held = Result<String, String>;

/// Tells it while the crowd goes on; returns when the time is up.
pub(super) async fn tell(
    client: &Client,
    nodes: &mut Nodes,
    traffic: &Traffic,
    report: &mut Report,
    until: Instant,
) -> Result<(), Failure> {
    let total = until.duration_since(Instant::now());
    let beat = (total / 12).min(Duration::from_secs(2));

    sleep(beat).await;
    report.line("abel.tuter signs in twice through node-1: desktop and phone");
    let (desktop, phone) = match two_sign_ins(client).await {
        Ok(pair) => pair,
        Err(error) => {
            report.check("signed in on node-1, listed on node-2", Err(error));
            return Ok(());
        }
    };
    report.check("signed in on node-1, listed on node-2", listed(client, &desktop).await);
    sleep(beat).await;
    report.check("ended from node-3 on every node", ended(client, &desktop).await);
    report.check("refused on node-1 with the reason", refused(client, 0, &desktop, "terminated").await);
    report.check("the user's other session goes on", accepted(client, 1, &phone).await);
    sleep(beat).await;
    report.check("a time-out changed on node-2 is explained on node-3", property(client, &phone).await);
    sleep(beat).await;
    report.check("signing out leaves a guest without user data", signed_out(client).await);
    report.line("abel.tuter is locked out through node-3");
    report.check("locked out: every session ends and no other begins", locked_out(client, &phone).await);
    sleep(beat).await;
    report.check("a killed node takes no session with it", killed(client, nodes, traffic, report).await);
    report.line(&format!("{} requests so far; the crowd goes on", traffic.requests()));
    sleep_until(until).await;
    Ok(())
}

struct SignedIn {
    id: String,
    token: String,
}

fn expect(answer: Answer, status: u16) -> Result<Value, String> {
    match answer? {
        (got, body) if got == status => Ok(body),
        (got, body) => Err(format!("expected {status}, got {got} {}", body["detail"])),
    }
}

async fn sign_in(client: &Client, node: usize, user: &str, device: &str) -> Result<SignedIn, String> {
    let body = json!({ "kind": "user", "user": user, "device": device, "client_address": "192.0.2.1" });
    let created = expect(client.post(node, "/v1/sessions", body).await, 201)?;
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned).ok_or("the answer has no id or token");
    Ok(SignedIn { id: text(&created["session"]["id"])?, token: text(&created["token"])? })
}

async fn two_sign_ins(client: &Client) -> Result<(SignedIn, SignedIn), String> {
    expect(client.put(0, "/v1/users/abel.tuter", json!({ "display_name": "Abel Tuter" })).await, 201)?;
    Ok((sign_in(client, 0, "abel.tuter", "desktop").await?, sign_in(client, 0, "abel.tuter", "phone").await?))
}

async fn listed(client: &Client, session: &SignedIn) -> Held {
    let list = expect(client.get(1, "/v1/sessions?user=abel.tuter").await, 200)?;
    let items = list["items"].as_array().map_or(0, Vec::len);
    let found = list["items"].as_array().is_some_and(|items| items.iter().any(|item| item["id"] == *session.id));
    if found && items == 2 {
        Ok(format!("node-2 lists both, last used on {}", list["items"][0]["node"]))
    } else {
        Err(format!("node-2 lists {items} sessions"))
    }
}

async fn ended(client: &Client, session: &SignedIn) -> Held {
    let receipt = expect(client.delete(2, &format!("/v1/sessions/{}", session.id)).await, 200)?;
    let nodes = receipt["barrier"]["acknowledged"].as_array().map_or(0, Vec::len);
    if receipt["terminated"] == 1 && nodes == super::nodes::COUNT {
        Ok(format!("{nodes} nodes know, after {} ms", receipt["barrier"]["took_ms"]))
    } else {
        Err(receipt.to_string())
    }
}

async fn refused(client: &Client, node: usize, session: &SignedIn, reason: &str) -> Held {
    let problem = expect(client.post(node, "/v1/sessions/check", json!({ "token": session.token })).await, 401)?;
    if problem["code"] == "session_ended" && problem["reason"] == reason {
        Ok(format!("{reason}, so the client should {}", problem["action"]))
    } else {
        Err(problem.to_string())
    }
}

async fn accepted(client: &Client, node: usize, session: &SignedIn) -> Held {
    let checked = expect(client.post(node, "/v1/sessions/check", json!({ "token": session.token })).await, 200)?;
    Ok(format!("node-{} accepts it, {} s left", node + 1, checked["seconds_left"]))
}

async fn property(client: &Client, session: &SignedIn) -> Held {
    expect(client.put(1, "/v1/properties/glide.ui.session_timeout", json!({ "value": "45" })).await, 200)?;
    let explanation = expect(client.get(2, &format!("/v1/sessions/{}/explain", session.id)).await, 200)?;
    expect(client.delete(1, "/v1/properties/glide.ui.session_timeout").await, 200)?;
    let idle = &explanation["candidates"][0];
    if idle["value"] == "45" && idle["source"] == "row" {
        Ok(format!("{} = {} minutes binds ({})", idle["name"], idle["value"], explanation["binding"]))
    } else {
        Err(idle.to_string())
    }
}

async fn signed_out(client: &Client) -> Held {
    expect(client.put(0, "/v1/users/beth.anglin", json!({})).await, 201)?;
    let session = sign_in(client, 0, "beth.anglin", "desktop").await?;
    let left = expect(client.post(1, &format!("/v1/sessions/{}/sign-out", session.id), json!({})).await, 200)?;
    refused(client, 2, &session, "signed_out").await?;
    if left["guest"]["residue"] == true && left["guest"]["user"].is_null() && left["token"].is_string() {
        Ok("a guest session with a new token is left".to_owned())
    } else {
        Err(left["guest"].to_string())
    }
}

async fn locked_out(client: &Client, session: &SignedIn) -> Held {
    let changed = expect(client.patch(2, "/v1/users/abel.tuter", json!({ "locked_out": true })).await, 200)?;
    refused(client, 0, session, "locked_out").await?;
    let body = json!({ "kind": "user", "user": "abel.tuter" });
    let problem = expect(client.post(1, "/v1/sessions", body).await, 403)?;
    Ok(format!("{} session ended, sign-in answers {}", changed["ended"], problem["code"]))
}

async fn killed(client: &Client, nodes: &mut Nodes, traffic: &Traffic, report: &Report) -> Held {
    let session = sign_in(client, 1, "beth.anglin", "tablet").await?;
    report.line("node-2 is killed");
    traffic.avoid(1);
    nodes.kill(1).await;
    let accepted = accepted(client, 0, &session).await?;
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let list = expect(client.get(2, "/v1/nodes").await, 200)?;
        let state = list["items"]
            .as_array()
            .and_then(|items| items.iter().find(|item| item["name"] == "node-2"))
            .map(|item| item["state"].clone());
        if state == Some(json!("silent")) {
            return Ok(format!("{accepted}; the others see node-2 silent"));
        }
        if Instant::now() > deadline {
            return Err(format!("node-2 is shown as {state:?}"));
        }
        sleep(Duration::from_millis(100)).await;
    }
}
