//! Which clients CLIENT LIST and CLIENT KILL mean.

use crate::resp::number;

use super::super::client::Portrait;
use super::super::socket::Address;
use super::error::{Refused, shown};

/// Clients for which all of it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::session) struct Selection {
    /// Ordered; absent means any.
    ids: Option<Vec<u64>>,
    kind: Option<Kind>,
    user: Option<String>,
    address: Option<String>,
    local_address: Option<String>,
    /// Least time since it connected, in seconds.
    age: Option<u64>,
    /// Never this client.
    except: Option<u64>,
}

/// What a client may be to a server. To the gateway none is a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    PubSub,
    Server,
}

/// What is known after reading one filter.
enum Filter {
    Kind(Kind),
    Address(String),
    LocalAddress(String),
    User(String),
}

impl Selection {
    /// Reads what follows `CLIENT LIST`. `is_user` tells which users there are.
    pub(super) fn to_list<'a>(
        arguments: impl Iterator<Item = &'a [u8]>,
        is_user: impl Fn(&[u8]) -> bool,
    ) -> Result<Self, Refused> {
        let mut selection = Self::default();
        let mut arguments = arguments.peekable();
        while let Some(word) = arguments.next() {
            let value = arguments.next().ok_or(Refused::Syntax)?;
            if !is(word, "ID") {
                selection.take(Filter::read(word, value, &is_user)?);
                continue;
            }
            let mut ids = vec![list_id(value)?];
            while let Some(more) = arguments.next_if(|word| !is_filter(word)) {
                ids.push(list_id(more)?);
            }
            ids.sort_unstable();
            selection.ids = Some(ids);
        }
        Ok(selection)
    }

    /// Reads what follows `CLIENT KILL` in its form with filters. Also answers whether the client that asks
    /// is left out.
    pub(super) fn to_kill<'a>(
        mut arguments: impl Iterator<Item = &'a [u8]>,
        is_user: impl Fn(&[u8]) -> bool,
    ) -> Result<(Self, bool), Refused> {
        let mut selection = Self::default();
        let mut skip_me = true;
        while let Some(word) = arguments.next() {
            let value = arguments.next().ok_or(Refused::Syntax)?;
            if is(word, "ID") {
                selection.ids = Some(vec![positive(value).ok_or(Refused::ClientIdRange)?]);
            } else if is(word, "MAXAGE") {
                number::integer(value).ok_or(Refused::AgeNumber)?;
                selection.age = Some(positive(value).ok_or(Refused::Age)?);
            } else if is(word, "SKIPME") {
                skip_me = is(value, "yes");
                if !skip_me && !is(value, "no") {
                    return Err(Refused::Syntax);
                }
            } else {
                selection.take(Filter::read(word, value, &is_user)?);
            }
        }
        Ok((selection, skip_me))
    }

    /// The client with this number, if there is one.
    pub(in crate::session) fn of(id: i64) -> Self {
        Self { ids: Some(vec![u64::try_from(id).unwrap_or(0)]), ..Self::default() }
    }

    /// The client with this address, as in `CLIENT KILL address`.
    pub(super) fn at(address: &[u8]) -> Self {
        let address = String::from_utf8_lossy(address).into_owned();
        Self { address: Some(address), ..Self::default() }
    }

    /// The same without this client.
    pub(super) fn except(self, id: u64) -> Self {
        Self { except: Some(id), ..self }
    }

    /// Whether it means this client.
    pub(in crate::session) fn holds(&self, client: &Portrait) -> bool {
        let at = |wanted: &Option<String>, address: &Address| {
            wanted.as_ref().is_none_or(|wanted| *wanted == address.to_string())
        };
        self.except != Some(client.id)
            && self.ids.as_ref().is_none_or(|ids| ids.binary_search(&client.id).is_ok())
            && self.kind.is_none_or(|kind| kind == Kind::of(client))
            && self.user.as_ref().is_none_or(|user| *user == client.user)
            && self.age.is_none_or(|age| client.age >= age)
            && at(&self.address, &client.ends.client)
            && at(&self.local_address, &client.ends.local)
    }

    fn take(&mut self, filter: Filter) {
        match filter {
            Filter::Kind(kind) => self.kind = Some(kind),
            Filter::Address(address) => self.address = Some(address),
            Filter::LocalAddress(address) => self.local_address = Some(address),
            Filter::User(name) => self.user = Some(name),
        }
    }
}

impl Filter {
    fn read(word: &[u8], value: &[u8], is_user: impl Fn(&[u8]) -> bool) -> Result<Self, Refused> {
        let text = || String::from_utf8_lossy(value).into_owned();
        if is(word, "TYPE") {
            Kind::read(value).map(Self::Kind)
        } else if is(word, "ADDR") {
            Ok(Self::Address(text()))
        } else if is(word, "LADDR") {
            Ok(Self::LocalAddress(text()))
        } else if is(word, "USER") {
            if is_user(value) { Ok(Self::User(text())) } else { Err(Refused::User(shown(value))) }
        } else {
            Err(Refused::Syntax)
        }
    }
}

impl Kind {
    fn of(client: &Portrait) -> Self {
        if client.subscriptions.total() > 0 { Self::PubSub } else { Self::Normal }
    }

    fn read(word: &[u8]) -> Result<Self, Refused> {
        if is(word, "normal") {
            return Ok(Self::Normal);
        }
        if is(word, "pubsub") {
            return Ok(Self::PubSub);
        }
        let known = ["master", "slave", "replica"].iter().any(|kind| is(word, kind));
        if known { Ok(Self::Server) } else { Err(Refused::ClientType(shown(word))) }
    }
}

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

fn is_filter(word: &[u8]) -> bool {
    ["ID", "TYPE", "ADDR", "LADDR", "USER"].iter().any(|name| is(word, name))
}

/// A number that no client has is no mistake in a list.
fn list_id(text: &[u8]) -> Result<u64, Refused> {
    let id = number::integer(text).ok_or(Refused::ClientId)?;
    Ok(u64::try_from(id).unwrap_or(0))
}

fn positive(text: &[u8]) -> Option<u64> {
    let number = number::integer(text)?;
    u64::try_from(number).ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::super::super::client::tests::portrait;
    use super::super::super::pubsub::Tally;
    use super::*;

    fn words(line: &str) -> impl Iterator<Item = &[u8]> {
        line.split_ascii_whitespace().map(str::as_bytes)
    }

    fn is_user(name: &[u8]) -> bool {
        name == b"default" || name == b"other"
    }

    /// Which of the clients 1, 2 and 3 are meant.
    fn meant(selection: &Selection) -> Vec<u64> {
        (1..=3).filter(|id| selection.holds(&portrait(*id))).collect()
    }

    #[test]
    fn lists() {
        let table: [(&str, Result<&[u64], Refused>); 17] = [
            ("", Ok(&[1, 2, 3])),
            ("ID 3 1", Ok(&[1, 3])),
            ("id 0 -5 99", Ok(&[])),
            ("ID 2 type NORMAL", Ok(&[2])),
            ("TYPE normal", Ok(&[1, 2, 3])),
            ("TYPE pubsub", Ok(&[])),
            ("TYPE Slave", Ok(&[])),
            ("ADDR 127.0.0.1:50000 LADDR [::1]:6379 USER default", Ok(&[1, 2, 3])),
            ("LADDR 127.0.0.1:50000", Ok(&[])),
            ("TYPE foo", Err(Refused::ClientType("foo".to_owned()))),
            ("TYPE", Err(Refused::Syntax)),
            ("ID", Err(Refused::Syntax)),
            ("ID 1x", Err(Refused::ClientId)),
            ("ID 1 foo", Err(Refused::ClientId)),
            ("FOO bar", Err(Refused::Syntax)),
            ("USER other", Ok(&[])),
            ("USER nobody", Err(Refused::User("nobody".to_owned()))),
        ];
        for (line, expected) in table {
            let found = Selection::to_list(words(line), is_user).map(|selection| meant(&selection));
            assert_eq!(found, expected.map(<[u64]>::to_vec), "{line:?}");
        }
    }

    #[test]
    fn kills() {
        type Meant = Result<(&'static [u64], bool), Refused>;
        let table: [(&str, Meant); 16] = [
            ("ID 2", Ok((&[2], true))),
            ("id 2 skipme NO", Ok((&[2], false))),
            ("SKIPME yes", Ok((&[1, 2, 3], true))),
            ("ADDR 127.0.0.1:1", Ok((&[], true))),
            ("MAXAGE 100", Ok((&[1, 2, 3], true))),
            ("MAXAGE 101", Ok((&[], true))),
            ("USER default TYPE normal", Ok((&[1, 2, 3], true))),
            ("USER other SKIPME no", Ok((&[], false))),
            ("ID x", Err(Refused::ClientIdRange)),
            ("ID 0", Err(Refused::ClientIdRange)),
            ("ID 5 FOO", Err(Refused::Syntax)),
            ("FOO bar", Err(Refused::Syntax)),
            ("SKIPME foo", Err(Refused::Syntax)),
            ("USER nobody", Err(Refused::User("nobody".to_owned()))),
            ("MAXAGE x", Err(Refused::AgeNumber)),
            ("MAXAGE 0", Err(Refused::Age)),
        ];
        for (line, expected) in table {
            let found =
                Selection::to_kill(words(line), is_user).map(|(one, skip)| (meant(&one), skip));
            assert_eq!(found, expected.map(|(ids, skip)| (ids.to_vec(), skip)), "{line:?}");
        }
    }

    #[test]
    fn subscribers_are_not_normal() {
        let subscriptions = Tally { channels: 0, patterns: 1, shards: 0 };
        let subscriber = Portrait { subscriptions, ..portrait(1) };
        for (line, expected) in
            [("TYPE pubsub", true), ("TYPE normal", false), ("TYPE slave", false)]
        {
            let selection = Selection::to_list(words(line), is_user).unwrap();
            assert_eq!(selection.holds(&subscriber), expected, "{line}");
        }
    }

    #[test]
    fn one_is_left_out() {
        assert_eq!(meant(&Selection::default().except(2)), [1, 3]);
        assert_eq!(meant(&Selection::at(b"127.0.0.1:50000")), [1, 2, 3]);
        assert_eq!(meant(&Selection::at(b"\xff")), [] as [u64; 0]);
    }
}
