//! The machine's clocks, for leases and for the time since a poll; what time it *is* says `tenure.now()` alone.
//!
//! Rust's `Instant` stands still while the machine sleeps, and a lease must not: hence `CLOCK_BOOTTIME`.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of `CLOCK_BOOTTIME`: never stepped, going on through a suspend.
pub type Boot = i64;

/// One reading of the machine's clocks, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reading {
    /// Time since the machine started, sleep included.
    pub boot: Boot,
    /// Wall clock minus `boot`. It changes when the wall clock is stepped, which is how a guest that was paused with its clocks
    /// stopped is found out (C14).
    pub offset: i64,
}

/// Reads the clocks.
pub fn read() -> Reading {
    let wall = micros(ClockId::Realtime);
    let boot = boot();
    Reading { boot, offset: wall - boot + stepped() }
}

/// Reads `CLOCK_BOOTTIME` alone.
pub fn boot() -> Boot {
    micros(ClockId::Boottime)
}

fn micros(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[cfg(any(test, feature = "test-util"))]
static STEPPED: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);

/// Steps the wall clock as this process sees it, by so many microseconds.
#[cfg(any(test, feature = "test-util"))]
pub fn step_wall(micros: i64) {
    STEPPED.fetch_add(micros, std::sync::atomic::Ordering::Relaxed);
}

#[cfg(any(test, feature = "test-util"))]
fn stepped() -> i64 {
    STEPPED.load(std::sync::atomic::Ordering::Relaxed)
}

#[cfg(not(any(test, feature = "test-util")))]
const fn stepped() -> i64 {
    0
}
