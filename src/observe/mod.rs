//! What watches requests, beside their path: the audit log, the slow log, hot keys and big keys.
//!
//! Whoever has something to tell hands it over and never waits. A worker looks at its own requests through a
//! [`Lens`], at a bounded number of them each second, and shows what it saw once a second; [`Sights`] puts that
//! of all workers together for whoever asks.

pub mod audit;

mod big_keys;
mod hot_keys;
mod key_name;
mod lens;
mod pace;
mod sights;
mod slow_log;
#[cfg(test)]
mod tests;
#[cfg(feature = "traces")]
pub mod traces;

pub use big_keys::BigKey;
pub use hot_keys::HotKey;
pub use key_name::KeyName;
pub use lens::{Aim, Lens, Look, Sender};
pub use sights::Sights;
pub use slow_log::{Slow, Who};
