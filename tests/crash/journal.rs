//! What one worker asked for and what was acknowledged. A worker does one thing at a time, to a user of its own, so whatever it
//! knows for certain is exact, and one operation at most is in doubt.

use uuid::Uuid;

/// What became of a session, as far as it was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its creation was acknowledged, and nobody asked for its end.
    Live,
    /// Its end was acknowledged, for this reason.
    Ended(&'static str),
}

/// A session of the worker's user.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub id: Uuid,
    /// Its token.
    pub token: String,
    /// What became of it.
    pub fate: Fate,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A sign-in under this idempotency key.
    Create(String),
    /// The end of the session at this place.
    Terminate(usize),
    /// Of the user.
    LockOut,
    /// Of the user.
    Unlock,
    /// The property, to this value.
    Set(String),
}

/// The journal of one worker.
#[derive(Debug, Clone)]
pub struct Journal {
    /// The user.
    pub user: String,
    /// Every session whose creation was acknowledged.
    pub sessions: Vec<Session>,
    /// Whether the user is locked out.
    pub locked_out: bool,
    /// How often that was acknowledged.
    pub lock_outs: usize,
    /// The property this worker sets, if any.
    pub property: Option<&'static str>,
    /// The values it was set to.
    pub values: Vec<String>,
    /// Asked for and not answered.
    pub unanswered: Option<Operation>,
    /// Operations acknowledged.
    pub acknowledged: u64,
}

impl Journal {
    /// An empty one.
    pub fn new(user: String, property: Option<&'static str>) -> Self {
        let (sessions, values) = (Vec::new(), Vec::new());
        Self { user, sessions, locked_out: false, lock_outs: 0, property, values, unanswered: None, acknowledged: 0 }
    }

    /// The places of live sessions.
    pub fn live(&self) -> Vec<usize> {
        (0..self.sessions.len()).filter(|place| self.sessions[*place].fate == Fate::Live).collect()
    }

    /// Writes down that the operation in doubt happened. A sign-in names its session by [`Journal::created`].
    pub fn happened(&mut self) {
        match self.unanswered.take() {
            None | Some(Operation::Create(_)) => return,
            Some(Operation::Terminate(place)) => self.sessions[place].fate = Fate::Ended("terminated"),
            Some(Operation::LockOut) => {
                self.locked_out = true;
                self.lock_outs += 1;
                for session in self.sessions.iter_mut().filter(|session| session.fate == Fate::Live) {
                    session.fate = Fate::Ended("locked_out");
                }
            }
            Some(Operation::Unlock) => self.locked_out = false,
            Some(Operation::Set(value)) => self.values.push(value),
        }
        self.acknowledged += 1;
    }

    /// Writes down the session that a sign-in made.
    pub fn created(&mut self, id: Uuid, token: String) {
        self.unanswered = None;
        self.acknowledged += 1;
        self.sessions.push(Session { id, token, fate: Fate::Live });
    }
}
