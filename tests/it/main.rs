//! The integration tests: one binary, modules by topic. Each test gets a database of its own, cloned from a template.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, dead_code)]

mod api;
mod cli;
mod docs;
mod input;
mod layering;
mod limits_agree;
mod migrations;
mod plans;
mod races;
mod rules;
mod scale;
mod schema_rules;
mod support;
