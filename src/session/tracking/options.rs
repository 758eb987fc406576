//! How a client wants to be told of changes: the arguments of `CLIENT TRACKING`.

use crate::backend::Deaf;
use crate::resp::{Request, number};

/// What a client said with `CLIENT TRACKING ON`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::session) struct Options {
    /// The client to be told in its place; 0: none.
    pub(in crate::session) redirect: i64,
    /// Of all keys that begin in these ways, read or not.
    pub(in crate::session) broadcast: bool,
    pub(in crate::session) prefixes: Vec<Vec<u8>>,
    /// Only of what it announces that it will cache.
    pub(in crate::session) opt_in: bool,
    /// Not of what it announces that it will not.
    pub(in crate::session) opt_out: bool,
    /// Not of its own changes.
    pub(in crate::session) no_loop: bool,
}

/// What is wrong with it, in the servers' words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::session) enum Mistake {
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    #[error("ERR A client can only redirect to a single other client")]
    SeveralClients,
    #[error("ERR The client ID you want redirect to does not exist")]
    NoClient,
    #[error("ERR PREFIX option requires BCAST mode to be enabled")]
    Prefix,
    #[error(
        "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then \
         re-enabling it with a different mode."
    )]
    Broadcast,
    #[error("ERR OPTIN and OPTOUT are not compatible with BCAST")]
    OptBroadcast,
    #[error("ERR You can't specify both OPTIN mode and OPTOUT mode")]
    Both,
    #[error(
        "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
         re-enabling it with a different mode."
    )]
    Opt,
    #[error(
        "ERR Prefix '{0}' overlaps with an existing prefix '{1}'. Prefixes for a single client must not \
         overlap."
    )]
    Existing(String, String),
    #[error(
        "ERR Prefix '{0}' overlaps with another provided prefix '{1}'. Prefixes for a single client must \
         not overlap."
    )]
    Provided(String, String),
    #[error(transparent)]
    Deaf(#[from] Deaf),
}

impl Options {
    /// Reads `CLIENT TRACKING ON|OFF ..`; `None`: off.
    pub(in crate::session) fn read(request: &Request<'_>) -> Result<Option<Self>, Mistake> {
        let mut options = Self::default();
        let mut words = request.args().skip(3).peekable();
        while let Some(word) = words.next() {
            let last = words.peek().is_none();
            if is(word, "REDIRECT") && !last {
                if options.redirect != 0 {
                    return Err(Mistake::SeveralClients);
                }
                let id = words.next().and_then(number::integer).ok_or(Mistake::NotAnInteger)?;
                if id <= 0 {
                    return Err(Mistake::NoClient);
                }
                options.redirect = id;
            } else if is(word, "PREFIX") && !last {
                options.prefixes.extend(words.next().map(<[u8]>::to_vec));
            } else if !options.take(word) {
                return Err(Mistake::Syntax);
            }
        }
        match request.arg(2).unwrap_or_default() {
            word if is(word, "ON") => Ok(Some(options)),
            word if is(word, "OFF") => Ok(None),
            _ => Err(Mistake::Syntax),
        }
    }

    fn take(&mut self, word: &[u8]) -> bool {
        let named: [(&str, &mut bool); 4] = [
            ("BCAST", &mut self.broadcast),
            ("OPTIN", &mut self.opt_in),
            ("OPTOUT", &mut self.opt_out),
            ("NOLOOP", &mut self.no_loop),
        ];
        for (name, option) in named {
            if is(word, name) {
                *option = true;
                return true;
            }
        }
        false
    }

    /// What a client wants from now on that wanted something `before`.
    pub(in crate::session) fn after(mut self, before: Option<&Self>) -> Result<Self, Mistake> {
        if !self.broadcast && !self.prefixes.is_empty() {
            return Err(Mistake::Prefix);
        }
        if before.is_some_and(|before| before.broadcast != self.broadcast) {
            return Err(Mistake::Broadcast);
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return Err(Mistake::OptBroadcast);
        }
        if self.opt_in && self.opt_out {
            return Err(Mistake::Both);
        }
        if before.is_some_and(|before| {
            (self.opt_in && before.opt_out) || (self.opt_out && before.opt_in)
        }) {
            return Err(Mistake::Opt);
        }
        if self.broadcast {
            let existing = before.map(|before| before.prefixes.as_slice()).unwrap_or_default();
            self.overlaps(existing)?;
            if self.prefixes.is_empty() {
                self.prefixes.push(Vec::new());
            }
            for prefix in existing {
                if !self.prefixes.contains(prefix) {
                    self.prefixes.push(prefix.clone());
                }
            }
            self.prefixes.sort_unstable();
        }
        Ok(self)
    }

    fn overlaps(&self, existing: &[Vec<u8>]) -> Result<(), Mistake> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for (at, prefix) in self.prefixes.iter().enumerate() {
            if let Some(other) = existing.iter().find(|other| overlap(prefix, other)) {
                return Err(Mistake::Existing(text(prefix), text(other)));
            }
            let mut rest = self.prefixes.iter().skip(at + 1);
            if let Some(other) = rest.find(|other| overlap(prefix, other)) {
                return Err(Mistake::Provided(text(prefix), text(other)));
            }
        }
        Ok(())
    }

    /// The words that have a node keep track.
    pub(super) fn words(&self) -> Vec<Vec<u8>> {
        let flags = [
            (self.broadcast, "BCAST"),
            (self.opt_in, "OPTIN"),
            (self.opt_out, "OPTOUT"),
            (self.no_loop, "NOLOOP"),
        ];
        let flags = flags.into_iter().filter(|(set, _)| *set).map(|(_, word)| word.into());
        // Without any, all keys are meant; and an empty one means all, whatever others there are.
        let all = self.prefixes.iter().any(Vec::is_empty);
        let prefixes = self.prefixes.iter().filter(|_| !all);
        flags.chain(prefixes.flat_map(|prefix| [b"PREFIX".to_vec(), prefix.clone()])).collect()
    }
}

/// Whether one begins with the other.
fn overlap(one: &[u8], other: &[u8]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Limits, RequestParser, write};

    fn read(line: &str) -> Result<Option<Options>, Mistake> {
        let words: Vec<&str> =
            line.split(' ').map(|word| if word == "''" { "" } else { word }).collect();
        let mut bytes = Vec::new();
        write::command(&mut bytes, &[&["CLIENT", "TRACKING"], words.as_slice()].concat());
        let mut parser = RequestParser::new();
        parser.parse(&bytes, &Limits::default(), true).unwrap();
        Options::read(&parser.request(&bytes))
    }

    /// What a client has that says all this, one after the other.
    fn said(lines: &[&str]) -> Result<Options, Mistake> {
        let mut before = None;
        for line in lines {
            before = Some(read(line)?.expect("ON").after(before.as_ref())?);
        }
        Ok(before.unwrap())
    }

    /// Compared with what a server of 7.0 answers.
    #[test]
    fn mistakes() {
        let overlap = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        let provided = |(one, other)| Mistake::Provided(one, other);
        let existing = |(one, other)| Mistake::Existing(one, other);
        let table: [(&[&str], Mistake); 15] = [
            (&["ON BCAST PREFIX a PREFIX ab"], provided(overlap("a", "ab"))),
            (&["ON BCAST PREFIX ab PREFIX a"], provided(overlap("ab", "a"))),
            (&["ON BCAST PREFIX '' PREFIX b"], provided(overlap("", "b"))),
            (&["ON PREFIX a"], Mistake::Prefix),
            (&["ON BCAST PREFIX a", "ON BCAST PREFIX a"], existing(overlap("a", "a"))),
            (&["ON BCAST", "ON BCAST PREFIX b"], existing(overlap("b", ""))),
            (&["ON BCAST", "ON"], Mistake::Broadcast),
            (&["ON", "ON BCAST"], Mistake::Broadcast),
            (&["ON BCAST OPTIN"], Mistake::OptBroadcast),
            (&["ON OPTIN OPTOUT"], Mistake::Both),
            (&["ON OPTIN", "ON OPTOUT"], Mistake::Opt),
            (&["ON REDIRECT x"], Mistake::NotAnInteger),
            (&["ON REDIRECT 0"], Mistake::NoClient),
            (&["ON REDIRECT 1 REDIRECT 2"], Mistake::SeveralClients),
            (&["ON REDIRECT"], Mistake::Syntax),
        ];
        for (lines, expected) in table {
            assert_eq!(said(lines).unwrap_err().to_string(), expected.to_string(), "{lines:?}");
        }
        assert!(matches!(read("MAYBE"), Err(Mistake::Syntax)));
        assert!(matches!(read("OFF BCAST"), Ok(None)));
    }

    #[test]
    fn what_nodes_are_told() {
        let table: [(&[&str], &str); 7] = [
            (&["on"], ""),
            (&["ON redirect 7 noloop"], "NOLOOP"),
            (&["ON OPTIN", "ON"], ""),
            (&["ON OPTIN", "ON OPTIN NOLOOP"], "OPTIN NOLOOP"),
            (&["ON BCAST PREFIX b", "ON BCAST PREFIX a"], "BCAST PREFIX a PREFIX b"),
            (&["ON BCAST PREFIX b", "ON BCAST"], "BCAST"),
            (&["ON BCAST"], "BCAST"),
        ];
        for (lines, expected) in table {
            let words = said(lines).unwrap().words();
            let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
            assert_eq!(words.join(" "), expected, "{lines:?}");
        }
    }
}
