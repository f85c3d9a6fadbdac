//! Many sessions ended together (X3): previewed, confirmed by the number, done in batches, one barrier for all.

use std::ops::ControlFlow;

use serde::Serialize;

use super::Manager;
use crate::cluster::Barrier;
use crate::error::{Error, Result};
use crate::store::{Actor, Bulk, BulkForecast, BulkOrder, Expect};

/// Sessions ended by one transaction at most.
const BATCH: usize = 10_000;

/// What ending sessions together did.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct BulkTerminated {
    /// Sessions ended.
    pub terminated: i64,
    /// Sessions that were not looked at any more, because it was told to stop.
    pub remaining: i64,
    /// The receipt: no node accepts any of the ended ones.
    pub barrier: Barrier,
}

impl Manager {
    /// What ending these sessions would do; ids that name no session, live or retained, are refused, those to be spared as well:
    /// whoever mistypes their own session would lose it.
    pub async fn rehearse_bulk(&self, bulk: &Bulk) -> Result<BulkForecast> {
        self.known(bulk).await?;
        let _turn = self.rehearsing.acquire().await;
        self.store.rehearse_bulk(bulk).await
    }

    /// Ends the sessions of an order that began before it. Up to 10,000 end in one transaction, or none does; more end in several.
    /// Before each, and after the last, `progress` is told how many ended and how many are left, and may stop it. The number is
    /// compared before anything ends; where nothing is left of what was ordered, nothing is to be done: repeating it does no harm.
    pub async fn terminate_many(
        &self,
        order: BulkOrder,
        mut progress: impl FnMut(i64, i64) -> ControlFlow<()>,
        actor: Actor<'_>,
    ) -> Result<BulkTerminated> {
        self.known(&order.bulk).await?;
        // Without a turn: whoever previews at length shall not keep an order waiting.
        let ids = self.store.bulk_ids(&order.bulk).await?;
        let count = i64::try_from(ids.len()).unwrap_or(i64::MAX);
        if order.bulk.is_everything() && !order.all {
            let message = format!("No condition narrows it: it would end all {count} live sessions.");
            return Err(
                Error::refused(409, "not_confirmed", message, "Say all to mean that, or give a condition.").with_count(count)
            );
        }
        let Some(expect) = order.expect else {
            let message = format!("It would end {count} live sessions.");
            return Err(Error::refused(409, "not_confirmed", message, "Repeat it with expect and that number.").with_count(count));
        };
        if count > 0 && expect != count {
            let message = format!("It would end {count} live sessions now; the preview said otherwise.");
            let advice = "Nothing was changed. Preview it again, and repeat it with what that says.";
            return Err(Error::refused(409, "preview_changed", message, advice).with_count(count));
        }
        // One transaction is compared to the end; of several the first could not be taken back.
        let guard = if ids.len() <= BATCH { Expect { expect: Some(expect), expect_basis: None } } else { Expect::default() };
        let (mut terminated, mut looked_at) = (0, 0);
        for batch in ids.chunks(BATCH) {
            if progress(terminated, count - looked_at).is_break() {
                break;
            }
            terminated += self.store.terminate_batch(&order.bulk, batch, order.reason, &guard, actor).await?;
            looked_at += i64::try_from(batch.len()).unwrap_or(i64::MAX);
        }
        let _ = progress(terminated, count - looked_at);
        Ok(BulkTerminated { terminated, remaining: count - looked_at, barrier: self.barrier().await })
    }

    async fn known(&self, bulk: &Bulk) -> Result<()> {
        let named: Vec<_> = bulk.ids.iter().flatten().chain(&bulk.except).copied().collect();
        if named.is_empty() {
            return Ok(());
        }
        match self.store.unknown_ids(&named).await? {
            0 => Ok(()),
            unknown => Err(Error::refused(
                404,
                "unknown_session",
                format!("{unknown} of the ids, those to be spared included, name no session, live or retained."),
                "List sessions to find their ids.",
            )),
        }
    }
}
