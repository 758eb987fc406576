//! Whether two nodes hold the same: the same keys with the same values and ends, and the same functions.
//!
//! One of them says which keys there are, both give each, and then the other one says which it has besides. Few keys are
//! held at a time. What ends while it is looked at is no difference.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;

use crate::backend::connect::Conversation;
use crate::resp::Value;

use super::payload;

/// About so many keys are looked at together.
const PAGE: &[u8] = b"256";
/// Unless their values take more memory than this.
const TOGETHER_BYTES: i64 = 32 << 20;
/// What a node says of the end of a key that it has not.
const GONE: i64 = -2;

/// A key as a node has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    /// Milliseconds since 1970; -1: never.
    ends: i64,
    /// `None`: it was not asked for, or has just ended.
    value: Option<Bytes>,
}

/// Makes sure that `found` holds what `wanted` holds, and nothing else.
///
/// # Errors
/// The first difference, or a node does not answer.
pub(super) async fn compare(
    wanted: &mut Conversation,
    found: &mut Conversation,
) -> anyhow::Result<()> {
    let mut cursor = b"0".to_vec();
    loop {
        let keys = next_page(wanted, &mut cursor).await?;
        for keys in pieces(wanted, &keys).await? {
            let (ours, theirs) = (look(wanted, keys, true).await?, look(found, keys, true).await?);
            judge(keys, &ours, &theirs)?;
        }
        if cursor == b"0" {
            break;
        }
    }
    loop {
        let keys = next_page(found, &mut cursor).await?;
        let (ours, theirs) = (look(wanted, &keys, false).await?, look(found, &keys, false).await?);
        judge(&keys, &ours, &theirs)?;
        if cursor == b"0" {
            break;
        }
    }
    let dump: &[&[u8]] = &[b"FUNCTION", b"DUMP"];
    let (ours, theirs) = (wanted.ask_all(&[dump]).await?, found.ask_all(&[dump]).await?);
    let same = ours.iter().zip(&theirs).all(|(ours, theirs)| {
        bulk(ours).zip(bulk(theirs)).is_some_and(|(one, other)| payload::is_same(&one, &other))
    });
    ensure!(same, "its functions are others");
    Ok(())
}

/// The next keys of a scan; the cursor is 0 again at the end.
async fn next_page(node: &mut Conversation, cursor: &mut Vec<u8>) -> anyhow::Result<Vec<Vec<u8>>> {
    let page = node.ask_all(&[&[b"SCAN", &*cursor, b"COUNT", PAGE]]).await?;
    let page = page.first().map(|page| Value::parse(page)).transpose()?;
    let parts = page.as_ref().and_then(Value::as_array);
    let next = parts.and_then(|parts| parts.first()?.bytes());
    let keys = parts.and_then(|parts| parts.get(1)?.as_array());
    let (Some(next), Some(keys)) = (next, keys) else {
        bail!("{} does not say which keys it has", node.address());
    };
    *cursor = next.to_vec();
    Ok(keys.iter().filter_map(|key| key.bytes().map(<[u8]>::to_vec)).collect())
}

/// The keys in pieces whose values fit into memory together; a large one is a piece of its own.
async fn pieces<'a>(
    node: &mut Conversation,
    keys: &'a [Vec<u8>],
) -> anyhow::Result<Vec<&'a [Vec<u8>]>> {
    let questions: Vec<[&[u8]; 3]> =
        keys.iter().map(|key| [b"MEMORY".as_slice(), b"USAGE", key]).collect();
    let replies = node.ask_all(&as_slices(&questions)).await?;
    // A key that has just ended has no size.
    let size = |reply: &Bytes| Value::parse(reply).ok().and_then(|size| size.as_integer());
    let sizes = replies.iter().map(|reply| size(reply).unwrap_or(0));
    let (mut pieces, mut begin, mut together) = (Vec::new(), 0, 0);
    for (at, size) in sizes.enumerate() {
        if at > begin && together + size > TOGETHER_BYTES {
            pieces.extend(keys.get(begin..at));
            (begin, together) = (at, 0);
        }
        together += size;
    }
    pieces.extend(keys.get(begin..).filter(|rest| !rest.is_empty()));
    Ok(pieces)
}

/// The keys as a node has them, with their values or without.
async fn look(
    node: &mut Conversation,
    keys: &[Vec<u8>],
    with_values: bool,
) -> anyhow::Result<Vec<Held>> {
    let each = if with_values { 2 } else { 1 };
    let words = |key| [[b"PEXPIRETIME".as_slice(), key], [b"DUMP", key]].into_iter().take(each);
    let questions: Vec<[&[u8]; 2]> = keys.iter().flat_map(|key| words(key)).collect();
    let replies = node.ask_all(&as_slices(&questions)).await?;
    let held = replies.chunks(each).map(|replies| {
        let ends = replies.first().and_then(|reply| Value::parse(reply).ok()?.as_integer());
        Some(Held { ends: ends?, value: replies.get(1).and_then(bulk) })
    });
    let held: Option<Vec<Held>> = held.collect();
    held.with_context(|| format!("{} does not say when its keys end", node.address()))
}

fn as_slices<'a, const N: usize>(questions: &'a [[&'a [u8]; N]]) -> Vec<&'a [&'a [u8]]> {
    questions.iter().map(<[&[u8]; N]>::as_slice).collect()
}

/// The content of a bulk reply.
fn bulk(reply: &Bytes) -> Option<Bytes> {
    match Value::parse(reply) {
        Ok(Value::Bulk(content)) => Some(reply.slice_ref(content)),
        _ => None,
    }
}

fn judge(keys: &[Vec<u8>], wanted: &[Held], found: &[Held]) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    for ((key, wanted), found) in keys.iter().zip(wanted).zip(found) {
        if let Some(difference) = difference(wanted, found, now) {
            bail!("the key '{}' {difference}", key.escape_ascii());
        }
    }
    Ok(())
}

/// What is another at `found`, looked at before `now`.
fn difference(wanted: &Held, found: &Held, now: i64) -> Option<&'static str> {
    let is_over = |held: &Held| held.ends == GONE || (0..=now).contains(&held.ends);
    if is_over(wanted) && is_over(found) {
        return None;
    }
    if wanted.ends != found.ends {
        return Some(match (wanted.ends, found.ends) {
            (GONE, _) => "is not in the backup",
            (_, GONE) => "is missing",
            _ => "ends at another time",
        });
    }
    let same = match (&wanted.value, &found.value) {
        (Some(one), Some(other)) => payload::is_same(one, other),
        (None, None) => true,
        _ => false,
    };
    (!same).then_some("has another value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_meanwhile_is_no_difference() {
        let held = |ends: i64, value: Option<&'static str>| Held {
            ends,
            value: value.map(|value| Bytes::from_static(value.as_bytes())),
        };
        let (one, other) = (Some("one"), Some("other"));
        let table = [
            (held(-1, one), held(-1, one), None),
            (held(2000, one), held(2000, one), None),
            (held(-1, one), held(-1, other), Some("has another value")),
            (held(-1, one), held(-1, None), Some("has another value")),
            (held(2000, one), held(2001, one), Some("ends at another time")),
            (held(-1, one), held(2000, one), Some("ends at another time")),
            (held(-1, one), held(GONE, None), Some("is missing")),
            (held(2000, one), held(GONE, None), Some("is missing")),
            (held(GONE, None), held(-1, one), Some("is not in the backup")),
            (held(GONE, None), held(2000, one), Some("is not in the backup")),
            // Over for both, though one of them still had it when it was asked.
            (held(1000, one), held(GONE, None), None),
            (held(GONE, None), held(999, one), None),
            (held(1000, None), held(1000, one), None),
            (held(GONE, None), held(GONE, None), None),
            // Only the names were asked for.
            (held(-1, None), held(-1, None), None),
        ];
        for (wanted, found, expected) in table {
            assert_eq!(difference(&wanted, &found, 1000), expected, "{wanted:?} {found:?}");
        }
    }
}
