//! The tail of the events: one reader a node, however many follow.
//!
//! It keeps the snapshot of what it has told, and reads what that does not show: events of transactions that began earlier and
//! were committed later come too. Nobody follows: nobody reads.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::time::sleep;

use crate::error::{Error, Result};
use crate::store::{Event, EventPosition, EventRead, EventSnapshot, Store};

/// Between two looks without a hint.
const LOOK: Duration = Duration::from_millis(500);
/// Most that follow at once through one node.
const FOLLOWERS: usize = 256;
/// Pages a follower may be behind before it is left behind.
const BEHIND: usize = 64;

/// What followers are told.
#[derive(Debug, Clone)]
pub enum Told {
    /// Events, each at least once.
    Events(Arc<[Event]>),
    /// Everything before this position has been told, and will be found again from here.
    Position(EventPosition),
}

type Followers = Result<broadcast::Receiver<Told>>;

/// The way to the reader.
#[derive(Debug)]
pub struct Tail(mpsc::Sender<oneshot::Sender<Followers>>);

impl Tail {
    /// Starts the reader; it ends when `stop` says so, or with its last handle. `wake` may say that there is something new.
    pub fn start(store: Store, wake: Arc<Notify>, mut stop: watch::Receiver<bool>) -> Self {
        let (sender, wishes) = mpsc::channel(FOLLOWERS);
        tokio::spawn(async move {
            tokio::select! {
                () = serve(store, wishes, wake) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
        Self(sender)
    }

    /// From now on whatever becomes visible is told. Refused when too many follow already.
    pub async fn follow(&self) -> Followers {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.map_err(|_| Error::unavailable("the node stops"))?;
        answered.await.map_err(Error::unavailable)?
    }
}

async fn serve(store: Store, mut wishes: mpsc::Receiver<oneshot::Sender<Followers>>, wake: Arc<Notify>) {
    while let Some(first) = wishes.recv().await {
        let mut reader = match Reader::start(&store).await {
            Ok(reader) => reader,
            Err(error) => {
                let _ = first.send(Err(error));
                continue;
            }
        };
        let _ = first.send(Ok(reader.told.subscribe()));
        while reader.told.receiver_count() > 0 {
            tokio::select! {
                wish = wishes.recv() => {
                    let Some(wish) = wish else { return };
                    let _ = wish.send(reader.admit());
                }
                () = wake.notified() => reader.look().await,
                () = sleep(LOOK) => reader.look().await,
            }
        }
    }
}

struct Reader {
    store: Store,
    told: broadcast::Sender<Told>,
    /// What it shows has been told.
    seen: EventSnapshot,
    failing: bool,
}

impl Reader {
    async fn start(store: &Store) -> Result<Self> {
        let seen = store.event_snapshot().await?;
        Ok(Self { store: store.clone(), told: broadcast::channel(BEHIND).0, seen, failing: false })
    }

    fn admit(&self) -> Followers {
        if self.told.receiver_count() < FOLLOWERS {
            return Ok(self.told.subscribe());
        }
        Err(Error::refused(
            503,
            "too_many_streams",
            format!("{FOLLOWERS} clients follow the events through this node already."),
            "Ask another node, or let clients share a stream.",
        ))
    }

    async fn look(&mut self) {
        let looked = self.try_look().await;
        if let Err(error) = &looked
            && !self.failing
        {
            tracing::warn!(%error, "events cannot be read; trying again every half second");
        }
        self.failing = looked.is_err();
    }

    async fn try_look(&mut self) -> Result<()> {
        if !self.store.has_news(&self.seen).await? {
            return Ok(());
        }
        let now = self.store.event_snapshot().await?;
        if !now.knows(self.seen.position) {
            // Another server: whoever follows begins anew, and is told so.
            self.told = broadcast::channel(BEHIND).0;
            return Ok(());
        }
        let mut read = EventRead::between(self.seen.clone(), now.clone());
        loop {
            let page = self.store.event_page(&mut read).await?;
            let last = page.len() < EventRead::PAGE;
            // Nobody listens at the moment: nobody is told.
            let _ = self.told.send(Told::Events(page.into()));
            if last {
                break;
            }
        }
        let _ = self.told.send(Told::Position(now.position));
        self.seen = now;
        Ok(())
    }
}
