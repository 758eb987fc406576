//! One worker's connections to the nodes; moves bytes, knows no commands.

pub mod connect;
