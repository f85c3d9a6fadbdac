//! Counts by the hour as a chart: columns that are stacked by what they count. The table below a chart says the same in numbers;
//! nothing is in the picture alone.

use chrono::{DateTime, Timelike, Utc};

use crate::store::{HOURS, Hours};

/// The picture in units of its own: a column is so wide, the gap to the next, and the height of the highest one.
const COLUMN: usize = 22;
const GAP: usize = 4;
const HEIGHT: f64 = 160.0;
/// Colours that the style has. What is beyond shares the last.
const COLOURS: usize = 6;

/// A chart.
pub(super) struct Chart {
    pub(super) id: &'static str,
    pub(super) heading: &'static str,
    /// What the columns count, in a sentence.
    pub(super) told: String,
    pub(super) series: Vec<Series>,
    pub(super) parts: Vec<Part>,
    /// Width of the picture.
    pub(super) width: usize,
    /// The value at the top.
    pub(super) top: i64,
    /// Names of the hours, the oldest first.
    pub(super) hours: Vec<String>,
    /// Hour by hour: its name, and the count of each series.
    pub(super) table: Vec<(String, Vec<i64>)>,
}

/// What is counted in one colour.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) colour: usize,
    /// What the legend says of it.
    pub(super) total: i64,
}

/// A piece of a column.
pub(super) struct Part {
    pub(super) x: usize,
    pub(super) y: String,
    pub(super) height: String,
    pub(super) colour: usize,
}

/// What the number beside a name of the legend is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Total {
    /// Of the last hour: what is counted is there now.
    Last,
    /// Of all hours: what is counted happened in them.
    Sum,
}

impl Chart {
    pub(super) fn of(
        (id, heading): (&'static str, &'static str),
        counted: Vec<(String, Hours)>,
        total: Total,
        since: DateTime<Utc>,
    ) -> Self {
        // What never happened takes no place in the legend; the others keep their colours.
        let counted: Vec<_> =
            counted.into_iter().zip(0..).filter(|((_, hours), _)| hours.iter().any(|count| *count > 0)).collect();
        let of = |hours: &Hours| if total == Total::Sum { hours.iter().sum() } else { hours[HOURS - 1] };
        let highest = (0..HOURS).map(|hour| counted.iter().map(|((_, hours), _)| hours[hour]).sum::<i64>()).max().unwrap_or(0);
        let top = rounded_up(highest);
        let mut parts = Vec::new();
        for hour in 0..HOURS {
            let mut below = 0;
            for ((_, hours), colour) in counted.iter().filter(|((_, hours), _)| hours[hour] > 0) {
                below += hours[hour];
                parts.push(Part {
                    x: hour * (COLUMN + GAP),
                    y: unit(HEIGHT - share(below, top)),
                    height: unit(share(hours[hour], top)),
                    colour: (*colour).min(COLOURS - 1),
                });
            }
        }
        let hours: Vec<_> = (since.hour()..).take(HOURS).map(|hour| format!("{:02}:00", hour % 24)).collect();
        let table =
            hours.iter().enumerate().rev().map(|(at, hour)| (hour.clone(), counted.iter().map(|((_, of), _)| of[at]).collect()));
        let table = table.collect();
        let series: Vec<_> = counted
            .iter()
            .map(|((name, hours), colour)| Series { name: name.clone(), colour: (*colour).min(COLOURS - 1), total: of(hours) })
            .collect();
        let named = series.iter().map(|series| format!("{} {}", series.name, series.total)).collect::<Vec<_>>().join(", ");
        let all = series.iter().map(|series| series.total).sum::<i64>();
        let when = if total == Total::Sum { "in 24 hours" } else { "now" };
        let told = if named.is_empty() { format!("none {when}") } else { format!("{all} {when}: {named}") };
        Self { id, heading, told, series, parts, width: HOURS * (COLUMN + GAP) - GAP, top, hours, table }
    }
}

fn share(count: i64, top: i64) -> f64 {
    // Counts of sessions are far below where a float skips integers.
    #[expect(clippy::cast_precision_loss)]
    let share = count as f64 / top as f64;
    share * HEIGHT
}

fn unit(value: f64) -> String {
    format!("{value:.2}")
}

/// The next of 1, 2, 5, 10, 20, and so on: an axis ends at a number that is easy to read.
fn rounded_up(highest: i64) -> i64 {
    let mut power = 1;
    loop {
        for step in [1, 2, 5] {
            if step * power >= highest {
                return step * power;
            }
        }
        power *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_stacked_to_their_sum_and_what_never_happened_is_left_out() {
        let mut hours: [Hours; 3] = [[0; HOURS]; 3];
        (hours[0][23], hours[1][23], hours[1][0]) = (30, 10, 4);
        let counted = ["user", "guest", "mobile"].map(str::to_owned).into_iter().zip(hours).collect();
        let chart = Chart::of(("live", "Live"), counted, Total::Last, DateTime::UNIX_EPOCH);
        assert_eq!((chart.top, chart.parts.len(), chart.series.len()), (50, 3, 2));
        assert_eq!((&*chart.parts[1].y, &*chart.parts[1].height), ("64.00", "96.00"), "30 of 50");
        assert_eq!((&*chart.parts[2].y, &*chart.parts[2].height), ("32.00", "32.00"), "10 upon it");
        assert_eq!((&*chart.told, chart.table[0].0.as_str()), ("40 now: user 30, guest 10", "23:00"));
        assert_eq!((chart.table[23].1.as_slice(), chart.table.len()), ([0, 4].as_slice(), HOURS));
    }

    #[test]
    fn an_axis_ends_at_a_round_number() {
        for (highest, top) in [(0, 1), (1, 1), (3, 5), (6, 10), (11, 20), (99_999, 100_000), (100_001, 200_000)] {
            assert_eq!(rounded_up(highest), top);
        }
    }
}
