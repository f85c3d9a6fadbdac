//! The cluster: this process in the registry, its polls of the invalidation log, the barrier, and the tail of the events.

mod barrier;
mod node;
mod poller;
mod tail;

pub use barrier::{Barrier, Barriers};
pub use node::Node;
pub use tail::{Tail, Told};
