//! A persistent, multi-node session store on PostgreSQL.
//!
//! Clustered applications keep their sessions here instead of in one node's memory: any node lists or ends any session,
//! every deadline can be explained, and expiry is decided by instants in SQL.
//!
//! The rooms, from the outside in; arrows only point right:
//!
//! `main` → `cli` → `server` → [`manager`] → {[`cluster`], [`maintenance`]} → [`store`] → [`session`]
//!
//! * [`session`]: the domain. Kinds, limits, tokens, verdicts, explanations; no I/O and no clock.
//! * [`store`]: PostgreSQL behind typed calls; the schema and its rules live in `migrations/`.
//! * [`cluster`]: the registry of nodes, heartbeats, the barrier.
//! * [`maintenance`]: the sweeper and what follows a tightened policy.
//! * [`manager`]: the use cases.
//! * [`input`]: every check of what comes from outside.
//! * `server`, `cli`, `embedded`: the HTTP API, the command line, and a PostgreSQL from the machine's own binaries; each
//!   behind the Cargo feature of its name.
#![forbid(unsafe_code)]

pub mod activity;
pub mod cache;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
pub mod cluster;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod error;
pub mod input;
pub mod maintenance;
pub mod manager;
#[cfg(feature = "server")]
pub mod server;
pub mod session;
pub mod store;

pub use error::{Error, Refusal, Result};
pub use manager::{CheckOptions, Manager, NodeOptions, Verdict};
pub use store::{ConnectSettings, Registration, Store};
