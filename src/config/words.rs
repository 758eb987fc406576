//! Settings that are one of a few words.

use super::kind::Word;

/// How a listener shows itself to a client library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Present {
    /// One server; `CLUSTER` is refused as a standalone server refuses it.
    #[default]
    Standalone,
    /// A cluster of one node that owns every slot, or of several gateways that share them.
    Cluster,
}

impl Word for Present {
    const WORDS: &'static [(&'static str, Self)] =
        &[("standalone", Self::Standalone), ("cluster", Self::Cluster)];
}

/// Whether a client shows a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// It is not asked.
    #[default]
    Off,
    /// It may; a wrong one is refused.
    Optional,
    /// It must.
    Required,
}

impl Word for ClientCertificates {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("optional", Self::Optional), ("required", Self::Required)];
}

/// Whether a client's certificate says which user it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificateUser {
    /// It does not.
    #[default]
    Off,
    /// The one that has its common name.
    CommonName,
}

impl Word for CertificateUser {
    const WORDS: &'static [(&'static str, Self)] = &[("off", Self::Off), ("CN", Self::CommonName)];
}

/// What may be done when the keys of one command stand in several slots. Each level includes the
/// ones before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrossSlot {
    /// CROSSSLOT, as a cluster node says.
    Off,
    /// Independent keys are split.
    Split,
    /// Reads are computed from parts.
    Gather,
    /// Results are stored atomically in the destination's slot.
    #[default]
    Store,
    /// Writes in two slots, step by step.
    Move,
}

impl Word for CrossSlot {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", Self::Off),
        ("split", Self::Split),
        ("gather", Self::Gather),
        ("store", Self::Store),
        ("move", Self::Move),
    ];
}

/// What becomes of a transaction over several slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transactions {
    /// CROSSSLOT, as a cluster node says.
    Refuse,
    /// One transaction for each slot.
    #[default]
    PerSlot,
    /// The same, and WATCH over several slots.
    BestEffort,
}

impl Word for Transactions {
    const WORDS: &'static [(&'static str, Self)] =
        &[("refuse", Self::Refuse), ("per-slot", Self::PerSlot), ("best-effort", Self::BestEffort)];
}

/// Which nodes answer what only reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// The primary.
    #[default]
    Primary,
    /// A replica that lags little, else the primary.
    PreferReplica,
    /// The same, if the replica is in the gateway's zone.
    NearestZone,
}

impl Word for ReadFrom {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("primary", Self::Primary),
        ("prefer-replica", Self::PreferReplica),
        ("nearest-zone", Self::NearestZone),
    ];
}

/// What happens to a subscriber that may have missed messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// Its subscriptions go on.
    #[default]
    Resubscribe,
    /// It is disconnected.
    Disconnect,
}

impl Word for OnLoss {
    const WORDS: &'static [(&'static str, Self)] =
        &[("resubscribe", Self::Resubscribe), ("disconnect", Self::Disconnect)];
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("text", Self::Text), ("json", Self::Json)];
}
