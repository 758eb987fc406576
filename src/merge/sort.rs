//! The order of `SORT`, and the keys that its patterns name.

use std::cmp::Ordering;

use super::MergeError;
use super::score::number;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Numbers; of equal ones the elements' bytes decide.
    Number,
    /// Bytes.
    Bytes,
}

/// The places of the elements in ascending order. `weights` are what is compared; without them the elements
/// themselves are. A missing weight counts as 0, or comes before all bytes.
///
/// # Errors
/// A weight that should be a number is none.
pub fn order(
    elements: &[Vec<u8>],
    weights: Option<&[Option<Vec<u8>>]>,
    by: By,
) -> Result<Vec<usize>, MergeError> {
    let element = |place: usize| elements.get(place).map(Vec::as_slice);
    let weight = |place: usize| match weights {
        Some(weights) => weights.get(place).and_then(|weight| weight.as_deref()),
        None => element(place),
    };
    let mut places: Vec<usize> = (0..elements.len()).collect();
    if by == By::Bytes {
        // Stable, so elements of equal weight stay in their order.
        places.sort_by(|&one, &other| weight(one).cmp(&weight(other)));
        return Ok(places);
    }
    let numbers: Option<Vec<f64>> =
        places.iter().map(|&place| weight(place).map_or(Some(0.0), number)).collect();
    let numbers = numbers
        .ok_or(MergeError::Value("ERR One or more scores can't be converted into double"))?;
    let number = |place: usize| numbers.get(place).copied().unwrap_or(0.0);
    places.sort_by(|&one, &other| {
        let by_number = number(one).partial_cmp(&number(other)).unwrap_or(Ordering::Equal);
        by_number.then_with(|| element(one).cmp(&element(other)))
    });
    Ok(places)
}

/// What a pattern names for an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// The element itself (`#`).
    Itself(Vec<u8>),
    /// Nothing: there is no `*` in the pattern.
    Nothing,
    /// The string at this key.
    Key(Vec<u8>),
    /// The field of the hash at this key (`key->field`).
    Field(Vec<u8>, Vec<u8>),
}

impl Named {
    /// Puts the element in the place of the first `*`. An arrow behind it separates a key from a field.
    #[must_use]
    pub fn by(pattern: &[u8], element: &[u8]) -> Self {
        if pattern == b"#" {
            return Self::Itself(element.to_vec());
        }
        let Some(star) = memchr::memchr(b'*', pattern) else { return Self::Nothing };
        let (before, rest) = pattern.split_at_checked(star).unwrap_or_default();
        let after = rest.get(1..).unwrap_or_default();
        let arrow = memchr::memmem::find(after, b"->");
        let parts = arrow.and_then(|at| Some((after.get(..at)?, after.get(at + 2..)?)));
        match parts {
            Some((after, field)) if !field.is_empty() => {
                Self::Field([before, element, after].concat(), field.to_vec())
            }
            _ => Self::Key([before, element, after].concat()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &str) -> Vec<Vec<u8>> {
        words.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
    }

    fn sorted(words: &str, weights: Option<&str>, by: By) -> Result<String, MergeError> {
        let elements = bytes(words);
        let weights = weights.map(|weights| {
            let some = |weight: Vec<u8>| (weight != b"-").then_some(weight);
            bytes(weights).into_iter().map(some).collect::<Vec<_>>()
        });
        let places = order(&elements, weights.as_deref(), by)?;
        let shown = |place: usize| String::from_utf8(elements[place].clone()).unwrap();
        Ok(places.into_iter().map(shown).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn orders() {
        let table = [
            ("10 9 1.5 -inf", None, By::Number, "-inf 1.5 9 10"),
            ("10 9 1.5 a", None, By::Bytes, "1.5 10 9 a"),
            ("1.0 1 01", None, By::Number, "01 1 1.0"),
            ("a b c", Some("3 1 2"), By::Number, "b c a"),
            ("a b c", Some("3 - -1"), By::Number, "c b a"),
            ("b a c", Some("1 1 0"), By::Number, "c a b"),
            ("a b c d", Some("z - y x"), By::Bytes, "b d c a"),
            ("b a", Some("- -"), By::Bytes, "b a"),
            ("", None, By::Number, ""),
        ];
        for (words, weights, by, expected) in table {
            assert_eq!(sorted(words, weights, by).as_deref(), Ok(expected), "{words}");
        }
        assert!(sorted("1 a", None, By::Number).is_err());
        assert!(sorted("1 2", Some("1 a"), By::Number).is_err());
    }

    #[test]
    fn patterns() {
        let table: [(&str, Named); 9] = [
            ("#", Named::Itself(b"e".to_vec())),
            ("##", Named::Nothing),
            ("key", Named::Nothing),
            ("w_*", Named::Key(b"w_e".to_vec())),
            ("*", Named::Key(b"e".to_vec())),
            ("a*b*", Named::Key(b"aeb*".to_vec())),
            ("h_*->f", Named::Field(b"h_e".to_vec(), b"f".to_vec())),
            ("h_*->", Named::Key(b"h_e->".to_vec())),
            ("->*x->f->g", Named::Field(b"->ex".to_vec(), b"f->g".to_vec())),
        ];
        for (pattern, expected) in table {
            assert_eq!(Named::by(pattern.as_bytes(), b"e"), expected, "{pattern}");
        }
    }
}
