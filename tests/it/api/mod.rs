//! The HTTP API over real connections: shapes, codes, roles, nodes, outages.

mod access;
mod admission;
mod browser;
mod cluster;
mod documents;
mod drain;
mod forward_auth;
mod idempotency;
mod keys;
mod limits;
mod login;
mod oauth;
mod openapi;
mod outage;
mod paging;
mod properties;
mod sessions;
mod shapes;
mod streams;
mod terminate;
mod users;
