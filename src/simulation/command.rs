//! What the gateway asks of a node, read from its bytes.

use super::ledger::Number;
use super::schedule::Key;

/// What a node is asked.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Ping,
    Hello,
    Asking,
    ReadOnly,
    Multi,
    Exec,
    Discard,
    Data(Data),
    /// None that the simulation knows.
    Other(String),
}

#[derive(Clone, Debug)]
pub(super) struct Data {
    pub(super) number: Option<Number>,
    pub(super) keys: Vec<Key>,
    pub(super) writes: bool,
    /// How its reply is written.
    pub(super) form: Form,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Run,
    Ok,
    Bulk,
    Array,
}

impl Command {
    pub(super) fn of(words: &[&[u8]]) -> Self {
        let name = words.first().copied().unwrap_or_default().to_ascii_uppercase();
        let arguments = words.get(1..).unwrap_or_default();
        let key = |at: usize| arguments.get(at).and_then(|word| Key::parse(word));
        let number = |at: usize| {
            let word = std::str::from_utf8(arguments.get(at)?).ok()?;
            word.parse::<Number>().ok()
        };
        let pairs = || (0..arguments.len()).step_by(2).filter_map(key).collect();
        let data = |keys, number, writes, form| Self::Data(Data { number, keys, writes, form });
        let one = |at: usize| key(at).into_iter().collect();
        match name.as_slice() {
            b"PING" => Self::Ping,
            b"HELLO" => Self::Hello,
            b"ASKING" => Self::Asking,
            b"READONLY" => Self::ReadOnly,
            b"MULTI" => Self::Multi,
            b"EXEC" => Self::Exec,
            b"DISCARD" => Self::Discard,
            b"APPEND" => data(one(0), number(1), true, Form::Run),
            b"SET" => data(one(0), number(1), true, Form::Ok),
            b"MSET" => data(pairs(), number(1), true, Form::Ok),
            b"MSETNX" => data(pairs(), number(1), true, Form::Run),
            b"GETRANGE" => data(one(0), number(2), false, Form::Bulk),
            b"GET" => data(one(0), None, false, Form::Bulk),
            b"MGET" => {
                let keys = (0..arguments.len()).filter_map(key).collect();
                data(keys, None, false, Form::Array)
            }
            _ => Self::Other(words.join(&b' ').escape_ascii().to_string()),
        }
    }
}
