//! Patterns as the servers match them: `*`, `?`, `[a-z]`, `[^a]` and `\` before what stands for itself.
//!
//! The work is bounded by the length of the pattern times that of the text: of several
//! stars only the last one is ever tried again.

/// How a byte is compared.
type Fold = fn(&u8) -> u8;

/// Whether `pattern` matches all of `text`, whatever the case of letters: so are settings named.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    search(pattern, text, u8::to_ascii_lowercase)
}

/// Whether `pattern` matches all of `text`, byte by byte: so are keys named.
pub(in crate::session) fn matches_exactly(pattern: &[u8], text: &[u8]) -> bool {
    search(pattern, text, |byte| *byte)
}

fn search(pattern: &[u8], text: &[u8], fold: Fold) -> bool {
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
        if let Some(behind) = step(pattern, byte, fold) {
            (pattern, rest) = (behind, following);
            continue;
        }
        let Some((behind, [_, later @ ..])) = retry else { return false };
        retry = Some((behind, later));
        (pattern, rest) = (behind, later);
    }
}

/// What is left of the pattern behind an element that fits the byte.
fn step(pattern: &[u8], byte: u8, fold: Fold) -> Option<&[u8]> {
    match pattern {
        [b'?', behind @ ..] => Some(behind),
        [b'[', class @ ..] => one_of(class, byte, fold),
        [b'\\', literal, behind @ ..] | [literal, behind @ ..] => {
            (fold(literal) == fold(&byte)).then_some(behind)
        }
        [] => None,
    }
}

/// The same for a class; `class` starts behind its bracket. One that is not closed ends with the pattern.
fn one_of(class: &[u8], byte: u8, fold: Fold) -> Option<&[u8]> {
    let byte = fold(&byte);
    let (negated, mut class) = match class {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    loop {
        class = match class {
            [] => break,
            [b']', behind @ ..] => {
                class = behind;
                break;
            }
            [b'\\', literal, rest @ ..] => {
                found |= fold(literal) == byte;
                rest
            }
            [first, b'-', last, rest @ ..] => {
                let (first, last) = (fold(first), fold(last));
                found |= (first.min(last)..=first.max(last)).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                found |= fold(literal) == byte;
                rest
            }
        };
    }
    (found != negated).then_some(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let table = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "anything", true),
            ("save", "SAVE", true),
            ("SAVE", "save", true),
            ("save", "saved", false),
            ("s*e", "save", true),
            ("*a*v*", "save", true),
            ("*ab", "aab", true),
            ("*a*b*c", "a-b-b-c-", false),
            ("?ave", "save", true),
            ("?", "", false),
            ("[a-s]ave", "save", true),
            ("[s-a]ave", "save", true),
            ("[^a-r]ave", "save", true),
            ("[^s]ave", "save", false),
            ("[xyzs]ave", "save", true),
            ("[A-S]ave", "save", true),
            ("[a-", "a", true),
            ("[ab", "b", true),
            ("[", "a", false),
            ("[]a", "a", false),
            ("[\\]]", "]", true),
            ("[\\^a]", "^", true),
            ("[a\\-z]", "-", true),
            ("[a\\-z]", "b", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("\\?x", "?x", true),
            ("a\\", "a\\", true),
            ("\\\\", "\\", true),
        ];
        for (pattern, text, expected) in table {
            let found = matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(found, expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn the_case_of_keys_counts() {
        for (pattern, text, expected) in [
            ("Key", "Key", true),
            ("Key", "key", false),
            ("[a-z]ey", "Key", false),
            ("[A-Z]ey*", "Key", true),
        ] {
            assert_eq!(matches_exactly(pattern.as_bytes(), text.as_bytes()), expected, "{pattern}");
        }
    }

    #[test]
    fn many_stars_end_soon() {
        let pattern = "*a".repeat(10_000) + "b";
        assert!(!matches(pattern.as_bytes(), &[b'a'; 10_000]));
    }
}
