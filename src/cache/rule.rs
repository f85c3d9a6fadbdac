//! The rules of the protocol by name, so that a test can take one away and see what happens.

use std::fmt;
use std::str::FromStr;

/// A rule that `Cache::without` removes; only test builds can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nothing is answered from memory without a live lease.
    LeaseChecked,
    /// A lease counts from before its poll was sent, not from the answer.
    LeaseFromSending,
    /// A lease is earned by applying the rows, not by a heartbeat.
    RowsApplied,
    /// A load that an invalidation overtook is not remembered.
    Taint,
    /// The first poll of a connection forgets everything.
    FirstPollEmpties,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 5] =
        [Self::LeaseChecked, Self::LeaseFromSending, Self::RowsApplied, Self::Taint, Self::FirstPollEmpties];

    /// Its name on a command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LeaseChecked => "lease-checked",
            Self::LeaseFromSending => "lease-from-sending",
            Self::RowsApplied => "rows-applied",
            Self::Taint => "taint",
            Self::FirstPollEmpties => "first-poll-empties",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|rule| rule.as_str() == name)
            .ok_or_else(|| format!("expected one of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}
