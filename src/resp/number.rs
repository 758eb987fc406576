//! Decimal numbers as the protocol writes them: no plus sign, no leading zeros, no spaces.

/// Most digits of a length that is read without looking for overflow.
pub(super) const LENGTH_DIGITS: usize = 18;

/// A whole number in exactly the form in which the server would write it, as its `string2ll` reads
/// it: `0`, `42`, `-7`, but not `+1`, `01`, `-0` or ` 1`.
#[must_use]
pub fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    let mut value = 0_i64;
    for byte in digits {
        let digit = i64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        // Counting downwards reaches i64::MIN, which has no positive twin.
        value = value.checked_mul(10)?.checked_sub(digit)?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// The usual length line, after its type byte: digits and a line end. Answers the number and how
/// many bytes it took. `None` says only that it is something else: cut off, negative, or wrong.
#[inline]
#[must_use]
pub(super) fn length_line(rest: &[u8]) -> Option<(usize, usize)> {
    // Nearly all lengths have one or two digits, so these are told apart without a loop.
    let (value, used) = match rest.first_chunk() {
        Some(&[ones @ b'0'..=b'9', b'\r', b'\n', _]) => (digit(ones), 3),
        Some(&[tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', b'\n']) => {
            (digit(tens) * 10 + digit(ones), 4)
        }
        _ => any_length_line(rest),
    };
    (used > 0).then_some((value, used))
}

/// The same for lines of any length. It took no bytes if the line is something else: a pair of
/// numbers comes back in registers, an option of one does not.
fn any_length_line(rest: &[u8]) -> (usize, usize) {
    let mut value = 0_usize;
    for (index, byte) in rest.iter().take(LENGTH_DIGITS + 1).enumerate() {
        let digit = digit(*byte);
        if digit <= 9 {
            value = value.wrapping_mul(10).wrapping_add(digit);
            continue;
        }
        let padded = index > 1 && rest.first() == Some(&b'0');
        let ended = *byte == b'\r' && rest.get(index + 1) == Some(&b'\n');
        return if ended && index > 0 && !padded { (value, index + 2) } else { (0, 0) };
    }
    (0, 0)
}

/// The value of a digit; above 9 for a byte that is none.
#[inline]
fn digit(byte: u8) -> usize {
    usize::from(byte.wrapping_sub(b'0'))
}

/// How many digits a length takes when written.
#[inline]
pub(super) fn digits(length: usize) -> usize {
    length.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_the_server_reads_them() {
        let table: [(&[u8], Option<i64>); 18] = [
            (b"0", Some(0)),
            (b"7", Some(7)),
            (b"-7", Some(-7)),
            (b"10", Some(10)),
            (b"9223372036854775807", Some(i64::MAX)),
            (b"9223372036854775808", None),
            (b"-9223372036854775808", Some(i64::MIN)),
            (b"-9223372036854775809", None),
            (b"99999999999999999999999", None),
            (b"", None),
            (b"-", None),
            (b"-0", None),
            (b"+1", None),
            (b"01", None),
            (b"00", None),
            (b" 1", None),
            (b"1 ", None),
            (b"1a", None),
        ];
        for (text, expected) in table {
            assert_eq!(integer(text), expected, "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn length_lines() {
        type Expected = Option<(usize, usize)>;
        let table: [(&[u8], Expected); 13] = [
            (b"0\r\n", Some((0, 3))),
            (b"3\r\nabc", Some((3, 3))),
            (b"512\r\n", Some((512, 5))),
            (b"999999999999999999\r\n", Some((999_999_999_999_999_999, 20))),
            (b"1999999999999999999\r\n", None),
            (b"", None),
            (b"\r\n", None),
            (b"3", None),
            (b"3\r", None),
            (b"3\rx", None),
            (b"03\r\n", None),
            (b"-1\r\n", None),
            (b"3x\r\n", None),
        ];
        for (text, expected) in table {
            assert_eq!(length_line(text), expected, "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn digits_of_lengths() {
        for (length, expected) in [(0, 1), (9, 1), (10, 2), (99, 2), (100, 3), (usize::MAX, 20)] {
            assert_eq!(digits(length), expected);
            assert_eq!(length.to_string().len(), expected);
        }
    }
}
