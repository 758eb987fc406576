//! Threads and lifetimes.
