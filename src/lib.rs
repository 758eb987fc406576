//! slotway: a stateless gateway that gives any single-server Redis client a whole cluster.
//!
//! Rooms, from the bottom up. A room imports only rooms listed above it (`tests/layering.rs`).

pub mod config;
pub mod metrics;
pub mod resp;

pub mod merge;

pub mod command;

pub mod cluster;

pub mod route;

pub mod backend;

pub mod session;

pub mod admin;

pub mod runtime;

pub mod launch;
