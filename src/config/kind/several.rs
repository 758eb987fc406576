//! Kinds made of other kinds: none or one, several, pairs.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::DeValue;

use super::super::given::{Given, Wrong};
use super::Kind;

/// Several of a kind; in a variable, separated by commas.
pub(in crate::config) struct List<K>(pub(in crate::config) K);
/// One of a kind, or nothing.
pub(in crate::config) struct Maybe<K>(pub(in crate::config) K);
/// From one kind to another; in a variable, `from=to` separated by commas.
pub(in crate::config) struct Pairs<F, K>(pub(in crate::config) F, pub(in crate::config) K);

impl<T, K: Kind<T>> Kind<Option<T>> for Maybe<K> {
    fn expects(&self) -> String {
        format!("{}; or \"\" for none", self.0.expects())
    }

    fn read(&self, given: &Given<'_>) -> Result<Option<T>, Vec<Wrong>> {
        if given.text() == Some("") { Ok(None) } else { self.0.read(given).map(Some) }
    }

    fn show(&self, value: &Option<T>) -> String {
        value.as_ref().map_or_else(|| "\"\"".to_owned(), |value| self.0.show(value))
    }
}

impl<T, K: Kind<T>> Kind<Vec<T>> for List<K> {
    fn expects(&self) -> String {
        format!("a list of {}", self.0.expects())
    }

    fn read(&self, given: &Given<'_>) -> Result<Vec<T>, Vec<Wrong>> {
        let elements: Vec<Given<'_>> = match given {
            Given::Text(text) => parts(text).map(Given::Text).collect(),
            Given::Typed(value) => match value.get_ref() {
                DeValue::Array(elements) => elements.iter().map(Given::Typed).collect(),
                _ => return Err(vec![given.wrong()]),
            },
        };
        all(elements.iter().map(|element| self.0.read(element)))
    }

    fn show(&self, value: &Vec<T>) -> String {
        let elements: Vec<String> = value.iter().map(|element| self.0.show(element)).collect();
        format!("[{}]", elements.join(", "))
    }
}

impl<T, F: Kind<String>, K: Kind<T>> Kind<BTreeMap<String, T>> for Pairs<F, K> {
    fn expects(&self) -> String {
        format!("a table from {} to {}", self.0.expects(), self.1.expects())
    }

    fn read(&self, given: &Given<'_>) -> Result<BTreeMap<String, T>, Vec<Wrong>> {
        let read = |from: &str, at: Option<Range<usize>>, to: &Given<'_>| {
            let from = self.0.read(&Given::Text(from)).map_err(|wrong| {
                wrong.into_iter().map(|wrong| Wrong { at: at.clone(), ..wrong }).collect()
            });
            both(from, self.1.read(to))
        };
        let pairs: Vec<_> = match given {
            Given::Text(text) => parts(text)
                .map(|pair| match pair.split_once('=') {
                    Some((from, to)) => read(from.trim(), None, &Given::Text(to.trim())),
                    None => Err(vec![Given::Text(pair).wrong()]),
                })
                .collect(),
            Given::Typed(value) => match value.get_ref() {
                DeValue::Table(pairs) => pairs
                    .iter()
                    .map(|(from, to)| read(from.get_ref(), Some(from.span()), &Given::Typed(to)))
                    .collect(),
                _ => return Err(vec![given.wrong()]),
            },
        };
        all(pairs.into_iter()).map(BTreeMap::from_iter)
    }

    fn show(&self, value: &BTreeMap<String, T>) -> String {
        let pairs: Vec<String> = value
            .iter()
            .map(|(from, to)| format!("{} = {}", self.0.show(from), self.1.show(to)))
            .collect();
        if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
    }
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// All values, or everything that is wrong with any of them.
fn all<T>(read: impl Iterator<Item = Result<T, Vec<Wrong>>>) -> Result<Vec<T>, Vec<Wrong>> {
    let (mut values, mut wrongs) = (Vec::new(), Vec::new());
    for result in read {
        match result {
            Ok(value) => values.push(value),
            Err(wrong) => wrongs.extend(wrong),
        }
    }
    if wrongs.is_empty() { Ok(values) } else { Err(wrongs) }
}

fn both<A, B>(
    one: Result<A, Vec<Wrong>>,
    two: Result<B, Vec<Wrong>>,
) -> Result<(A, B), Vec<Wrong>> {
    match (one, two) {
        (Ok(one), Ok(two)) => Ok((one, two)),
        (one, two) => Err(one.err().into_iter().chain(two.err()).flatten().collect()),
    }
}
