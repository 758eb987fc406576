//! Commands that most servers do not know yet: what the gateway computes of them over slots, and what it refuses there
//! in a server's words.

use crate::harness::{Cluster, Gateway, Server};

/// What keys in three slots hold.
const FIXTURE: &[&str] =
    &["SADD new:a 1 2 3 4", "SADD new:b 3 4 5", "SADD new:c 4 9", "SET new:t text"];

/// A count over slots, and what is counted.
const COUNTS: &[(&str, &str)] = &[
    ("SUNIONCARD 3 new:a new:b new:c", "SUNION new:a new:b new:c"),
    ("SUNIONCARD 2 new:a new:none", "SUNION new:a"),
    ("SUNIONCARD 2 new:none new:nor", "SUNION new:none"),
    ("SUNIONCARD 3 new:a new:b new:c LIMIT 0", "SUNION new:a new:b new:c"),
    ("SUNIONCARD 3 new:a new:b new:c APPROX LIMIT 100", "SUNION new:a new:b new:c"),
    ("sunioncard 3 new:a new:b new:c approx", "SUNION new:a new:b new:c"),
    ("SUNIONCARD 3 new:a new:b new:c LIMIT 2", "SUNION new:none2 new:c"),
    ("SDIFFCARD 3 new:a new:b new:c", "SDIFF new:a new:b new:c"),
    ("SDIFFCARD 2 new:b new:c LIMIT 100", "SDIFF new:b new:c"),
    ("SDIFFCARD 2 new:c new:a", "SDIFF new:c new:a"),
    ("SDIFFCARD 2 new:a new:b LIMIT 1", "SDIFF new:c new:a"),
];

/// What is refused, and the words.
const REFUSED: &[(&str, &str)] = &[
    ("SUNIONCARD 2 new:a new:t", WRONG_TYPE),
    ("SDIFFCARD 2 new:a new:t", WRONG_TYPE),
    ("SUNIONCARD 2 new:a new:b LIMIT -1", "ERR LIMIT can't be negative"),
    ("SUNIONCARD 2 new:a new:b LIMIT", "ERR syntax error"),
    ("SUNIONCARD 2 new:a new:b LIMIT 1 APPROX", "ERR syntax error"),
    ("SDIFFCARD 2 new:a new:b APPROX", "ERR syntax error"),
    ("LMOVEM new:a new:b LEFT RIGHT COUNT 2 BULK", CROSSSLOT),
    ("BLMOVEM new:a new:b LEFT RIGHT 1 COUNT 2 BULK", CROSSSLOT),
    ("XREAD MAXCOUNT 3 STREAMS new:a new:b 0 0", CROSSSLOT),
    ("XREAD COUNT 3 MAXSIZE 9 BLOCK 1 STREAMS new:a new:b 0 0", CROSSSLOT),
    ("XREADGROUP GROUP block maxcount MAXCOUNT 3 STREAMS new:a new:b > >", CROSSSLOT),
    (
        "HIMPORT PREPARE fields f g",
        "ERR command 'himport|prepare' is not supported by this version of the gateway",
    ),
];

const CROSSSLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";
const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn commands_of_newer_servers_over_slots() {
    let gateway = Gateway::before(Cluster::shared()).setting("routing.cross_slot", "move").start();
    let server = Server::standalone();
    let (mut ours, mut theirs) = (gateway.client(), server.client());
    for line in FIXTURE {
        assert_eq!(ours.call(line), theirs.call(line), "{line}");
    }
    for (count, counted) in COUNTS {
        let expected = theirs.call(counted).items().len() as i64;
        assert_eq!(ours.call(count).integer(), expected, "{count}");
    }
    for (line, words) in REFUSED {
        assert_eq!(ours.call(line).text(), *words, "{line}");
    }
    ours.call("DEL new:a new:b new:c new:t");
}
