//! Sessions: create, extend, rotate, sign out, terminate, explain.

use serde::Serialize;
use uuid::Uuid;

use super::{Manager, Tokens, Verdict};
use crate::cache::Cache;
use crate::cluster::Barrier;
use crate::error::{Error, Result};
use crate::session::{Activity, Explanation, Limits, SessionToken, SessionView};
use crate::store::{Actor, NewSession, Once, SignIn, TokenGrant};

/// A new session and the token for its client.
#[derive(Debug)]
pub struct Created {
    /// The session.
    pub session: SessionView,
    /// Shown once.
    pub token: SessionToken,
    /// The OAuth tokens of a mobile session, shown once.
    pub grant: Option<TokenGrant>,
    /// How many other sessions of the user ended to stay within their limit (X5); `None` when none did.
    pub ended: Option<i64>,
    /// The receipt, when others ended: no node accepts them any more.
    pub barrier: Option<Barrier>,
}

/// The document of a new session: one shape for the HTTP API and the command line.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = Created))]
pub struct CreatedView {
    /// The session.
    pub session: SessionView,
    /// Shown once.
    pub token: String,
    /// Kind mobile only.
    #[serde(flatten)]
    pub tokens: Option<Tokens>,
    /// How many other sessions of the user ended to stay within their limit; left out when none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<i64>,
    /// The receipt, when others ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub barrier: Option<Barrier>,
}

impl From<Created> for CreatedView {
    fn from(created: Created) -> Self {
        Self {
            session: created.session,
            token: created.token.reveal().to_owned(),
            tokens: created.grant.map(Tokens::from),
            ended: created.ended,
            barrier: created.barrier,
        }
    }
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
    /// Starts a session. When others of its user had to end for it (X5), it returns when no node accepts them any more.
    pub async fn create(&self, new: &NewSession, actor: Actor<'_>) -> Result<Created> {
        Ok(self.sign_in(new, None, actor).await?.0)
    }

    /// Starts a session once for an idempotency key; `true` beside it says that this was a repetition. Its token is new then: the
    /// first one was told to somebody who may not have heard it, is kept nowhere, and is accepted by no node when this returns.
    pub async fn create_once(&self, new: &NewSession, once: &Once, actor: Actor<'_>) -> Result<(Created, bool)> {
        self.sign_in(new, Some(once), actor).await
    }

    async fn sign_in(&self, new: &NewSession, once: Option<&Once>, actor: Actor<'_>) -> Result<(Created, bool)> {
        let signing_in = self.store.sign_in(new, once, actor);
        let outcome = match new.guest {
            Some((guest, _)) => self.forgetting(guest, signing_in).await?,
            None => signing_in.await?,
        };
        let (signed_in, repeated) = match outcome {
            SignIn::Started(signed_in) => (signed_in, false),
            SignIn::Repeated(signed_in) => (signed_in, true),
            SignIn::Ended => {
                return Err(Error::refused(
                    409,
                    "session_ended",
                    "The session that this Idempotency-Key started is over.",
                    "Sign in again with a new key.",
                ));
            }
        };
        let displaced = signed_in.displaced > 0;
        if repeated {
            self.cache.forget(signed_in.id);
        }
        let mut barrier = None;
        if repeated || displaced {
            barrier = Some(self.barrier().await);
        } else if new.guest.is_some() {
            self.barriers.hint();
        }
        let created = Created {
            session: self.session(signed_in.id, actor).await?,
            token: signed_in.token,
            grant: signed_in.grant,
            ended: displaced.then_some(signed_in.displaced),
            barrier: barrier.filter(|_| displaced),
        };
        Ok((created, repeated))
    }

    /// Extends a session by its id.
    pub async fn extend(&self, id: Uuid, actor: Actor<'_>) -> Result<Verdict> {
        match self.verdict(self.store.extend(id, actor).await?) {
            Verdict::Unknown => Err(unknown_session()),
            verdict => Ok(verdict),
        }
    }

    /// Counts what a mobile app reports of itself (M3): foreground, task or background.
    pub async fn report_state(&self, id: Uuid, state: Activity, actor: Actor<'_>) -> Result<Verdict> {
        match self.verdict(self.store.report(id, state, false, actor).await?) {
            Verdict::Unknown => Err(unknown_session()),
            verdict => Ok(verdict),
        }
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
        let ended = self.forgetting(id, self.store.terminate(id, actor)).await?;
        if !barrier {
            self.barriers.hint();
        }
        Ok(Terminated { terminated: ended.into(), barrier: if barrier { Some(self.barrier().await) } else { None } })
    }

    /// Signs a session out (K4).
    pub async fn sign_out(&self, id: Uuid, actor: Actor<'_>) -> Result<SignOut> {
        let left = self.forgetting(id, self.store.sign_out(id, actor)).await?;
        Ok(SignOut {
            barrier: self.barrier().await,
            session: self.session(id, actor).await?,
            guest: left.guest.map(|(session, policy, token)| {
                let limits = Limits::of(&session, &policy);
                (SessionView::new(session, Some(&limits)), token)
            }),
        })
    }

    /// Gives a session a new token; an ended session is refused with 409.
    pub async fn rotate(&self, id: Uuid, actor: Actor<'_>) -> Result<Rotated> {
        let Some(token) = self.forgetting(id, self.store.rotate(id, actor)).await? else {
            self.session(id, actor).await?;
            return Err(Error::refused(
                409,
                "session_ended",
                "The session is over and has no token to rotate.",
                "Sign in again.",
            ));
        };
        Ok(Rotated { barrier: self.barrier().await, session: self.session(id, actor).await?, token })
    }

    /// Does what ends a session or its token, and forgets it here whether or not the outcome is known (C20, C22), even when the
    /// caller does not wait for it.
    async fn forgetting<T>(&self, id: Uuid, change: impl Future<Output = Result<T>>) -> Result<T> {
        let _forgotten = Forgotten { cache: &self.cache, id };
        change.await
    }
}

struct Forgotten<'a> {
    cache: &'a Cache,
    id: Uuid,
}

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.cache.forget(self.id);
    }
}
