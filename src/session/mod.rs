//! One client, from first byte to last.
