//! Which family of metrics a command belongs to.

use crate::command::{Categories, CommandSpec};
use crate::metrics::Family;

/// The first category that a command has, in this order, names its family.
const FAMILIES: [(Categories, Family); 15] = [
    (Categories::STRING, Family::String),
    (Categories::HASH, Family::Hash),
    (Categories::LIST, Family::List),
    (Categories::SET, Family::Set),
    (Categories::SORTEDSET, Family::SortedSet),
    (Categories::STREAM, Family::Stream),
    (Categories::GEO, Family::Geo),
    (Categories::BITMAP, Family::Bitmap),
    (Categories::HYPERLOGLOG, Family::HyperLogLog),
    (Categories::PUBSUB, Family::PubSub),
    (Categories::SCRIPTING, Family::Scripting),
    (Categories::TRANSACTION, Family::Transaction),
    (Categories::CONNECTION, Family::Connection),
    (Categories::KEYSPACE, Family::Keyspace),
    (Categories::ADMIN, Family::Server),
];

/// The family of a command; `Other` for modules and what has no category of its own.
pub(super) fn family(spec: &CommandSpec) -> Family {
    let found = FAMILIES.iter().find(|(category, _)| spec.categories.contains(*category));
    found.map_or(Family::Other, |&(_, family)| family)
}
