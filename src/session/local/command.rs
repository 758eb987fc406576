//! COMMAND: a node's answer, as far as it is true for the gateway. What the gateway refuses is not shown.

use std::sync::Arc;

use crate::command::{CommandSpec, Commands};
use crate::resp::{Protocol, Request, Value, elements, write};

use super::super::conversation::{Conversation, Flow};

/// Where the subcommands stand in an entry of `COMMAND`.
const SUBCOMMANDS: usize = 9;

/// Answers `COMMAND subcommand`; `COMMAND` alone is `COMMAND INFO` for everything.
pub(super) fn answer(
    conversation: &Conversation,
    subcommand: &str,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Flow {
    let view = View { commands: conversation.worker.commands(), protocol: conversation.protocol };
    let is_whole = request.len() < 3;
    let mut asked = request.frame().to_vec();
    let rewrite: fn(&View, &[u8]) -> Option<Vec<u8>> = match subcommand {
        "INFO" if is_whole => View::entries,
        "INFO" => View::named_entries,
        "LIST" => View::names,
        "COUNT" => {
            asked.clear();
            write::command(&mut asked, &["COMMAND", "LIST"]);
            View::count
        }
        "DOCS" => View::documents,
        // Where keys stand is the same here as there.
        _ => return conversation.pass_on(spec, request, None),
    };
    conversation.ask_any_with(spec, request, &asked, move |reply, out| {
        match rewrite(&view, reply) {
            Some(shown) => out.extend_from_slice(&shown),
            // An error, or what nobody here understands.
            None => out.extend_from_slice(reply),
        }
    });
    Flow::Next
}

/// The commands as the client sees them.
struct View {
    commands: Arc<Commands>,
    protocol: Protocol,
}

impl View {
    /// Whether the gateway has the command of this name, which a reply holds.
    fn offers(&self, name: &[u8]) -> bool {
        let parsed = Value::parse(name).ok();
        let name = parsed.as_ref().and_then(Value::as_str);
        name.and_then(|name| self.commands.find(name)).is_some_and(CommandSpec::is_offered)
    }

    /// Every entry that is offered.
    fn entries(&self, reply: &[u8]) -> Option<Vec<u8>> {
        let shown: Vec<Vec<u8>> = elements(reply)?.filter_map(|entry| self.entry(entry)).collect();
        Some(list(&shown))
    }

    /// The entries that were asked for; nothing stands where one is not offered.
    fn named_entries(&self, reply: &[u8]) -> Option<Vec<u8>> {
        let entry = |entry| self.entry(entry).unwrap_or_else(|| self.nothing());
        Some(list(&elements(reply)?.map(entry).collect::<Vec<_>>()))
    }

    fn nothing(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write::null(&mut out, self.protocol);
        out
    }

    /// An entry with those of its subcommands that are offered; `None` when it is not offered itself.
    fn entry(&self, entry: &[u8]) -> Option<Vec<u8>> {
        let mut fields: Vec<&[u8]> = elements(entry)?.collect();
        if !self.offers(fields.first()?) {
            return None;
        }
        let Some(subcommands) = fields.get(SUBCOMMANDS).copied() else {
            return Some(entry.to_vec());
        };
        let kept: Vec<Vec<u8>> =
            elements(subcommands)?.filter_map(|entry| self.entry(entry)).collect();
        // RESP3 has a set here.
        let mut shown = Vec::new();
        match subcommands.first() {
            Some(b'~') => write::set(&mut shown, self.protocol, kept.len()),
            _ => write::array(&mut shown, kept.len()),
        }
        shown.extend(kept.concat());
        if let Some(field) = fields.get_mut(SUBCOMMANDS) {
            *field = &shown;
        }
        Some(list(&fields))
    }

    fn names(&self, reply: &[u8]) -> Option<Vec<u8>> {
        Some(list(&elements(reply)?.filter(|name| self.offers(name)).collect::<Vec<_>>()))
    }

    /// How many of the names are commands and not subcommands.
    fn count(&self, reply: &[u8]) -> Option<Vec<u8>> {
        let whole = elements(reply)?.filter(|name| self.offers(name) && !name.contains(&b'|'));
        let mut out = Vec::new();
        write::integer(&mut out, whole.count() as i64);
        Some(out)
    }

    /// Names with their documents; those of subcommands stand in their container's.
    fn documents(&self, reply: &[u8]) -> Option<Vec<u8>> {
        let pairs: Vec<&[u8]> = elements(reply)?.collect();
        let mut shown = Vec::new();
        for pair in pairs.chunks_exact(2) {
            if let [name, document] = pair
                && self.offers(name)
            {
                shown.push(name.to_vec());
                shown.push(self.document(document)?);
            }
        }
        Some(map(&shown, self.protocol))
    }

    fn document(&self, document: &[u8]) -> Option<Vec<u8>> {
        let fields: Vec<&[u8]> = elements(document)?.collect();
        let is_container =
            |name: &[u8]| Value::parse(name).is_ok_and(|name| name.as_str() == Some("subcommands"));
        let mut shown = Vec::new();
        for pair in fields.chunks_exact(2) {
            let [name, value] = pair else { continue };
            let inner = if is_container(name) { self.documents(value)? } else { value.to_vec() };
            shown.push(name.to_vec());
            shown.push(inner);
        }
        Some(map(&shown, self.protocol))
    }
}

fn list(items: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut out = Vec::new();
    write::array(&mut out, items.len());
    items.iter().for_each(|item| out.extend_from_slice(item.as_ref()));
    out
}

/// Names and values in turn.
fn map(items: &[Vec<u8>], protocol: Protocol) -> Vec<u8> {
    let mut out = Vec::new();
    write::map(&mut out, protocol, items.len() / 2);
    items.iter().for_each(|item| out.extend_from_slice(item));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(protocol: Protocol) -> View {
        View { commands: Arc::new(Commands::baseline()), protocol }
    }

    fn bulk(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write::bulk(&mut out, text);
        out
    }

    /// An entry of `COMMAND` with these subcommands, which have the same form.
    fn entry(name: &str, subcommands: &[Vec<u8>]) -> Vec<u8> {
        let mut fields = vec![bulk(name), b":-2\r\n".to_vec()];
        fields.extend((0..7).map(|_| b"*0\r\n".to_vec()));
        fields.push(list(subcommands));
        list(&fields)
    }

    #[test]
    fn refused_commands_are_not_shown() {
        let all = list(&[
            entry("get", &[]),
            entry("shutdown", &[]),
            entry("script", &[entry("script|load", &[]), entry("script|debug", &[])]),
            entry("nobody.knows", &[]),
        ]);
        let shown = list(&[entry("get", &[]), entry("script", &[entry("script|load", &[])])]);
        assert_eq!(view(Protocol::Resp2).entries(&all), Some(shown));
        let asked = list(&[entry("shutdown", &[]), entry("get", &[]), b"$-1\r\n".to_vec()]);
        let shown = list(&[b"$-1\r\n".to_vec(), entry("get", &[]), b"$-1\r\n".to_vec()]);
        assert_eq!(view(Protocol::Resp2).named_entries(&asked), Some(shown));
        assert_eq!(view(Protocol::Resp2).entries(b"-ERR no\r\n"), None);
    }

    #[test]
    fn names_are_counted_without_subcommands() {
        let names = ["get", "debug", "script", "script|load", "script|debug", "client|kill"];
        let names = list(&names.map(bulk));
        let shown = list(&["get", "script", "script|load", "client|kill"].map(bulk));
        assert_eq!(view(Protocol::Resp2).names(&names), Some(shown));
        assert_eq!(view(Protocol::Resp2).count(&names), Some(b":2\r\n".to_vec()));
    }

    #[test]
    fn documents_in_both_protocols() {
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let document = |subcommands: &[Vec<u8>]| {
                let mut fields = vec![bulk("summary"), bulk("does things")];
                if !subcommands.is_empty() {
                    fields.extend([bulk("subcommands"), map(subcommands, protocol)]);
                }
                map(&fields, protocol)
            };
            let container = |names: &[&str]| {
                let pairs: Vec<Vec<u8>> =
                    names.iter().flat_map(|name| [bulk(name), document(&[])]).collect();
                document(&pairs)
            };
            let all = map(
                &[
                    bulk("debug"),
                    document(&[]),
                    bulk("script"),
                    container(&["script|load", "script|debug"]),
                ],
                protocol,
            );
            let shown = map(&[bulk("script"), container(&["script|load"])], protocol);
            assert_eq!(view(protocol).documents(&all), Some(shown));
        }
    }
}
