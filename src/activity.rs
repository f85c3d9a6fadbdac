//! Activity: counted in memory, written by one writer per node every two seconds and when the node drains.

mod flusher;
mod transactions;

pub use flusher::{FLUSH, Flusher};
pub use transactions::Transactions;
