//! `tenure import servicenow`: what ServiceNow exported of its users, properties and OAuth entities.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::super::database::{actor, operator};
use super::super::{Failure, Global};
use super::PropertyArgs;
use super::flow::{blocking, from_file};
use super::report::Report;
use crate::import::{ReadError, Table, convert, each_record, open};
use crate::store::ImportWay;

/// The table whose records a file holds, where it does not say so itself.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum TableName {
    SysUser,
    SysProperties,
    OauthEntity,
}

impl From<TableName> for Table {
    fn from(name: TableName) -> Self {
        match name {
            TableName::SysUser => Self::Users,
            TableName::SysProperties => Self::Properties,
            TableName::OauthEntity => Self::OauthEntities,
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServicenowArgs {
    /// The file: XML of an unload or a list, CSV, or JSON; also compressed with gzip.
    file: PathBuf,
    /// Whose records they are, in CSV and JSON, which do not say it.
    #[arg(long)]
    table: Option<TableName>,
    /// Say what would be imported, and write nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    properties: PropertyArgs,
    /// Write a line of JSON into this file for each record that was left out. The report of an earlier run goes on.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(super) async fn run(global: &Global, args: &ServicenowArgs) -> Result<(), Failure> {
    let operator = operator();
    let properties = args.properties.way(args.dry_run)?;
    let (path, table) = (args.file.clone(), args.table.map(Table::from));
    let records = blocking(move || {
        let mut records = 0_u64;
        each_record(open(&path)?, &mut |record| {
            records += 1;
            // CSV and JSON have no name in their records.
            if table.is_none() && record.is_ok_and(|record| record.table.is_none()) {
                let text = "This form of export does not say which table it is of: give --table sys_user, sys_properties or oauth_entity.";
                return Err(ReadError::Data(text.to_owned()));
            }
            Ok(())
        })?;
        Ok::<_, ReadError>(records)
    })
    .await??;
    let report = Report::new(args.report.as_deref(), args.dry_run);
    let way = ImportWay { source: "servicenow", strict_idle: true, ignore_case: false, rehearse: args.dry_run };
    let path = args.file.clone();
    from_file(global, report, records, way, properties, actor(&operator), move |take| {
        each_record(open(&path)?, &mut |record| take(record.and_then(|record| convert(&record, table))))
    })
    .await
}
