//! The room's tables: lookup, key shapes, options, error texts, learning.

mod manual;

use proptest::prelude::*;

use super::keys::{Begin, Find, KeyPart};
use super::*;
use crate::resp::{Limits, Parsed, Request, RequestParser, Value, write};

const LIMITS: Limits =
    Limits { arguments: 1 << 10, bulk_bytes: 1 << 20, line_bytes: 1 << 16, request_bytes: 1 << 20 };

fn with<T>(call: &str, look: impl FnOnce(&Request<'_>) -> T) -> T {
    with_words(&call.split(' ').collect::<Vec<_>>(), look)
}

fn with_words<A: AsRef<[u8]>, T>(words: &[A], look: impl FnOnce(&Request<'_>) -> T) -> T {
    let mut frame = Vec::new();
    write::command(&mut frame, words);
    let mut parser = RequestParser::new();
    assert_eq!(parser.parse(&frame, &LIMITS, true), Ok(Parsed::Request(frame.len())));
    look(&parser.request(&frame))
}

/// The row's name, or the error as text.
fn resolved(commands: &Commands, call: &str) -> String {
    with(call, |request| match commands.resolve(request) {
        Ok(row) => row.name.to_string(),
        Err(error) => error.to_string(),
    })
}

#[test]
fn lookup() {
    let commands = Commands::baseline();
    for (call, expected) in [
        ("GET k", "GET"),
        ("get k", "GET"),
        ("gEt k", "GET"),
        ("CLIENT ID", "CLIENT ID"),
        ("client setname x", "CLIENT SETNAME"),
        ("command", "COMMAND"),
        ("command docs get", "COMMAND DOCS"),
        ("restore-asking k 0 x", "RESTORE-ASKING"),
        ("bf.add k x", "BF.ADD"),
        ("ft._list", "FT._LIST"),
        ("debug sleep 0", "DEBUG"),
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("GET a b", "ERR wrong number of arguments for 'get' command"),
        ("MGET", "ERR wrong number of arguments for 'mget' command"),
        ("CLIENT", "ERR wrong number of arguments for 'client' command"),
        ("client getname x", "ERR wrong number of arguments for 'client|getname' command"),
        ("client nope", "ERR unknown subcommand 'nope'. Try CLIENT HELP."),
        ("Foo a b", "ERR unknown command 'Foo', with args beginning with: 'a' 'b' "),
        ("GET\0 a", "ERR unknown command 'GET', with args beginning with: 'a' "),
        (
            "SENTINEL masters",
            "ERR unknown command 'SENTINEL', with args beginning with: 'masters' ",
        ),
        (
            "CLIENT MAINT_NOTIFICATIONS ON",
            "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.",
        ),
        (
            "EXEC x",
            "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command",
        ),
    ] {
        assert_eq!(resolved(&commands, call), expected, "{call}");
    }
}

#[test]
fn every_row_is_found_by_its_name() {
    let commands = Commands::baseline();
    assert_eq!(commands.iter().count(), 595);
    for row in commands.iter() {
        let known = row.refusal != Refusal::Unknown;
        for name in [row.name.to_string(), row.wire_name()] {
            let found = commands.find(&name).map(|found| &found.name);
            assert_eq!(found, known.then_some(&row.name), "{name}");
        }
        assert_eq!(row.name, row.name.to_uppercase());
        assert_eq!(
            row.name.matches(' ').count(),
            usize::from(row.name.contains(' ')),
            "{}",
            row.name
        );
    }
}

/// What must hold between the columns of a row.
#[test]
fn rows_agree_with_themselves() {
    for row in Commands::baseline().iter() {
        let name = &row.name;
        let several = matches!(
            row.class,
            Class::Split | Class::Sequence | Class::Gather | Class::Store | Class::Move
        );
        assert!(!several || row.cross != Cross::Never, "{name}: no rule across slots");
        assert!(!several || !row.keys.is_none(), "{name}: no keys");
        assert!(!several || row.merge != ResponsePolicy::None, "{name}: parts, but no merge");
        assert_eq!(row.class == Class::Refused, {
            row.default == Availability::Off && row.class != Class::Local
        });
        let off_wire = matches!(row.class, Class::Local | Class::Refused);
        assert!(!off_wire || row.retry == Retry::Local, "{name}: retried, but never sent");
        assert!(!off_wire || row.target == Target::Gateway, "{name}: sent somewhere");
        assert!(row.retry != Retry::Read || row.access != Access::Write, "{name}: a write retried");
        assert!(row.class != Class::Block || row.blocking, "{name}: does not block");
        assert!(!row.categories.is_empty(), "{name}: no category");
        let fast_or_slow = Categories::FAST | Categories::SLOW;
        assert!(row.since == "R8.8" || row.categories.intersects(fast_or_slow), "{name}");
        assert!(
            row.access != Access::Read
                || row
                    .keys
                    .parts()
                    .iter()
                    .all(|part| { !row.keys.need_of(part).contains(Need::WRITE) }),
            "{name}: reads, but its keys are written"
        );
    }
}

#[test]
fn refusals() {
    let commands = Commands::baseline();
    for (name, expected) in [
        ("SHUTDOWN", "ERR command 'shutdown' is not allowed through the gateway"),
        ("SCRIPT DEBUG", "ERR command 'script|debug' is not allowed through the gateway"),
        ("SWAPDB", "ERR SWAPDB is not allowed in cluster mode"),
        ("MOVE", "ERR MOVE is not allowed in cluster mode"),
        ("CLUSTER NODES", "ERR This instance has cluster support disabled"),
        ("ASKING", "ERR This instance has cluster support disabled"),
    ] {
        let row = commands.find(name).unwrap();
        assert_eq!(row.default, Availability::Off);
        assert_eq!(row.refused().to_string(), expected);
    }
}

#[test]
fn error_lines_stay_one_line_and_keep_their_bytes() {
    let commands = Commands::baseline();
    let line = |words: &[&[u8]]| {
        with_words(words, |request| commands.resolve(request).unwrap_err().line())
    };
    assert_eq!(
        line(&[b"a\r\nb", b"\xff\n"]),
        b"ERR unknown command 'a  b', with args beginning with: '\xff ' "
    );
    assert_eq!(line(&[b"client", b"x\r\n"]), b"ERR unknown subcommand 'x  '. Try CLIENT HELP.");
    let long = [b'n'; 300];
    let shown = "n".repeat(128);
    let expected = format!("ERR unknown command '{shown}', with args beginning with: '{shown}' ");
    assert_eq!(line(&[&long, &long, b"z"]), expected.as_bytes());
}

#[test]
fn positions() {
    let commands = Commands::baseline();
    for (call, expected) in [
        ("GET k", Ok(vec![1])),
        ("PING", Ok(vec![])),
        ("MSET a 1 b 2", Ok(vec![1, 3])),
        ("JSON.MSET a p v b p v", Ok(vec![1, 4])),
        ("JSON.MGET a b p", Ok(vec![1, 2])),
        ("BLPOP a b 0", Ok(vec![1, 2])),
        ("MSETEX 2 a 1 b 2 NX", Ok(vec![2, 4])),
        ("MSETEX 3 a 1 b 2 NX", Err(KeyError::Count)),
        ("EVAL s 0 x", Ok(vec![])),
        ("EVAL s 2 a b x", Ok(vec![3, 4])),
        ("EVAL s 3 a b", Err(KeyError::Count)),
        ("EVAL s -1 a b", Err(KeyError::Count)),
        ("EVAL s 01 a b", Err(KeyError::Count)),
        ("EVAL s +1 a b", Err(KeyError::Count)),
        ("EVAL s 18446744073709551615 a", Err(KeyError::Count)),
        ("EVAL s 99999999999999999999 a", Err(KeyError::Count)),
        ("MSETEX 9223372036854775808 a 1", Err(KeyError::Count)),
        ("ZUNIONSTORE d 2 a b", Ok(vec![1, 3, 4])),
        ("ZUNIONSTORE d x a b", Err(KeyError::Count)),
        ("XREAD COUNT 1 STREAMS a b 1 2", Ok(vec![4, 5])),
        ("XREAD COUNT 1 2 3", Ok(vec![])),
        ("XREAD x x STREAMS a", Err(KeyError::Count)),
        ("PFMERGE d", Ok(vec![1])),
        ("BITOP AND d a b", Ok(vec![2, 3, 4])),
        ("GEORADIUS k 1 2 3 m STOREDIST d STORE e", Ok(vec![1, 7, 9])),
        ("SPUBLISH c m", Ok(vec![1])),
        ("SUNSUBSCRIBE", Ok(vec![])),
        ("TS.NRANGE x", Err(KeyError::Unknown)),
    ] {
        with(call, |request| {
            let row = commands.resolve(request).unwrap();
            let mut found = vec![7];
            let result = row.keys.positions(request, &mut found).map(|()| found.clone());
            assert_eq!(result, expected, "{call}");
            let first = expected.ok().and_then(|found| found.first().map(|&at| at as usize));
            if result.is_ok() {
                assert_eq!(row.keys.first(request), first, "{call}");
            }
        });
    }
}

#[test]
fn roles() {
    let commands = Commands::baseline();
    let (key, source) = (Role::Key, Role::Source);
    for (call, expected) in [
        ("GET k", vec![key]),
        ("RENAME a b", vec![source, Role::Destination]),
        ("ZUNIONSTORE d 2 a b", vec![Role::Destination, source, source]),
        ("SORT k STORE d", vec![source, Role::Destination]),
        ("SSUBSCRIBE a b", vec![Role::Channel; 2]),
    ] {
        let mut roles = Vec::new();
        with(call, |request| {
            commands.resolve(request).unwrap().keys(request, |key| roles.push(key.role)).unwrap();
        });
        assert_eq!(roles, expected, "{call}");
    }
}

#[test]
fn companions() {
    let commands = Commands::baseline();
    for (name, expected) in [
        ("DEL", Companions::Following(0)),
        ("MSET", Companions::Following(1)),
        ("MSETEX", Companions::Following(1)),
        ("TS.MADD", Companions::Following(2)),
        ("XREAD", Companions::SecondHalf),
        ("LMPOP", Companions::Following(0)),
    ] {
        assert_eq!(commands.find(name).unwrap().keys.companions(), expected, "{name}");
    }
}

/// Looks at the row of a request, and at the request.
fn ask<T>(call: &str, look: impl FnOnce(&CommandSpec, &Request<'_>) -> T) -> T {
    let commands = Commands::baseline();
    with(call, |request| look(commands.resolve(request).unwrap(), request))
}

#[test]
fn options_change_what_may_be_retried() {
    use Retry::{Idempotent, Never};
    for (call, expected) in [
        ("GET k", Retry::Read),
        ("SET k nx", Idempotent),
        ("SET k v EX 5", Idempotent),
        ("SET k v EX 5 nx", Never),
        ("SET k v GET", Never),
        ("SET k v IFEQ x", Never),
        ("ZADD k 1 INCR", Idempotent),
        ("ZADD k NX CH 1 a", Idempotent),
        ("ZADD k XX INCR 1 a", Never),
        ("RESTORE k 0 x", Never),
        ("RESTORE k 0 x replace", Idempotent),
        ("FUNCTION LOAD x", Never),
        ("FUNCTION LOAD REPLACE x", Idempotent),
        ("FUNCTION RESTORE x", Never),
        ("FUNCTION RESTORE x REPLACE", Idempotent),
        ("GEORADIUS k 1 2 3 m", Retry::Read),
        ("GEORADIUS k 1 2 3 m STORE d", Idempotent),
        ("SORT k", Retry::Read),
        ("SORT k STORE d", Idempotent),
        ("HSETEX k FNX FIELDS 1 a b", Never),
        ("HSETEX k FIELDS 1 FNX b", Idempotent),
        ("BITFIELD k GET u8 0", Retry::Read),
        ("BITFIELD k GET u8 0 SET u8 0 1", Never),
        ("MSETEX 1 NX v", Idempotent),
        ("MSETEX 1 a v NX", Never),
    ] {
        assert_eq!(ask(call, CommandSpec::retry_for), expected, "{call}");
    }
}

#[test]
fn options_change_what_happens_across_slots() {
    assert_eq!(ask("MSETEX 1 a v XX", CommandSpec::cross_for), Cross::Move);
    assert_eq!(ask("MSETEX 1 a v EX 5", CommandSpec::cross_for), Cross::Split);
}

#[test]
fn options_change_what_blocks() {
    for (call, expected) in [
        ("BLPOP a 0", true),
        ("LPOP a", false),
        ("WAIT 1 0", true),
        ("XREAD STREAMS a 0", false),
        ("XREAD COUNT 1 BLOCK 0 STREAMS a 0", true),
        ("XREAD COUNT BLOCK STREAMS a 0", false),
        ("XREADGROUP GROUP block c STREAMS BLOCK 0", false),
        ("XREADGROUP GROUP g c block 1 STREAMS a >", true),
    ] {
        assert_eq!(ask(call, CommandSpec::blocks), expected, "{call}");
    }
}

#[test]
fn options_name_patterns() {
    for (call, expected) in [
        ("SORT k", false),
        ("SORT k BY nosort", false),
        ("SORT k BY w_*", true),
        ("SORT k LIMIT GET 1 ALPHA", false),
        ("SORT k STORE GET", false),
        ("SORT_RO k GET #", true),
        ("DEL GET BY", false),
    ] {
        assert_eq!(ask(call, CommandSpec::reads_patterns), expected, "{call}");
    }
}

/// One entry of `COMMAND` as a server with a module would send it.
fn entry(name: &str, arity: i64, flags: &[&str], specs: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write::array(&mut out, 10);
    write::bulk(&mut out, name);
    write::integer(&mut out, arity);
    write::array(&mut out, flags.len());
    flags.iter().for_each(|flag| write::simple(&mut out, flag));
    (0..3).for_each(|_| write::integer(&mut out, 0));
    write::command(&mut out, &["@read", "@fast", "@unheardof"]);
    write::array(&mut out, 0);
    out.extend_from_slice(specs);
    write::array(&mut out, 0);
    out
}

fn spec(flag: &str, begin: (&str, &[(&str, &str)]), find: (&str, &[(&str, &str)])) -> Vec<u8> {
    let mut out = Vec::new();
    write::array(&mut out, 6);
    write::bulk(&mut out, "flags");
    write::command(&mut out, &[flag]);
    for (name, (kind, detail)) in [("begin_search", begin), ("find_keys", find)] {
        write::bulk(&mut out, name);
        write::array(&mut out, 4);
        write::bulk(&mut out, "type");
        write::bulk(&mut out, kind);
        write::bulk(&mut out, "spec");
        write::array(&mut out, detail.len() * 2);
        for (key, value) in detail {
            write::bulk(&mut out, key);
            match value.parse() {
                Ok(number) => write::integer(&mut out, number),
                Err(_) => write::bulk(&mut out, value),
            }
        }
    }
    [b"*1\r\n".as_slice(), &out].concat()
}

#[test]
fn learned_commands() {
    let one = &[("lastkey", "0"), ("keystep", "1"), ("limit", "0")];
    let count = &[("keynumidx", "0"), ("firstkey", "1"), ("keystep", "1")];
    let entries = [
        entry(
            "mod.get",
            2,
            &["readonly"],
            &spec("access", ("index", &[("index", "1")]), ("range", one)),
        ),
        entry(
            "mod.put",
            -2,
            &["write"],
            &spec("insert", ("index", &[("index", "1")]), ("keynum", count)),
        ),
        entry(
            "mod.to",
            -2,
            &["write"],
            &spec("update", ("keyword", &[("keyword", "TO"), ("startfrom", "1")]), ("range", one)),
        ),
        entry("mod.odd", -2, &["write"], &spec("access", ("unknown", &[]), ("unknown", &[]))),
        entry(
            "mod.wait",
            -2,
            &["readonly", "blocking"],
            &spec("access", ("index", &[("index", "1")]), ("range", one)),
        ),
        entry("mod.info", 1, &[], b"*0\r\n"),
        entry("get", -2, &["readonly"], b"*0\r\n"),
    ];
    let reply = [b"*7\r\n".as_slice(), &entries.concat()].concat();
    let commands = Commands::baseline().with_learned(learn(&Value::parse(&reply).unwrap()));
    let find = |name: &str| commands.find(name).unwrap();
    assert_eq!(find("MOD.GET").retry, Retry::Read);
    assert_eq!(find("MOD.GET").categories, Categories::READ | Categories::FAST);
    assert_eq!(find("MOD.PUT").retry, Retry::Never);
    assert_eq!(find("MOD.INFO").class, Class::Refused);
    assert_eq!(find("MOD.WAIT").class, Class::Block);
    assert_eq!(find("GET").class, Class::Keyed, "the treatment stays the table's");
    assert_eq!(find("GET").arity, -2, "the arity is the server's");
    for (call, expected) in [
        ("mod.get k", Ok(vec![1])),
        ("mod.put 2 a b c", Ok(vec![2, 3])),
        ("mod.to x TO k", Ok(vec![3])),
        ("mod.to x", Ok(vec![])),
        ("mod.odd x", Err(KeyError::Unknown)),
    ] {
        with(call, |request| {
            let mut found = Vec::new();
            let row = commands.resolve(request).unwrap();
            assert_eq!(row.keys.positions(request, &mut found).map(|()| found), expected, "{call}");
        });
    }
    let without = commands.only(|row| row.name != "MOD.GET");
    assert!(resolved(&without, "mod.get k").starts_with("ERR unknown command 'mod.get'"));
}

#[test]
fn what_a_server_says_cannot_break_the_reader() {
    for reply in [
        "*1\r\n:1\r\n",
        "*1\r\n*0\r\n",
        "+OK\r\n",
        "*1\r\n*6\r\n$1\r\na\r\n:99999\r\n*0\r\n:1\r\n:2\r\n:3\r\n",
    ] {
        assert!(learn(&Value::parse(reply.as_bytes()).unwrap()).is_empty(), "{reply}");
    }
}

/// A place to begin and a way to go on that no server has sent so far.
fn any_part() -> impl Strategy<Value = KeyPart> {
    let begin = prop_oneof![
        any::<u8>().prop_map(Begin::At),
        any::<i16>().prop_map(|from| Begin::Keyword("x".into(), from)),
        Just(Begin::SortStore),
        any::<u8>().prop_map(Begin::LaterStore),
        Just(Begin::MigrateOne),
        Just(Begin::MigrateMany),
    ];
    let find = prop_oneof![
        any::<(i16, u8, u8)>().prop_map(|(last, step, share)| Find::Run { last, step, share }),
        any::<u8>().prop_map(|step| Find::Count { step }),
    ];
    (begin, find).prop_map(|(begin, find)| KeyPart::new(begin, find))
}

proptest! {
    #[test]
    fn keys_are_always_arguments(
        parts in prop::collection::vec(any_part(), 0..3),
        words in prop::collection::vec("[0-9x]{0,3}|KEYS|STORE", 1..12),
    ) {
        let spec = KeySpec::learned(parts, Need::READ);
        with_words(&words, |request| {
            let mut found = Vec::new();
            let _ = spec.positions(request, &mut found);
            prop_assert!(found.iter().all(|&at| (at as usize) < request.len()));
            prop_assert!(spec.first(request).is_none_or(|at| at < request.len()));
            Ok(())
        })?;
    }

    #[test]
    fn any_request_resolves_or_explains(
        words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..6),
    ) {
        let commands = Commands::baseline();
        with_words(&words, |request| {
            if let Err(error) = commands.resolve(request) {
                prop_assert!(!error.line().iter().any(|byte| matches!(byte, b'\r' | b'\n')));
            }
            Ok(())
        })?;
    }
}
