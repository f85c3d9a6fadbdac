//! The polls: one at a time, on a connection of their own, twice a second and at every hint.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Node;
use crate::cache::{Invalidation, PolicySet, Polled};
use crate::clock;
use crate::error::{Error, Result};
use crate::session::Policy;
use crate::store::{Control, PollAnswer, Store};

/// Between two polls without a hint; a quarter of the lease.
const POLL: Duration = Duration::from_millis(500);
/// A poll not answered by then is given up, and its connection with it; half the lease.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the polls stand.
struct Poller {
    store: Store,
    node: Arc<Node>,
    connection: Option<Control>,
    /// The snapshot last applied; none on a new connection.
    applied: Option<String>,
}

impl Node {
    /// Polls until `stop` says so; `listen` asks for hints as well. Returns when the last poll has been answered or given up.
    pub async fn run(self: Arc<Self>, store: Store, listen: bool, mut stop: watch::Receiver<bool>) {
        let hint = Arc::new(Notify::new());
        let mut beside = JoinSet::new();
        beside.spawn(Self::watch(store.clone()));
        if listen {
            beside.spawn(hints(store.clone(), Arc::clone(&hint)));
        }
        let mut poller = Poller { store, node: self, connection: None, applied: None };
        let mut failing = false;
        loop {
            // What was applied is told at once: somebody may be waiting for it.
            let news = match poller.poll().await {
                Ok(news) => {
                    failing = false;
                    news
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "poll failed; trying again every half second");
                    }
                    failing = true;
                    metrics::counter!("tenure_poll_failures_total").increment(1);
                    false
                }
            };
            let pause = if news { Duration::ZERO } else { POLL };
            tokio::select! {
                biased;
                // Said, or nobody is left to say it.
                _ = stop.wait_for(|stop| *stop) => return,
                () = hint.notified(), if !failing => {}
                () = sleep(pause) => {}
            }
        }
    }
}

/// Listens for hints, and goes on polling without them while that is not possible.
async fn hints(store: Store, hint: Arc<Notify>) {
    loop {
        if let Err(error) = store.listen(|| hint.notify_one()).await {
            tracing::debug!(%error, "not listening for hints; polling twice a second");
        }
        sleep(Duration::from_secs(1)).await;
    }
}

impl Poller {
    /// One poll; whether it brought anything.
    async fn poll(&mut self) -> Result<bool> {
        let mut connection = self.connect().await?;
        let poll = self.node.cache().begin_poll(clock::read(), self.applied.is_none());
        let asked = connection.poll(self.node.id(), self.applied.as_deref(), self.node.is_draining(), self.node.is_swept());
        // Dropped with its connection on every way out but the last.
        let answer = timeout(PATIENCE, asked).await.map_err(Error::unavailable)??;
        self.connection = Some(connection);
        let Some(answer) = answer else {
            self.applied = None;
            self.node.rejoin(&self.store).await?;
            return Ok(true);
        };
        let news = !answer.rows.is_empty() || self.applied.is_none();
        let snapshot = answer.snapshot.clone();
        let polled = read(answer)?;
        let users = polled.rows.iter().filter_map(|row| match row {
            Invalidation::User(id) => Some(*id),
            _ => None,
        });
        self.end_outdated(users.collect());
        self.node.cache().apply(poll, polled, clock::boot());
        self.applied = Some(snapshot);
        Ok(news)
    }

    async fn connect(&mut self) -> Result<Control> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        self.applied = None;
        timeout(PATIENCE, self.store.control()).await.map_err(Error::unavailable)?
    }

    /// Ends what a lock-out under an older snapshot could not see (U4); every check refuses those sessions already.
    fn end_outdated(&self, users: Vec<i64>) {
        if users.is_empty() {
            return;
        }
        let store = self.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.end_outdated(&users).await {
                tracing::warn!(%error, "sessions of users who lost access could not be moved now; the sweeper will");
            }
        });
    }
}

/// The answer in the words of the cache. What cannot be read forgets everything (C47).
fn read(answer: PollAnswer) -> Result<Polled> {
    let rows = answer
        .rows
        .iter()
        .map(|(kind, key)| match kind {
            's' => key.parse().map_or(Invalidation::Everything, Invalidation::Session),
            'u' => key.parse().map_or(Invalidation::Everything, Invalidation::User),
            'k' => key.parse().map_or(Invalidation::Everything, Invalidation::Key),
            'p' => Invalidation::Policies,
            _ => Invalidation::Everything,
        })
        .collect();
    let policies = answer
        .policies
        .map(|policies| {
            PolicySet::try_from(policies).map_err(|policies: Vec<Policy>| Error::failed(format!("{} policies", policies.len())))
        })
        .transpose()?;
    Ok(Polled { rows, policies, now: answer.now })
}
