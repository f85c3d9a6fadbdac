//! Whose turn it is, and what the rounds come to.
//!
//! The machine is shared and its pace changes within seconds, so both sides of a ratio are measured in turn, each round
//! gives a ratio of its own, and the median of those is what counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::table::{Goal, Row};

/// The numbers of both sides, round by round.
#[derive(Debug, Default)]
pub struct Rounds {
    ours: Vec<f64>,
    reference: Vec<f64>,
}

impl Rounds {
    /// Measures both sides so many times; who goes first changes from round to round.
    pub async fn measure(count: usize, mut ours: impl AsyncFnMut() -> f64, mut reference: impl AsyncFnMut() -> f64) -> Self {
        let mut rounds = Self::default();
        for round in 0..count {
            if round % 2 == 0 {
                rounds.ours.push(ours().await);
                rounds.reference.push(reference().await);
            } else {
                rounds.reference.push(reference().await);
                rounds.ours.push(ours().await);
            }
        }
        rounds
    }

    /// The line of the table.
    pub fn row(&self, line: &'static str, what: impl Into<String>, against: impl Into<String>, goal: Goal) -> Row {
        let ratios: Vec<f64> = self.ours.iter().zip(&self.reference).map(|(ours, reference)| ours / reference).collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Row {
            line,
            what: what.into(),
            ours: median(&self.ours),
            reference: median(&self.reference),
            against: against.into(),
            ratio: median(&ratios),
            spread: Some((least, most)),
            goal,
        }
    }

    /// The median of our side.
    pub fn ours(&self) -> f64 {
        median(&self.ours)
    }
}

/// The median.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The time that a share of the calls did not exceed, in milliseconds.
pub fn percentile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let index = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1)) - 1;
    times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}

/// Numbers in no order, from a seed: the same ones for both sides.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

/// Accepted calls a second of `work` in two threads for a while, with numbers below `bound`. One that memory could not answer
/// has cost its time and does not count.
pub fn two_threads(time: Duration, bound: usize, work: impl Fn(usize) -> bool + Sync) -> f64 {
    let calls = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (work, calls) = (&work, &calls);
            scope.spawn(move || {
                let mut random = Random::new(thread);
                let mut done = 0;
                while begun.elapsed() < time {
                    // The clock of the loop is read rarely: it is no part of what is measured.
                    for _ in 0..256 {
                        done += u64::from(work(random.below(bound)));
                    }
                }
                calls.fetch_add(done, Ordering::Relaxed);
            });
        }
    });
    calls.into_inner() as f64 / begun.elapsed().as_secs_f64()
}

/// What tasks did together.
#[derive(Debug)]
pub struct Done {
    /// How long each call took.
    pub times: Vec<Duration>,
    /// Calls a second.
    pub per_second: f64,
}

/// Runs `work` for the numbers below `bound`, each once, in so many tasks, but no longer than `time`.
pub async fn tasks<F, W>(count: usize, bound: usize, time: Duration, work: W) -> Done
where
    F: Future<Output = ()> + Send,
    W: Fn(usize) -> F + Clone + Send + 'static,
{
    let begun = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let running: Vec<_> = (0..count)
        .map(|_| {
            let (work, next) = (work.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut times = Vec::new();
                while begun.elapsed() < time {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= bound {
                        break;
                    }
                    let asked = Instant::now();
                    work(number).await;
                    times.push(asked.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in running {
        times.append(&mut task.await.unwrap());
    }
    let per_second = times.len() as f64 / begun.elapsed().as_secs_f64();
    Done { times, per_second }
}
