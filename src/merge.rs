//! Many partial replies become one.
