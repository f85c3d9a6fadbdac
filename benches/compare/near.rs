//! The calls of a node that most lines share.

use tenure::Manager;
use tenure::manager::{CheckOptions, NodeOptions, Verdict};
use tenure::store::{Actor, Control, Registration, Store};
use uuid::Uuid;

/// More sessions than any line has remembered: a node that is nearly full makes room, which is not what is measured.
const CAPACITY: usize = 1_500_000;

/// A running node over a store; `listen` has it woken by notifications.
pub async fn node(store: Store, name: &str, listen: bool) -> Manager {
    let options = NodeOptions { remembered_sessions: CAPACITY, listen, ..NodeOptions::default() };
    Manager::start_with(store, Registration { name: name.to_owned(), address: None }, options).await.unwrap()
}

/// Checks from memory, with activity; whether memory could answer, and accepted.
pub fn hit(manager: &Manager, token: &str) -> bool {
    manager.check_now(token, None).is_some()
}

/// The same for a session that must be remembered: a node that came too late with its polls answers nothing from memory until
/// the next one, which says nothing about the session.
pub fn remembers(manager: &Manager, token: &str) -> bool {
    (0..500).any(|_| {
        hit(manager, token) || {
            std::thread::sleep(std::time::Duration::from_millis(10));
            false
        }
    })
}

/// Checks a token with activity, wherever the answer comes from; whether it was accepted.
pub async fn check(manager: &Manager, token: &str) -> bool {
    matches!(manager.check(token, None, CheckOptions::default(), Actor("bench")).await.unwrap(), Verdict::Live(_))
}

/// The polls of a node that does nothing else.
pub struct Poller {
    control: Control,
    node: Uuid,
    applied: Option<String>,
}

impl Poller {
    /// Registers a node.
    pub async fn new(store: &Store) -> Self {
        let node = store.register_node(&Registration { name: "bench".to_owned(), address: None }).await.unwrap();
        Self { control: store.control().await.unwrap(), node, applied: None }
    }

    /// One poll.
    pub async fn poll(&mut self) {
        let answer = self.control.poll(self.node, self.applied.as_deref(), false, true).await.unwrap().unwrap();
        self.applied = Some(answer.snapshot);
    }

    /// Leaves the registry.
    pub async fn leave(self, store: &Store) {
        store.unregister_node(self.node).await.unwrap();
    }
}
