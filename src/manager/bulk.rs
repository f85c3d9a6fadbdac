//! Many sessions ended together (X3): previewed, confirmed by the number, done in batches, one barrier for all.

use std::ops::ControlFlow;

use serde::Serialize;

use super::Manager;
use crate::cluster::Barrier;
use crate::error::{Error, Refusal, Result};
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

fn counted(code: &'static str, message: String, advice: &str, count: i64) -> Error {
    Refusal { status: 409, code: code.into(), message, advice: advice.to_owned(), count: Some(count) }.into()
}

impl Manager {
    /// What ending these sessions would do; ids that name no session, live or retained, are refused.
    pub async fn rehearse_bulk(&self, bulk: &Bulk) -> Result<BulkForecast> {
        self.known(bulk).await?;
        let _turn = self.rehearsing.acquire().await;
        self.store.rehearse_bulk(bulk).await
    }

    /// Ends the sessions of an order that begin before it does. Up to 10,000 end in one transaction, or none does; more end in several,
    /// after each of which `progress` is told how many ended and how many are left, and may stop it. The number is compared
    /// before anything ends; where nothing is left of what was ordered, nothing is to be done: repeating an order does no harm.
    pub async fn terminate_many(
        &self,
        mut order: BulkOrder,
        mut progress: impl FnMut(i64, i64) -> ControlFlow<()>,
        actor: Actor<'_>,
    ) -> Result<BulkTerminated> {
        self.known(&order.bulk).await?;
        order.bulk.as_of = Some(self.store.read_clock().await?);
        let ids = {
            let _turn = self.rehearsing.acquire().await;
            self.store.bulk_ids(&order.bulk).await?
        };
        let count = i64::try_from(ids.len()).unwrap_or(i64::MAX);
        if order.bulk.is_everything() && !order.all {
            let message = format!("No condition narrows it: it would end all {count} live sessions.");
            return Err(counted("not_confirmed", message, "Say all to mean that, or give a condition.", count));
        }
        let Some(expect) = order.expect else {
            let message = format!("It would end {count} live sessions.");
            return Err(counted("not_confirmed", message, "Repeat it with expect and that number.", count));
        };
        if count > 0 && expect != count {
            let message = format!("It would end {count} live sessions now; the preview said otherwise.");
            return Err(counted("preview_changed", message, "Preview it again, and repeat it with what that says.", count));
        }
        // One transaction is compared to the end; of several the first could not be taken back.
        let guard = if ids.len() <= BATCH { Expect { expect: Some(expect), expect_basis: None } } else { Expect::default() };
        let (mut terminated, mut looked_at) = (0, 0);
        for batch in ids.chunks(BATCH) {
            terminated += self.store.terminate_batch(&order.bulk, batch, order.reason, &guard, actor).await?;
            looked_at += i64::try_from(batch.len()).unwrap_or(i64::MAX);
            if progress(terminated, count - looked_at).is_break() {
                break;
            }
        }
        Ok(BulkTerminated { terminated, remaining: count - looked_at, barrier: self.barrier().await })
    }

    async fn known(&self, bulk: &Bulk) -> Result<()> {
        let Some(ids) = &bulk.ids else { return Ok(()) };
        match self.store.unknown_ids(ids).await? {
            0 => Ok(()),
            unknown => Err(Error::refused(
                404,
                "unknown_session",
                format!("{unknown} of the ids name no session, live or retained."),
                "List sessions to find their ids.",
            )),
        }
    }
}
