//! The overview, read once for all who look at it.

use std::sync::Arc;

use super::Manager;
use crate::error::Result;
use crate::store::Overview;

impl Manager {
    /// How many sessions there are, began and ended, hour by hour of the last day: of some seconds ago at most, as it says. It
    /// looks at every live session, so it is read once however many ask for it.
    pub async fn overview(&self) -> Result<Arc<Overview>> {
        self.overview.get(self.store.overview()).await
    }
}
