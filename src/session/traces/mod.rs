//! Which requests are traced, and what is told of them. Without the feature `traces` nothing of it is there: the types
//! hold nothing, and their methods do nothing.

#[cfg(not(feature = "traces"))]
mod off;
#[cfg(feature = "traces")]
mod on;

#[cfg(not(feature = "traces"))]
pub(super) use off::{Traced, Tracing, Trail};
#[cfg(feature = "traces")]
pub(super) use on::{Traced, Tracing, Trail};
