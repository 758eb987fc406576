//! What watches requests, beside their path: whoever has something to tell hands it over and never waits.

pub mod audit;
