//! One session: check, extend, rotate, sign out, terminate, read.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::error::retrying;
use super::rows::{EndedRow, LiveRow, LookRow};
use super::{Actor, Store};
use crate::error::{Error, Result};
use crate::session::{
    Accepted, Action, Activity, EndReason, ForeignToken, Kind, Loaded, Over, Policy, Presented, Session, SessionToken, TokenForm,
    TokenHash, TokenParts,
};

/// What a check found.
#[derive(Debug)]
pub enum CheckOutcome {
    /// It lives; the activity was counted.
    Accepted(Box<Accepted>),
    /// It is over; the caller held the right token.
    Over(Box<Over>),
    /// The access token has expired; the session lives.
    TokenExpired,
    /// No such token: never issued, rotated away, or no longer retained.
    Unknown,
}

/// What a check that counts in memory read.
#[derive(Debug)]
pub enum Looked {
    /// To be remembered; whether it lives is the node's to judge.
    Live(Loaded),
    /// Not to be remembered, or not this token's: ask the database for the verdict.
    Uncertain,
    /// The verdict.
    Concluded(CheckOutcome),
}

/// What a sign-out left.
#[derive(Debug)]
pub struct SignedOut {
    /// The guest session in its place, for kind user, with its token.
    pub guest: Option<(Session, Policy, SessionToken)>,
}

/// The columns of a checked session: [`LiveRow`] without the place, which a check does not read.
const CHECKED: &str = "
    t.token_hash, t.id, t.kind, (select u.name from tenure.users u where u.id = t.user_id) as user_name, t.device, t.remember_me, t.residue,
    t.created_at, t.anchor_at, t.refresh_seconds, t.idle_limit_seconds, t.window_seconds,
    (select o.name from tenure.oauth_entities o where o.id = t.oauth_entity_id) as oauth_entity,
    tenure.shown_app_state(t, p, n.at) as app_state, t.app_state_at,
    t.node, null::inet as client_address, null::text as user_agent,
    exists (select from tenure.open_transactions x where x.session_id = t.id) as active, null::text as barred, n.at as now,
    p.idle_seconds, p.max_life_seconds, p.remember_me_seconds, p.residue_seconds, p.prompt_seconds, p.auto_refresh_extends,
    p.ajax_prompt, p.ajax_resubmit, p.maintenance_at";

/// Counts an activity, if the session lives and its kind may report it: sessions, policies and users each by primary key. An
/// access token of the session is as good as its own.
const COUNT: &str = "/* session_check */
    update tenure.sessions t
       set anchor_at    = tenure.counted_anchor(t, p, coalesce($3, tenure.default_activity(t)), n.at),
           app_state    = case when t.kind = 'mobile' then coalesce($3, tenure.default_activity(t)) end,
           app_state_at = case when t.kind = 'mobile' then n.at end,
           node         = coalesce($4, t.node)
      from tenure.policies p, (select tenure.now() as at offset 0) n
     where t.id = $1
       and ($2::bytea is null or t.token_hash = $2
            or exists (select from tenure.oauth_tokens x
                        where x.session_id = t.id and x.token_hash = $2 and x.type = 'access' and x.expires_at > n.at))
       and t.kind = any ($5)
       and coalesce($3, tenure.default_activity(t)) <> 'passive'
       and p.kind = t.kind
       and (select l.expires_at from tenure.limits(t, p) l) > n.at
       and (not $6 or (select l.reason from tenure.limits(t, p) l) = 'idle')
       and not exists (select from tenure.users u where u.id = t.user_id and tenure.barred(t, u, p) is not null)
    returning ";

/// Reads what a node remembers of a session: two primary keys, and nothing is written. Whether it lives says the node's own
/// policy and time; `admitted` is what its user says.
const LOOK: &str = "/* session_look */
    select t.token_hash, t.kind, t.device, t.remember_me, t.residue, t.created_at, t.anchor_at, t.refresh_seconds, t.idle_limit_seconds,
           t.user_id, u.name, t.user_id is null or (u.active and not u.locked_out and u.epoch = t.user_epoch) as admitted, t.id
      from tenure.sessions t
      left join tenure.users u on u.id = t.user_id
     where t.id = $1";

#[cfg(any(test, feature = "test-util"))]
impl Store {
    /// The statement of a check that counts in the database, for tests of its plan.
    pub fn check_statement() -> String {
        format!("{COUNT}{CHECKED}")
    }

    /// The statement of a check that counts in memory, for tests of its plan.
    pub const fn look_statement() -> &'static str {
        LOOK
    }
}

impl Store {
    /// Checks a token and counts the activity in the database; `None` counts as what the kind of session does most (A1).
    pub async fn check(&self, token: &str, activity: Option<Activity>, actor: Actor<'_>) -> Result<CheckOutcome> {
        match Presented::parse(token) {
            Some(presented) => self.check_session(&presented, activity, actor).await,
            None => Ok(CheckOutcome::Unknown),
        }
    }

    /// The same for a token already taken apart. A refresh token is none that a check takes.
    pub async fn check_session(&self, token: &Presented, activity: Option<Activity>, actor: Actor<'_>) -> Result<CheckOutcome> {
        if token.form == TokenForm::Refresh {
            return Ok(CheckOutcome::Unknown);
        }
        // Twice only when another request moved the session between counting and reading.
        for _ in 0..3 {
            if activity != Some(Activity::Passive)
                && let Some(accepted) = self.count(token.id, Some(&token.hash), activity, false).await?
            {
                return Ok(CheckOutcome::Accepted(Box::new(accepted)));
            }
            let row = self.live_row(token.id).await?;
            if let Some(outcome) = self.conclude(row, token, activity, actor).await? {
                return Ok(outcome);
            }
        }
        Err(Error::unavailable("the session kept changing while it was checked"))
    }

    /// The session that a foreign token leads to, live, or ended and retained: its token taken apart; and whether any session was
    /// imported with such a token at all.
    pub async fn foreign_session(&self, token: &ForeignToken) -> Result<(Option<Presented>, bool)> {
        let row = sqlx::query!(
            r#"/* session_foreign */ select tenure.foreign_session($1) as id, tenure.has_foreign_tokens() as "any!""#,
            token.hash().as_bytes()
        )
        .fetch_one(&self.pool)
        .await?;
        Ok((row.id.map(|id| Presented::foreign(id, token)), row.any))
    }

    /// Reads a session for a check that counts in memory: what there is to remember of it, or the verdict when there is nothing.
    pub async fn look(&self, token: &Presented, activity: Option<Activity>, actor: Actor<'_>) -> Result<Looked> {
        let Some(row) = sqlx::query_as::<_, LookRow>(LOOK).bind(token.id).fetch_optional(&self.pool).await? else {
            let outcome = self.conclude(None, token, activity, actor).await?;
            return Ok(outcome.map_or(Looked::Uncertain, Looked::Concluded));
        };
        let Some(loaded) = row.loaded().filter(|loaded| token.hash.matches(loaded.hash.as_bytes())) else {
            return Ok(Looked::Uncertain);
        };
        allowed(activity, loaded.timing.kind)?;
        Ok(Looked::Live(loaded))
    }

    /// The verdict on a session that was not counted; `None` when it must be asked again.
    async fn conclude(
        &self,
        row: Option<LiveRow>,
        token: &Presented,
        activity: Option<Activity>,
        actor: Actor<'_>,
    ) -> Result<Option<CheckOutcome>> {
        let mut expired = false;
        let row = match row {
            // Neither its own token nor an access token: if the session ended just now, it may have been one.
            Some(row) if !token.hash.matches(row.token_hash()) => match self.access_token_lives(token).await? {
                Some(lives) => {
                    expired = !lives;
                    Some(row)
                }
                None => None,
            },
            row => row,
        };
        if let Some(row) = row {
            let (session, policy, now) = row.into_domain()?;
            if session.ended.is_some() {
                self.end_due(token.id, actor).await?;
            } else if expired {
                return Ok(Some(CheckOutcome::TokenExpired));
            } else {
                allowed(activity, session.kind)?;
                // Without a word the app in the background is not counted (A1).
                let resting = session.kind == Kind::Mobile && session.app_state.as_deref() == Some("background");
                if activity == Some(Activity::Passive) || activity.is_none() && resting {
                    return Ok(Some(CheckOutcome::Accepted(Box::new(Accepted::at(session, &policy, now)))));
                }
                return Ok(None);
            }
        }
        let Some(row) = self.ended_row(token.id).await? else { return Ok(Some(CheckOutcome::Unknown)) };
        if !row.is_held_by(&token.hash) {
            return Ok(Some(CheckOutcome::Unknown));
        }
        let activity = activity.unwrap_or(Activity::User);
        Ok(Some(CheckOutcome::Over(Box::new(self.over(row.try_into()?, activity).await?))))
    }

    /// Counts a `user` activity by session id, if that moves its end; refused as `cannot_extend` otherwise (A10).
    pub async fn extend(&self, id: Uuid, actor: Actor<'_>) -> Result<CheckOutcome> {
        self.report(id, Activity::User, true, actor).await
    }

    /// Counts an activity by session id; with `only_if_it_helps` refused as `cannot_extend` when that does not move its end (A10).
    pub async fn report(&self, id: Uuid, activity: Activity, only_if_it_helps: bool, actor: Actor<'_>) -> Result<CheckOutcome> {
        for _ in 0..3 {
            if let Some(accepted) = self.count(id, None, Some(activity), only_if_it_helps).await? {
                return Ok(CheckOutcome::Accepted(Box::new(accepted)));
            }
            let Some((session, policy)) = self.session(id, actor).await? else {
                return Ok(CheckOutcome::Unknown);
            };
            if session.ended.is_some() {
                return Ok(CheckOutcome::Over(Box::new(self.over(session, activity).await?)));
            }
            allowed(Some(activity), session.kind)?;
            let limits = crate::session::Limits::of(&session, &policy);
            if only_if_it_helps && limits.reason != EndReason::Idle {
                return Err(Error::refused(
                    409,
                    "cannot_extend",
                    format!("The session ends at {} ({}) whatever the activity.", limits.expires_at.to_rfc3339(), limits.reason),
                    "Sign in again after it has ended; explain shows the limit that binds.",
                ));
            }
        }
        Err(Error::unavailable("the session kept changing while its activity was counted"))
    }

    async fn count(
        &self,
        id: Uuid,
        hash: Option<&TokenHash>,
        activity: Option<Activity>,
        only_if_it_helps: bool,
    ) -> Result<Option<Accepted>> {
        let row = sqlx::query_as::<_, LiveRow>(AssertSqlSafe(format!("{COUNT}{CHECKED}")))
            .bind(id)
            .bind(hash.map(TokenHash::as_bytes))
            .bind(activity.map(Activity::as_str))
            .bind(self.node.as_deref())
            .bind(activity.map_or_else(|| Kind::ALL.iter().map(ToString::to_string).collect(), Activity::kinds))
            .bind(only_if_it_helps)
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let (mut session, policy, now) = row.into_domain()?;
        // Judged by the statement itself, before the activity moved the anchor.
        session.ended = None;
        Ok(Some(Accepted::at(session, &policy, now)))
    }

    /// A session by id, live or ended; one that is over but not yet moved is ended first. `None` when unknown.
    pub async fn session(&self, id: Uuid, actor: Actor<'_>) -> Result<Option<(Session, Policy)>> {
        if let Some(row) = self.live_row(id).await? {
            let (session, policy, _) = row.into_domain()?;
            if session.ended.is_none() || !self.end_due(id, actor).await? {
                return Ok(Some((session, policy)));
            }
        }
        let Some(row) = self.ended_row(id).await? else { return Ok(None) };
        let session = Session::try_from(row)?;
        let policy = self.policy(session.kind).await?;
        Ok(Some((session, policy)))
    }

    async fn live_row(&self, id: Uuid) -> Result<Option<LiveRow>> {
        Ok(sqlx::query_as("/* session_read */ select f.* from tenure.session_facts f where f.id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?)
    }

    pub(super) async fn ended_row(&self, id: Uuid) -> Result<Option<EndedRow>> {
        Ok(sqlx::query_as("/* ended_session_read */ select e.* from tenure.ended_sessions e where e.id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?)
    }

    async fn end_due(&self, id: Uuid, actor: Actor<'_>) -> Result<bool> {
        retrying(|| async {
            sqlx::query_scalar!(
                r#"/* session_end_due */
                with context as materialized (select tenure.act_as($2, $3) as set)
                select tenure.end_due($1) as "ended!" from context where set"#,
                id,
                actor.0,
                self.node
            )
            .fetch_one(&self.pool)
            .await
        })
        .await
    }

    async fn over(&self, session: Session, activity: Activity) -> Result<Over> {
        let policy = self.policy(session.kind).await?;
        let ending = session.ended.clone().ok_or_else(|| Error::failed("an ended session without an ending"))?;
        let action = Action::after(session.kind, session.remember_me, ending.reason, activity, &policy);
        Ok(Over { session, ending, action })
    }

    /// The limits in force for a kind.
    pub async fn policy(&self, kind: Kind) -> Result<Policy> {
        Ok(sqlx::query_as!(
            Policy,
            "/* policy_read */
            select idle_seconds, max_life_seconds, remember_me_seconds, residue_seconds, prompt_seconds, auto_refresh_extends,
                   ajax_prompt, ajax_resubmit, maintenance_at
              from tenure.policies where kind = $1",
            kind.as_str()
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// Ends a session by decision (U5). `false` when it was over already; refused when unknown.
    pub async fn terminate(&self, id: Uuid, actor: Actor<'_>) -> Result<bool> {
        retrying(|| async {
            sqlx::query_scalar!(
                r#"/* session_terminate */
                with context as materialized (select tenure.act_as($2, $3) as set)
                select tenure.terminate($1) as "ended!" from context where set"#,
                id,
                actor.0,
                self.node
            )
            .fetch_one(&self.pool)
            .await
        })
        .await
    }

    /// Signs a session out (K4); a session already over leaves nothing.
    pub async fn sign_out(&self, id: Uuid, actor: Actor<'_>) -> Result<SignedOut> {
        let secret = TokenParts::new();
        let hash = secret.hash();
        let guest_id = retrying(|| async {
            sqlx::query_scalar!(
                r#"/* session_sign_out */
                with context as materialized (select tenure.act_as($3, $4) as set)
                select tenure.sign_out($1, $2) as guest_id from context where set"#,
                id,
                hash.as_bytes(),
                actor.0,
                self.node
            )
            .fetch_one(&self.pool)
            .await
        })
        .await?;
        let guest = match guest_id {
            Some(guest_id) => {
                self.session(guest_id, actor).await?.map(|(session, policy)| (session, policy, secret.for_session(guest_id)))
            }
            None => None,
        };
        Ok(SignedOut { guest })
    }

    /// Gives a live session a new token; `None` when it is over or unknown.
    pub async fn rotate(&self, id: Uuid, actor: Actor<'_>) -> Result<Option<SessionToken>> {
        let secret = TokenParts::new();
        let hash = secret.hash();
        let rotated = retrying(|| async {
            sqlx::query_scalar!(
                r#"/* session_rotate */
                with context as materialized (select tenure.act_as($3, $4) as set)
                select tenure.rotate($1, $2) as "rotated!" from context where set"#,
                id,
                hash.as_bytes(),
                actor.0,
                self.node
            )
            .fetch_one(&self.pool)
            .await
        })
        .await?;
        Ok(rotated.then(|| secret.for_session(id)))
    }
}

/// Whether a session of the kind may report this; what is not said always fits.
fn allowed(activity: Option<Activity>, kind: Kind) -> Result<()> {
    let Some(activity) = activity.filter(|activity| !activity.allowed_for(kind)) else { return Ok(()) };
    let words: Vec<_> =
        Activity::ALL.iter().filter(|activity| activity.allowed_for(kind)).map(|activity| activity.as_str()).collect();
    Err(Error::refused(
        422,
        "activity_not_for_kind",
        format!("A session of kind {kind} cannot report the activity {activity}."),
        format!("Use one of: {}.", words.join(", ")),
    ))
}
