//! The commands known now: the table's rows, and what the nodes told of. One snapshot for all workers.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::command::{CommandSpec, Commands, learn};
use crate::config::{Present, Settings};
use crate::resp::Value;

/// Grows as nodes are heard. Nothing is unlearned: a node that lacks a command says so itself.
pub(super) struct Known {
    /// What no node has to tell.
    own: Commands,
    /// Commands without keys that the operator lets through.
    keyless: Vec<String>,
    /// Everything that nodes told of. Only the control thread writes it.
    heard: ArcSwap<Vec<CommandSpec>>,
    current: Arc<ArcSwap<Commands>>,
}

impl Known {
    pub(super) fn new(settings: &Settings) -> Self {
        let own = match settings.listen.present {
            Present::Standalone => Commands::baseline(),
            Present::Cluster => Commands::baseline().as_cluster(),
        };
        let current = Arc::new(ArcSwap::from_pointee(own.clone()));
        let keyless = settings.routing.keyless_commands.clone();
        Self { own, keyless, heard: ArcSwap::default(), current }
    }

    /// Where the snapshot stands.
    pub(super) fn current(&self) -> Arc<ArcSwap<Commands>> {
        self.current.clone()
    }

    /// Takes over what a node's reply to `COMMAND` adds. A node that hides the command adds nothing.
    pub(super) fn hear(&self, reply: &[u8]) {
        let Ok(reply) = Value::parse(reply) else { return };
        let mut heard = self.heard.load().to_vec();
        if !add(&mut heard, learn(&reply)) {
            return;
        }
        let commands = self.own.with_learned(heard.clone()).with_keyless(&self.keyless);
        let learned = commands.iter().count().saturating_sub(self.own.iter().count());
        tracing::info!(learned, "commands are known as the nodes have them");
        self.heard.store(Arc::new(heard));
        self.current.store(Arc::new(commands));
    }
}

/// Adds what is new; returns whether anything was.
fn add(heard: &mut Vec<CommandSpec>, told: Vec<CommandSpec>) -> bool {
    let mut news = false;
    for spec in told {
        match heard.iter_mut().find(|known| known.name == spec.name) {
            Some(known) => {
                let arity = looser(known.arity, spec.arity);
                news |= arity != known.arity;
                known.arity = arity;
            }
            None => {
                heard.push(spec);
                news = true;
            }
        }
    }
    news
}

/// What both numbers of arguments allow: nodes of different versions may differ, and the one that gets the
/// request judges it.
fn looser(one: i16, other: i16) -> i16 {
    if one == other { one } else { -one.abs().min(other.abs()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Class;
    use crate::resp::write;

    /// What a node says that knows these commands, each with its arity and whether its first argument is a key.
    fn reply(commands: &[(&str, i64, bool)]) -> Vec<u8> {
        let mut out = Vec::new();
        write::array(&mut out, commands.len());
        for (name, arity, keyed) in commands {
            write::array(&mut out, 6);
            write::bulk(&mut out, name);
            write::integer(&mut out, *arity);
            write::command(&mut out, &["write"]);
            (0..3).for_each(|_| write::integer(&mut out, i64::from(*keyed)));
        }
        out
    }

    #[test]
    fn what_nodes_tell_adds_up() {
        let mut settings = Settings::default();
        settings.routing.keyless_commands = vec!["mod.ping".to_owned(), "SHUTDOWN".to_owned()];
        let known = Known::new(&settings);
        let current = known.current();
        let find = |name: &str| current.load().find(name).map(|row| (row.class, row.arity));
        assert_eq!(find("MOD.PUT"), None);
        known.hear(&reply(&[("mod.put", 3, true), ("mod.ping", 1, false), ("mod.odd", 1, false)]));
        assert_eq!(find("MOD.PUT"), Some((Class::Keyed, 3)));
        assert_eq!(find("MOD.PING"), Some((Class::AnyNode, 1)));
        assert_eq!(find("MOD.ODD"), Some((Class::Refused, 1)));
        assert_eq!(find("SHUTDOWN"), Some((Class::Refused, -1)), "the table refuses it");
        known.hear(&reply(&[("mod.put", -2, true), ("mod.new", 2, true)]));
        assert_eq!(find("MOD.PUT"), Some((Class::Keyed, -2)), "what either node takes");
        assert_eq!(find("MOD.NEW"), Some((Class::Keyed, 2)));
        let before = current.load_full();
        known.hear(&reply(&[("mod.put", 3, true)]));
        known.hear(b"-ERR unknown command 'COMMAND'\r\n");
        known.hear(b"half a repl");
        assert!(Arc::ptr_eq(&before, &current.load_full()), "no news");
    }

    #[test]
    fn numbers_of_arguments() {
        for (one, other, both) in [(3, 3, 3), (3, -2, -2), (-2, 3, -2), (2, 4, -2), (-3, -5, -3)] {
            assert_eq!(looser(one, other), both);
        }
    }
}
