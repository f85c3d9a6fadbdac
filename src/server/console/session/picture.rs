//! *Explain* as a picture: one time axis from the beginning of the session, a bar for each deadline that applies, and now.
//!
//! The table below the picture says the same in words; nothing is in the picture alone.

use chrono::{DateTime, Utc};

use super::super::shown;
use crate::session::{Explanation, SessionView};

/// Width of the axis, and where it begins; units of the picture.
const AXIS: f64 = 640.0;
const LEFT: f64 = 130.0;
/// Height of a line.
const LINE: u32 = 34;
/// Where the first line begins; above it is the word for now.
const TOP: u32 = 24;
/// A bar that lasts next to nothing is still to be seen.
const THIN: f64 = 2.0;

/// A picture in units of its own; the page gives it its size.
pub(super) struct Picture {
    pub(super) bars: Vec<Bar>,
    /// Where now is; `None` for a session that is over.
    pub(super) now: Option<String>,
    pub(super) height: u32,
    pub(super) from: String,
    pub(super) to: String,
    /// The whole of it in a sentence, for who does not see it.
    pub(super) told: String,
}

/// From where a limit is counted to where it ends the session.
pub(super) struct Bar {
    pub(super) limit: String,
    pub(super) x: String,
    pub(super) width: String,
    /// Where its end is.
    pub(super) end: String,
    pub(super) top: u32,
    pub(super) binds: bool,
}

impl Picture {
    /// `None` when no limit applies, or applied.
    pub(super) fn of(session: &SessionView, explanation: &Explanation, now: DateTime<Utc>) -> Option<Self> {
        let ends: Vec<_> =
            explanation.candidates.iter().filter_map(|candidate| Some((candidate, candidate.deadline_at?))).collect();
        let first = session.created_at;
        let last = ends.iter().map(|(_, deadline)| *deadline).max()?.max(session.ended_at.unwrap_or(first));
        let axis = Axis { first, whole: seconds(last, first).max(1.0) };
        let live = session.ended_at.is_none();
        let bars: Vec<_> = ends
            .iter()
            .zip(0..)
            .map(|((candidate, deadline), line)| {
                let from = match candidate.limit {
                    // Activity moves these on; the others are counted from the creation.
                    "idle" | "mobile_window" => session.last_activity_at,
                    _ => first,
                };
                let (x, end) = (axis.place(from), axis.place(*deadline));
                Bar {
                    limit: shown::words(candidate.limit),
                    x: unit(x),
                    width: unit((end - x).max(THIN)),
                    end: unit(end),
                    top: line * LINE + TOP,
                    binds: explanation.binding == Some(candidate.limit),
                }
            })
            .collect();
        let told = ends
            .iter()
            .map(|(candidate, deadline)| {
                let binds = if explanation.binding == Some(candidate.limit) { ", which comes first" } else { "" };
                format!("{} at {}{binds}", shown::words(candidate.limit), shown::instant(*deadline))
            })
            .collect::<Vec<_>>()
            .join("; ");
        Some(Self {
            height: u32::try_from(bars.len()).unwrap_or(1) * LINE + TOP + 32,
            now: live.then(|| unit(axis.place(now))),
            bars,
            from: shown::instant(first),
            to: shown::instant(last),
            told,
        })
    }

    /// Where the axis is drawn.
    pub(super) fn floor(&self) -> u32 {
        self.height - 32
    }
}

struct Axis {
    first: DateTime<Utc>,
    whole: f64,
}

impl Axis {
    fn place(&self, at: DateTime<Utc>) -> f64 {
        LEFT + AXIS * (seconds(at, self.first) / self.whole).clamp(0.0, 1.0)
    }
}

fn seconds(later: DateTime<Utc>, earlier: DateTime<Utc>) -> f64 {
    (later - earlier).as_seconds_f64()
}

fn unit(value: f64) -> String {
    format!("{value:.1}")
}
