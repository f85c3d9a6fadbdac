//! `tenure doctor`.

use clap::Args;

use super::database::Database;
use super::output::{document, line};
use super::{Failure, Global};
use crate::clock;
use crate::store::{Examination, ExamineSettings, Finding, Severity, examine};

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Connections of each node, to compare with what the server admits.
    #[arg(long, env = "TENURE_CONNECTIONS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=200))]
    connections: u32,
}

pub(super) async fn run(global: &Global, args: &DoctorArgs) -> Result<(), Failure> {
    let database = Database::open(global).await?;
    let wall = || {
        let reading = clock::read();
        reading.boot + reading.offset
    };
    let settings = ExamineSettings { connect: &database.settings, node_connections: args.connections, wall: &wall };
    let examined = examine(&settings).await;
    database.close().await?;
    let examination = examined?;
    if global.json {
        document(&examination)?;
    } else {
        show(&examination)?;
    }
    if examination.severity == Severity::Problem {
        Err(Failure::Answered(5))
    } else if examination.ran_out_of_time() {
        // Nothing bad was found where little was looked at: that is no clean bill.
        Err(Failure::Answered(6))
    } else {
        Ok(())
    }
}

/// One line for an area as it should be; a heading and its findings for any other.
fn show(examination: &Examination) -> Result<(), Failure> {
    let width = examination.areas.iter().map(|area| area.area.len()).max().unwrap_or(0);
    for area in &examination.areas {
        let word = if area.was_examined() { word(area.severity) } else { "-" };
        line(format!("{:<width$}  {word:<7}  {}", area.area, area.summary).trim_end())?;
        let indent = " ".repeat(width + 2);
        for finding in &area.findings {
            line(&format!("{indent}{:<7}  {}", word_of(finding), finding.message))?;
            // A statement may have lines: they stay what they are, below each other.
            for (number, text) in finding.advice.lines().enumerate() {
                let arrow = if number == 0 { "->" } else { "  " };
                line(format!("{indent}{:<7}  {arrow} {text}", "").trim_end())?;
            }
        }
    }
    line("")?;
    line(&verdict(examination))
}

fn word_of(finding: &Finding) -> &'static str {
    word(finding.severity)
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "ok",
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Problem => "problem",
    }
}

/// The last line: how many of each, and whether that is all.
fn verdict(examination: &Examination) -> String {
    let number = |severity| {
        examination.areas.iter().flat_map(|area| &area.findings).filter(|finding| finding.severity == severity).count()
    };
    let counted = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
    let counts: Vec<String> = [(Severity::Problem, "problem"), (Severity::Warning, "warning"), (Severity::Note, "note")]
        .into_iter()
        .map(|(severity, noun)| (number(severity), noun))
        .filter(|(number, _)| *number > 0)
        .map(|(number, noun)| counted(number, noun))
        .collect();
    let counts = if counts.is_empty() { "Nothing to report.".to_owned() } else { format!("{}.", counts.join(", ")) };
    match examination.unanswered {
        0 => counts,
        unanswered => format!("{counts} Not everything was examined: no answer to {}.", counted(unanswered, "question")),
    }
}
