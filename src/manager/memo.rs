//! A reading that looks at every live session, made once for all who want it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::Result;

/// How long a reading is shown at least before it is made anew.
const KEPT: Duration = Duration::from_secs(10);
/// Of a reading that takes long: so many times as long, so that pages that stay open take a twentieth of a connection at most.
const SHARE: u32 = 20;

/// The last reading, until when it is shown.
#[derive(Debug)]
pub(super) struct Memo<T>(Mutex<Option<(Instant, Arc<T>)>>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Memo<T> {
    /// The last reading, however old; `None` before the first.
    pub(super) async fn last(&self) -> Option<Arc<T>> {
        self.0.lock().await.as_ref().map(|(_, reading)| Arc::clone(reading))
    }

    /// The last reading, or a new one. Whoever comes while it is made waits for it.
    pub(super) async fn get(&self, read: impl Future<Output = Result<T>>) -> Result<Arc<T>> {
        let mut last = self.0.lock().await;
        let begun = Instant::now();
        if let Some((until, reading)) = &*last
            && begun < *until
        {
            return Ok(Arc::clone(reading));
        }
        let reading = Arc::new(read.await?);
        *last = Some((Instant::now() + KEPT.max(begun.elapsed() * SHARE), Arc::clone(&reading)));
        Ok(reading)
    }
}
