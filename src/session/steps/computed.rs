//! Commands that the gateway computes from what several slots hold, and those that store the result.

use super::call::Call;
use super::sets::Operation;
use super::{Outcome, Steps, Stop};
use super::{copy, geo, hyperloglogs, ranges, sets, sort, sorted_sets, strings};

pub(super) async fn perform(steps: &Steps, call: &Call) -> Outcome {
    match &*call.spec().name {
        "SUNION" => sets::read(steps, call, Operation::Union).await,
        "SINTER" => sets::read(steps, call, Operation::Intersection).await,
        "SDIFF" => sets::read(steps, call, Operation::Difference).await,
        "SINTERCARD" => sets::count(steps, call, Operation::Intersection).await,
        "SUNIONCARD" => sets::count(steps, call, Operation::Union).await,
        "SDIFFCARD" => sets::count(steps, call, Operation::Difference).await,
        "SUNIONSTORE" => sets::store(steps, call, Operation::Union).await,
        "SINTERSTORE" => sets::store(steps, call, Operation::Intersection).await,
        "SDIFFSTORE" => sets::store(steps, call, Operation::Difference).await,
        "ZUNION" => sorted_sets::read(steps, call, Operation::Union).await,
        "ZINTER" => sorted_sets::read(steps, call, Operation::Intersection).await,
        "ZDIFF" => sorted_sets::read(steps, call, Operation::Difference).await,
        "ZINTERCARD" => sorted_sets::count(steps, call).await,
        "ZUNIONSTORE" => sorted_sets::store(steps, call, Operation::Union).await,
        "ZINTERSTORE" => sorted_sets::store(steps, call, Operation::Intersection).await,
        "ZDIFFSTORE" => sorted_sets::store(steps, call, Operation::Difference).await,
        "ZRANGESTORE" => ranges::store(steps, call).await,
        "PFCOUNT" => hyperloglogs::count(steps, call).await,
        "PFMERGE" => hyperloglogs::merge(steps, call).await,
        "LCS" => strings::lcs(steps, call).await,
        "BITOP" => strings::bitop(steps, call).await,
        "COPY" => copy::perform(steps, call).await,
        "GEOSEARCHSTORE" => geo::search(steps, call).await,
        "GEORADIUS" => geo::radius(steps, call).await,
        "GEORADIUSBYMEMBER" => geo::radius_by_member(steps, call).await,
        "SORT" | "SORT_RO" => sort::perform(steps, call).await,
        _ => Err(Stop::Unsupported(call.spec().wire_name())),
    }
}
