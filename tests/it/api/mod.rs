//! The HTTP API over real connections: shapes, codes, roles, nodes, outages.

mod access;
mod browser;
mod cluster;
mod oauth;
mod forward_auth;
mod documents;
mod idempotency;
mod keys;
mod limits;
mod login;
mod openapi;
mod outage;
mod paging;
mod properties;
mod sessions;
mod shapes;
mod streams;
mod users;
