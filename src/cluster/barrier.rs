//! The barrier: after it returns, no node accepts what was ended before it.
//!
//! One task per process serves all that wait. It hints the nodes to poll, once for everyone who came meanwhile, and looks at
//! what they have applied until all have, or until no lease can be left from before the commit: that needs no node's word.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::cache::LEASE;
use crate::clock::{self, Boot};
use crate::store::{Applied, Store};

/// How long after the commit a lease from before it can live: the clocks of two machines may differ by a hundredth, and the
/// clock is not read at the commit itself. Microseconds.
const LEASES_OVER: i64 = LEASE + LEASE / 100 + 50_000;
/// Between two looks at the registry: at first, and at most.
const LOOK: Duration = Duration::from_millis(2);
const LOOK_MOST: Duration = Duration::from_millis(20);
/// Those who come within this share one hint.
const GATHER: Duration = Duration::from_millis(2);

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
    /// The receipt, once it may be given: every node has applied the change, or no lease from before it can be left. `nodes` is
    /// `None` while the registry could not be read.
    pub fn settled(committed: Boot, now: Boot, nodes: Option<&[Applied]>) -> Option<Self> {
        let applied = nodes.is_some_and(|nodes| nodes.iter().all(|node| node.applied));
        if !applied && now < committed + LEASES_OVER {
            return None;
        }
        let nodes = nodes.unwrap_or_default();
        let names = |applied: bool| nodes.iter().filter(|node| node.applied == applied).map(|node| node.name.clone()).collect();
        let took = Duration::from_micros((now - committed).max(0).cast_unsigned());
        Some(Self { acknowledged: names(true), waited_out: names(false), took_ms: (took.as_secs_f64() * 1e4).round() / 10.0 })
    }
}

/// The task that serves those who wait.
#[derive(Debug, Clone)]
pub struct Barriers(mpsc::UnboundedSender<Wish>);

#[derive(Debug)]
enum Wish {
    Hint,
    Wait(Waiter),
}

#[derive(Debug)]
struct Waiter {
    committed: Boot,
    receipt: oneshot::Sender<Barrier>,
}

impl Barriers {
    /// Starts the task; it ends with its last handle.
    pub fn start(store: Store) -> Self {
        let (sender, wishes) = mpsc::unbounded_channel();
        tokio::spawn(serve(store, wishes));
        Self(sender)
    }

    /// Hints the nodes to poll and waits for none.
    pub fn hint(&self) {
        let _ = self.0.send(Wish::Hint);
    }

    /// Waits until no node accepts what was committed before the call. It always returns, after 2.07 s at the latest, and what
    /// it promises holds even while PostgreSQL is away.
    pub async fn wait(&self) -> Barrier {
        let (receipt, received) = oneshot::channel();
        let committed = clock::boot();
        let wish = Wish::Wait(Waiter { committed, receipt });
        if self.0.send(wish).is_ok()
            && let Ok(receipt) = received.await
        {
            return receipt;
        }
        // The task went with its runtime; time alone is enough.
        receipt_for(committed, None).await
    }
}

impl Wish {
    fn waiter(self) -> Option<Waiter> {
        match self {
            Self::Hint => None,
            Self::Wait(waiter) => Some(waiter),
        }
    }
}

async fn serve(store: Store, mut wishes: mpsc::UnboundedReceiver<Wish>) {
    let mut together = Vec::new();
    while wishes.recv_many(&mut together, usize::MAX).await > 0 {
        let waiters: Vec<Waiter> = together.drain(..).filter_map(Wish::waiter).collect();
        // Beside the next ones: a dead node must not make them wait for one another.
        tokio::spawn(wait(store.clone(), waiters));
        sleep(GATHER).await;
    }
}

/// Serves those that came together; without any it hints and ends.
async fn wait(store: Store, waiters: Vec<Waiter>) {
    let Some(last) = waiters.iter().map(|waiter| waiter.committed).max() else {
        if let Err(error) = store.mark().await {
            tracing::debug!(%error, "nodes could not be woken; they poll by themselves");
        }
        return;
    };
    let mut nodes = None;
    let looking = async {
        let mark = loop {
            match store.mark().await {
                Ok(mark) => break mark,
                Err(_) => sleep(LOOK_MOST).await,
            }
        };
        let mut pause = LOOK;
        loop {
            if let Ok(seen) = store.applied(&mark).await {
                let all = seen.iter().all(|node| node.applied);
                nodes = Some(seen);
                if all {
                    return;
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_MOST);
        }
    };
    let _ = timeout(left(last + LEASES_OVER), looking).await;
    for waiter in waiters {
        let _ = waiter.receipt.send(receipt_for(waiter.committed, nodes.as_deref()).await);
    }
}

/// The receipt, as soon as it may be given by what is known of the nodes.
async fn receipt_for(committed: Boot, nodes: Option<&[Applied]>) -> Barrier {
    loop {
        if let Some(receipt) = Barrier::settled(committed, clock::boot(), nodes) {
            return receipt;
        }
        sleep(left(committed + LEASES_OVER)).await;
    }
}

/// How long until the machine's clock shows `boot`.
fn left(boot: Boot) -> Duration {
    Duration::from_micros((boot - clock::boot()).max(0).cast_unsigned())
}
