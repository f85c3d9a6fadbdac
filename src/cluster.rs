//! The cluster: this process in the registry, its polls of the invalidation log, and the barrier.

mod barrier;
mod node;
mod poller;

pub use barrier::{Barrier, Barriers};
pub use node::Node;
