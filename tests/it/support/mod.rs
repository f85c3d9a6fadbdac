//! The fixture: a PostgreSQL, a database per test, and a clock that tests move.

mod database;
mod server;

pub use database::{Clock, Db};
