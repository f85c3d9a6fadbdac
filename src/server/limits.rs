//! How much of what anybody may do. Each node counts for itself, in memory; what is right and what is remembered is not limited.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::buckets::{Buckets, Rate};
use super::problem::Problem;
use crate::session::TokenHash;

/// Wrong passwords from one client address: 20 at once, 10 a minute.
const ADDRESS_LOGINS: Rate = Rate { burst: 20, every: Duration::from_secs(6) };
/// Wrong passwords for one user from one client address: 5 at once, 5 a minute.
const USER_LOGINS: Rate = Rate { burst: 5, every: Duration::from_secs(12) };
/// Wrong passwords for one user from wherever: 100 at once, 100 an hour. Much more than from one address, so that nobody keeps a
/// user out from a single place, and still nothing to guess a password with.
const USER_LOGINS_IN_ALL: Rate = Rate { burst: 100, every: Duration::from_secs(36) };
/// Checks of unknown tokens through one API key: 1,000 at once, 100 a second.
const MISSES: Rate = Rate { burst: 1_000, every: Duration::from_millis(10) };
/// Sessions started through one API key: 10,000 at once, 5,000 a second.
const CREATES: Rate = Rate { burst: 10_000, every: Duration::from_micros(200) };
/// Requests with an unknown API key from one client address: 500 at once, 50 a second.
const BAD_KEYS: Rate = Rate { burst: 500, every: Duration::from_millis(20) };

/// The buckets of a node.
#[derive(Debug)]
pub(super) struct Limits {
    address_logins: Buckets<IpAddr>,
    user_logins: Buckets<(String, Option<IpAddr>)>,
    user_logins_in_all: Buckets<String>,
    misses: Buckets<Uuid>,
    creates: Buckets<Uuid>,
    bad_keys: Buckets<IpAddr>,
    /// Digests of the API keys that were good when last asked for: no flood keeps them out. No more than exist.
    good_keys: Mutex<HashSet<[u8; 32]>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            address_logins: Buckets::new(ADDRESS_LOGINS),
            user_logins: Buckets::new(USER_LOGINS),
            user_logins_in_all: Buckets::new(USER_LOGINS_IN_ALL),
            misses: Buckets::new(MISSES),
            creates: Buckets::new(CREATES),
            bad_keys: Buckets::new(BAD_KEYS),
            good_keys: Mutex::default(),
        }
    }
}

impl Limits {
    /// Counts an attempt to sign in by password as a failed one, until [`Limits::excuse`] says otherwise: many at once must not
    /// all pass before the first has failed.
    pub(super) fn attempt(&self, address: Option<IpAddr>, user: &str, now: Instant) -> Result<(), Problem> {
        let (user, address) = (user.to_lowercase(), address.map(network));
        let of_user = |wait| refused("login_user", "sign-in attempts for this user", wait);
        self.user_logins.take((user.clone(), address), now).map_err(of_user)?;
        self.user_logins_in_all.take(user.clone(), now).map_err(|wait| {
            self.user_logins.give_back((user.clone(), address), now);
            of_user(wait)
        })?;
        let Some(address) = address else { return Ok(()) };
        self.address_logins.take(address, now).map_err(|wait| {
            self.user_logins.give_back((user.clone(), Some(address)), now);
            self.user_logins_in_all.give_back(user, now);
            refused("login_address", "sign-in attempts from this address", wait)
        })
    }

    /// The attempt did not fail for its password.
    pub(super) fn excuse(&self, address: Option<IpAddr>, user: &str, now: Instant) {
        let (user, address) = (user.to_lowercase(), address.map(network));
        self.user_logins.give_back((user.clone(), address), now);
        self.user_logins_in_all.give_back(user, now);
        if let Some(address) = address {
            self.address_logins.give_back(address, now);
        }
    }

    /// Counts a session that a key starts.
    pub(super) fn create(&self, key: Uuid, now: Instant) -> Result<(), Problem> {
        self.creates.take(key, now).map_err(|wait| refused("create", "new sessions through this API key", wait))
    }

    /// Whether a key may still ask PostgreSQL for a token.
    pub(super) fn may_miss(&self, key: Uuid, now: Instant) -> Result<(), Problem> {
        self.misses.look(key, now).map_err(|wait| refused("check_miss", "unknown tokens through this API key", wait))
    }

    /// Counts a token that PostgreSQL did not know.
    pub(super) fn missed(&self, key: Uuid, now: Instant) {
        let _ = self.misses.take(key, now);
    }

    /// Whether an address may still ask PostgreSQL for an API key that this node does not know as a good one.
    pub(super) fn may_present(&self, address: IpAddr, key: &TokenHash, now: Instant) -> Result<(), Problem> {
        if self.good_keys().contains(key.as_bytes()) {
            return Ok(());
        }
        self.bad_keys.look(network(address), now).map_err(|wait| refused("bad_key", "unknown API keys from this address", wait))
    }

    /// Counts an API key that PostgreSQL was asked for, unless it was good.
    pub(super) fn presented(&self, address: IpAddr, key: &TokenHash, good: bool, now: Instant) {
        if good {
            self.good_keys().insert(*key.as_bytes());
        } else {
            self.good_keys().remove(key.as_bytes());
            let _ = self.bad_keys.take(network(address), now);
        }
    }

    fn good_keys(&self) -> MutexGuard<'_, HashSet<[u8; 32]>> {
        self.good_keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(limit: &'static str, what: &str, wait: Duration) -> Problem {
    metrics::counter!("tenure_limited_total", "limit" => limit).increment(1);
    Problem::too_many_requests(what, wait)
}

/// Who is counted together: an IPv4 address, and the /64 network of an IPv6 one, which is what one customer gets.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(limits: &Limits, address: &str, user: &str, now: Instant) -> usize {
        (0..100).take_while(|_| limits.attempt(Some(address.parse().unwrap()), user, now).is_ok()).count()
    }

    #[test]
    fn failed_sign_ins_of_a_user_are_limited_wherever_they_come_from() {
        let limits = Limits::default();
        let start = Instant::now();
        assert_eq!(attempts(&limits, "203.0.113.1", "abel.tuter", start), 5);
        assert_eq!(attempts(&limits, "203.0.113.1", "ABEL.Tuter", start), 0);
        assert_eq!(attempts(&limits, "203.0.113.1", "abel.tuter", start + Duration::from_secs(12)), 1);
        assert_eq!(attempts(&limits, "203.0.113.1", "abel.tuter", start + Duration::from_secs(72)), 5, "five a minute");
        // Somebody who keeps guessing does not keep the user out elsewhere; many who do share a hundred.
        assert_eq!(attempts(&limits, "203.0.113.2", "abel.tuter", start), 5);
        let elsewhere = (3..100).map(|n| attempts(&limits, &format!("203.0.113.{n}"), "abel.tuter", start)).sum::<usize>();
        assert!((80..=95).contains(&elsewhere), "{elsewhere}");
    }

    #[test]
    fn failed_sign_ins_from_an_address_are_limited_whoever_they_are_for() {
        let limits = Limits::default();
        let start = Instant::now();
        let users = |from: usize| (from..from + 50).map(|n| format!("u{n}"));
        let from = |address: &str, first: usize, now: Instant| {
            users(first).filter(|user| limits.attempt(Some(address.parse().unwrap()), user, now).is_ok()).count()
        };
        assert_eq!(from("203.0.113.1", 0, start), 20);
        assert_eq!(from("203.0.113.1", 100, start + Duration::from_mins(1)), 10, "ten a minute");
        assert_eq!(from("2001:db8::1", 200, start), 20);
        assert_eq!(from("2001:db8::2", 300, start), 0, "one network");
        assert_eq!(from("2001:db8:0:1::2", 400, start), 20, "another");
        // What the address was refused did not count for the user.
        assert_eq!(attempts(&limits, "203.0.113.9", "u349", start), 5);
    }

    #[test]
    fn the_right_password_is_never_limited() {
        let limits = Limits::default();
        let start = Instant::now();
        let address = Some("203.0.113.1".parse().unwrap());
        for _ in 0..10_000 {
            assert!(limits.attempt(address, "abel.tuter", start).is_ok());
            limits.excuse(address, "Abel.tuter", start);
        }
    }

    #[test]
    fn real_load_meets_no_limit() {
        let limits = Limits::default();
        let key = Uuid::nil();
        let start = Instant::now();
        for n in 0..40_000 {
            let now = start + Duration::from_micros(250 * n);
            assert!(limits.create(key, now).is_ok(), "4,000 sign-ins a second for ten seconds");
            if n % 25 == 0 {
                limits.missed(key, now);
            }
            assert!(limits.may_miss(key, now).is_ok(), "160 strangers a second");
        }
        (0..100_000).for_each(|_| limits.missed(key, start));
        assert!(limits.may_miss(key, start).is_err());
        assert!(limits.may_miss(Uuid::max(), start).is_ok(), "another application is not concerned");
        assert!(limits.may_miss(key, start + Duration::from_mins(1)).is_ok());
        assert!((0..20_000).any(|_| limits.create(Uuid::max(), start).is_err()));
    }
}
