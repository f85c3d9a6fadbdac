//! What a search over the states of the cache needs to see, to tell that it has been somewhere before.

use uuid::Uuid;

use super::Cache;
use crate::clock::Boot;

/// All that later calls can tell apart, as long as one session is asked for, the policies stay and no base of time grows old.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Observed {
    /// The lease ends here; 0 is none.
    pub lease: Boot,
    /// Wall clock minus `CLOCK_BOOTTIME` that the lease rests on.
    pub offset: i64,
    /// Whether the database's time and the policies are known.
    pub informed: bool,
    /// The session's entry: whether it belongs to the present life of the cache. `None` without one.
    pub entry: Option<bool>,
    /// The loads in flight, oldest first: whether they are tainted.
    pub tainted: Vec<bool>,
}

impl Cache {
    /// Its state as far as it concerns one session.
    pub fn observe(&self, id: Uuid) -> Observed {
        let guarded = self.guard();
        let trust = self.trust.load();
        let mut loads: Vec<_> = guarded.loads.iter().map(|(number, load)| (*number, load.tainted)).collect();
        loads.sort_unstable();
        Observed {
            lease: trust.lease,
            offset: trust.offset(),
            informed: trust.is_informed(),
            entry: self.entries.pin().get(&id).map(|entry| entry.life == trust.life),
            tainted: loads.into_iter().map(|(_, tainted)| tainted).collect(),
        }
    }
}
