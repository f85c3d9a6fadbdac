//! What checks of one token through one node came to. Tallies merge in any order, so nodes send one a token ten times a
//! second instead of every answer, and the driver keeps millions of answers in little memory.

use crate::clock::Micros;

/// One answer to a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Accepted.
    Accept,
    /// Rejected, and why.
    Reject(Reason),
    /// 503, an error, a lost connection: what the check did is not known.
    None,
}

/// Why a check was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A limit was reached.
    Due,
    /// Somebody ended it.
    Decided,
    /// The token is not known.
    Unknown,
    /// The API key was refused, which no run gives a cause for.
    Key,
}

impl Reason {
    const ALL: [Self; 4] = [Self::Due, Self::Decided, Self::Unknown, Self::Key];

    /// Of the words of the API.
    pub fn of(code: &str, reason: &str) -> Self {
        match (code, reason) {
            ("session_ended", "idle" | "max_life" | "remember_me" | "residue") => Self::Due,
            ("session_ended", _) => Self::Decided,
            ("invalid_api_key", _) => Self::Key,
            _ => Self::Unknown,
        }
    }
}

/// What some checks of one token through one node came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// How many were accepted.
    pub accepts: u64,
    /// How many were rejected.
    pub rejects: u64,
    /// How many had no answer.
    pub unanswered: u64,
    /// When the last accepted one was invoked; 0 for none.
    pub last_accept: Micros,
    /// When the first rejection arrived; `Micros::MAX` for none.
    pub first_reject: Micros,
    /// Why that was rejected.
    pub reason: Reason,
    /// Accepted activity: first and last invocation, and the last answer; `MAX`, 0 and 0 for none.
    pub activity: (Micros, Micros, Micros),
    /// Activity without an answer, which may have been counted: first and last invocation.
    pub perhaps: (Micros, Micros),
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            accepts: 0,
            rejects: 0,
            unanswered: 0,
            last_accept: 0,
            first_reject: Micros::MAX,
            reason: Reason::Unknown,
            activity: (Micros::MAX, 0, 0),
            perhaps: (Micros::MAX, 0),
        }
    }
}

/// Bytes of a frame on the pipe from a node.
pub const FRAME: usize = 12 * 8;

impl Tally {
    /// One check.
    pub fn of(answer: Answer, counts: bool, invoked: Micros, answered: Micros) -> Self {
        let mut tally = Self::default();
        tally.add(answer, counts, invoked, answered);
        tally
    }

    /// Adds one check; `counts` when it reported activity.
    pub fn add(&mut self, answer: Answer, counts: bool, invoked: Micros, answered: Micros) {
        match answer {
            Answer::Accept => {
                self.accepts += 1;
                self.last_accept = self.last_accept.max(invoked);
                if counts {
                    let (first, last, until) = self.activity;
                    self.activity = (first.min(invoked), last.max(invoked), until.max(answered));
                }
            }
            Answer::Reject(reason) => {
                self.rejects += 1;
                if answered < self.first_reject {
                    (self.first_reject, self.reason) = (answered, reason);
                }
            }
            Answer::None => {
                self.unanswered += 1;
                if counts {
                    self.perhaps = (self.perhaps.0.min(invoked), self.perhaps.1.max(invoked));
                }
            }
        }
    }

    /// As bytes, under the number of its token.
    pub fn frame(&self, token: u64) -> [u8; FRAME] {
        let words = [
            token,
            self.accepts,
            self.rejects,
            self.unanswered,
            self.last_accept,
            self.first_reject,
            self.reason as u64,
            self.activity.0,
            self.activity.1,
            self.activity.2,
            self.perhaps.0,
            self.perhaps.1,
        ];
        let mut frame = [0; FRAME];
        for (bytes, word) in frame.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        frame
    }

    /// The other way round.
    pub fn unframe(frame: &[u8]) -> (u64, Self) {
        let mut words = [0; FRAME / 8];
        for (word, bytes) in words.iter_mut().zip(frame.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        }
        let [token, accepts, rejects, unanswered, last_accept, first_reject, reason, first, last, until, from, to] = words;
        let reason = usize::try_from(reason).ok().and_then(|reason| Reason::ALL.get(reason)).copied().unwrap_or(Reason::Unknown);
        let (activity, perhaps) = ((first, last, until), (from, to));
        (token, Self { accepts, rejects, unanswered, last_accept, first_reject, reason, activity, perhaps })
    }
}
