//! The check: from memory while that may be trusted, else from PostgreSQL.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;
use uuid::Uuid;

use super::Manager;
use crate::cache::Hit;
use crate::clock;
use crate::error::{Error, Result};
use crate::session::{
    Accepted, Activity, Deadlines, Limits, Over, Presented, Session, SessionToken, SessionView, TokenForm, instant,
};
use crate::store::{Actor, CheckOutcome, Looked};

/// How long a check waits for its turn at PostgreSQL.
const TURN: Duration = Duration::from_secs(2);

/// How a check is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckOptions {
    /// Ask PostgreSQL even where memory could answer: for what must not rest on the clocks of two machines. It waits for a
    /// commit, and its activity is recorded when it returns.
    pub strict: bool,
    /// Open a transaction: the session shows as active until [`Manager::close_transaction`], at most 10 minutes. A manager
    /// without a node opens none.
    pub open_transaction: bool,
    /// Also take a token that another store issued, if a session was imported with it. Only for callers that are applications: what a
    /// client sends by itself may have been read from the old store's table (docs/MIGRATIONS.md).
    pub foreign: bool,
}

/// The answer to an accepted check.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Checked {
    /// The session, without node, address and agent. `active` tells of transactions opened through the answering node.
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
    /// When maintenance ends the session; left out without maintenance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance_at: Option<chrono::DateTime<chrono::Utc>>,
}

/// A verdict on a token or session.
#[derive(Debug)]
pub enum Verdict {
    /// It lives.
    Live(Box<Checked>),
    /// It is over, for the holder of its token.
    Over(Box<Over>),
    /// The access token has expired; its session lives.
    TokenExpired,
    /// Unknown.
    Unknown,
}

impl Hit {
    /// Whole seconds until it ends without further activity.
    pub fn seconds_left(&self) -> i64 {
        (self.deadlines.expires_at - self.now).max(0) / 1_000_000
    }

    /// Whether to show "Extend your session" now.
    pub fn prompt(&self) -> bool {
        self.prompt_at.is_some_and(|at| at <= self.now)
    }

    /// The user's name; `None` for guests.
    pub fn user(&self) -> Option<&str> {
        self.user.as_ref().map(|user| &*user.name)
    }

    fn session(&self) -> Session {
        Session {
            id: self.id,
            kind: self.timing.kind,
            user: self.user().map(str::to_owned),
            device: self.timing.device,
            remember_me: self.timing.remember_me,
            residue: self.timing.residue,
            created_at: instant(self.timing.created_at),
            last_activity_at: instant(self.last_activity_at),
            refresh_seconds: self.timing.refresh_seconds,
            idle_limit_seconds: self.timing.idle_limit_seconds,
            window_seconds: self.timing.window_seconds,
            oauth_entity: None,
            app_state: None,
            app_state_at: None,
            node: None,
            client_address: None,
            user_agent: None,
            active: false,
            ended: None,
        }
    }
}

impl From<Hit> for Checked {
    fn from(hit: Hit) -> Self {
        Self {
            session: SessionView::new(hit.session(), Some(&Limits::from(hit.deadlines))).without_place(),
            seconds_left: hit.seconds_left(),
            prompt: hit.prompt(),
            prompt_at: hit.prompt_at.map(instant),
            can_extend: Deadlines::can_extend(&hit.deadlines),
            transaction_id: None,
            maintenance_at: hit.deadlines.maintenance.map(instant),
        }
    }
}

impl From<Accepted> for Checked {
    fn from(accepted: Accepted) -> Self {
        Self {
            session: SessionView::new(accepted.session, Some(&accepted.limits)).without_place(),
            seconds_left: accepted.seconds_left,
            prompt: accepted.prompt,
            prompt_at: accepted.prompt_at,
            can_extend: accepted.can_extend,
            transaction_id: None,
            maintenance_at: accepted.limits.maintenance_at,
        }
    }
}

/// What a check found, before it becomes an answer.
enum Found {
    Hit(Hit),
    Outcome(CheckOutcome),
}

impl Manager {
    /// Checks a token from memory and counts the activity; `None` counts as a browser action or API call (A1).
    ///
    /// It waits for nothing and allocates nothing. `None` says nothing about the session: ask [`Manager::check`]. Memory only ever
    /// accepts, and only before `idle deadline - 10 s` or the prompt, whichever is earlier; it never knows mobile sessions, nor
    /// those of inactive users. An accepted check counts at once here and within two seconds for other nodes; a crash forgets
    /// at most the last three seconds. It does not appear in `tenure_checks_total`.
    pub fn check_now(&self, token: &str, activity: Option<Activity>) -> Option<Hit> {
        let (id, hash) = SessionToken::parse(token)?;
        self.cache.hit(id, &hash, activity.unwrap_or(Activity::User), clock::read())
    }

    /// Checks a token and counts the activity; `None` counts as a browser action or API call, and for mobile as the app on the
    /// screen unless it last said that it is in the background (A1). It tries memory first, then asks PostgreSQL, with as many others at once as the pool has connections; `actor` is who ends a session found over.
    ///
    /// A verdict is good for one request. What lives longer, a web socket say, checks again at least every two seconds.
    ///
    /// # Errors
    /// Unavailable while PostgreSQL is away and memory cannot answer, or when no turn came within 2 s: that says nothing about
    /// the session. Refused with 422 `activity_not_for_kind` for an activity that the session's kind does not have.
    pub async fn check(
        &self,
        token: &str,
        activity: Option<Activity>,
        options: CheckOptions,
        actor: Actor<'_>,
    ) -> Result<Verdict> {
        let token = match Presented::parse(token) {
            None if options.foreign => self.foreign(token).await?,
            token => token,
        };
        let Some(token) = token else {
            return Ok(Verdict::Unknown);
        };
        let hit = if options.strict { None } else { self.hit(&token, activity) };
        metrics::counter!("tenure_checks_total", "answered_from" => if hit.is_some() { "memory" } else { "postgresql" })
            .increment(1);
        let found = match hit {
            Some(hit) => Found::Hit(hit),
            None => self.ask(&token, activity, options.strict, actor).await?,
        };
        let (now, mut checked) = match found {
            Found::Hit(hit) => (hit.now, Checked::from(hit)),
            Found::Outcome(CheckOutcome::Accepted(accepted)) => (accepted.now.timestamp_micros(), Checked::from(*accepted)),
            Found::Outcome(outcome) => {
                // Only for the holder of the right token: anybody else could make this node forget at will.
                if matches!(outcome, CheckOutcome::Over(_)) {
                    self.cache.forget(token.id);
                }
                return Ok(self.verdict(outcome));
            }
        };
        if options.open_transaction
            && let Some(node) = &self.node
        {
            checked.transaction_id = Some(self.transactions.open(token.id, node.id(), now));
        }
        checked.session.active |= self.transactions.is_open(token.id);
        Ok(Verdict::Live(Box::new(checked)))
    }

    /// Waits for a turn at PostgreSQL.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        timeout(TURN, self.gate.acquire()).await.map_err(Error::unavailable)?.map_err(Error::unavailable)
    }

    /// Asks PostgreSQL, in turn with the others.
    async fn ask(&self, token: &Presented, activity: Option<Activity>, strict: bool, actor: Actor<'_>) -> Result<Found> {
        let _turn = if let Ok(turn) = self.gate.try_acquire() {
            turn
        } else {
            let turn = self.turn().await?;
            // Somebody else may have brought it back while this one waited.
            if !strict && let Some(hit) = self.hit(token, activity) {
                return Ok(Found::Hit(hit));
            }
            turn
        };
        // What only mobile sessions have is never remembered.
        if !strict && token.form == TokenForm::Session && self.cache.is_open(clock::read()) {
            let load = self.cache.begin_load(token.id);
            match self.store.look(token, activity, actor).await? {
                Looked::Live(loaded) => {
                    self.cache.finish_load(&load, &loaded, clock::read());
                    if let Some(hit) = self.hit(token, activity) {
                        return Ok(Found::Hit(hit));
                    }
                }
                Looked::Uncertain => {}
                Looked::Concluded(outcome) => return Ok(Found::Outcome(outcome)),
            }
        }
        Ok(Found::Outcome(self.store.check_session(token, activity, actor).await?))
    }

    fn hit(&self, token: &Presented, activity: Option<Activity>) -> Option<Hit> {
        self.cache.hit(token.id, &token.hash, activity.unwrap_or(Activity::User), clock::read())
    }

    pub(super) fn verdict(&self, outcome: CheckOutcome) -> Verdict {
        match outcome {
            CheckOutcome::Accepted(accepted) => {
                let mut checked = Checked::from(*accepted);
                checked.session.active |= self.transactions.is_open(checked.session.id);
                Verdict::Live(Box::new(checked))
            }
            CheckOutcome::Over(over) => Verdict::Over(over),
            CheckOutcome::TokenExpired => Verdict::TokenExpired,
            CheckOutcome::Unknown => Verdict::Unknown,
        }
    }

    /// Closes a transaction, through whichever node it was opened; `false` when it is not open.
    pub async fn close_transaction(&self, session: Uuid, transaction: Uuid) -> Result<bool> {
        let node = self.node.as_ref().map(|node| node.id());
        self.transactions.close(&self.store, session, transaction, node).await
    }
}
