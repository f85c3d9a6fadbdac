//! Sessions: create, check, extend, rotate, sign out, terminate, explain.

use serde::Serialize;
use uuid::Uuid;

use super::Manager;
use crate::cluster::Barrier;
use crate::error::{Error, Result};
use crate::session::{Activity, Explanation, Limits, Over, SessionToken, SessionView};
use crate::store::{Actor, CheckOutcome, NewSession};

/// A new session and the token for its client.
#[derive(Debug)]
pub struct Created {
    /// The session.
    pub session: SessionView,
    /// Shown once.
    pub token: SessionToken,
}

/// The answer to an accepted check.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Checked {
    /// The session, without node, address and agent.
    pub session: SessionView,
    /// Whole seconds until it ends without further activity.
    pub seconds_left: i64,
    /// Whether to show "Extend your session" now.
    pub prompt: bool,
    /// From when to show it.
    pub prompt_at: Option<chrono::DateTime<chrono::Utc>>,
    /// Whether activity would move the end.
    pub can_extend: bool,
    /// The transaction opened with the check.
    pub transaction_id: Option<Uuid>,
}

/// A verdict on a token or session.
#[derive(Debug)]
pub enum Verdict {
    /// It lives.
    Live(Box<Checked>),
    /// It is over, for the holder of its token.
    Over(Box<Over>),
    /// Unknown.
    Unknown,
}

/// What a sign-out left.
#[derive(Debug)]
pub struct SignOut {
    /// The session, ended.
    pub session: SessionView,
    /// The guest session in its place.
    pub guest: Option<(SessionView, SessionToken)>,
    /// The receipt.
    pub barrier: Barrier,
}

/// A session under a new token.
#[derive(Debug)]
pub struct Rotated {
    /// The session.
    pub session: SessionView,
    /// The new token, shown once.
    pub token: SessionToken,
    /// The receipt: the old token is refused everywhere.
    pub barrier: Barrier,
}

/// What a termination did.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Terminated {
    /// 1, or 0 when it was over already.
    pub terminated: u32,
    /// The receipt; null when it was not asked for.
    pub barrier: Option<Barrier>,
}

fn unknown_session() -> Error {
    Error::refused(404, "unknown_session", "There is no session of this id, live or retained.", "List sessions to find its id.")
}

impl Manager {
    /// Starts a session.
    pub async fn create(&self, new: &NewSession, actor: Actor<'_>) -> Result<Created> {
        let (id, token) = self.store.create(new, actor).await?;
        Ok(Created { session: self.session(id, actor).await?, token })
    }

    /// Checks a token; with `open_transaction` the accepted session shows as active until the transaction is closed.
    pub async fn check(
        &self,
        token: &str,
        activity: Option<Activity>,
        open_transaction: bool,
        actor: Actor<'_>,
    ) -> Result<Verdict> {
        let outcome = self.store.check(token, activity, actor).await?;
        self.verdict(outcome, open_transaction).await
    }

    /// Extends a session by its id.
    pub async fn extend(&self, id: Uuid, actor: Actor<'_>) -> Result<Verdict> {
        let outcome = self.store.extend(id, actor).await?;
        match self.verdict(outcome, false).await? {
            Verdict::Unknown => Err(unknown_session()),
            verdict => Ok(verdict),
        }
    }

    async fn verdict(&self, outcome: CheckOutcome, open_transaction: bool) -> Result<Verdict> {
        let mut accepted = match outcome {
            CheckOutcome::Accepted(accepted) => accepted,
            CheckOutcome::Over(over) => return Ok(Verdict::Over(over)),
            CheckOutcome::Unknown => return Ok(Verdict::Unknown),
        };
        if open_transaction && let Some(node) = &self.node {
            let transaction = self.store.open_transaction(accepted.session.id, node.id().await).await?;
            accepted.transaction_id = Some(transaction);
            accepted.session.active = true;
        }
        Ok(Verdict::Live(Box::new(Checked {
            session: SessionView::new(accepted.session, Some(&accepted.limits)).without_place(),
            seconds_left: accepted.seconds_left,
            prompt: accepted.prompt,
            prompt_at: accepted.prompt_at,
            can_extend: accepted.can_extend,
            transaction_id: accepted.transaction_id,
        })))
    }

    /// A session by id, live or retained; refused when unknown.
    pub async fn session(&self, id: Uuid, actor: Actor<'_>) -> Result<SessionView> {
        let (session, policy) = self.store.session(id, actor).await?.ok_or_else(unknown_session)?;
        let limits = Limits::of(&session, &policy);
        Ok(SessionView::new(session, Some(&limits)))
    }

    /// Explains a session (X1).
    pub async fn explain(&self, id: Uuid, actor: Actor<'_>) -> Result<Explanation> {
        let (session, policy) = self.store.session(id, actor).await?.ok_or_else(unknown_session)?;
        Ok(Explanation::of(&session, &policy, &self.store.origins().await?))
    }

    /// Ends a session by decision; with `barrier` it returns when no node accepts it any more (C3).
    pub async fn terminate(&self, id: Uuid, barrier: bool, actor: Actor<'_>) -> Result<Terminated> {
        let ended = self.store.terminate(id, actor).await?;
        Ok(Terminated { terminated: ended.into(), barrier: if barrier { Some(Barrier::wait(&self.store).await?) } else { None } })
    }

    /// Signs a session out (K4).
    pub async fn sign_out(&self, id: Uuid, actor: Actor<'_>) -> Result<SignOut> {
        let left = self.store.sign_out(id, actor).await?;
        Ok(SignOut {
            barrier: Barrier::wait(&self.store).await?,
            session: self.session(id, actor).await?,
            guest: left.guest.map(|(session, policy, token)| {
                let limits = Limits::of(&session, &policy);
                (SessionView::new(session, Some(&limits)), token)
            }),
        })
    }

    /// Gives a session a new token; an ended session is refused with 409.
    pub async fn rotate(&self, id: Uuid, actor: Actor<'_>) -> Result<Rotated> {
        let Some(token) = self.store.rotate(id, actor).await? else {
            self.session(id, actor).await?;
            return Err(Error::refused(
                409,
                "session_ended",
                "The session is over and has no token to rotate.",
                "Sign in again.",
            ));
        };
        Ok(Rotated { barrier: Barrier::wait(&self.store).await?, session: self.session(id, actor).await?, token })
    }
}
