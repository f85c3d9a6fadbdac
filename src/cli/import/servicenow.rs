//! `tenure import servicenow`: what ServiceNow exported of its users, properties and OAuth entities. As with `tenure`, the file is
//! read twice, so that one that is truncated or damaged changes nothing.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde_json::Value;
use tokio::sync::mpsc;

use super::super::database::{actor, operator, with_manager};
use super::super::{Failure, Global};
use super::report::Report;
use super::tenure::blocking;
use crate::import::{Converted, ReadError, Remark, Table, convert, each_record, open};
use crate::manager::Manager;
use crate::store::Actor;

/// Rows of a batch, each of which is one transaction.
const BATCH: usize = 2000;
/// Most properties that the catalogue could know: a whole instance has tens of thousands of its own.
const PROPERTIES: usize = 100_000;

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
    /// Write a line of JSON into this new file for each record that was left out.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Rows that wait to be written.
#[derive(Default)]
struct Waiting {
    users: Vec<Value>,
    entities: Vec<Value>,
    /// Until the end: they are judged against each other.
    properties: Vec<Value>,
}

pub(super) async fn run(global: &Global, args: &ServicenowArgs) -> Result<(), Failure> {
    let operator = operator();
    let actor = actor(&operator);
    let mut report = Report::new(args.report.as_deref())?;
    let (path, table) = (args.file.clone(), args.table.map(Table::from));
    let records = blocking(move || {
        let mut records = 0_u64;
        each_record(open(&path)?, &mut |record| {
            records += 1;
            // CSV and JSON have no name in their records.
            match record {
                Ok(record) if record.table.is_none() && table.is_none() => Err(ReadError::Data(
                    "This form of export does not say which table it is of: give --table sys_user, sys_properties or oauth_entity."
                        .to_owned(),
                )),
                _ => Ok(()),
            }
        })?;
        Ok::<_, ReadError>(records)
    })
    .await??;
    with_manager(global, async |manager| {
        let claim = manager.store().claim_import().await?;
        let done = import(manager, args, table, records, actor, &mut report).await;
        claim.release().await;
        done?;
        report.finish(global.json, args.dry_run, true)
    })
    .await
}

async fn import(
    manager: &Manager,
    args: &ServicenowArgs,
    table: Option<Table>,
    records: u64,
    actor: Actor<'_>,
    report: &mut Report,
) -> Result<(), Failure> {
    let progress = ProgressBar::new(records);
    let (sender, receiver) = mpsc::channel(BATCH);
    let path = args.file.clone();
    let reader = blocking(move || {
        each_record(open(&path)?, &mut |record| {
            let converted = record.and_then(|record| convert(&record, table));
            sender.blocking_send(converted).map_err(|_| ReadError::Stopped)
        })
    });
    let (read, written) = tokio::join!(reader, write(receiver, manager, args.dry_run, actor, report, &progress));
    progress.finish_and_clear();
    written?;
    read??;
    Ok(())
}

async fn write(
    mut records: mpsc::Receiver<Result<Converted, Remark>>,
    manager: &Manager,
    rehearse: bool,
    actor: Actor<'_>,
    report: &mut Report,
    progress: &ProgressBar,
) -> Result<(), Failure> {
    let store = manager.store();
    let mut waiting = Waiting::default();
    loop {
        let record = records.recv().await;
        let at_end = record.is_none();
        if record.is_some() {
            report.read(1);
            progress.inc(1);
        }
        match record {
            Some(Ok(Converted::Row(Table::Users, row))) => waiting.users.push(row),
            Some(Ok(Converted::Row(Table::OauthEntities, row))) => waiting.entities.push(row),
            Some(Ok(Converted::Row(Table::Properties, row))) if waiting.properties.len() < PROPERTIES => {
                waiting.properties.push(row)
            }
            Some(Ok(Converted::Row(Table::Properties, _))) => {
                return Err(Failure::Data(
                    "More than 100,000 properties: export those of this store's catalogue only.".to_owned(),
                ));
            }
            Some(Ok(Converted::Skipped)) => report.skipped(),
            Some(Err(remark)) => report.rejected(remark)?,
            None => {}
        }
        if waiting.users.len() >= BATCH || at_end && !waiting.users.is_empty() {
            report.outcomes_of("users", store.import_users(&std::mem::take(&mut waiting.users), rehearse, actor).await?)?;
        }
        if waiting.entities.len() >= BATCH || at_end && !waiting.entities.is_empty() {
            let entities = std::mem::take(&mut waiting.entities);
            report.outcomes_of("oauth_entities", store.import_entities(&entities, rehearse, actor).await?)?;
        }
        if at_end {
            if !waiting.properties.is_empty() {
                report.outcomes_of("properties", store.import_properties(&waiting.properties, rehearse, actor).await?)?;
            }
            return Ok(());
        }
    }
}
