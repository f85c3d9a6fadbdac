//! A persistent, multi-node session store on PostgreSQL.
//!
//! Clustered applications keep their sessions here instead of in one node's memory: any node lists or ends any session,
//! every deadline can be explained, and expiry is decided by instants in SQL. A node checks from memory while it may trust it.
//!
//! Each process that starts a [`Manager`] is a node of the cluster. It runs on a database that `tenure migrate` has prepared:
//!
//! ```no_run
//! use tenure::input::CreateSession;
//! use tenure::{Actor, CheckOptions, ConnectSettings, Manager, Registration, Store, Verdict};
//!
//! # async fn tour(url: String) -> Result<(), Box<dyn std::error::Error>> {
//! // Once a process. It keeps no session, so it may be stopped and started anywhere.
//! let store = Store::connect(&ConnectSettings::new(url, "app-1")).await?;
//! store.check_schema().await?;
//! let sessions = Manager::start(store, Registration { name: "app-1".into(), address: None }).await?;
//! let me = Actor("shop"); // who acts, in the audit trail
//!
//! // At sign-in, after the application has checked the password. The token is for the client; only its hash is kept.
//! let new = CreateSession { kind: "user".into(), user: Some("abel.tuter".into()), ..Default::default() }.validate()?;
//! let created = sessions.create(&new, me).await?;
//! let token = created.token.reveal();
//!
//! // At every request: from memory without waiting; else by asking, which also knows why a session is over.
//! match sessions.check_now(token, None) {
//!     Some(hit) => println!("{:?} has {} s left", hit.user(), hit.seconds_left()),
//!     None => match sessions.check(token, None, CheckOptions::default(), me).await {
//!         Ok(Verdict::Live(checked)) => println!("{:?} has {} s left", checked.session.user, checked.seconds_left),
//!         Ok(Verdict::Over(over)) => println!("401: it ended ({}), do this: {:?}", over.ending.reason, over.action),
//!         Ok(Verdict::TokenExpired | Verdict::Unknown) => println!("401: sign in"),
//!         Err(error) if error.is_unavailable() => println!("503: ask again; this says nothing about the session"),
//!         Err(error) => return Err(error.into()),
//!     },
//! }
//!
//! // End it. With the barrier, no check begun after this line accepts it, on any node.
//! let ended = sessions.terminate(created.session.id, true, me).await?;
//! println!("{} ended, {:?}", ended.terminated, ended.barrier);
//!
//! // When no request is in flight any more: writes the activity that was counted and leaves the cluster.
//! sessions.drain().await?;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/axum.rs` in the repository is the same as a web application. With `default-features = false` the crate is only this
//! library; [`manager`] holds the use cases, [`Error`] says what can go wrong, and its `docs/` folder what is promised.
//!
//! The rooms, from the outside in; arrows only point right:
//!
//! `main` → `cli` → `server` → [`manager`] → {[`maintenance`], [`activity`]} → [`cluster`] → {[`cache`], [`store`]} →
//! [`session`]
//!
//! * [`session`]: the domain. Kinds, limits, marks of activity, tokens, verdicts, explanations; no I/O and no clock.
//! * [`store`]: PostgreSQL behind typed calls; the schema and its rules live in `migrations/`.
//! * [`cache`]: what a node remembers and when it may act on it; no I/O.
//! * [`cluster`]: the registry of nodes, the polls of the invalidation log, the barrier.
//! * [`activity`]: the writer of what was counted in memory; open transactions.
//! * [`maintenance`]: the sweeper and what follows a tightened policy.
//! * [`manager`]: the use cases.
//! * [`clock`]: the machine's clocks, for leases; what time it is says the database.
//! * [`input`]: every check of what comes from outside.
//! * `import`: what other stores wrote, as what this one takes; only the command line has a use for it.
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
#[cfg(feature = "cli")]
pub mod import;
pub mod input;
pub mod maintenance;
pub mod manager;
#[cfg(feature = "server")]
pub mod server;
pub mod session;
pub mod store;

pub use error::{Error, Refusal, Result};
pub use manager::{CheckOptions, Hit, Manager, NodeOptions, Verdict};
pub use store::{Actor, ConnectSettings, Registration, Store};
