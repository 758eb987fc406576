//! ACL categories, and the reading of their names at compile time.

use bitflags::{Flags, bitflags};

bitflags! {
    /// The ACL categories of the servers. A flag's name in lower case is its name in ACL rules.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Categories: u32 {
        /// Keys of any type.
        const KEYSPACE = 1;
        /// Reads values.
        const READ = 1 << 1;
        /// Writes values.
        const WRITE = 1 << 2;
        /// Sets.
        const SET = 1 << 3;
        /// Sorted sets.
        const SORTEDSET = 1 << 4;
        /// Lists.
        const LIST = 1 << 5;
        /// Hashes.
        const HASH = 1 << 6;
        /// Strings.
        const STRING = 1 << 7;
        /// Bitmaps.
        const BITMAP = 1 << 8;
        /// HyperLogLogs.
        const HYPERLOGLOG = 1 << 9;
        /// Geospatial indexes.
        const GEO = 1 << 10;
        /// Streams.
        const STREAM = 1 << 11;
        /// Publish and subscribe.
        const PUBSUB = 1 << 12;
        /// Administration.
        const ADMIN = 1 << 13;
        /// Constant or logarithmic time.
        const FAST = 1 << 14;
        /// Not fast.
        const SLOW = 1 << 15;
        /// May wait.
        const BLOCKING = 1 << 16;
        /// To be given with care.
        const DANGEROUS = 1 << 17;
        /// The connection itself.
        const CONNECTION = 1 << 18;
        /// MULTI and its family.
        const TRANSACTION = 1 << 19;
        /// Scripts and functions.
        const SCRIPTING = 1 << 20;
        /// Arrays, from Redis 8.8.
        const ARRAY = 1 << 21;
    }
}

impl Categories {
    /// The category of this name, in any case, without the `@`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::FLAGS.iter();
        all.find(|flag| flag.name().eq_ignore_ascii_case(name)).map(|flag| *flag.value())
    }

    /// The name as rules write it, without the `@`; of several categories that of the first.
    #[must_use]
    pub fn label(self) -> String {
        self.iter_names().next().map_or_else(String::new, |(name, _)| name.to_ascii_lowercase())
    }

    /// Reads `fast string write`. In a row of the table a wrong name fails the build.
    pub(super) const fn listed(names: &str) -> Self {
        let mut names = names.as_bytes();
        let mut all = Self::empty();
        while !names.is_empty() {
            let (name, rest) = word(names);
            all = all.union(exact(name));
            names = rest;
        }
        all
    }
}

const fn exact(name: &[u8]) -> Categories {
    let mut left = Categories::FLAGS;
    while let [flag, rest @ ..] = left {
        if flag.name().as_bytes().eq_ignore_ascii_case(name) {
            return *flag.value();
        }
        left = rest;
    }
    panic!("no such ACL category")
}

/// The first word, and what stands behind the space after it.
const fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        if *byte == b' ' {
            return (text.split_at(text.len() - rest.len()).0, behind);
        }
        rest = behind;
    }
    (text, rest)
}
