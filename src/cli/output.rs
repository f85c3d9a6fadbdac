//! Output: one JSON document, or a table for people.

use std::io::Write;

use serde::Serialize;

use super::Failure;

/// Prints one JSON document.
pub(super) fn document(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}

/// Prints aligned columns under their names; a control character in a cell is shown, not sent to the terminal.
pub(super) fn table(names: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).chain([names[column].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let mut out = std::io::stdout().lock();
    let mut line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())
    };
    line(&names.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>())?;
    for row in &rows {
        line(row)?;
    }
    if rows.is_empty() {
        note("(none)");
    }
    Ok(())
}

/// Prints one line.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{}", visible(text))?;
    Ok(())
}

/// Says something on stderr; a reader that went away is no reason to fail.
pub(super) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// An optional value, a dash for none.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// An instant for people, to the second.
pub(super) fn instant(at: Option<chrono::DateTime<chrono::Utc>>) -> String {
    or_dash(at.map(|at| at.format("%Y-%m-%d %H:%M:%SZ")))
}

fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
