//! What several nodes gave of several streams, in the order of the request (`XREAD`, `XREADGROUP`).

use std::collections::VecDeque;

use super::MergeError;
use crate::resp::{Protocol, Value, elements, write};

/// The streams that a reply is about, each as it stands there: its name and its entries.
type Found<'a> = VecDeque<(&'a [u8], Vec<&'a [u8]>)>;

/// Merges the replies of several parts. `parts` says for each which of the request's `names` it asked for, in
/// their order. A stream without entries is not in a reply; a part without any is nothing at all, and so is the
/// whole.
///
/// # Errors
/// A reply is no list of streams, or tells of one that was not asked for.
pub fn merge(
    names: &[&[u8]],
    parts: &[(Vec<usize>, Vec<u8>)],
    protocol: Protocol,
) -> Result<Vec<u8>, MergeError> {
    let mut places: Vec<Option<Vec<&[u8]>>> = vec![None; names.len()];
    for (asked, reply) in parts {
        let mut found = streams(reply, protocol)?;
        for &place in asked {
            let name = names.get(place).copied().unwrap_or_default();
            let Some((_, pieces)) = found.pop_front_if(|(known, _)| *known == name) else {
                continue;
            };
            if let Some(slot) = places.get_mut(place) {
                *slot = Some(pieces);
            }
        }
        if !found.is_empty() {
            return Err(MergeError::Unexpected);
        }
    }
    let found: Vec<Vec<&[u8]>> = places.into_iter().flatten().collect();
    let mut out = Vec::new();
    match protocol {
        _ if found.is_empty() => write::null_array(&mut out, protocol),
        Protocol::Resp2 => write::array(&mut out, found.len()),
        Protocol::Resp3 => write::map(&mut out, protocol, found.len()),
    }
    found.iter().flatten().for_each(|piece| out.extend_from_slice(piece));
    Ok(out)
}

/// RESP2 has a list of pairs, RESP3 a map.
fn streams(reply: &[u8], protocol: Protocol) -> Result<Found<'_>, MergeError> {
    let mut found = Found::new();
    let Some(mut list) = elements(reply) else {
        return if matches!(reply, b"*-1\r\n" | b"_\r\n") {
            Ok(found)
        } else {
            Err(MergeError::Unexpected)
        };
    };
    while let Some(element) = list.next() {
        let (name, pieces) = match protocol {
            Protocol::Resp2 => {
                let mut pair = elements(element).ok_or(MergeError::Unexpected)?;
                (pair.next().ok_or(MergeError::Unexpected)?, vec![element])
            }
            Protocol::Resp3 => (element, vec![element, list.next().ok_or(MergeError::Unexpected)?]),
        };
        match Value::parse(name) {
            Ok(Value::Bulk(name)) => found.push_back((name, pieces)),
            _ => return Err(MergeError::Unexpected),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "*2\r\n$1\r\na\r\n*1\r\n:1\r\n";
    const B: &str = "*2\r\n$1\r\nb\r\n*1\r\n:2\r\n";
    const C: &str = "*2\r\n$1\r\nc\r\n*1\r\n:3\r\n";

    fn merged(parts: &[(&[usize], &str)], protocol: Protocol) -> Option<String> {
        let parts: Vec<(Vec<usize>, Vec<u8>)> = parts
            .iter()
            .map(|(asked, reply)| (asked.to_vec(), reply.as_bytes().to_vec()))
            .collect();
        let names: [&[u8]; 4] = [b"a", b"b", b"c", b"a"];
        merge(&names, &parts, protocol).ok().map(|out| String::from_utf8(out).unwrap())
    }

    #[test]
    fn streams_come_in_the_order_of_the_request() {
        let (first, second) = (format!("*2\r\n{A}{C}"), format!("*1\r\n{B}"));
        let parts: [(&[usize], &str); 2] = [(&[0, 2], &first), (&[1], &second)];
        assert_eq!(merged(&parts, Protocol::Resp2), Some(format!("*3\r\n{A}{B}{C}")));
    }

    #[test]
    fn the_same_in_resp3() {
        let (first, second) = ("%1\r\n$1\r\nc\r\n*1\r\n:3\r\n", "%1\r\n$1\r\nb\r\n*1\r\n:2\r\n");
        let parts: [(&[usize], &str); 2] = [(&[0, 2], first), (&[1], second)];
        let expected = "%2\r\n$1\r\nb\r\n*1\r\n:2\r\n$1\r\nc\r\n*1\r\n:3\r\n";
        assert_eq!(merged(&parts, Protocol::Resp3).as_deref(), Some(expected));
    }

    #[test]
    fn nothing_anywhere_is_nothing() {
        let resp2: [(&[usize], &str); 2] = [(&[0], "*-1\r\n"), (&[1], "*-1\r\n")];
        assert_eq!(merged(&resp2, Protocol::Resp2).as_deref(), Some("*-1\r\n"));
        let resp3: [(&[usize], &str); 2] = [(&[0], "_\r\n"), (&[1], "_\r\n")];
        assert_eq!(merged(&resp3, Protocol::Resp3).as_deref(), Some("_\r\n"));
    }

    #[test]
    fn a_stream_may_be_named_twice() {
        let first = format!("*2\r\n{A}{A}");
        let parts: [(&[usize], &str); 2] = [(&[0, 3], &first), (&[1], "*-1\r\n")];
        assert_eq!(merged(&parts, Protocol::Resp2), Some(format!("*2\r\n{A}{A}")));
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        let strange: [(&[usize], &str); 4] = [
            (&[1], &format!("*1\r\n{A}")),
            (&[0], "+OK\r\n"),
            (&[0], "*1\r\n:1\r\n"),
            (&[0], "*1\r\n*0\r\n"),
        ];
        for part in strange {
            assert_eq!(merged(&[part], Protocol::Resp2), None);
        }
    }
}
