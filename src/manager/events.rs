//! Following the events: first what was missed, page by page, then what the node's reader tells everybody.

use tokio::sync::broadcast;
use uuid::Uuid;

use super::Manager;
use crate::cluster::Told;
use crate::error::{Error, Result};
use crate::store::{Actor, EventPosition, EventRead, EventSnapshot, Store};

/// Events as they become visible.
#[derive(Debug)]
pub struct Following {
    store: Store,
    live: broadcast::Receiver<Told>,
    /// What is left of the past.
    missed: Option<EventRead>,
    /// To be told next.
    position: Option<EventPosition>,
    /// Told last.
    told: EventPosition,
    /// The position it was asked to go on from is not one of this database: events may be missing.
    pub lost: bool,
}

impl Manager {
    /// Whether every token that a session ever had was handed out by this actor.
    pub async fn has_tokens_of(&self, session: Uuid, actor: Actor<'_>) -> Result<bool> {
        self.store.has_tokens_of(session, actor).await
    }

    /// Follows the events from a position that an earlier following told, or from now. Refused when too many do.
    pub async fn follow_events(&self, from: Option<EventPosition>) -> Result<Following> {
        let tail = self.tail.as_ref().ok_or_else(|| Error::unavailable("a tool follows no events"))?;
        // In this order: what this snapshot does not show will be told live.
        let live = tail.follow().await?;
        let now = self.store.event_snapshot().await?;
        let known = from.filter(|from| now.knows(*from));
        Ok(Following {
            store: self.store.clone(),
            live,
            position: known.is_none().then_some(now.position),
            told: known.unwrap_or(now.position),
            lost: from.is_some() && known.is_none(),
            missed: known.map(|from| EventRead::between(EventSnapshot::before(from), now)),
        })
    }
}

impl Following {
    /// What comes next; `None` at the end: the follower was too slow, or the node stops, or follows another server now. Whoever
    /// was told a position goes on from there.
    pub async fn next(&mut self) -> Result<Option<Told>> {
        if let Some(position) = self.position.take() {
            return Ok(Some(Told::Position(position)));
        }
        if let Some(read) = &mut self.missed {
            let page = self.store.event_page(read).await?;
            if page.len() < EventRead::PAGE {
                self.told = read.position();
                self.position = Some(self.told);
                self.missed = None;
            }
            return Ok(Some(Told::Events(page.into())));
        }
        let Ok(told) = self.live.recv().await else { return Ok(None) };
        Ok(Some(match told {
            // The reader may be behind what this one was told of the past.
            Told::Position(position) => {
                self.told = self.told.max(position);
                Told::Position(self.told)
            }
            events @ Told::Events(_) => events,
        }))
    }
}
