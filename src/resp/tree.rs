//! Random replies for tests: trees of every type, and how they are written.

use proptest::prelude::*;

use super::{Protocol, Value, write};

/// A reply that owns its bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Simple(String),
    Error(String),
    BulkError(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Pieces(Vec<Vec<u8>>),
    Null(&'static str),
    Double(f64),
    Boolean(bool),
    BigNumber(String),
    Verbatim(String),
    Array(Vec<Self>, Form),
    Set(Vec<Self>, Form),
    Push(Vec<Self>),
    Map(Vec<(Self, Self)>, Form),
    Attributed(Vec<(Self, Self)>, Box<Self>),
}

/// Whether an aggregate says how many elements it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    Counted,
    Streamed,
}

impl Tree {
    pub(super) fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        let three = Protocol::Resp3;
        match self {
            Self::Simple(text) => write::simple(out, text),
            Self::Error(text) => write::error(out, text),
            Self::BulkError(bytes) => sized(out, '!', bytes),
            Self::Integer(number) => write::integer(out, *number),
            Self::Bulk(bytes) => write::bulk(out, bytes),
            Self::Pieces(pieces) => {
                out.extend_from_slice(b"$?\r\n");
                pieces.iter().for_each(|piece| sized(out, ';', piece));
                out.extend_from_slice(b";0\r\n");
            }
            Self::Null(text) => out.extend_from_slice(text.as_bytes()),
            Self::Double(number) => write::double(out, three, *number),
            Self::Boolean(value) => write::boolean(out, three, *value),
            Self::BigNumber(digits) => out.extend_from_slice(format!("({digits}\r\n").as_bytes()),
            Self::Verbatim(text) => write::verbatim(out, three, "txt", text),
            Self::Array(list, form) => aggregate(out, '*', list.len(), *form, &flat(list)),
            Self::Set(list, form) => aggregate(out, '~', list.len(), *form, &flat(list)),
            Self::Push(list) => aggregate(out, '>', list.len(), Form::Counted, &flat(list)),
            Self::Map(pairs, form) => aggregate(out, '%', pairs.len(), *form, &paired(pairs)),
            Self::Attributed(pairs, value) => {
                aggregate(out, '|', pairs.len(), Form::Counted, &paired(pairs));
                value.write(out);
            }
        }
    }

    /// What a reader is expected to make of it.
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::Simple(text) => Value::Simple(text.as_bytes()),
            Self::Error(text) => Value::Error(text.as_bytes()),
            Self::BulkError(bytes) => Value::Error(bytes),
            Self::Integer(number) => Value::Integer(*number),
            Self::Bulk(bytes) => Value::Bulk(bytes),
            Self::Pieces(pieces) => Value::Pieces(pieces.iter().map(Vec::as_slice).collect()),
            Self::Null(_) => Value::Null,
            // The text is compared where the value is written.
            Self::Double(number) => Value::Double { number: *number, text: b"" },
            Self::Boolean(value) => Value::Boolean(*value),
            Self::BigNumber(digits) => Value::BigNumber(digits.as_bytes()),
            Self::Verbatim(text) => Value::Verbatim { format: b"txt", text: text.as_bytes() },
            Self::Array(list, _) => Value::Array(list.iter().map(Self::value).collect()),
            Self::Set(list, _) => Value::Set(list.iter().map(Self::value).collect()),
            Self::Push(list) => Value::Push(list.iter().map(Self::value).collect()),
            Self::Map(pairs, _) => {
                Value::Map(pairs.iter().map(|(key, value)| (key.value(), value.value())).collect())
            }
            Self::Attributed(_, value) => value.value(),
        }
    }
}

/// The value without the texts of its doubles, to be compared with what a tree expects.
pub(super) fn textless(value: Value<'_>) -> Value<'_> {
    let list = |list: Vec<_>| list.into_iter().map(textless).collect();
    match value {
        Value::Double { number, .. } => Value::Double { number, text: b"" },
        Value::Array(elements) => Value::Array(list(elements)),
        Value::Set(elements) => Value::Set(list(elements)),
        Value::Push(elements) => Value::Push(list(elements)),
        Value::Map(pairs) => Value::Map(
            pairs.into_iter().map(|(key, value)| (textless(key), textless(value))).collect(),
        ),
        other => other,
    }
}

fn sized(out: &mut Vec<u8>, kind: char, bytes: &[u8]) {
    out.extend_from_slice(format!("{kind}{}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn flat(list: &[Tree]) -> Vec<&Tree> {
    list.iter().collect()
}

fn paired(pairs: &[(Tree, Tree)]) -> Vec<&Tree> {
    pairs.iter().flat_map(|(key, value)| [key, value]).collect()
}

fn aggregate(out: &mut Vec<u8>, kind: char, len: usize, form: Form, elements: &[&Tree]) {
    let length = if form == Form::Counted { len.to_string() } else { "?".to_owned() };
    out.extend_from_slice(format!("{kind}{length}\r\n").as_bytes());
    elements.iter().for_each(|element| element.write(out));
    if form == Form::Streamed {
        out.extend_from_slice(b".\r\n");
    }
}

/// Replies of every type, nested a few levels deep.
pub(super) fn trees() -> impl Strategy<Value = Tree> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..30);
    let leaf = prop_oneof![
        "[ -~]{0,20}".prop_map(Tree::Simple),
        "[A-Z]{3} [ -~]{0,20}".prop_map(Tree::Error),
        bytes().prop_map(Tree::BulkError),
        any::<i64>().prop_map(Tree::Integer),
        bytes().prop_map(Tree::Bulk),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 1..9), 0..4)
            .prop_map(Tree::Pieces),
        prop::sample::select(&["$-1\r\n", "*-1\r\n", "_\r\n"][..]).prop_map(Tree::Null),
        (prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::INFINITE)
            .prop_map(Tree::Double),
        any::<bool>().prop_map(Tree::Boolean),
        "-?[1-9][0-9]{0,40}".prop_map(Tree::BigNumber),
        "[ -~\r\n]{0,20}".prop_map(Tree::Verbatim),
    ];
    leaf.prop_recursive(5, 60, 6, |tree| {
        let form = prop_oneof![4 => Just(Form::Counted), 1 => Just(Form::Streamed)];
        let list = || prop::collection::vec(tree.clone(), 0..6);
        let pairs = || prop::collection::vec((tree.clone(), tree.clone()), 0..4);
        prop_oneof![
            4 => (list(), form.clone()).prop_map(|(list, form)| Tree::Array(list, form)),
            1 => (list(), form.clone()).prop_map(|(list, form)| Tree::Set(list, form)),
            1 => list().prop_map(Tree::Push),
            2 => (pairs(), form).prop_map(|(pairs, form)| Tree::Map(pairs, form)),
            1 => (pairs(), tree.clone())
                .prop_map(|(pairs, value)| Tree::Attributed(pairs, Box::new(value))),
        ]
    })
}
