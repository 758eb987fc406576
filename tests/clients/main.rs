//! Real client libraries and applications through the gateway, each on a cluster of three primaries:
//! `cargo test --test clients`.
//!
//! It needs `python3` with `venv`, `node` and `npm`. What they and cargo install goes to `target/clients`, once.
//! Sidekiq and Laravel's queue are tested where the machine has them. A name behind the command chooses tests, as
//! always: `cargo test --test clients celery`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a failing test shows what it saw")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests block, wait and share as they like"
)]

mod applications;
mod browser;
mod guide;
#[path = "../e2e/harness/mod.rs"]
mod harness;
mod libraries;
mod packages;
mod script;
mod trouble;
