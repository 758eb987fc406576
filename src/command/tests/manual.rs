//! The manual's table of commands: `config/COMMANDS.md` is written from the rows.

use std::path::Path;

use super::*;

const HEAD: &str = "\
# Every command through slotway

This page is written from the table that the gateway runs with
(`BLESS=1 cargo test --lib table_in_the_manual` writes it).

A request whose keys share one slot is always sent to that slot's node as it came. The columns say what else
happens:

* **Treatment**: who gets it when its keys do not share a slot, or when it has none.
* **Several slots**: the least `routing.cross_slot` with which its keys may stand in several slots (`off`,
  `split`, `gather`, `store`, `move`; each includes the ones before, the default is `store`). Below it, and where
  it says `CROSSSLOT`, the answer is the error that a cluster node gives.
* **What is lost then**, compared with a single server.
* **In MULTI**: queued and sent with the transaction; queued in one slot only; answered by slotway at its place in
  EXEC's array; refused.
* **For whom**: everyone, unless it says otherwise.

Commands that stand here and that the nodes lack are answered by the nodes, as unknown. Commands that the nodes
have and that are missing here are learned from their `COMMAND`: with keys they are routed by the key
specifications published there, without keys they are refused unless `routing.keyless_commands` lists them.
";

const COLUMNS: &str = "\
| Command | Treatment | Several slots | What is lost then | In MULTI | For whom |
|---|---|---|---|---|---|
";

/// Whether rows of this origin belong to a chapter.
type Belongs = fn(&str) -> bool;

/// Chapters: which rows stand in each, by what they say of their origin.
const CHAPTERS: [(&str, Belongs); 4] = [
    ("Redis 7.0 and before", |since| since == "7.0"),
    ("Newer servers", |since| !["7.0", "mod", OWN].contains(&since)),
    ("Modules", |since| since == "mod"),
    ("Of slotway alone", |since| since == OWN),
];

fn treatment(row: &CommandSpec) -> &'static str {
    match row.class {
        Class::Keyed if row.cross == Cross::Never => "the node of its key",
        Class::Keyed => "the node of its keys",
        Class::Split => "one part for each slot, at once",
        Class::Sequence => "one slot after the other, until one has something",
        Class::Gather => "read in parts, computed by slotway",
        Class::Store => "read in parts, computed, written as one transaction",
        Class::Move => "step by step, the copy before the original goes",
        Class::Block => "may wait for data",
        Class::AllMasters => "every primary",
        Class::AllNodes => "every primary and replica",
        Class::AnyNode => "any primary",
        Class::Cursor => "all primaries, one after the other",
        Class::PubSub => "slotway's own subscriptions",
        Class::Transaction => "slotway's own transactions",
        Class::Script if row.keys.is_none() => "the nodes' scripts and functions",
        Class::Script => "the node of its keys; without keys one steady primary",
        Class::Local => "slotway itself",
        Class::Refused => "refused",
    }
}

fn several(row: &CommandSpec) -> &'static str {
    match row.cross {
        Cross::Never => "",
        Cross::Error => "`CROSSSLOT`",
        Cross::Split | Cross::Track => "`split`",
        Cross::Gather => "`gather`",
        Cross::Store => "`store`",
        Cross::Move => "`move`",
    }
}

fn in_multi(row: &CommandSpec) -> &'static str {
    match row.in_multi {
        InMulti::Queue => "queued",
        InMulti::QueueOneSlot => "one slot",
        InMulti::NonBlocking => "queued, never waits",
        InMulti::Splice => "slotway",
        InMulti::Control => "controls it",
        InMulti::Refuse | InMulti::ServerError => "refused",
    }
}

fn for_whom(row: &CommandSpec) -> &'static str {
    match row.default {
        Availability::On => "",
        Availability::Admin => "administrators",
        Availability::Off if row.class == Class::Local => "`present = \"cluster\"`",
        Availability::Off => "nobody",
    }
}

fn page() -> String {
    let commands = Commands::baseline();
    let mut page = HEAD.to_owned();
    for (title, belongs) in CHAPTERS {
        page += &format!("\n## {title}\n\n{COLUMNS}");
        let known = commands.iter().filter(|row| row.refusal != Refusal::Unknown);
        for row in known.filter(|row| belongs(row.since)) {
            let cells = [
                &format!("`{}`", row.name),
                treatment(row),
                several(row),
                row.cross.lost(),
                in_multi(row),
                for_whom(row),
            ];
            page += &format!("| {} |\n", cells.join(" | "));
        }
    }
    page
}

#[test]
fn the_table_in_the_manual_is_that_of_the_rows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/COMMANDS.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, page(), "run BLESS=1 cargo test --lib table_in_the_manual");
}
