//! What the cache alone decides, by the order of calls and the clocks it is told.

use tenure::cache::{Cache, Invalidation, LEASE, PolicySet, Polled, Rule};
use tenure::clock::Reading;
use tenure::session::{Activity, Kind, Loaded, Policy, TokenHash};
use uuid::Uuid;

use crate::support::{begun, half_an_hour};

const HASH: TokenHash = TokenHash::stored([7; 32]);
/// 2027-06-01, microseconds since 1970.
const BEGIN: i64 = 1_811_808_000_000_000;
const SECOND: i64 = 1_000_000;

fn at(seconds: i64) -> Reading {
    Reading { boot: seconds * SECOND, offset: 0 }
}

fn policies(idle_seconds: i32) -> PolicySet {
    std::array::from_fn(|_| Policy { idle_seconds, ..half_an_hour() })
}

fn found(id: u128) -> Loaded {
    let timing = begun(Kind::User, BEGIN);
    Loaded { id: Uuid::from_u128(id), hash: HASH, timing, anchor: BEGIN, user: Some((7, "abel.tuter".into())) }
}

/// A poll sent and answered at an instant, its rows applied.
fn poll(cache: &Cache, seconds: i64, rows: Vec<Invalidation>, policies: Option<PolicySet>) {
    let polled = Polled { rows, policies, now: BEGIN + seconds * SECOND };
    cache.apply(cache.begin_poll(at(seconds), false), polled, at(seconds).boot);
}

/// A cache with a lease, its first poll answered at second 0, under an idle limit of 1,000 s.
fn trusted() -> Cache {
    let cache = Cache::new(10);
    let first = Polled { rows: Vec::new(), policies: Some(policies(1_000)), now: BEGIN };
    cache.apply(cache.begin_poll(at(0), true), first, 0);
    cache
}

fn remember(cache: &Cache, id: u128, seconds: i64) -> bool {
    cache.finish_load(&cache.begin_load(Uuid::from_u128(id)), &found(id), at(seconds))
}

fn hit(cache: &Cache, id: u128, reading: Reading) -> bool {
    cache.hit(Uuid::from_u128(id), &HASH, Activity::Passive, reading).is_some()
}

#[test]
fn fault_c02_an_eviction_by_another_key_taints_the_load() {
    let rows = [
        (Invalidation::Session(Uuid::from_u128(1)), false),
        (Invalidation::User(7), false),
        // A load does not know its user before it is answered: anybody's row taints it.
        (Invalidation::User(8), false),
        (Invalidation::Everything, false),
        (Invalidation::Session(Uuid::from_u128(2)), true),
        (Invalidation::Key(Uuid::from_u128(1)), true),
        (Invalidation::Policies, true),
    ];
    for (row, remembered) in rows {
        let cache = trusted();
        let load = cache.begin_load(Uuid::from_u128(1));
        poll(&cache, 1, vec![row.clone()], None);
        assert_eq!(cache.finish_load(&load, &found(1), at(1)), remembered, "{row:?}");
        assert_eq!(hit(&cache, 1, at(1)), remembered, "{row:?}");
        drop(load);
        assert!(remember(&cache, 1, 1), "the next load is not tainted: {row:?}");
    }
    let careless = trusted().without(Some(Rule::Taint));
    let load = careless.begin_load(Uuid::from_u128(1));
    poll(&careless, 1, vec![Invalidation::User(7)], None);
    assert!(careless.finish_load(&load, &found(1), at(1)) && hit(&careless, 1, at(1)), "the rule is not needed");
}

#[test]
fn fault_c02_a_user_takes_every_entry_of_theirs_along() {
    let cache = trusted();
    assert!(remember(&cache, 1, 0) && remember(&cache, 2, 0));
    poll(&cache, 1, vec![Invalidation::User(8)], None);
    assert!(hit(&cache, 1, at(1)) && hit(&cache, 2, at(1)));
    poll(&cache, 1, vec![Invalidation::User(7)], None);
    assert!(!hit(&cache, 1, at(1)) && !hit(&cache, 2, at(1)));
}

#[test]
fn fault_c12_fault_c13_a_lease_ends_by_the_clock_that_never_stands_still() {
    let cache = trusted();
    assert!(remember(&cache, 1, 0));
    assert!(hit(&cache, 1, Reading { boot: LEASE - 1, offset: 0 }));
    assert!(!hit(&cache, 1, Reading { boot: LEASE, offset: 0 }));
    assert!(!remember(&cache, 2, LEASE / SECOND), "nothing is remembered without a lease");
    // No clock that sleeps with the machine has a part in it.
    for file in ["src/cache", "src/clock.rs", "src/cluster/barrier.rs"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let files: Vec<_> = if path.is_dir() {
            std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect()
        } else {
            vec![path]
        };
        for file in files {
            let code = std::fs::read_to_string(&file).unwrap();
            let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            assert!(!code.contains("Instant"), "{}", file.display());
        }
    }
}

#[test]
fn fault_c14_a_wall_clock_set_right_voids_the_lease_until_the_next_poll() {
    let cache = trusted();
    assert!(remember(&cache, 1, 0));
    for (offset, accepted) in [(100_000, true), (-100_000, true), (100_001, false), (-100_001, false)] {
        assert_eq!(hit(&cache, 1, Reading { boot: SECOND, offset }), accepted, "{offset} us");
    }
    let shifted = Reading { boot: SECOND, offset: 3 * SECOND };
    let polled = || Polled { rows: Vec::new(), policies: None, now: BEGIN + 4 * SECOND };
    cache.apply(cache.begin_poll(shifted, false), polled(), shifted.boot);
    assert!(hit(&cache, 1, shifted), "a poll sent afterwards counts again");

    // Paused between a poll and its answer: what the clocks show when it is applied is right again, the lease is not.
    let cache = trusted();
    assert!(remember(&cache, 1, 0));
    cache.apply(cache.begin_poll(at(1), false), polled(), shifted.boot);
    assert!(!hit(&cache, 1, shifted));
}

#[test]
fn fault_c22_what_a_node_ends_itself_it_forgets_with_the_loads_in_flight() {
    let cache = trusted();
    assert!(remember(&cache, 1, 0) && remember(&cache, 2, 0));
    let (load, other) = (cache.begin_load(Uuid::from_u128(1)), cache.begin_load(Uuid::from_u128(3)));
    cache.forget(Uuid::from_u128(1));
    assert!(!hit(&cache, 1, at(0)) && hit(&cache, 2, at(0)));
    assert!(!cache.finish_load(&load, &found(1), at(0)), "the load began before");
    assert!(cache.finish_load(&other, &found(3), at(0)));
}

#[test]
fn fault_c39_without_a_young_base_of_time_memory_does_not_answer() {
    let cache = trusted();
    assert!(remember(&cache, 1, 0));
    // Leases come and go, but every answer takes longer than tells the time.
    for second in 1..=60 {
        let sent = at(second);
        let polled = Polled { rows: Vec::new(), policies: None, now: BEGIN + second * SECOND };
        cache.apply(cache.begin_poll(sent, false), polled, sent.boot + 50_001);
        assert_eq!(hit(&cache, 1, sent), second < 60, "at {second} s");
    }
    assert!(!remember(&cache, 2, 60), "nor does it remember");
    poll(&cache, 61, Vec::new(), None);
    assert!(hit(&cache, 1, at(61)));
}

#[test]
fn fault_c40_a_shorter_limit_is_in_force_at_once_and_empties_nothing() {
    let cache = trusted();
    assert!(remember(&cache, 1, 0));
    let mut later = found(2);
    later.anchor = BEGIN + 500 * SECOND;
    poll(&cache, 600, Vec::new(), None);
    assert!(cache.finish_load(&cache.begin_load(later.id), &later, at(600)));
    assert!(hit(&cache, 1, at(600)) && hit(&cache, 2, at(600)));
    poll(&cache, 600, vec![Invalidation::Policies], Some(policies(300)));
    assert!(!hit(&cache, 1, at(600)), "idle for 600 s");
    assert!(hit(&cache, 2, at(600)), "idle for 100 s");
}

#[test]
fn fault_c40_a_longer_limit_revives_nothing_that_was_over_in_memory() {
    let cache = trusted();
    assert!(remember(&cache, 1, 0));
    poll(&cache, 1_001, Vec::new(), None);
    assert!(!hit(&cache, 1, at(1_001)), "over, but still in memory");
    poll(&cache, 1_001, vec![Invalidation::Policies], Some(policies(10_000)));
    assert!(!hit(&cache, 1, at(1_001)), "over is over");
    // One that was not over goes on.
    let cache = trusted();
    assert!(remember(&cache, 1, 0));
    poll(&cache, 500, vec![Invalidation::Policies], Some(policies(10_000)));
    assert!(hit(&cache, 1, at(500)));
    poll(&cache, 2_000, Vec::new(), None);
    assert!(hit(&cache, 1, at(2_000)));
}

/// Between the two there were limits that this node never saw.
#[test]
fn fault_c40_two_changes_in_one_poll_empty_the_cache() {
    let cache = trusted();
    assert!(remember(&cache, 1, 0));
    let twice = vec![Invalidation::Policies, Invalidation::Policies];
    poll(&cache, 1, twice, Some(policies(1_000)));
    assert!(!hit(&cache, 1, at(1)));
    assert!(remember(&cache, 1, 1) && hit(&cache, 1, at(1)));
}
