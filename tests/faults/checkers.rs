//! The checkers of the fault harness, with tests that show that each of them finds what it is for.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]
#![allow(dead_code, reason = "what the harness uses besides, `main.rs`, stands unused here")]

mod history;
mod names;
