//! *Overview*: how many sessions there are, and what begins and ends over the day.

use askama::Template;
use axum::extract::State;

use super::super::AppState;
use super::super::auth::Watchers;
use super::chart::{Chart, Total};
use super::form::encoded;
use super::operator::Operator;
use super::page::{Answer, Frame, rendered};
use super::shown;
use crate::store::Hours;

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    frame: Frame,
    at: String,
    live: i64,
    began: i64,
    ended: i64,
    charts: [Chart; 3],
    nodes: Vec<Share>,
    users: Vec<Share>,
}

/// One among several, and how much of the most it has.
struct Share {
    name: String,
    /// The name as part of an address; empty where there is nothing to filter by.
    encoded: String,
    count: i64,
    most: i64,
}

fn shares(of: impl Iterator<Item = (Option<String>, i64)>, nameless: &str) -> Vec<Share> {
    let mut shares: Vec<_> = of
        .map(|(name, count)| {
            let encoded = name.as_deref().map(encoded).unwrap_or_default();
            Share { name: name.unwrap_or_else(|| nameless.to_owned()), encoded, count, most: 1 }
        })
        .collect();
    let most = shares.iter().map(|share| share.count).max().unwrap_or(1);
    for share in &mut shares {
        share.most = most;
    }
    shares
}

fn named<T: ToString>(counted: &[(T, Hours)]) -> Vec<(String, Hours)> {
    counted.iter().map(|(name, hours)| (shown::words(&name.to_string()), *hours)).collect()
}

/// The page.
pub(super) async fn show(operator: Operator<Watchers>, State(app): AppState) -> Answer {
    let overview = app.manager.overview().await?;
    let since = overview.since;
    let sum = |hours: &Hours| hours.iter().sum::<i64>();
    rendered(&Page {
        frame: Frame::of(&operator, "overview"),
        at: shown::instant(overview.at),
        live: overview.live_sessions(),
        began: overview.began.iter().map(|(_, hours)| sum(hours)).sum(),
        ended: overview.ended.iter().map(|(_, hours)| sum(hours)).sum(),
        charts: [
            Chart::of(("live", "Live sessions by kind"), named(&overview.live), Total::Last, since),
            Chart::of(("began", "Sign-ins by kind"), named(&overview.began), Total::Sum, since),
            Chart::of(("ended", "Ends by reason"), named(&overview.ended), Total::Sum, since),
        ],
        nodes: shares(overview.nodes.iter().cloned(), "no activity counted yet"),
        users: shares(overview.users.iter().map(|(name, count)| (Some(name.clone()), *count)), ""),
    })
}
