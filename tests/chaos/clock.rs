//! The one clock of a history: boot time, which every process of a machine shares and no wall clock moves.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of `CLOCK_BOOTTIME`.
pub type Micros = u64;

/// A second.
pub const SECOND: Micros = 1_000_000;
/// A millisecond.
pub const MILLISECOND: Micros = 1_000;

/// Now.
pub fn now() -> Micros {
    let at = clock_gettime(ClockId::Boottime);
    u64::try_from(at.tv_sec).unwrap_or(0) * SECOND + u64::try_from(at.tv_nsec).unwrap_or(0) / 1_000
}

/// Seconds between two instants, for people.
pub fn seconds(micros: Micros) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}
