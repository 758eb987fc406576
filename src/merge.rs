//! Many partial replies become one.

/// How the replies of a request's parts become the client's reply. A command's row names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ResponsePolicy {
    /// One node answers: its reply is the reply.
    #[default]
    None,
    /// The first part's reply when all succeed; else the first error in part order, unchanged.
    AllSucceeded,
    /// Any success; else `UNKILLABLE`, then `BUSY`, then `NOTBUSY`.
    OneSucceeded,
    /// Integers are added.
    Sum,
    /// The least integer.
    Min,
    /// The least integer of each place in arrays of integers (`WAITAOF`).
    MinEach,
    /// Arrays of 0 and 1: the element-wise and.
    LogicalAnd,
    /// Arrays, one after the other.
    Concat,
    /// The elements of each part go back to the places that their keys had in the request.
    Positions,
    /// Streams in the order of the request; a nil array when every part is one (`XREAD`).
    Streams,
    /// The first part, in key order, whose reply is not nil.
    FirstSome,
    /// The gateway computes the reply from the parts (`SINTER`, `ZUNION`, `PFCOUNT`, `LCS`).
    Computed,
    /// The steps run one after the other and the last one gives the reply (`RENAME`, `SINTERSTORE`).
    LastStep,
    /// A rule of the command's own (`INFO`, `SCAN`, `SLOWLOG GET`).
    Special,
}
