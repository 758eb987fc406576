//! End to end: real servers, the real gateway as a child process, raw bytes on real sockets.
//!
//! One binary, so that one cluster of three primaries and three replicas serves all tests that only use it; a test
//! that hurts its cluster starts one of its own. `SLOTWAY_TEST_SERVER` names another server than `redis-server`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a failing test shows what it saw")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests block, wait and share as they like"
)]

mod acl;
mod admin;
mod atomic_moves;
mod audit;
mod backup;
mod blocking;
mod blocking_faults;
mod blocking_moves;
mod broadcast;
mod connect;
mod corpus;
mod coverage;
mod crowd;
mod databases;
mod differential;
mod doctor;
mod drain;
mod drill;
mod echoes;
mod faults;
mod fuzz;
mod gather;
mod gather_calls;
mod harness;
mod holds;
mod hostile;
mod info;
mod killed;
mod large;
mod learned;
mod limits;
mod load;
mod logins;
mod mixed;
mod moves;
mod newer;
mod nonsense;
mod observe;
mod order;
mod oversight;
mod passwords;
mod presentation;
mod protocol;
mod proxied;
mod pubsub;
mod pubsub_crowd;
mod pubsub_home;
mod readme;
mod redirect;
mod reload;
mod replica_reads;
mod scan;
mod scripts;
mod tls;
mod tools;
#[cfg(feature = "traces")]
mod traces;
mod tracking;
mod tracking_moves;
mod transaction;
mod transaction_faults;
mod unix_socket;
mod upgrade;
