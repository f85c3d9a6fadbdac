//! `tenure import tenure`: what `tenure export` wrote.

use std::path::PathBuf;

use clap::Args;

use super::super::database::{actor, operator};
use super::super::{Failure, Global};
use super::PropertyArgs;
use super::flow::{blocking, from_file};
use super::report::Report;
use crate::import::Backup;
use crate::store::{ImportWay, PropertyWay};

#[derive(Debug, Args)]
pub(in crate::cli) struct TenureArgs {
    /// The export, also compressed with gzip.
    file: PathBuf,
    /// Say what would be imported, and write nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    properties: PropertyArgs,
    /// Write a line of JSON into this file for each line that was left out. The report of an earlier run goes on.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(super) async fn run(global: &Global, args: &TenureArgs) -> Result<(), Failure> {
    let operator = operator();
    // It was in force where the file comes from: what was forced there is not refused here.
    let properties = PropertyWay { force_relations: true, ..args.properties.way(args.dry_run)? };
    let path = args.file.clone();
    let backup = blocking(move || Backup::verify(&path)).await??;
    let report = Report::new(args.report.as_deref(), args.dry_run);
    let lines = backup.counts.values().sum();
    let way = ImportWay { source: "tenure", strict_idle: true, ignore_case: false, rehearse: args.dry_run };
    from_file(global, report, lines, way, properties, actor(&operator), move |take| backup.each(take)).await
}
