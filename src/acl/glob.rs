//! Patterns as the servers match them: `*`, `?`, `[a-z]`, `[^a]` and `\` before what stands for itself.
//!
//! The work is bounded by the length of the pattern times that of the text: of several stars only the last
//! one is ever tried again.

/// Whether `a` and `A` are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// They are not: keys and channels.
    Matters,
    /// They are: names of settings.
    Ignored,
}

/// Whether `pattern` matches all of `text`. As with the servers, nothing but the empty pattern matches the
/// empty text.
pub fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut pattern, mut rest) = (pattern, text);
    // Where to go on when a byte does not fit: behind the last star, one byte later.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', behind @ ..] = pattern {
            pattern = behind;
            retry = Some((behind, rest));
            continue;
        }
        let Some((&byte, following)) = rest.split_first() else { return pattern.is_empty() };
        if let Some(behind) = step(pattern, byte, case) {
            (pattern, rest) = (behind, following);
            continue;
        }
        let Some((behind, [_, later @ ..])) = retry else { return false };
        retry = Some((behind, later));
        (pattern, rest) = (behind, later);
    }
}

/// What is left of the pattern behind an element that fits the byte.
fn step(pattern: &[u8], byte: u8, case: Case) -> Option<&[u8]> {
    match pattern {
        [b'?', behind @ ..] => Some(behind),
        [b'[', class @ ..] => one_of(class, byte, case),
        [b'\\', literal, behind @ ..] | [literal, behind @ ..] => {
            case.same(*literal, byte).then_some(behind)
        }
        [] => None,
    }
}

/// The same for a class; `class` starts behind its bracket. One that is not closed ends with the pattern.
fn one_of(class: &[u8], byte: u8, case: Case) -> Option<&[u8]> {
    let (negated, mut class) = match class {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    loop {
        class = match class {
            [] => break,
            // What is escaped is itself, whatever the case.
            [b'\\', literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
            [b']', behind @ ..] => {
                class = behind;
                break;
            }
            [first, b'-', last, rest @ ..] => {
                found |= case.within(*first, *last, byte);
                rest
            }
            [literal, rest @ ..] => {
                found |= case.same(*literal, byte);
                rest
            }
        };
    }
    (found != negated).then_some(class)
}

impl Case {
    fn same(self, one: u8, other: u8) -> bool {
        match self {
            Self::Matters => one == other,
            Self::Ignored => one.eq_ignore_ascii_case(&other),
        }
    }

    /// The ends of a range may come in either order. The servers compare characters with a sign, so bytes
    /// from 128 on stand before all others.
    fn within(self, first: u8, last: u8, byte: u8) -> bool {
        let signed = u8::cast_signed;
        let (low, high) = if signed(first) > signed(last) { (last, first) } else { (first, last) };
        let fold = |byte: u8| match self {
            Self::Matters => signed(byte),
            Self::Ignored => signed(byte.to_ascii_lowercase()),
        };
        (fold(low)..=fold(high)).contains(&fold(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        // Pattern, text, whether they match, whether they match when case is ignored.
        let table: [(&str, &str, bool, bool); 40] = [
            ("", "", true, true),
            ("", "a", false, false),
            ("*", "", false, false),
            ("*", "a", true, true),
            ("**", "anything", true, true),
            ("a*", "a", true, true),
            ("a**", "a", true, true),
            ("save", "SAVE", false, true),
            ("SAVE", "save", false, true),
            ("save", "saved", false, false),
            ("s*e", "save", true, true),
            ("*a*v*", "save", true, true),
            ("*ab", "aab", true, true),
            ("*a*b*c", "a-b-b-c-", false, false),
            ("?ave", "save", true, true),
            ("?", "", false, false),
            ("[a-s]ave", "save", true, true),
            ("[s-a]ave", "save", true, true),
            ("[^a-r]ave", "save", true, true),
            ("[^s]ave", "save", false, false),
            ("[xyzs]ave", "save", true, true),
            ("[xyzS]ave", "save", false, true),
            ("[A-S]ave", "save", false, true),
            ("[a-", "a", true, true),
            ("[ab", "b", true, true),
            ("[", "a", false, false),
            ("[^", "a", true, true),
            ("[]a", "a", false, false),
            ("[\\]]", "]", true, true),
            ("[\\^a]", "^", true, true),
            ("[a\\-z]", "-", true, true),
            ("[a\\-z]", "b", false, false),
            ("[\\A]", "a", false, false),
            ("\\*", "*", true, true),
            ("\\*", "a", false, false),
            ("\\?x", "?x", true, true),
            ("\\A", "a", false, true),
            ("a\\", "a\\", true, true),
            ("\\\\", "\\", true, true),
            ("user:[0-9][0-9]:*", "user:42:name", true, true),
        ];
        for (pattern, text, exact, folded) in table {
            let found = |case| matches(pattern.as_bytes(), text.as_bytes(), case);
            assert_eq!(found(Case::Matters), exact, "{pattern:?} on {text:?}");
            assert_eq!(found(Case::Ignored), folded, "{pattern:?} on {text:?}, any case");
        }
    }

    #[test]
    fn bytes_from_128_on_come_first() {
        assert!(matches(b"[\xff-a]", b"A", Case::Matters));
        assert!(matches(b"[a-\xff]", b"\x01", Case::Matters));
        assert!(!matches(b"[a-\xff]", b"b", Case::Matters));
        assert!(matches(b"[\x80-\xff]", b"\xc3", Case::Matters));
    }

    #[test]
    fn many_stars_end_soon() {
        let pattern = "*a".repeat(10_000) + "b";
        assert!(!matches(pattern.as_bytes(), &[b'a'; 10_000], Case::Matters));
    }
}
