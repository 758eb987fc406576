//! Bitwise operations on strings of different lengths (`BITOP`): a shorter one counts as padded with zeros.

/// What is done with the bits at one place of all strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Set in all of them.
    And,
    /// Set in any of them.
    Or,
    /// Set in an odd number of them.
    Xor,
    /// Not set in the only one.
    Not,
    /// Set in the first and in none of the others.
    Diff,
    /// Not set in the first, and set in any of the others.
    Diff1,
    /// Set in the first and in any of the others.
    AndOr,
    /// Set in exactly one of them.
    One,
}

impl Operation {
    /// The operation of that name, in any case.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_slice() {
            b"AND" => Self::And,
            b"OR" => Self::Or,
            b"XOR" => Self::Xor,
            b"NOT" => Self::Not,
            b"DIFF" => Self::Diff,
            b"DIFF1" => Self::Diff1,
            b"ANDOR" => Self::AndOr,
            b"ONE" => Self::One,
            _ => return None,
        })
    }

    /// Whether it came with Redis 8.2.
    #[must_use]
    pub fn is_recent(self) -> bool {
        matches!(self, Self::Diff | Self::Diff1 | Self::AndOr | Self::One)
    }

    /// Whether the first string is set against the others, so that there must be some.
    #[must_use]
    pub fn needs_others(self) -> bool {
        matches!(self, Self::Diff | Self::Diff1 | Self::AndOr)
    }

    /// The result, as long as the longest string.
    #[must_use]
    pub fn combine(self, strings: &[&[u8]]) -> Vec<u8> {
        let Some((first, others)) = strings.split_first() else { return Vec::new() };
        let length = strings.iter().map(|string| string.len()).max().unwrap_or(0);
        let mut result = first.to_vec();
        result.resize(length, 0);
        match self {
            Self::And => fold(&mut result, others, |one, other| one & other),
            Self::Or => fold(&mut result, others, |one, other| one | other),
            Self::Xor => fold(&mut result, others, |one, other| one ^ other),
            Self::Not => result.iter_mut().for_each(|byte| *byte = !*byte),
            Self::Diff => fold(&mut result, &[&any(others)], |one, other| one & !other),
            Self::Diff1 => fold(&mut result, &[&any(others)], |one, other| !one & other),
            Self::AndOr => fold(&mut result, &[&any(others)], |one, other| one & other),
            Self::One => exactly_one(&mut result, others),
        }
        result
    }
}

fn fold(result: &mut [u8], others: &[&[u8]], join: impl Fn(u8, u8) -> u8) {
    for other in others {
        for (byte, other) in result.iter_mut().zip(padded(other)) {
            *byte = join(*byte, other);
        }
    }
}

/// The bits that are set in any string.
fn any(strings: &[&[u8]]) -> Vec<u8> {
    Operation::Or.combine(strings)
}

fn exactly_one(result: &mut [u8], others: &[&[u8]]) {
    let mut several = vec![0; result.len()];
    for other in others {
        for ((once, more), other) in result.iter_mut().zip(&mut several).zip(padded(other)) {
            *more |= *once & other;
            *once |= other;
        }
    }
    for (once, more) in result.iter_mut().zip(several) {
        *once &= !more;
    }
}

fn padded(string: &[u8]) -> impl Iterator<Item = u8> {
    string.iter().copied().chain(std::iter::repeat(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_on_strings_of_different_lengths() {
        let (one, two, three): (&[u8], &[u8], &[u8]) =
            (&[0b1100, 0xff], &[0b1010], &[0b1001, 0x0f, 0xf0]);
        type Case<'a> = (&'a str, &'a [&'a [u8]], &'a [u8]);
        let table: [Case<'_>; 12] = [
            ("and", &[one, two, three], &[0b1000, 0, 0]),
            ("OR", &[one, two, three], &[0b1111, 0xff, 0xf0]),
            ("Xor", &[one, two, three], &[0b1111, 0xf0, 0xf0]),
            ("not", &[two], &[0b1111_0101]),
            ("not", &[b""], &[]),
            ("diff", &[one, two, three], &[0b0100, 0xf0, 0]),
            ("diff1", &[one, two, three], &[0b0011, 0, 0xf0]),
            ("andor", &[one, two, three], &[0b1000, 0x0f, 0]),
            ("one", &[one, two, three], &[0b0111, 0xf0, 0xf0]),
            ("and", &[one], one),
            ("or", &[b"", two], two),
            ("and", &[], &[]),
        ];
        for (name, strings, expected) in table {
            let operation = Operation::named(name.as_bytes()).unwrap();
            assert_eq!(operation.combine(strings), expected, "{name}");
        }
        assert_eq!(Operation::named(b"nand"), None);
    }

    #[test]
    fn a_bit_set_in_three_strings_is_not_set_in_one() {
        assert_eq!(Operation::One.combine(&[&[1], &[1], &[1]]), [0]);
        assert_eq!(Operation::Xor.combine(&[&[1], &[1], &[1]]), [1]);
    }
}
