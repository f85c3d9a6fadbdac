//! The overview, read once for all who look at it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Manager;
use crate::error::Result;
use crate::store::Overview;

/// How long an overview is shown at least before it is read anew.
const KEPT: Duration = Duration::from_secs(10);
/// Of a reading that takes long: so many times as long, so that pages that stay open take a twentieth of a connection at most.
const SHARE: u32 = 20;

/// The overview read last, until when it is shown.
#[derive(Debug, Default)]
pub(super) struct Read(Mutex<Option<(Instant, Arc<Overview>)>>);

impl Manager {
    /// How many sessions there are, began and ended, hour by hour of the last day: of some seconds ago at most, as it says. It
    /// looks at every live session, so it is read once however many ask for it.
    pub async fn overview(&self) -> Result<Arc<Overview>> {
        let mut read = self.overview.0.lock().await;
        let begun = Instant::now();
        if let Some((until, overview)) = &*read
            && begun < *until
        {
            return Ok(Arc::clone(overview));
        }
        let overview = Arc::new(self.store.overview().await?);
        *read = Some((Instant::now() + KEPT.max(begun.elapsed() * SHARE), Arc::clone(&overview)));
        Ok(overview)
    }
}
