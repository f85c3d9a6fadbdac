//! The barrier: after it returns, no node accepts what was ended before it.
//!
//! Nodes keep no session in memory: every check reads PostgreSQL, so a committed ending is known to all of them at once and
//! the barrier acknowledges for every registered node without waiting.

use serde::Serialize;
use tokio::time::Instant;

use crate::error::Result;
use crate::store::Store;

/// The receipt.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Barrier {
    /// Nodes that know.
    pub acknowledged: Vec<String>,
    /// Nodes whose lease ran out instead.
    pub waited_out: Vec<String>,
    /// Milliseconds from the commit to the receipt.
    pub took_ms: f64,
}

impl Barrier {
    /// Waits until every node knows what was committed before the call.
    pub async fn wait(store: &Store) -> Result<Self> {
        let committed = Instant::now();
        let acknowledged = store.registered_nodes().await?;
        Ok(Self { acknowledged, waited_out: Vec::new(), took_ms: (committed.elapsed().as_secs_f64() * 1e4).round() / 10.0 })
    }
}
