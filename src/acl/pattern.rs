//! A pattern of keys or channels, looked at once so that the usual ones cost no more than a comparison.

use super::glob::{self, Case};

/// A pattern as it was given, and how to match it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    text: Vec<u8>,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Nothing in it has a meaning.
    Exact,
    /// So many plain bytes, then stars.
    Prefix(usize),
    /// Anything else.
    Glob,
}

impl Pattern {
    pub(super) fn new(text: &[u8]) -> Self {
        let plain = text.iter().position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'));
        let shape = match plain.map(|plain| (plain, text.get(plain..).unwrap_or_default())) {
            None => Shape::Exact,
            Some((plain, stars)) if stars.iter().all(|byte| *byte == b'*') => Shape::Prefix(plain),
            Some(_) => Shape::Glob,
        };
        Self { text: text.to_vec(), shape }
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    #[inline]
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        match self.shape {
            Shape::Exact => self.text == name,
            // As with the servers, a star alone does not match an empty name.
            Shape::Prefix(0) => !name.is_empty(),
            Shape::Prefix(plain) => {
                self.text.get(..plain).is_some_and(|prefix| name.starts_with(prefix))
            }
            Shape::Glob => glob::matches(&self.text, name, Case::Matters),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_matches_as_the_glob_does() {
        let patterns =
            ["", "a", "app:", "*", "**", "app:*", "app:**", "a?", "app:*:x", "[a]*", "\\*"];
        let names = ["", "a", "ab", "app:", "app:1", "app:1:x", "*", "b"];
        for pattern in patterns {
            for name in names {
                let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
                let expected = glob::matches(pattern, name, Case::Matters);
                assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern:?} {name:?}");
            }
        }
    }

    #[test]
    fn usual_patterns_need_no_glob() {
        let shapes = [
            ("app:1", Shape::Exact),
            ("app:*", Shape::Prefix(4)),
            ("*", Shape::Prefix(0)),
            ("*:app", Shape::Glob),
            ("a?*", Shape::Glob),
        ];
        for (pattern, shape) in shapes {
            assert_eq!(Pattern::new(pattern.as_bytes()).shape, shape, "{pattern}");
        }
    }
}
