//! A value as somebody wrote it, and how it is called when it is wrong.

use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::DeValue;

/// A value as somebody wrote it.
pub(super) enum Given<'a> {
    /// In the file, with the type it has there.
    Typed(&'a Spanned<DeValue<'a>>),
    /// In a variable or a flag, where everything is text.
    Text(&'a str),
}

/// What stood where something else was expected.
#[derive(Debug, PartialEq)]
pub(super) struct Wrong {
    pub(super) found: String,
    /// Bytes of the file, when it stood there.
    pub(super) at: Option<Range<usize>>,
}

impl Given<'_> {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Typed(value) => value.get_ref().as_str(),
            Self::Text(text) => Some(text),
        }
    }

    pub(super) fn parsed<T: FromStr>(&self) -> Option<T> {
        self.text()?.parse().ok()
    }

    pub(super) fn whole(&self) -> Option<u64> {
        match self {
            Self::Typed(value) => {
                let number = value.get_ref().as_integer()?;
                u64::from_str_radix(number.as_str(), number.radix()).ok()
            }
            Self::Text(text) => text.parse().ok(),
        }
    }

    /// Bytes of the file, when it stands there.
    pub(super) fn span(&self) -> Option<Range<usize>> {
        match self {
            Self::Typed(value) => Some(value.span()),
            Self::Text(_) => None,
        }
    }

    pub(super) fn accept<T>(&self, value: Option<T>) -> Result<T, Vec<Wrong>> {
        value.ok_or_else(|| vec![self.wrong()])
    }

    pub(super) fn wrong(&self) -> Wrong {
        match self {
            Self::Text(text) => Wrong { found: quoted(text), at: None },
            Self::Typed(value) => {
                let found = match value.get_ref() {
                    DeValue::String(text) => quoted(text),
                    DeValue::Integer(number) => number.to_string(),
                    DeValue::Float(number) => number.to_string(),
                    DeValue::Boolean(truth) => truth.to_string(),
                    DeValue::Datetime(_) => "a date".to_owned(),
                    DeValue::Array(_) => "a list".to_owned(),
                    DeValue::Table(_) => "a table".to_owned(),
                };
                Wrong { found, at: Some(value.span()) }
            }
        }
    }
}

/// On one line and not endless. What stands before an `@` may be a user and a password, as in a URL.
fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let shown = text.rsplit_once('@').map_or(text.to_owned(), |(_, host)| format!("***@{host}"));
    match shown.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", shown.get(..end).unwrap_or_default()),
        None => format!("{shown:?}"),
    }
}
