//! Waiting without leaving anyone in the dark.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, interval_at};

use super::Progress;

/// Awaits some work, telling every second that it still goes on.
pub(super) async fn with_progress<T>(work: impl Future<Output = T>, progress: Progress<'_>, doing: &str) -> T {
    let mut work = pin!(work);
    let begun = Instant::now();
    let second = Duration::from_secs(1);
    let mut tick = interval_at(begun + second, second);
    progress(doing);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = tick.tick() => progress(&format!("{doing} ({} s)", begun.elapsed().as_secs())),
        }
    }
}
