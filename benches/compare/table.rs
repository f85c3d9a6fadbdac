//! The one table: every line with its ratio before the numbers it comes from.

use std::fmt::Write as _;

/// What a ratio is held to.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// At least so much of the reference.
    AtLeast(f64),
    /// At most so much of the reference; with a limit as the reference, 1.
    AtMost(f64),
    /// Reported beside the gates.
    None,
}

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    /// `G1` to `G9`, or `R`.
    pub line: &'static str,
    /// What was measured, with its unit.
    pub what: String,
    /// Ours.
    pub ours: f64,
    /// What ours is compared with.
    pub reference: f64,
    /// What the reference is.
    pub against: String,
    /// Ours by the reference, median of the rounds.
    pub ratio: f64,
    /// Smallest and largest ratio of a round.
    pub spread: Option<(f64, f64)>,
    /// The goal.
    pub goal: Goal,
}

impl Row {
    /// A line of one number against a limit.
    pub fn limit(line: &'static str, what: impl Into<String>, ours: f64, limit: f64, against: &str) -> Self {
        // Nothing against a limit of nothing is exactly the limit.
        let ratio = if ours.max(limit) <= 0.0 { 1.0 } else { ours / limit };
        let (what, against) = (what.into(), against.to_owned());
        Self { line, what, ours, reference: limit, against, ratio, spread: None, goal: Goal::AtMost(1.0) }
    }

    fn met(&self) -> bool {
        match self.goal {
            // A ratio that is no number meets nothing.
            Goal::AtLeast(goal) => self.ratio >= goal,
            Goal::AtMost(goal) => self.ratio <= goal,
            Goal::None => true,
        }
    }
}

/// What was measured and what was left out.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
    left_out: Vec<(&'static str, String)>,
}

impl Table {
    /// Adds a line, and shows it to whoever waits.
    pub fn add(&mut self, row: Row) {
        eprintln!("    {} {}: {:.2} ({} against {})", row.line, row.what, row.ratio, number(row.ours), number(row.reference));
        self.rows.push(row);
    }

    /// Notes that a line could not be measured here.
    pub fn leave_out(&mut self, line: &'static str, why: impl Into<String>) {
        self.left_out.push((line, why.into()));
    }

    /// Whether every gate that was measured is met, and none was left out.
    pub fn passed(&self) -> bool {
        self.left_out.is_empty() && self.rows.iter().all(Row::met)
    }

    /// The table as text.
    pub fn text(&mut self) -> String {
        self.rows.sort_by_key(|row| row.line);
        let width = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0).max(4);
        let mut text = format!(
            "{:<4} {:>7} {:>16} {:<8} {:<6}  {:<width$} {:>9} {:>9}  against\n",
            "line", "ratio", "rounds", "goal", "", "what", "ours", "reference"
        );
        for row in &self.rows {
            let goal = match row.goal {
                Goal::AtLeast(goal) => format!(">= {goal:.2}"),
                Goal::AtMost(goal) => format!("<= {goal:.2}"),
                Goal::None => String::new(),
            };
            let verdict = match (row.goal, row.met()) {
                (Goal::None, _) => "",
                (_, true) => "ok",
                (_, false) => "MISSED",
            };
            let spread = row.spread.map(|(least, most)| format!("{least:.2} to {most:.2}")).unwrap_or_default();
            let _ = writeln!(
                text,
                "{:<4} {:>7.2} {spread:>16} {goal:<8} {verdict:<6}  {:<width$} {:>9} {:>9}  {}",
                row.line,
                row.ratio,
                row.what,
                number(row.ours),
                number(row.reference),
                row.against
            );
        }
        for (line, why) in &self.left_out {
            let _ = writeln!(text, "{line:<4} not measured: {why}");
        }
        text
    }
}

/// A number in few characters.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.2} M", value / 1e6),
        size if size >= 1e4 => format!("{:.1} k", value / 1e3),
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}
