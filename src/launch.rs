//! A local cluster of real servers.
