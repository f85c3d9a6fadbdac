//! A caller of the API: a connection to each node, and what an answer means for a history.

use std::time::Duration;

use rand::rngs::StdRng;
use serde_json::json;

use crate::clock::{Micros, now};
use crate::history::Way;
use crate::http::{Client, Response};
use crate::nodes;
use crate::tally::{Answer, Reason, Tally};
use crate::world::{InUse, World};

/// How long a check may take before its connection is given up.
const CHECK: Duration = Duration::from_secs(4);
/// The same for what ends something: longer than a stop and the node's own bound.
const CHANGE: Duration = Duration::from_secs(22);

/// What became of a request.
pub(super) enum Outcome {
    /// It was certainly not sent.
    Unsent,
    /// Nobody knows.
    Unknown,
    /// An answer that says what happened.
    Definite(Response),
}

/// Connections, one a node.
#[derive(Default)]
pub(super) struct Caller {
    clients: Vec<Option<Client>>,
}

impl Caller {
    /// Makes a request of any node and keeps what is odd about the answer; with when it was invoked and answered.
    pub(super) async fn change(
        &mut self,
        world: &World,
        random: &mut StdRng,
        method: &str,
        path: &str,
        body: &str,
        begin: impl FnOnce(Micros),
    ) -> (Outcome, Micros, Micros) {
        let Some((node, port)) = nodes::any(world, random) else { return (Outcome::Unsent, 0, 0) };
        let client = self.client(world, node, port);
        if !client.connect().await {
            return (Outcome::Unsent, 0, 0);
        }
        let invoked = now();
        begin(invoked);
        let response = client.send(method, path, body, CHANGE, true).await;
        let answered = now();
        let outcome = match response {
            Some(response) if response.status < 500 => Outcome::Definite(response),
            Some(response) => {
                if response.status != 503 {
                    odd(world, &format!("{method} {}", path.split('/').nth(2).unwrap_or_default()), &response);
                }
                Outcome::Unknown
            }
            None => Outcome::Unknown,
        };
        (outcome, invoked, answered)
    }

    /// Checks a token over HTTP at a node, and writes down what came of it; with when it was invoked and answered.
    pub(super) async fn check(&mut self, world: &World, node: usize, entry: &InUse, counts: bool) -> (Answer, Micros, Micros) {
        let Some(port) = world.nodes[node].port() else { return (Answer::None, 0, 0) };
        let client = self.client(world, node, port);
        if !client.connect().await {
            return (Answer::None, 0, 0);
        }
        let body = json!({ "token": &*entry.token, "activity": if counts { "user" } else { "passive" } }).to_string();
        let invoked = now();
        let response = client.send("POST", "/v1/sessions/check", &body, CHECK, false).await;
        let answered = now();
        let answer = match &response {
            Some(response) if response.status == 200 => Answer::Accept,
            Some(response) if response.status == 401 => {
                Answer::Reject(Reason::of(response.text("code"), response.text("reason")))
            }
            Some(response) if response.status != 503 => {
                odd(world, "check", response);
                Answer::None
            }
            _ => Answer::None,
        };
        world.history().add(Way::Http, node, entry.number, &Tally::of(answer, counts, invoked, answered));
        (answer, invoked, answered)
    }

    fn client(&mut self, world: &World, node: usize, port: u16) -> &mut Client {
        self.clients.resize_with(world.nodes.len(), || None);
        let slot = &mut self.clients[node];
        if slot.as_ref().is_some_and(|client| client.port() != port) {
            *slot = None;
        }
        slot.get_or_insert_with(|| Client::new(port, &world.key))
    }
}

/// Keeps an answer that fits no document.
pub(super) fn odd(world: &World, what: &str, response: &Response) {
    let what = format!("{what} was answered with {} {} {}", response.status, response.text("code"), response.text("detail"));
    *world.history().odd.entry(what).or_default() += 1;
}
