//! What a server gives for a value (`DUMP`) or for its functions (`FUNCTION DUMP`), compared with what another one gives.
//!
//! Two servers with the same value give the same bytes, but for hash tables: these are in no order. So the elements of
//! a set, the pairs of a hash and the libraries of functions are put into one.

use super::rdb::{after_length, after_string, length};

/// The version, and the checksum.
const FOOTER: usize = 2 + 8;
/// Kinds of values that are in no order, and of what stands before a library.
const SET: u8 = 2;
const HASH: u8 = 4;
/// Fields of their own times, as Valkey and as Redis write them.
const VALKEY_HASH: u8 = 22;
const REDIS_HASH: u8 = 24;
const FUNCTION: u8 = 0xf5;
/// Bytes of a time.
const TIME: usize = 8;

/// A piece of an element.
#[derive(Clone, Copy)]
enum Piece {
    Length,
    String,
    Time,
}

/// Whether both are one value.
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    one == other || elements(one).is_some_and(|elements| Some(elements) == self::elements(other))
}

/// The elements in an order of their own; `None`: the value has one already.
fn elements(payload: &[u8]) -> Option<Vec<&[u8]>> {
    let (kind, rest) = payload.get(..payload.len().checked_sub(FOOTER)?)?.split_first()?;
    let mut elements = match *kind {
        SET => counted(rest, &[Piece::String])?,
        HASH => counted(rest, &[Piece::String, Piece::String])?,
        VALKEY_HASH => counted(rest, &[Piece::String, Piece::String, Piece::Time])?,
        // The times are counted from the first of all, which stands before.
        REDIS_HASH => {
            let (first, rest) = rest.split_at_checked(TIME)?;
            let mut fields = counted(rest, &[Piece::Length, Piece::String, Piece::String])?;
            fields.push(first);
            fields
        }
        FUNCTION => libraries(rest)?,
        _ => return None,
    };
    elements.sort_unstable();
    Some(elements)
}

fn counted<'a>(bytes: &'a [u8], pieces: &[Piece]) -> Option<Vec<&'a [u8]>> {
    let (count, mut rest) = length(bytes)?;
    let mut elements = Vec::new();
    for _ in 0..count {
        let mut end = rest;
        for piece in pieces {
            end = match piece {
                Piece::Length => after_length(end)?,
                Piece::String => after_string(end)?,
                Piece::Time => end.get(TIME..)?,
            };
        }
        elements.push(rest.get(..rest.len() - end.len())?);
        rest = end;
    }
    rest.is_empty().then_some(elements)
}

/// Behind the first mark of a library.
fn libraries(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut libraries = Vec::new();
    loop {
        let rest = after_string(bytes)?;
        libraries.push(bytes.get(..bytes.len() - rest.len())?);
        match rest.split_first() {
            None => return Some(libraries),
            Some((&FUNCTION, rest)) => bytes = rest,
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of two payloads, and whether they are one value.
    type Case<'a> = (&'a [&'a [u8]], &'a [&'a [u8]], bool);

    fn payload(parts: &[&[u8]]) -> Vec<u8> {
        // The checksum of another order is another one.
        let sum = parts.concat().iter().fold(7_u8, |sum, byte| sum.wrapping_mul(31) ^ byte);
        [parts.concat(), vec![10, 0], vec![sum; 8]].concat()
    }

    #[test]
    fn what_has_no_order_is_the_same_in_any() {
        let (a, b): (&[u8], &[u8]) = (b"\x01a", b"\xc3\x02\x40\x64zz");
        let number: &[u8] = b"\xc1\x01\x02";
        let (soon, late): (&[u8], &[u8]) = (&[1; 8], &[2; 8]);
        let table: [Case<'_>; 10] = [
            (&[b"\x02\x02", a, b], &[b"\x02\x02", b, a], true),
            (&[b"\x02\x02", a, b], &[b"\x02\x02", b, number], false),
            (&[b"\x04\x02", a, b, number, a], &[b"\x04\x02", number, a, a, b], true),
            (&[b"\x04\x02", a, b, number, a], &[b"\x04\x02", a, a, number, b], false),
            (&[b"\x16\x02", a, b, soon, b, a, late], &[b"\x16\x02", b, a, late, a, b, soon], true),
            (&[b"\x16\x02", a, b, soon, b, a, late], &[b"\x16\x02", b, a, soon, a, b, late], false),
            (
                &[b"\x18", soon, b"\x02\x00", a, b, b"\x05", b, a],
                &[b"\x18", soon, b"\x02\x05", b, a, b"\x00", a, b],
                true,
            ),
            (&[b"\x18", soon, b"\x01\x00", a, b], &[b"\x18", late, b"\x01\x00", a, b], false),
            (&[b"\xf5", a, b"\xf5", b], &[b"\xf5", b, b"\xf5", a], true),
            // A list has an order.
            (&[b"\x01\x02", a, b], &[b"\x01\x02", b, a], false),
        ];
        for (number, (one, other, expected)) in table.into_iter().enumerate() {
            assert_eq!(is_same(&payload(one), &payload(other)), expected, "case {number}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_the_same_only_byte_for_byte() {
        let whole = payload(&[b"\x02\x02\x01a\x01b"]);
        let cut = payload(&[b"\x02\x03\x01a\x01b"]);
        let long = payload(&[b"\x02\x02\x01b\x01a\x01c"]);
        assert!(is_same(&cut, &cut) && !is_same(&whole, &cut) && !is_same(&whole, &long));
        for length in 0..whole.len() {
            assert!(!is_same(&whole[..length], &whole));
        }
    }
}
