//! The integration tests: one binary, modules by topic. Each test gets a database of its own, cloned from a template.
#![allow(missing_docs, unreachable_pub, dead_code)]
#![allow(
    clippy::unwrap_used,
    clippy::similar_names,
    clippy::items_after_statements,
    clippy::format_collect,
    clippy::too_many_lines
)]

mod activity;
mod api;
mod chromium;
mod cli;
mod console;
mod docs;
mod doctor;
mod faults;
mod input;
mod layering;
mod lease_model;
mod limits_agree;
mod marks;
mod migrations;
mod nginx;
mod pictures;
mod plans;
mod races;
mod reporting;
mod rules;
mod scale;
mod schema_rules;
mod support;
