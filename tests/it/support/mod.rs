//! The fixture: a PostgreSQL, a database per test, a clock that tests move, and nodes over HTTP.

mod child;
mod crowd;
mod database;
mod domain;
mod http;
mod nginx;
mod proxy;
mod server;
mod webdriver;

pub use child::Process;
pub use crowd::{CALM, Crowd, rounds};
pub use database::{Clock, Db, settings};
pub use domain::{begun, half_an_hour};
pub use http::{Answer, Api, Node, assert_instant, assert_keys, send, served};
pub use nginx::Nginx;
pub use proxy::{Link, Proxy};
pub use webdriver::Browser;
