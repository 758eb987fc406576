//! The closed sets of label values, so that no client can make the number of series grow.

/// A label whose values are the variants of an enum.
pub(super) trait Label: Copy {
    const NAME: &'static str;
    const VALUES: &'static [&'static str];

    fn index(self) -> usize;
}

/// Declares an enum once, with the label it stands for and the label value of each variant.
macro_rules! label {
    (
        $(#[$about:meta])*
        pub enum $name:ident as $label:literal {
            $($(#[$doc:meta])* $variant:ident = $value:literal,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// How many variants there are.
            pub const COUNT: usize = Self::NAMES.len();
            /// Every variant, in order of its index.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant,)*];
            const NAMES: &'static [&'static str] = &[$($value,)*];

            /// The label value.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $value,)*
                }
            }
        }

        impl Label for $name {
            const NAME: &'static str = $label;
            const VALUES: &'static [&'static str] = Self::NAMES;

            #[inline]
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// What a command works on, as the ACL categories divide commands.
    pub enum Family as "family" {
        /// Strings and counters.
        String = "string",
        /// Hashes.
        Hash = "hash",
        /// Lists.
        List = "list",
        /// Sets.
        Set = "set",
        /// Sorted sets.
        SortedSet = "sortedset",
        /// Streams.
        Stream = "stream",
        /// Geospatial indexes.
        Geo = "geo",
        /// Bitmaps and bitfields.
        Bitmap = "bitmap",
        /// HyperLogLogs.
        HyperLogLog = "hyperloglog",
        /// Publish and subscribe.
        PubSub = "pubsub",
        /// Scripts and functions.
        Scripting = "scripting",
        /// MULTI, EXEC, WATCH and theirs.
        Transaction = "transaction",
        /// Commands about the client's own connection.
        Connection = "connection",
        /// Keys of any type.
        Keyspace = "keyspace",
        /// Administration.
        Server = "server",
        /// Everything else, modules and unknown commands among it.
        Other = "other",
    }
}

label! {
    /// How a request ended.
    pub enum Outcome as "outcome" {
        /// Answered without an error.
        Ok = "ok",
        /// A server answered with an error.
        Error = "error",
        /// The gateway answered with an error of its own.
        Refused = "refused",
        /// The node was lost after the request was sent; nobody knows whether it ran.
        Uncertain = "uncertain",
    }
}

label! {
    /// Why the gateway closed a client's connection.
    pub enum Rejection as "reason" {
        /// The maximum number of clients was reached.
        MaxClients = "max_clients",
        /// The maximum number of clients from one address was reached.
        MaxClientsPerAddress = "max_clients_per_address",
        /// The client broke the protocol.
        Protocol = "protocol",
        /// The client sent a request that is larger than one may be.
        RequestLimit = "request_limit",
        /// The client did not log in within the time for it.
        AuthTimeout = "auth_timeout",
        /// The client read too slowly for what it asked.
        OutputLimit = "output_limit",
        /// The client was idle for too long.
        Idle = "idle",
        /// All clients together held too much memory, and this one the most.
        Memory = "memory",
    }
}

label! {
    /// A limit that makes a request wait, or refuses it, without closing a connection.
    pub enum Limit as "limit" {
        /// Too much of the client was under way already: it is read on when half of that is done.
        InFlight = "in_flight",
        /// The user sent more than its rate: the request waits for its turn.
        Rate = "rate",
        /// Every connection of its own was taken.
        Leases = "leases",
        /// The client had as many subscriptions as one may have.
        Subscriptions = "subscriptions",
        /// A transaction had become too large.
        Transaction = "transaction",
        /// What is computed over several slots had become too large.
        Gathered = "gathered",
    }
}

label! {
    /// What a node answered instead of running a request.
    pub enum Redirect as "kind" {
        /// The slot belongs to another node.
        Moved = "moved",
        /// The slot is migrating and the key is on the other node.
        Ask = "ask",
        /// The slot is migrating and the keys are on both nodes.
        TryAgain = "tryagain",
        /// The cluster does not serve the slot.
        ClusterDown = "clusterdown",
        /// The node is loading its data.
        Loading = "loading",
        /// The node is a replica whose primary is gone.
        MasterDown = "masterdown",
        /// The node has been demoted to a replica.
        ReadOnly = "readonly",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<L: Label>(all: &[L], name: fn(L) -> &'static str) {
        for (index, &label) in all.iter().enumerate() {
            assert_eq!(label.index(), index);
            assert_eq!(L::VALUES[index], name(label));
            assert!(name(label).bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        }
        assert_eq!(all.len(), L::VALUES.len());
    }

    #[test]
    fn indexes_and_names_agree() {
        check(&Family::ALL, Family::name);
        check(&Outcome::ALL, Outcome::name);
        check(&Rejection::ALL, Rejection::name);
        check(&Limit::ALL, Limit::name);
        check(&Redirect::ALL, Redirect::name);
    }
}
