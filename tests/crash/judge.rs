//! What the database says, held against what was acknowledged.

use std::collections::HashSet;

use uuid::Uuid;

use crate::facts::Facts;
use crate::journal::{Fate, Journal, Operation};

/// Nothing is half done, and nothing has ended twice: whatever the journals say.
pub fn consistent(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    for id in facts.live.keys() {
        if facts.ended.contains_key(id) {
            found.push(format!("session {id} is live and ended at once"));
        }
        if !facts.attributes.contains(id) {
            found.push(format!("session {id} is live without its attributes"));
        }
    }
    for id in facts.live.keys().chain(facts.ended.keys()) {
        let (created, ended) = (facts.count(*id, "session_created"), facts.count(*id, "session_ended"));
        if created != 1 {
            found.push(format!("session {id} has {created} events of its creation"));
        }
        if ended != i64::from(facts.ended.contains_key(id)) {
            found.push(format!("session {id} has {ended} events of its end"));
        }
    }
    found.extend(
        facts
            .attributes
            .iter()
            .filter(|id| !facts.live.contains_key(*id))
            .map(|id| format!("session {id} has attributes and is not live")),
    );
    let known = |id: &Uuid| facts.live.contains_key(id) || facts.ended.contains_key(id);
    found.extend(
        facts.events.keys().filter(|(id, _)| !known(id)).map(|(id, kind)| format!("session {id} has an event {kind} and no row")),
    );
    found.extend(facts.astray.iter().map(|kind| format!("the policy of kind {kind} does not follow the properties")));
    found
}

/// Holds one journal against the facts. What was in doubt either happened whole or not at all; the journal learns which.
pub fn settle(journal: &mut Journal, facts: &Facts) -> Vec<String> {
    let Some((locked_out, lock_outs)) = facts.users.get(&journal.user).copied() else {
        return vec![format!("user {} is gone", journal.user)];
    };
    let mut found = Vec::new();
    let happened = match &journal.unanswered {
        None => false,
        Some(Operation::Create(key)) => {
            found.push(format!("the sign-in with key {key} was not asked again"));
            false
        }
        Some(Operation::Terminate(place)) => facts.ended.contains_key(&journal.sessions[*place].id),
        Some(Operation::LockOut) => locked_out,
        Some(Operation::Unlock) => !locked_out,
        Some(Operation::Set(value)) => journal.property.and_then(|name| facts.properties.get(name)) == Some(value),
    };
    if happened {
        journal.happened();
    }
    journal.unanswered = None;

    if locked_out != journal.locked_out {
        found.push(format!("{}: locked_out is {locked_out}, and {} was acknowledged", journal.user, journal.locked_out));
    }
    if usize::try_from(lock_outs) != Ok(journal.lock_outs) {
        found.push(format!("{}: {lock_outs} events of {} acknowledged lock-outs", journal.user, journal.lock_outs));
    }
    for session in &journal.sessions {
        let (live, ended) = (facts.live.get(&session.id), facts.ended.get(&session.id));
        let fits = match session.fate {
            Fate::Live => live == Some(&journal.user) && ended.is_none(),
            Fate::Ended(reason) => live.is_none() && ended.is_some_and(|why| why == reason),
        };
        if !fits {
            let id = session.id;
            found.push(format!("{}: session {id} is {live:?} {ended:?}, and {:?} was acknowledged", journal.user, session.fate));
        }
    }
    if let Some(name) = journal.property {
        let value = facts.properties.get(name);
        if value != journal.values.last() {
            found.push(format!("{name} is {value:?}, and {:?} was acknowledged", journal.values.last()));
        }
        let mut set: Vec<&String> = facts.settings.iter().filter(|(of, _)| of == name).map(|(_, value)| value).collect();
        let mut acknowledged: Vec<&String> = journal.values.iter().collect();
        set.sort();
        acknowledged.sort();
        if set != acknowledged {
            found.push(format!("{name} has events of {set:?}, and {acknowledged:?} were acknowledged"));
        }
    }
    found
}

/// Sessions nobody asked for.
pub fn unknown(journals: &[Journal], facts: &Facts) -> Vec<String> {
    let known: HashSet<Uuid> = journals.iter().flat_map(|journal| journal.sessions.iter().map(|session| session.id)).collect();
    let all = facts.live.keys().chain(facts.ended.keys());
    all.filter(|id| !known.contains(*id)).map(|id| format!("session {id} exists, and its creation was never answered")).collect()
}

#[cfg(test)]
mod tests {
    use super::{Facts, Journal, Operation, Uuid, consistent, settle, unknown};

    /// Two sessions of u0, the second ended by a termination; `property` set once.
    fn world() -> (Journal, Facts) {
        let mut journal = Journal::new("u0".into(), Some("glide.guest.session_timeout"));
        let mut facts = Facts::default();
        let (live, over) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for id in [live, over] {
            journal.unanswered = Some(Operation::Create("k".into()));
            journal.created(id, String::new());
            facts.events.insert((id, "session_created".into()), 1);
        }
        for operation in [Operation::Terminate(1), Operation::Set("21".into())] {
            journal.unanswered = Some(operation);
            journal.happened();
        }
        facts.live.insert(live, "u0".into());
        facts.attributes.insert(live);
        facts.ended.insert(over, "terminated".into());
        facts.events.insert((over, "session_ended".into()), 1);
        facts.users.insert("u0".into(), (false, 0));
        facts.properties.insert("glide.guest.session_timeout".into(), "21".into());
        facts.settings.push(("glide.guest.session_timeout".into(), "21".into()));
        (journal, facts)
    }

    fn judged(journal: &mut Journal, facts: &Facts) -> usize {
        consistent(facts).len() + settle(journal, facts).len() + unknown(std::slice::from_ref(journal), facts).len()
    }

    #[test]
    fn a_world_as_acknowledged_is_left_in_peace() {
        let (mut journal, facts) = world();
        assert_eq!(judged(&mut journal, &facts), 0);
    }

    #[test]
    fn every_planted_loss_is_found() {
        type Loss = (&'static str, fn(&mut Facts));
        let losses: [Loss; 12] = [
            ("a creation", |facts| facts.live.clear()),
            ("a termination", |facts| {
                facts.ended.clear();
                facts.live.insert(Uuid::from_u128(2), "u0".into());
            }),
            ("another reason", |facts| _ = facts.ended.insert(Uuid::from_u128(2), "idle".into())),
            ("an end twice", |facts| _ = facts.events.insert((Uuid::from_u128(2), "session_ended".into()), 2)),
            ("an end without an event", |facts| _ = facts.events.remove(&(Uuid::from_u128(2), "session_ended".into()))),
            ("live and ended", |facts| _ = facts.live.insert(Uuid::from_u128(2), "u0".into())),
            ("no attributes", |facts| facts.attributes.clear()),
            ("attributes left behind", |facts| _ = facts.attributes.insert(Uuid::from_u128(2))),
            ("a property", |facts| facts.properties.clear()),
            ("a property's event", |facts| facts.settings.clear()),
            ("a policy", |facts| facts.astray.push("guest".into())),
            ("a lock-out nobody asked for", |facts| _ = facts.users.insert("u0".into(), (true, 1))),
        ];
        for (name, lose) in losses {
            let (mut journal, mut facts) = world();
            lose(&mut facts);
            assert!(judged(&mut journal, &facts) > 0, "{name}");
        }
    }

    #[test]
    fn what_was_in_doubt_happened_whole_or_not_at_all() {
        let (mut journal, mut facts) = world();
        journal.unanswered = Some(Operation::LockOut);
        assert_eq!(judged(&mut journal.clone(), &facts), 0, "it did not happen");
        facts.users.insert("u0".into(), (true, 1));
        assert!(judged(&mut journal.clone(), &facts) > 0, "the user is locked out and the session lives");
        let id = Uuid::from_u128(1);
        facts.live.clear();
        facts.attributes.clear();
        facts.ended.insert(id, "locked_out".into());
        facts.events.insert((id, "session_ended".into()), 1);
        assert_eq!(judged(&mut journal, &facts), 0, "it happened");
        assert!(journal.locked_out);
    }
}
