//! Token buckets by key, in this node's memory, which they cannot fill.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Keys that have a bucket of their own at once; further ones share one. A full bucket needs none, so only who was busy a moment
/// ago counts.
const KEYS: usize = 65_536;
/// Between two searches for full buckets, when there are so many keys.
const SEARCH: Duration = Duration::from_secs(1);

/// What a bucket holds, and how often it gets one back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) burst: u32,
    pub(super) every: Duration,
}

/// Buckets of one rate.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    rate: Rate,
    keys: usize,
    filling: Mutex<Filling<K>>,
}

#[derive(Debug)]
struct Filling<K> {
    /// When each bucket will be full; `None` is the shared one. What is not in here is full.
    full_at: HashMap<Option<K>, Instant>,
    searched_at: Option<Instant>,
}

impl<K: Eq + Hash> Buckets<K> {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, keys: KEYS, filling: Mutex::new(Filling { full_at: HashMap::new(), searched_at: None }) }
    }

    /// Takes one.
    ///
    /// # Errors
    /// How long until there is one again.
    pub(super) fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut filling = self.filling();
        let key = filling.bucket(key, self.keys, now);
        let full_at = filling.full_at.get(&key).map_or(now, |at| now.max(*at)) + self.rate.every;
        self.missing(full_at, now)?;
        filling.full_at.insert(key, full_at);
        Ok(())
    }

    /// Whether there is one, taking none.
    ///
    /// # Errors
    /// As [`Buckets::take`].
    pub(super) fn look(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut filling = self.filling();
        let key = filling.bucket(key, self.keys, now);
        let full_at = filling.full_at.get(&key).map_or(now, |at| now.max(*at));
        self.missing(full_at + self.rate.every, now)
    }

    /// Gives back one that was taken.
    pub(super) fn give_back(&self, key: K, now: Instant) {
        let mut filling = self.filling();
        let key = filling.bucket(key, self.keys, now);
        if let Some(full_at) = filling.full_at.get_mut(&key) {
            *full_at = full_at.checked_sub(self.rate.every).unwrap_or(now);
        }
    }

    /// Whether a bucket that will be full then holds as many as that.
    fn missing(&self, full_at: Instant, now: Instant) -> Result<(), Duration> {
        match full_at.saturating_duration_since(now + self.rate.every * self.rate.burst) {
            Duration::ZERO => Ok(()),
            wait => Err(wait),
        }
    }

    fn filling(&self) -> MutexGuard<'_, Filling<K>> {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Filling<K> {
    /// The bucket of a key: its own, if there is room.
    fn bucket(&mut self, key: K, keys: usize, now: Instant) -> Option<K> {
        let key = Some(key);
        if self.full_at.len() < keys || self.full_at.contains_key(&key) {
            return key;
        }
        if self.searched_at.is_none_or(|at| now >= at + SEARCH) {
            self.searched_at = Some(now);
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        key.filter(|_| self.full_at.len() < keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, every: Duration::from_secs(10) };

    /// How many can be taken at an instant.
    fn held(buckets: &Buckets<u32>, key: u32, now: Instant) -> usize {
        (0..10).take_while(|_| buckets.take(key, now).is_ok()).count()
    }

    #[test]
    fn a_bucket_empties_and_fills_by_itself() {
        let buckets = Buckets::new(RATE);
        let start = Instant::now();
        assert_eq!(held(&buckets, 1, start), 3);
        assert_eq!(held(&buckets, 2, start), 3, "one of its own for each key");
        assert_eq!(buckets.take(1, start), Err(Duration::from_secs(10)));
        assert_eq!(buckets.look(1, start), Err(Duration::from_secs(10)));
        assert_eq!(buckets.take(1, start + Duration::from_secs(9)), Err(Duration::from_secs(1)));
        assert_eq!(held(&buckets, 1, start + Duration::from_secs(25)), 2);
        assert_eq!(held(&buckets, 1, start + Duration::from_secs(1000)), 3, "and never more than full");
    }

    #[test]
    fn looking_takes_none_and_what_is_given_back_is_there_again() {
        let buckets = Buckets::new(RATE);
        let start = Instant::now();
        (0..10).for_each(|_| assert_eq!(buckets.look(1, start), Ok(())));
        assert_eq!(held(&buckets, 1, start), 3);
        buckets.give_back(1, start);
        assert_eq!(held(&buckets, 1, start), 1);
        buckets.give_back(7, start);
        assert_eq!(held(&buckets, 7, start), 3, "a full one does not overflow");
    }

    #[test]
    fn many_keys_share_a_bucket_rather_than_fill_memory() {
        let buckets = Buckets { keys: 100, ..Buckets::new(RATE) };
        let start = Instant::now();
        for key in 0..10_000 {
            let _ = buckets.take(key, start);
        }
        assert!(buckets.filling().full_at.len() <= 101);
        assert_eq!(held(&buckets, 50, start), 2, "who was there first has a bucket still");
        assert_eq!(held(&buckets, 20_000, start), 0, "the others' is empty");
        let later = start + Duration::from_mins(1);
        assert_eq!(held(&buckets, 20_000, later), 3, "room again once the others' are full");
        assert_eq!(buckets.filling().full_at.len(), 1);
    }
}
