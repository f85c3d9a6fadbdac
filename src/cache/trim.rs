//! Making room: entries that will not be used again, and, when it is still tight, those unused for longest.

use super::Cache;
use crate::clock::Reading;
use crate::session::Deadlines;

impl Cache {
    /// Drops what is over, what an emptied cache left, and, of what fills more than nine tenths of the capacity, the sessions
    /// idle for longest. Returns how many went. It looks at every entry: call it now and then, outside of any runtime's threads.
    pub fn trim(&self, reading: Reading) -> usize {
        let trust = self.trust.load_full();
        let now = trust.now(reading);
        let entries = self.entries.pin();
        let mut gone = Vec::new();
        let mut kept = Vec::with_capacity(entries.len());
        for (id, entry) in &entries {
            let over = now
                .zip(trust.policy(entry.timing.kind))
                .is_some_and(|(now, policy)| Deadlines::of(&entry.timing, entry.seen(), policy).expires_at <= now);
            if over || entry.life != trust.life || entry.user.as_ref().is_some_and(|user| user.is_dead()) {
                gone.push(*id);
            } else {
                kept.push((entry.seen(), *id));
            }
        }
        let room = self.capacity - self.capacity / 10;
        if kept.len() > room {
            let excess = kept.len() - room;
            kept.select_nth_unstable(excess);
            gone.extend(kept.iter().take(excess).map(|(_, id)| *id));
        }
        let mut guarded = self.guard();
        for id in &gone {
            self.remove(*id, &mut guarded);
        }
        guarded.people.retain(|_, person| std::sync::Arc::strong_count(person) > 1);
        gone.len()
    }
}
