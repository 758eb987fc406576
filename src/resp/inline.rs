//! Inline requests: a line as a person types it, split into words the way the server splits it.

use super::ParseError;

/// The words of a line, one behind the other, and where each of them ends.
#[derive(Debug, Default)]
pub(super) struct Words {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Words {
    /// How many words there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The words in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, end)| self.text.get(start..*end))
    }
}

/// Splits a line (without its line end) into words. Words stand between spaces and may be quoted,
/// as a whole or in part; double quotes know `\n \r \t \b \a` and `\xHH`, single quotes know `\'`.
/// The rules are those of the server's `sdssplitargs`, except that a NUL byte is a byte like others
/// (the server would wait for ever behind it).
pub(super) fn split(line: &[u8]) -> Result<Words, ParseError> {
    let mut words = Words::default();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        // The C library counts the vertical tab among the spaces, the standard library does not.
        if let [0x0b, after @ ..] = rest {
            rest = after;
            continue;
        }
        if rest.is_empty() {
            return Ok(words);
        }
        rest = word(rest, &mut words.text)?;
        words.ends.push(words.text.len());
    }
}

/// Reads one word and answers what follows it.
fn word<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], ParseError> {
    while let [byte, after @ ..] = rest {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => break,
            b'"' => return double_quoted(after, text),
            b'\'' => return single_quoted(after, text),
            plain => text.push(*plain),
        }
        rest = after;
    }
    Ok(rest)
}

fn double_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], ParseError> {
    loop {
        rest = match rest {
            [] => return Err(ParseError::UnbalancedQuotes),
            [b'"', after @ ..] => return closed(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                text.push(nibble(*high) << 4 | nibble(*low));
                after
            }
            [b'\\', escaped, after @ ..] => {
                text.push(unescaped(*escaped));
                after
            }
            [plain, after @ ..] => {
                text.push(*plain);
                after
            }
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], ParseError> {
    loop {
        rest = match rest {
            [] => return Err(ParseError::UnbalancedQuotes),
            [b'\'', after @ ..] => return closed(after),
            [b'\\', b'\'', after @ ..] => {
                text.push(b'\'');
                after
            }
            [plain, after @ ..] => {
                text.push(*plain);
                after
            }
        }
    }
}

/// A closing quote ends the word, so a space or the end of the line must follow.
fn closed(after: &[u8]) -> Result<&[u8], ParseError> {
    match after {
        [] | [b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c, ..] => Ok(after),
        _ => Err(ParseError::UnbalancedQuotes),
    }
}

fn unescaped(letter: u8) -> u8 {
    match letter {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        letter => (letter | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        let words = split(line).ok()?;
        let list: Vec<_> = words.iter().map(<[u8]>::to_vec).collect();
        assert_eq!(list.len(), words.len());
        Some(list)
    }

    #[test]
    fn lines_split_as_the_server_splits_them() {
        type Expected = Option<&'static [&'static [u8]]>;
        let table: [(&[u8], Expected); 24] = [
            (b"", Some(&[])),
            (b" \t \x0b\x0c ", Some(&[])),
            (b"PING", Some(&[b"PING"])),
            (b"  SET  k\tv ", Some(&[b"SET", b"k", b"v"])),
            (b"SET k \"\"", Some(&[b"SET", b"k", b""])),
            (b"SET k ''", Some(&[b"SET", b"k", b""])),
            (b"\"a\\x41\\n\\r\\t\\b\\a\\q\"", Some(&[b"aA\n\r\t\x08\x07q"])),
            (b"\"\\xfF\\x0a\"", Some(&[b"\xff\n"])),
            (b"\"x\\x4\"", Some(&[b"xx4"])),
            (b"\"ax\\xff\"", Some(&[b"ax\xff"])),
            (b"\"\\xzz\"", Some(&[b"xzz"])),
            (b"'it\\'s'", Some(&[b"it's"])),
            (b"'a\\n\"b'", Some(&[b"a\\n\"b"])),
            (b"foo\"bar baz\" x", Some(&[b"foobar baz", b"x"])),
            (b"a\x0bb a\x00b", Some(&[b"a\x0bb", b"a\x00b"])),
            (b"\"a\" \"b\"", Some(&[b"a", b"b"])),
            (b"\"a", None),
            (b"'a", None),
            (b"\"", None),
            (b"\"a\\", None),
            (b"\"a\\\"", None),
            (b"\"a\"b", None),
            (b"'a'b", None),
            (b"\"a\"\"b\"", None),
        ];
        for (line, expected) in table {
            let expected = expected.map(|list| list.iter().map(|word| word.to_vec()).collect());
            assert_eq!(words(line), expected, "{:?}", String::from_utf8_lossy(line));
        }
    }
}
