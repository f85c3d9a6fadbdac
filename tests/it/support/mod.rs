//! The fixture: a PostgreSQL, a database per test, and a clock that tests move.

mod child;
mod crowd;
mod database;
mod server;

pub use child::Process;
pub use crowd::{CALM, Crowd, rounds};
pub use database::{Clock, Db, settings};
