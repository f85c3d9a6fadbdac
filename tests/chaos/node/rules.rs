//! Where a node starts its manager, whole or with one rule of the cache protocol removed.

use tenure::Manager;
use tenure::manager::NodeOptions;
use tenure::store::{Registration, Store};

use super::Failure;

/// The library has no such rule to leave out.
#[derive(Debug)]
pub(super) struct NoSuchRule(String);

impl std::fmt::Display for NoSuchRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "there is no such rule to leave out: {}", self.0)
    }
}

impl std::error::Error for NoSuchRule {}

/// Starts the manager. The one place that knows how a rule is left out.
pub(super) async fn start(store: Store, registration: Registration, weaken: Option<&str>) -> Result<Manager, Failure> {
    let without = weaken.map(str::parse).transpose().map_err(NoSuchRule)?;
    Ok(Manager::start_with(store, registration, NodeOptions { without, ..NodeOptions::default() }).await?)
}
