//! `tenure sessions terminate`: one session, or all that meet a filter, after a preview and a confirmation (X3).

use std::io::{BufRead, IsTerminal, stdin};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use uuid::Uuid;

use super::super::output::{document, instant, line, note, or_dash, table};
use super::super::{Failure, Global};
use super::FilterArgs;
use crate::input::{self, TerminateInput};
use crate::manager::Manager;
use crate::store::{Actor, BulkForecast};

/// Exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Which sessions, and whether they are meant.
#[derive(Debug, Args)]
pub(in crate::cli) struct TerminateArgs {
    /// Session id: only this one, without a question.
    #[arg(conflicts_with_all = ["user", "kind", "node", "active", "address", "idle_minutes_min", "created_from", "created_to",
                                "last_activity_from", "last_activity_to", "all", "except", "preview", "yes", "expect_count", "reason"])]
    id: Option<Uuid>,
    /// Every live session is meant: needed when no condition is given.
    #[arg(long)]
    all: bool,
    /// Not this session; may be repeated, 100 times at most.
    #[arg(long, value_name = "ID")]
    except: Vec<Uuid>,
    /// Why: terminated or maintenance.
    #[arg(long, default_value = "terminated", value_parser = ["terminated", "maintenance"])]
    reason: String,
    /// Show what would end, and change nothing.
    #[arg(long, conflicts_with = "yes")]
    preview: bool,
    /// Do not ask; for scripts, with --expect-count.
    #[arg(long, requires = "expect_count")]
    yes: bool,
    /// How many sessions end, as --preview said: refused when it would be another number.
    #[arg(long, value_name = "N")]
    expect_count: Option<String>,
    // Last: its heading goes on to what follows.
    #[command(flatten, next_help_heading = "Conditions")]
    filter: FilterArgs,
}

pub(super) async fn run(global: &Global, manager: &Manager, args: TerminateArgs, actor: Actor<'_>) -> Result<(), Failure> {
    if let Some(id) = args.id {
        let receipt = manager.terminate(id, true, actor).await?;
        if global.json {
            return document(&receipt);
        }
        return line(if receipt.terminated == 1 { "Ended on every node." } else { "It was over already." });
    }
    let said = input::expect_parameters("expect-count", args.expect_count.as_deref(), "expect-basis", None)?.expect;
    let order = TerminateInput {
        filter: Some(args.filter.conditions()?),
        except: Some(args.except),
        reason: Some(args.reason),
        expect: said,
        all: Some(args.all),
        ..TerminateInput::default()
    };
    let mut order = order.validate()?;
    if args.preview {
        let forecast = manager.rehearse_bulk(&order.bulk).await?;
        return if global.json { document(&forecast) } else { show(&forecast, args.all || !order.bulk.is_everything()) };
    }
    // What lacks a condition is refused with the number, before anybody is asked anything.
    if !args.yes && (args.all || !order.bulk.is_everything()) {
        let forecast = manager.rehearse_bulk(&order.bulk).await?;
        order.expect = Some(confirmed(&forecast, said)?);
    }
    finish(global, manager, order, actor).await
}

/// Carries the order out, showing how far it is, until Ctrl-C.
async fn finish(global: &Global, manager: &Manager, order: crate::store::BulkOrder, actor: Actor<'_>) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&stop);
    let listening = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            heard.store(true, Ordering::Relaxed);
            note("Stopping after the batch under way.");
        }
    });
    let bar = ProgressBar::new(u64::try_from(order.expect.unwrap_or(0)).unwrap_or(0));
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len} sessions ended {eta}") {
        bar.set_style(style);
    }
    let mut ended = 0;
    let progress = |now: i64, _| {
        ended = now;
        bar.set_position(u64::try_from(now).unwrap_or(0));
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let done = manager.terminate_many(order, progress, actor).await;
    bar.finish_and_clear();
    listening.abort();
    if done.is_err() && ended > 0 {
        note(&format!("{ended} sessions ended before that. Preview the rest, and repeat it."));
    }
    let done = done?;
    if global.json {
        document(&done)?;
    } else if done.remaining == 0 {
        line(&format!("Live sessions ended on every node: {}.", done.terminated))?;
    } else {
        line(&format!(
            "Live sessions ended on every node: {}; left: {}. Preview the rest, and repeat it.",
            done.terminated, done.remaining
        ))?;
    }
    if done.remaining > 0 { Err(Failure::Answered(INTERRUPTED)) } else { Ok(()) }
}

/// Asks for the number of sessions on a terminal (112). Whoever said another one is left to the refusal, which names it.
fn confirmed(forecast: &BulkForecast, said: Option<i64>) -> Result<i64, Failure> {
    let count = forecast.ends_now;
    if !stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "It would end {count} live sessions, and there is no terminal to confirm that on. Repeat it with --yes --expect-count {count}."
        )));
    }
    if let Some(said) = said.filter(|said| *said != count) {
        return Ok(said);
    }
    show(forecast, true)?;
    if count == 0 {
        return Ok(0);
    }
    note(&format!("Type {count} to end them, anything else to leave them:"));
    let mut typed = String::new();
    stdin().lock().read_line(&mut typed)?;
    if typed.trim() == count.to_string() {
        return Ok(count);
    }
    Err(Failure::Usage("Not confirmed; nothing was changed.".to_owned()))
}

/// A preview for people; `complete` when the order needs nothing but the number.
fn show(forecast: &BulkForecast, complete: bool) -> Result<(), Failure> {
    line(&format!("{} live sessions of {} users will end.", forecast.ends_now, forecast.users))?;
    if forecast.ends_now == 0 {
        return Ok(());
    }
    let places: Vec<_> = forecast
        .sessions
        .iter()
        .map(|place| vec![place.kind.to_string(), or_dash(place.node.as_ref()), place.sessions.to_string()])
        .collect();
    table(&["kind", "node", "sessions"], &places)?;
    let examples: Vec<_> = forecast
        .examples
        .iter()
        .map(|example| {
            vec![
                example.id.to_string(),
                example.kind.to_string(),
                or_dash(example.user.as_ref()),
                instant(Some(example.last_activity_at)),
                instant(Some(example.expires_at)),
            ]
        })
        .collect();
    table(&["for example", "kind", "user", "last activity", "expires"], &examples)?;
    let all = if complete { "" } else { " --all" };
    note(&format!("To end them: repeat it with{all} --yes --expect-count {} instead of --preview", forecast.ends_now));
    Ok(())
}
