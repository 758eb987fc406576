//! INFO: one server's worth of facts. The gateway tells of itself what a client takes for the server; of data and
//! work it tells what all primaries together say.
//!
//! Facts that nobody knows now are left out rather than invented: while a primary does not answer, a section
//! holds what the gateway itself knows, and one of which it knows nothing is not shown. So INFO has an answer
//! whatever the cluster's state, as clients expect that look at it before they begin.

mod own;

use std::fmt::Write;

use crate::command::CommandSpec;
use crate::merge::info;
use crate::resp::{Request, write};

use super::conversation::{Conversation, Flow};
use super::family::family;
use super::steps;

use own::Lines;

/// Who knows what stands in a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The gateway.
    Gateway,
    /// The primaries together; the gateway as long as they do not answer.
    Nodes,
    /// The primaries; but where the gateway has a line of the same name, that one counts.
    Both,
}

struct Section {
    title: &'static str,
    /// Whether it is shown when none is asked for by name.
    usual: bool,
    source: Source,
    lines: fn(&Conversation) -> Lines,
}

const fn section(
    title: &'static str,
    source: Source,
    lines: fn(&Conversation) -> Lines,
) -> Section {
    Section { title, usual: true, source, lines }
}

const fn on_demand(title: &'static str) -> Section {
    Section { usual: false, ..section(title, Source::Nodes, own::nothing) }
}

/// In the order in which a server shows them.
const SECTIONS: [Section; 13] = [
    section("Server", Source::Gateway, own::server),
    section("Clients", Source::Gateway, own::clients),
    section("Memory", Source::Nodes, own::memory),
    section("Persistence", Source::Both, own::persistence),
    section("Stats", Source::Both, own::stats),
    section("Replication", Source::Gateway, own::replication),
    section("CPU", Source::Nodes, own::cpu),
    section("Modules", Source::Nodes, own::nothing),
    on_demand("Commandstats"),
    section("Errorstats", Source::Nodes, own::nothing),
    on_demand("Latencystats"),
    section("Cluster", Source::Gateway, own::cluster),
    section("Keyspace", Source::Nodes, own::nothing),
];

/// A section with what the gateway itself knows.
struct Draft {
    title: &'static str,
    source: Source,
    own: Lines,
}

/// `INFO [section..]`
pub(super) fn answer(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Flow {
    let wanted = SECTIONS.iter().filter(|section| section.is_wanted(request));
    let from_nodes: Vec<&str> = wanted
        .clone()
        .filter(|section| section.source != Source::Gateway)
        .map(|section| section.title)
        .collect();
    let asks = !from_nodes.is_empty();
    // In a transaction, what came before it has ended.
    if asks && !conversation.is_aside() && conversation.replies.unsettled() > 0 {
        return Flow::Wait;
    }
    let drafts: Vec<Draft> = wanted.map(|section| section.draft(conversation)).collect();
    let protocol = conversation.protocol;
    let reply = move |nodes: Option<&[info::Section]>| {
        let mut reply = Vec::new();
        write::verbatim(&mut reply, protocol, "txt", text(drafts, nodes));
        reply
    };
    if !asks {
        return conversation.answer(family(spec), |out| out.extend(reply(None)));
    }
    let worker = conversation.worker.clone();
    conversation.answer_later(family(spec), async move {
        reply(steps::primaries_info(worker, &from_nodes).await.as_deref())
    });
    Flow::Next
}

/// The whole text; `nodes` is what the primaries say together, if they do.
fn text(drafts: Vec<Draft>, nodes: Option<&[info::Section]>) -> String {
    let mut text = String::new();
    for Draft { title, source, own } in drafts {
        let told = nodes.and_then(|nodes| nodes.iter().find(|section| section.title == title));
        let told = told.filter(|_| source != Source::Gateway);
        if source == Source::Nodes && told.is_none() && own.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        // Writing to a string does not fail.
        let _ = write!(text, "# {title}\r\n");
        let own_value =
            |name: &str| own.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        for (name, value) in told.iter().flat_map(|section| &section.lines) {
            let value = own_value(name).filter(|_| source == Source::Both).unwrap_or(value);
            let _ = write!(text, "{name}:{value}\r\n");
        }
        let is_told = |name: &str| {
            told.is_some_and(|section| {
                source == Source::Nodes || section.lines.iter().any(|(known, _)| known == name)
            })
        };
        for (name, value) in own.iter().filter(|(name, _)| !is_told(name)) {
            let _ = write!(text, "{name}:{value}\r\n");
        }
    }
    text
}

impl Section {
    fn is_wanted(&self, request: &Request<'_>) -> bool {
        if request.len() == 1 {
            return self.usual;
        }
        request.args().skip(1).any(|word| {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            is(self.title) || is("all") || is("everything") || (self.usual && is("default"))
        })
    }

    fn draft(&self, conversation: &Conversation) -> Draft {
        Draft { title: self.title, source: self.source, own: (self.lines)(conversation) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Limits, Parsed, RequestParser};

    fn wanted(line: &str) -> Vec<&'static str> {
        let line = format!("{line}\r\n");
        let mut parser = RequestParser::new();
        let parsed = parser.parse(line.as_bytes(), &Limits::default(), true).unwrap();
        assert!(matches!(parsed, Parsed::Request(_)));
        let request = parser.request(line.as_bytes());
        let sections = SECTIONS.iter().filter(|section| section.is_wanted(&request));
        sections.map(|section| section.title).collect()
    }

    #[test]
    fn sections_are_chosen() {
        let usual = [
            "Server",
            "Clients",
            "Memory",
            "Persistence",
            "Stats",
            "Replication",
            "CPU",
            "Modules",
            "Errorstats",
            "Cluster",
            "Keyspace",
        ];
        assert_eq!(wanted("INFO"), usual);
        assert_eq!(wanted("INFO default"), usual);
        assert_eq!(wanted("INFO ALL").len(), SECTIONS.len());
        assert_eq!(wanted("INFO everything").len(), SECTIONS.len());
        assert_eq!(wanted("INFO keyspace foo SERVER server"), ["Server", "Keyspace"]);
        assert_eq!(wanted("INFO default commandstats").len(), usual.len() + 1);
        assert_eq!(wanted("INFO foo"), [] as [&str; 0]);
    }

    fn drafted(title: &'static str, source: Source, own: &[(&'static str, &str)]) -> Draft {
        let own = own.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Draft { title, source, own }
    }

    #[test]
    fn what_nodes_tell_and_what_the_gateway_knows() {
        let drafts = || {
            vec![
                drafted("Server", Source::Gateway, &[("redis_mode", "standalone")]),
                drafted("Memory", Source::Nodes, &[("used_memory", "1")]),
                drafted("Stats", Source::Both, &[("hits", "1"), ("only_here", "2")]),
                drafted("Keyspace", Source::Nodes, &[]),
            ]
        };
        let told = info::read(
            "# Server\r\nredis_mode:cluster\r\n# Memory\r\nused_memory:9\r\nmaxmemory:0\r\n\
             # Stats\r\nhits:9\r\nmisses:9\r\n# Keyspace\r\n",
        );
        assert_eq!(
            text(drafts(), Some(&told)),
            "# Server\r\nredis_mode:standalone\r\n\r\n# Memory\r\nused_memory:9\r\nmaxmemory:0\r\n\r\n\
             # Stats\r\nhits:1\r\nmisses:9\r\nonly_here:2\r\n\r\n# Keyspace\r\n"
        );
        assert_eq!(
            text(drafts(), None),
            "# Server\r\nredis_mode:standalone\r\n\r\n# Memory\r\nused_memory:1\r\n\r\n\
             # Stats\r\nhits:1\r\nonly_here:2\r\n"
        );
    }
}
