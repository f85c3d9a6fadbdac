//! What the database remembers at the end, held against what was acknowledged.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::checker::{Rule, Violation};
use crate::clock::Micros;
use crate::history::{History, Session};
use crate::postgres::Records;

/// Every acknowledged session is live or ended, and never both; every acknowledged ending is on record; every ended session has
/// one event, and no live one has any.
pub fn check(history: &History, records: &Records) -> Vec<Violation> {
    let live: HashSet<Uuid> = records.live.iter().copied().collect();
    let ended: HashSet<Uuid> = records.ended.iter().copied().collect();
    let events: HashMap<Uuid, i64> = records.events.iter().copied().collect();
    let mut found = Vec::new();
    let mut say = |session: Option<usize>, what: String| found.push(Violation { rule: Rule::Record, token: None, session, what });
    for (number, session) in history.sessions.iter().enumerate() {
        let over = must_be_over(history, session);
        match (live.contains(&session.id), ended.contains(&session.id)) {
            (false, false) => say(Some(number), "its creation was acknowledged, and it is neither live nor ended".to_owned()),
            (true, true) => say(Some(number), "it is live and ended at once".to_owned()),
            (true, false) if over => say(Some(number), "its ending was acknowledged, and it is still live".to_owned()),
            _ => {}
        }
    }
    let number = |id: &Uuid| history.sessions.iter().position(|session| session.id == *id);
    for id in &ended {
        let count = events.get(id).copied().unwrap_or(0);
        if count != 1 {
            say(number(id), format!("it has ended and has {count} events of that"));
        }
    }
    for id in live.iter().filter(|id| events.contains_key(id)) {
        say(number(id), "it is live and has an event of its end".to_owned());
    }
    found
}

fn must_be_over(history: &History, session: &Session) -> bool {
    let lock_out = session.user.map_or(Micros::MAX, |user| history.users[user].lock_out.acknowledged);
    session.ending.acknowledged.min(lock_out) < Micros::MAX
}
