//! The near-cache: what a node remembers, and when it may act on it. No I/O and no clock in here: the calls of a node, in any
//! order and with any delay between them, are what `tests/it/lease_model.rs` searches exhaustively.
//!
//! *If a barrier operation returned, no check invoked afterwards, on any node, accepts the session.* That rests on few rules:
//!
//! * A lease is earned only by a poll of the invalidation log whose rows have been applied, and counts from before the poll
//!   was sent. Without a live lease nothing is answered from memory.
//! * Whatever invalidates taints the loads in flight; a tainted load is answered but not remembered. Testing for taint and
//!   remembering are one step that excludes applying.
//! * The lease is read before the entry. A hit that saw a renewed lease sees what was forgotten before it was renewed.
//! * Memory may only accept. What looks over, or close to it, is PostgreSQL's to judge.
//! * The first poll of a process or connection empties the cache before it earns anything.
//!
//! Nobody takes the answer of a load somebody else began: such an answer may be older than the question.

mod entry;
mod keys;
#[cfg(any(test, feature = "test-util"))]
mod observed;
mod rule;
mod trim;
mod trust;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;
use uuid::Uuid;

pub use entry::Person;
pub use keys::CachedKey;
#[cfg(any(test, feature = "test-util"))]
pub use observed::Observed;
pub use rule::Rule;
pub use trust::{LEASE, PolicySet};

use crate::clock::{Boot, Reading};
use crate::session::{Activity, Deadlines, Law, Loaded, Mark, Movement, Timing, TokenHash};
use entry::{Entry, Marked};
use trust::Trust;

/// When the durable idle deadline is nearer than this, a check writes its activity before it answers: microseconds. Five flush
/// intervals, and far below the smallest idle limit of a minute.
const WRITE_THROUGH: i64 = 10_000_000;
/// Ids of sessions with unwritten activity that the flusher finds without looking; past it, it looks at every entry.
const QUEUED: usize = 65_536;

/// What a transaction says to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invalidation {
    /// A session ended or got another token.
    Session(Uuid),
    /// A user changed in some way.
    User(i64),
    /// An API key changed or was revoked.
    Key(Uuid),
    /// The policies changed.
    Policies,
    /// Everything; also a word this version does not know (C47).
    Everything,
}

/// An answered poll: rows not seen before, the policies when they changed, the database's time.
#[derive(Debug, Clone)]
pub struct Polled {
    /// New rows of the log.
    pub rows: Vec<Invalidation>,
    /// The policies; the first poll and every poll with a row about them carries them.
    pub policies: Option<PolicySet>,
    /// `tenure.now()`, microseconds since 1970.
    pub now: i64,
}

/// A poll under way.
#[derive(Debug, Clone, Copy)]
pub struct Poll {
    sent: Reading,
    first: bool,
}

/// A load under way; dropped, it has ended without an answer.
#[derive(Debug)]
pub struct Load<'a> {
    cache: &'a Cache,
    number: u64,
    generation: u32,
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.cache.guard().loads.remove(&self.number);
    }
}

/// A session accepted from memory, with the activity counted. Instants are in the database's time; what was counted through
/// other nodes since the session was read here may be missing, so the truth is never earlier.
#[derive(Debug, Clone)]
pub struct Hit {
    /// Public id.
    pub id: Uuid,
    /// Whose it is.
    pub user: Option<Arc<Person>>,
    /// What decides its deadlines.
    pub timing: Timing,
    /// Last counted activity as this node sees it, microseconds since 1970.
    pub last_activity_at: i64,
    /// Its deadlines after the activity.
    pub deadlines: Deadlines,
    /// From when to offer "Extend your session", microseconds since 1970.
    pub prompt_at: Option<i64>,
    /// The node's estimate of the database's time, microseconds since 1970.
    pub now: i64,
}

/// Activity taken for writing.
#[derive(Debug, Clone, Copy)]
pub struct Unwritten {
    /// The session.
    pub id: Uuid,
    /// What to write.
    pub mark: Mark,
    /// Its refresh interval, seconds.
    pub refresh_seconds: Option<i32>,
    /// The life of the cache it was counted in.
    life: u32,
}

impl Unwritten {
    /// How the anchor is to be moved.
    pub fn law(&self) -> Law {
        self.mark.law(self.refresh_seconds)
    }
}

/// What a load is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Session(Uuid),
    Key,
}

#[derive(Debug)]
struct InFlight {
    target: Target,
    tainted: bool,
}

/// What applying, loading and forgetting share; never touched by a hit.
#[derive(Debug, Default)]
struct Guarded {
    loads: HashMap<u64, InFlight>,
    next_load: u64,
    people: HashMap<i64, Arc<Person>>,
    /// Activity of sessions that are no longer remembered.
    orphans: Vec<Unwritten>,
}

impl Guarded {
    fn is_tainted(&self, load: &Load<'_>) -> bool {
        self.loads.get(&load.number).is_none_or(|load| load.tainted)
    }
}

/// The near-cache of one node.
#[derive(Debug)]
pub struct Cache {
    entries: papaya::HashMap<Uuid, Entry>,
    keys: keys::Keys,
    trust: ArcSwap<Trust>,
    guarded: Mutex<Guarded>,
    queue: ArrayQueue<Uuid>,
    overflowed: AtomicBool,
    capacity: usize,
    removed: Option<Rule>,
}

impl Cache {
    /// An empty cache for so many sessions, without a lease.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: papaya::HashMap::new(),
            keys: keys::Keys::default(),
            trust: ArcSwap::from_pointee(Trust::none()),
            guarded: Mutex::default(),
            queue: ArrayQueue::new(capacity.clamp(1, QUEUED)),
            overflowed: AtomicBool::new(false),
            capacity,
            removed: None,
        }
    }

    /// The same with one rule of the protocol taken away, to show what it is for.
    #[cfg(any(test, feature = "test-util"))]
    #[must_use]
    pub fn without(mut self, rule: Option<Rule>) -> Self {
        self.removed = rule;
        self
    }

    fn holds(&self, rule: Rule) -> bool {
        !cfg!(any(test, feature = "test-util")) || self.removed != Some(rule)
    }

    fn guard(&self) -> MutexGuard<'_, Guarded> {
        self.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a load could be remembered now.
    pub fn is_open(&self, reading: Reading) -> bool {
        self.trust.load().now(reading).is_some() && self.entries.len() < self.capacity
    }

    /// The database's time as this node knows it, microseconds since 1970; `None` without a lease.
    pub fn now(&self, reading: Reading) -> Option<i64> {
        self.trust.load().now(reading)
    }

    /// Accepts a session from memory and counts the activity; `None` when PostgreSQL must be asked.
    ///
    /// Allocates nothing, waits for nothing, takes no lock, and reads one map.
    pub fn hit(&self, id: Uuid, hash: &TokenHash, activity: Activity, reading: Reading) -> Option<Hit> {
        // The lease before the entry: whoever sees a renewed lease sees what was forgotten before it.
        let trust = self.trust.load();
        if !trust.is_live(reading) && self.holds(Rule::LeaseChecked) {
            return None;
        }
        let now = trust.time(reading.boot)?;
        let entries = self.entries.pin();
        let entry = entries.get(&id)?;
        let timing = &entry.timing;
        if entry.life != trust.life
            || !hash.matches(entry.hash.as_bytes())
            || !activity.allowed_for(timing.kind)
            || entry.user.as_ref().is_some_and(|user| user.is_dead())
        {
            return None;
        }
        let policy = trust.policy(timing.kind)?;
        let durable = entry.durable();
        let judged = entry.judged.load(Ordering::Relaxed);
        if judged != trust.generation {
            if !trust.survived(timing, durable, judged) {
                return None;
            }
            entry.judged.store(trust.generation, Ordering::Relaxed);
        }
        let movement = Movement::of(activity, timing, policy);
        let known = Deadlines::of(timing, durable, policy);
        // Another node may know of later activity, and whether to prompt depends on it; not so once the anchor is now.
        let lead = if movement == Movement::ToNow { 0 } else { i64::from(policy.prompt_seconds) * 1_000_000 };
        let margin = WRITE_THROUGH.max(lead);
        if now >= known.expires_at || known.idle.is_some_and(|idle| now >= idle.saturating_sub(margin)) || !Mark::holds(now) {
            return None;
        }
        let marked = entry.record(movement, now);
        if marked == Marked::Closed {
            return None;
        }
        let last_activity_at = entry.seen();
        if marked == Marked::First {
            self.queue_up(id);
        }
        let deadlines = Deadlines::of(timing, last_activity_at, policy);
        Some(Hit {
            id,
            user: entry.user.clone(),
            timing: *timing,
            last_activity_at,
            prompt_at: deadlines.prompt_at(timing.kind, policy),
            deadlines,
            now,
        })
    }

    /// Whether the token is one that this node has seen accepted and not forgotten since, whatever memory may say of its session
    /// now: its holder is no stranger.
    pub fn remembers(&self, id: Uuid, hash: &TokenHash) -> bool {
        self.entries.pin().get(&id).is_some_and(|entry| hash.matches(entry.hash.as_bytes()))
    }

    fn queue_up(&self, id: Uuid) {
        if self.queue.push(id).is_err() {
            self.overflowed.store(true, Ordering::Release);
        }
    }

    /// Begins the load of a session: before anything is sent.
    pub fn begin_load(&self, id: Uuid) -> Load<'_> {
        self.begin(Target::Session(id))
    }

    fn begin(&self, target: Target) -> Load<'_> {
        let mut guarded = self.guard();
        guarded.next_load += 1;
        let number = guarded.next_load;
        guarded.loads.insert(number, InFlight { target, tainted: false });
        Load { cache: self, number, generation: self.trust.load().generation }
    }

    /// Remembers what a load found, if nothing spoke against it meanwhile; whether it did.
    pub fn finish_load(&self, load: &Load<'_>, found: &Loaded, reading: Reading) -> bool {
        let mut guarded = self.guard();
        let trust = self.trust.load();
        let entries = self.entries.pin();
        if guarded.is_tainted(load) && self.holds(Rule::Taint) || trust.now(reading).is_none() {
            return false;
        }
        let older = entries.get(&found.id);
        if older.is_none() && entries.len() >= self.capacity {
            return false;
        }
        let user = found
            .user
            .as_ref()
            .map(|(id, name)| Arc::clone(guarded.people.entry(*id).or_insert_with(|| Arc::new(Person::new(name)))));
        let mut entry = Entry::new(found, user, load.generation, trust.life);
        if let Some(older) = older {
            entry.inherit(older);
        }
        entries.insert(found.id, entry);
        // Its place in the queue may have been used up while the older entry was already closed.
        if older.is_some() {
            self.queue_up(found.id);
        }
        true
    }

    /// Begins a poll: `sent` is read before anything is sent. `first` on a new process or connection, which asks for no row in
    /// particular and forgets everything.
    pub fn begin_poll(&self, sent: Reading, first: bool) -> Poll {
        Poll { sent, first }
    }

    /// Applies a poll answered at `received`, then earns its lease.
    pub fn apply(&self, poll: Poll, polled: Polled, received: Boot) {
        let mut guarded = self.guard();
        let mut trust = Trust::clone(&self.trust.load());
        let changes = polled.rows.iter().filter(|row| **row == Invalidation::Policies).count();
        // Between two changes of the policies seen at once lay limits this node never saw, and what they ended.
        if (poll.first && self.holds(Rule::FirstPollEmpties)) || changes > 1 {
            self.empty(&mut guarded, &mut trust);
        }
        if self.holds(Rule::RowsApplied) {
            for row in &polled.rows {
                self.invalidate(row, &mut guarded, &mut trust);
            }
        }
        if let Some(policies) = polled.policies {
            trust.replace(policies, polled.now);
        }
        trust.measure(polled.now, poll.sent, received);
        let from = if self.holds(Rule::LeaseFromSending) { poll.sent.boot } else { received };
        trust.lease = trust.lease.max(from + LEASE);
        self.trust.store(Arc::new(trust));
    }

    /// Stops trusting anything until the next poll: the node is leaving the registry, or another one found it silent, and no
    /// barrier waits for it any more.
    pub fn distrust(&self) {
        let mut guarded = self.guard();
        let mut trust = Trust::clone(&self.trust.load());
        self.empty(&mut guarded, &mut trust);
        trust.lease = 0;
        self.trust.store(Arc::new(trust));
    }

    /// Forgets a session at once, on the node that ended it, rotated it or found it gone (C22).
    pub fn forget(&self, id: Uuid) {
        self.forget_session(id, &mut self.guard());
    }

    fn invalidate(&self, row: &Invalidation, guarded: &mut Guarded, trust: &mut Trust) {
        match row {
            Invalidation::Session(id) => self.forget_session(*id, guarded),
            Invalidation::User(id) => {
                // A load does not know its user yet: any of them may be this one's (C2).
                Self::taint(guarded, |target| target != Target::Key);
                if let Some(person) = guarded.people.remove(id) {
                    person.kill();
                }
            }
            Invalidation::Key(id) => {
                Self::taint(guarded, |target| target == Target::Key);
                self.keys.forget(*id);
            }
            Invalidation::Policies => {}
            Invalidation::Everything => {
                self.empty(guarded, trust);
                trust.forget_time();
            }
        }
    }

    fn forget_session(&self, id: Uuid, guarded: &mut Guarded) {
        Self::taint(guarded, |target| target == Target::Session(id));
        self.remove(id, guarded);
    }

    /// Removes an entry; its unwritten activity stays until it is written.
    fn remove(&self, id: Uuid, guarded: &mut Guarded) {
        let entries = self.entries.pin();
        if let Some(entry) = entries.remove(&id) {
            let mark = entry.close();
            if !mark.is_none() {
                guarded.orphans.push(entry.unwritten(id, mark));
            }
        }
    }

    fn taint(guarded: &mut Guarded, which: impl Fn(Target) -> bool) {
        guarded.loads.values_mut().filter(|load| which(load.target)).for_each(|load| load.tainted = true);
    }

    /// Nothing remembered so far is used again; unwritten activity stays until it is written.
    fn empty(&self, guarded: &mut Guarded, trust: &mut Trust) {
        Self::taint(guarded, |_| true);
        guarded.people.clear();
        self.keys.clear();
        trust.life += 1;
    }

    /// Sessions with activity not yet written, in order; some may turn out to have none. Activity of sessions that are no longer
    /// remembered is taken with it.
    pub fn unwritten(&self) -> (Vec<Uuid>, Vec<Unwritten>) {
        let orphans = std::mem::take(&mut self.guard().orphans);
        let overflowed = self.overflowed.swap(false, Ordering::AcqRel);
        let mut ids: Vec<Uuid> = (0..self.queue.len()).map_while(|_| self.queue.pop()).collect();
        if overflowed {
            ids.extend(self.entries.pin().iter().filter(|(_, entry)| entry.is_marked()).map(|(id, _)| *id));
        }
        ids.sort_unstable();
        ids.dedup();
        (ids, orphans)
    }

    /// Takes the unwritten activity of some sessions.
    pub fn take(&self, ids: &[Uuid]) -> Vec<Unwritten> {
        let entries = self.entries.pin();
        ids.iter()
            .filter_map(|id| {
                let entry = entries.get(id)?;
                let mark = entry.take();
                (!mark.is_none()).then(|| entry.unwritten(*id, mark))
            })
            .collect()
    }

    /// Says that activity may be left which [`Cache::unwritten`] has named already: the next time it looks at every entry.
    pub fn look_again(&self) {
        self.overflowed.store(true, Ordering::Release);
    }

    /// Gives back activity that could not be written.
    pub fn put_back(&self, unwritten: Unwritten) {
        let entries = self.entries.pin();
        let marked = entries.get(&unwritten.id).map_or(Marked::Closed, |entry| entry.put_back(unwritten.mark));
        match marked {
            Marked::First => self.queue_up(unwritten.id),
            Marked::Joined => {}
            Marked::Closed => self.guard().orphans.push(unwritten),
        }
    }

    /// The database holds this anchor of a session now. A crash of PostgreSQL may take that back, so it is not told to an entry
    /// of another life.
    pub fn written(&self, unwritten: &Unwritten, anchor: i64) {
        if let Some(entry) = self.entries.pin().get(&unwritten.id)
            && entry.life == unwritten.life
        {
            entry.written(anchor);
        }
    }

    /// Sessions remembered, used or not.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
