//! Signing in by password, for applications that keep none themselves.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::users::unknown_user;
use super::{Created, Manager};
use crate::error::{Error, Result};
use crate::session::Password;
use crate::store::{Actor, NewSession, User};

/// How long a password waits for its turn to be hashed.
const TURN: Duration = Duration::from_secs(2);

/// How many passwords are hashed at once: half the processors, four at most, so that a flood of sign-ins leaves the others to
/// checks and takes no more than 76 MiB.
pub(super) fn at_once() -> usize {
    available_parallelism().map_or(1, |processors| (processors.get() / 2).clamp(1, 4))
}

/// One answer for a wrong password, an unknown user, and a user without a password.
fn invalid_credentials() -> Error {
    Error::refused(401, "invalid_credentials", "The user name or the password is wrong.", "Correct them and try again.")
}

impl Manager {
    /// Starts a session as [`Manager::create`] does, once the password is that of the session's user.
    ///
    /// # Errors
    /// Refused with 401 `invalid_credentials` when it is not, whatever the reason and after the same work; only who knows the
    /// password learns that the user is locked out or inactive. Unavailable also when no turn came within 2 s.
    pub async fn log_in(&self, new: &NewSession, password: Password, actor: Actor<'_>) -> Result<Created> {
        self.log_in_if(|_| Ok(()), new, password, actor).await
    }

    /// As [`Manager::log_in`], where not everybody is welcome who knows their password: `admits` judges the user once it is proved, and
    /// before there is a session, which may take the place of another one of theirs (X5).
    pub async fn log_in_if(
        &self,
        admits: impl FnOnce(&User) -> Result<()>,
        new: &NewSession,
        password: Password,
        actor: Actor<'_>,
    ) -> Result<Created> {
        let name = new.user.as_deref().unwrap_or_default();
        self.prove(name, password).await?;
        let created = async {
            admits(&self.user(name).await?)?;
            self.create(new, actor).await
        };
        match created.await {
            // Deleted since the password was read.
            Err(error) if error.is_not_found() => Err(invalid_credentials()),
            created => created,
        }
    }

    /// Refuses unless this is the password of the user; of one without a password none is, after the same work.
    ///
    /// # Errors
    /// Refused with 401 `invalid_credentials`; unavailable also when no turn came within 2 s.
    pub async fn prove(&self, user: &str, password: Password) -> Result<()> {
        let hash = self.store.password_hash(user).await?;
        if self.hashing(move || password.matches(hash.as_deref())).await? { Ok(()) } else { Err(invalid_credentials()) }
    }

    /// Gives a user another password. Sessions go on: whoever wants them ended ends them.
    pub async fn set_password(&self, name: &str, password: Password, actor: Actor<'_>) -> Result<User> {
        // Before the work of hashing.
        self.user(name).await?;
        let hash = self.hashing(move || password.hash()).await?;
        if !self.store.set_password_hash(name, &hash, actor).await? {
            return Err(unknown_user());
        }
        self.user(name).await
    }

    /// Hashes in turn with others, beside the threads that answer requests. The turn ends with the work, not with the caller.
    pub(super) async fn hashing<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let turn = timeout(TURN, Arc::clone(&self.hashing).acquire_owned()).await.map_err(Error::unavailable)?;
        let turn = turn.map_err(Error::unavailable)?;
        let worked = spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        worked.await.map_err(Error::failed)
    }
}
