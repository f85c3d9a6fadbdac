//! The domain: what a session is, which limits it has, and what a caller is told. No I/O and no clock in here.

mod explain;
mod facts;
mod kind;
mod limits;
mod mark;
mod password;
mod token;
mod verdict;
mod view;
mod window;

pub use explain::{Candidate, Explanation, Origin, Origins, Recorded};
pub use facts::{Ending, Loaded, Session};
pub use kind::{Activity, Device, EndReason, Kind, Role};
pub use limits::{Deadlines, Limits, Policy, Timing, instant};
pub use mark::{Law, Mark, Movement};
pub use password::Password;
#[cfg(feature = "cli")]
pub(crate) use token::hex;
pub use token::{ApiKey, ClientSecret, ForeignToken, Presented, SessionToken, TokenForm, TokenHash, TokenParts};
pub use verdict::{Accepted, Action, Over};
pub use view::{Place, SessionView};
pub use window::Window;
