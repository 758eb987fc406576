//! What every command is.
