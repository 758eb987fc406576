//! A pattern of keys or channels, looked at once so that the usual ones cost no more than a comparison.

use super::glob::{self, Case};

/// A pattern as it was given, and how to match it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    text: Vec<u8>,
    /// So many bytes stand for themselves before anything that has a meaning.
    plain: usize,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Nothing in it has a meaning.
    Exact,
    /// Plain bytes, then stars.
    Prefix,
    /// Anything else.
    Glob,
}

impl Pattern {
    pub(super) fn new(text: &[u8]) -> Self {
        let meaning = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
        let plain = text.iter().position(meaning).unwrap_or(text.len());
        let shape = match text.get(plain..).unwrap_or_default() {
            [] => Shape::Exact,
            stars if stars.iter().all(|byte| *byte == b'*') => Shape::Prefix,
            _ => Shape::Glob,
        };
        Self { text: text.to_vec(), plain, shape }
    }

    /// What every name that it matches begins with.
    pub(super) fn head(&self) -> &[u8] {
        self.text.get(..self.plain).unwrap_or_default()
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    #[inline]
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        match self.shape {
            Shape::Exact => self.text == name,
            // As with the servers, a star alone does not match an empty name.
            Shape::Prefix if self.plain == 0 => !name.is_empty(),
            Shape::Prefix => name.starts_with(self.head()),
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
            ("app:1", Shape::Exact, "app:1"),
            ("app:*", Shape::Prefix, "app:"),
            ("*", Shape::Prefix, ""),
            ("*:app", Shape::Glob, ""),
            ("a?*", Shape::Glob, "a"),
        ];
        for (text, shape, head) in shapes {
            let pattern = Pattern::new(text.as_bytes());
            assert_eq!((pattern.shape, pattern.head()), (shape, head.as_bytes()), "{text}");
        }
    }
}
