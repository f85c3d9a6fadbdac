//! `tenure doctor`.

use clap::Args;

use super::database::Database;
use super::output::{document, line};
use super::{Failure, Global};
use crate::clock;
use crate::store::{Area, Examination, ExamineSettings, Finding, Severity, examine};

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
    if examination.severity == Severity::Problem { Err(Failure::Answered(5)) } else { Ok(()) }
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
            if !finding.advice.is_empty() {
                line(&format!("{indent}{:<7}  -> {}", "", finding.advice))?;
            }
        }
    }
    line("")?;
    line(&verdict(&examination.areas))
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

/// The last line: how many of each.
fn verdict(areas: &[Area]) -> String {
    let number = |severity| areas.iter().flat_map(|area| &area.findings).filter(|finding| finding.severity == severity).count();
    let counts: Vec<String> = [(Severity::Problem, "problem"), (Severity::Warning, "warning"), (Severity::Note, "note")]
        .into_iter()
        .map(|(severity, noun)| (number(severity), noun))
        .filter(|(number, _)| *number > 0)
        .map(|(number, noun)| format!("{number} {noun}{}", if number == 1 { "" } else { "s" }))
        .collect();
    if counts.is_empty() { "Nothing to report.".to_owned() } else { format!("{}.", counts.join(", ")) }
}
