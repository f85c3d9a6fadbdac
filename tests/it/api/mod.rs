//! The HTTP API over real connections: shapes, codes, roles, nodes, outages.

mod access;
mod cluster;
mod oauth;
mod openapi;
mod outage;
mod paging;
mod properties;
mod sessions;
mod shapes;
mod users;
