//! The cluster: this process in the registry, its heartbeat, and the barrier.

mod barrier;
mod node;

pub use barrier::Barrier;
pub use node::Node;
