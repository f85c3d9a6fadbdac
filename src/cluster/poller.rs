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
/// Between two polls that both brought something.
const HURRY: Duration = Duration::from_millis(5);
/// A poll not answered by then is given up, and its connection with it; half the lease.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the polls stand.
struct Poller {
    store: Store,
    node: Arc<Node>,
    connection: Option<Control>,
    /// The server process that last answered and the snapshot then applied; none on a new connection.
    applied: Option<(i32, String)>,
    /// Whether the last poll could not say what time it is.
    far: bool,
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
        let mut poller = Poller { store, node: self, connection: None, applied: None, far: false };
        let (mut failing, mut hurried, mut hinted) = (false, false, false);
        loop {
            let news = match poller.poll().await {
                Ok(news) => {
                    failing = false;
                    news || hinted
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
            // What was applied is told at once, also after a hint that brought nothing: somebody may be waiting for it. But not
            // without end while more keeps coming.
            if news && hurried {
                sleep(HURRY).await;
            }
            if news {
                poller.node.news().notify_waiters();
            }
            hurried = news;
            hinted = tokio::select! {
                biased;
                // Said, or nobody is left to say it.
                _ = stop.wait_for(|stop| *stop) => return,
                () = hint.notified(), if !failing => true,
                () = sleep(if news { Duration::ZERO } else { POLL }) => false,
            };
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
        let applied = self.applied.take();
        let snapshot = applied.as_ref().map(|(_, snapshot)| &**snapshot);
        let asked = connection.poll(self.node.id(), snapshot, self.node.is_stopping(), self.node.is_swept());
        // Dropped with its connection on every way out but the last.
        let answer = timeout(PATIENCE, asked).await.map_err(Error::unavailable)??;
        self.connection = Some(connection);
        let Some(answer) = answer else {
            self.node.rejoin(&self.store).await?;
            return Ok(true);
        };
        self.node.heed(answer.draining);
        if applied.as_ref().is_some_and(|(backend, _)| *backend != answer.backend) {
            // A pooler changed the connection behind ours: nothing is known of what lies between, so the next poll is a first one.
            return Ok(true);
        }
        let news = !answer.rows.is_empty() || applied.is_none();
        let now_applied = (answer.backend, answer.snapshot.clone());
        let polled = read(answer)?;
        let users = polled.rows.iter().filter_map(|row| match row {
            Invalidation::User(id) => Some(*id),
            _ => None,
        });
        self.end_outdated(users.collect());
        self.node.cache().apply(poll, polled, clock::boot());
        self.applied = Some(now_applied);
        self.tell_if_far();
        Ok(news)
    }

    async fn connect(&mut self) -> Result<Control> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        self.applied = None;
        timeout(PATIENCE, self.store.control()).await.map_err(Error::unavailable)?
    }

    /// Says, once, that the database is too far away for this node to know its time.
    fn tell_if_far(&mut self) {
        let far = self.node.cache().now(clock::read()).is_none();
        metrics::gauge!("tenure_memory_usable").set(if far { 0.0 } else { 1.0 });
        if far && !self.far {
            tracing::warn!(
                "polls take more than 50 ms, so this node does not know the database's time: every check asks PostgreSQL"
            );
        }
        self.far = far;
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
