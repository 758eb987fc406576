//! The same requests to a standalone server and through the gateway: the raw replies must be equal.

use std::net::SocketAddr;

use slotway::command::{Class, Commands};

use crate::corpus::{
    Compare, DIFFERENCES, FIXTURES, KEYED, KEYLESS, NEWER, NEWER_KEYLESS, ONE_SLOT,
    ONE_SLOT_FIXTURE, ONE_SLOT_PROBES, PROBES, SPLIT, SPLIT_FIXTURE, SPLIT_PROBES,
};
use crate::harness::{Client, Cluster, Gateway, PATIENCE, Reply, Server, request};

/// Requests that belong together: what prepares a call, the call, and what looks at its effect.
struct Case {
    name: String,
    requests: Vec<Request>,
}

struct Request {
    line: String,
    bytes: Vec<u8>,
    compare: Compare,
}

#[test]
fn the_corpus_is_the_same_for_two_standalone_servers() {
    let (one, other) = (Server::standalone(), Server::standalone());
    for protocol in [2, 3] {
        let cases = together([
            keyed_cases("own", &payload(&one)),
            arity_cases("own"),
            split_cases("own", false),
        ]);
        assert_alike(&cases, protocol, one.address(), other.address());
    }
}

#[test]
fn keyed_calls_are_answered_alike_in_resp2() {
    compare_keyed(2);
}

#[test]
fn keyed_calls_are_answered_alike_in_resp3() {
    compare_keyed(3);
}

#[test]
fn split_calls_are_answered_alike() {
    let (server, gateway) =
        (Server::standalone(), Gateway::before(Cluster::shared()).workers(2).start());
    for protocol in [2, 3] {
        let apart = split_cases(&format!("apart{protocol}"), true);
        assert_alike(&apart, protocol, server.address(), gateway.address());
        let one_slot = split_cases(&format!("together{protocol}"), false);
        assert_alike(&one_slot, protocol, server.address(), gateway.address());
    }
}

#[test]
fn calls_of_several_keys_in_one_slot_are_answered_alike() {
    let (server, gateway) = (Server::standalone(), Gateway::before(Cluster::shared()).start());
    for protocol in [2, 3] {
        let of_line = |(place, line): (usize, &&'static str)| {
            let lines = ONE_SLOT_FIXTURE.iter().chain([line]).chain(ONE_SLOT_PROBES).copied();
            case(line, lines, &format!("{{slot{protocol}:{place}}}"), b"", "")
        };
        let cases: Vec<Case> = ONE_SLOT.iter().enumerate().map(of_line).collect();
        assert_alike(&cases, protocol, server.address(), gateway.address());
    }
}

#[test]
fn a_split_call_of_thousands_of_keys_is_answered_alike() {
    let (server, gateway) = (Server::standalone(), Gateway::before(Cluster::shared()).start());
    let keys = |step| (0..5_000).step_by(step).map(|number| format!("many:{number}"));
    let call = |name: &str| format!("{name} {}", keys(1).collect::<Vec<_>>().join(" "));
    let fill = keys(2).map(|key| format!("{key} value-of-{key}")).collect::<Vec<_>>().join(" ");
    let lines = [
        format!("MSET {fill}"),
        call("MGET"),
        call("EXISTS"),
        call("TOUCH"),
        call("DEL"),
        call("MGET"),
    ];
    let case = case("thousands of keys", lines.iter().map(String::as_str), "", b"", "");
    for protocol in [2, 3] {
        assert_alike(std::slice::from_ref(&case), protocol, server.address(), gateway.address());
    }
}

#[test]
fn calls_that_reach_no_key_are_answered_alike() {
    let (server, gateway) = (Server::standalone(), Gateway::before(Cluster::shared()).start());
    for protocol in [2, 3] {
        let newer = known(&server, NEWER_KEYLESS);
        for line in KEYLESS.iter().chain(&newer) {
            if line.ends_with(" ID x") && reads_lists_of_ids(&server) {
                continue;
            }
            // One connection each: some of them change what follows.
            let case = case(line, [*line], "k", b"", "");
            assert_alike(&[case], protocol, server.address(), gateway.address());
        }
    }
}

/// Commands that the server under test does not have are unknown to it, and to nobody else.
#[test]
fn newer_calls_are_answered_alike_where_there_are_any() {
    let (server, gateway) = (Server::standalone(), Gateway::before(Cluster::shared()).start());
    for protocol in [2, 3] {
        let mut cases = Vec::new();
        for (fixture, setup) in FIXTURES {
            for line in known(&server, NEWER) {
                let lines = setup.iter().chain([&line]).chain(PROBES).copied();
                let key = format!("newer{protocol}:{}", cases.len());
                cases.push(case(&format!("{line} ({fixture})"), lines, &key, b"", fixture));
            }
        }
        assert_alike(&cases, protocol, server.address(), gateway.address());
    }
}

/// Valkey from 8.1 on, where what is no number is no part of the list.
fn reads_lists_of_ids(server: &Server) -> bool {
    !server.client().call("CLIENT KILL ID 999999999 999999998").is_error()
}

/// Those lines whose command the server has.
fn known(server: &Server, lines: &[&'static str]) -> Vec<&'static str> {
    let mut client = server.client();
    let mut has = |line: &&&str| {
        let words: Vec<&str> = line.split(' ').collect();
        let name = if words[0] == "CLIENT" { words[..2].join("|") } else { words[0].to_owned() };
        !client.call(&format!("COMMAND INFO {name}")).items()[0].is_nil()
    };
    lines.iter().filter(|line| has(line)).copied().collect()
}

#[test]
fn every_difference_is_about_a_call_of_the_corpus() {
    for (start, fixture, _, reason) in DIFFERENCES {
        assert!(
            KEYED.iter().copied().flatten().any(|line| line.starts_with(start)),
            "{start}: {reason}"
        );
        assert!(
            fixture.is_empty() || FIXTURES.iter().any(|(name, _)| name == fixture),
            "{start}: {fixture}"
        );
    }
}

/// A row added to the table with one of these classes needs calls here.
#[test]
fn every_keyed_and_split_command_of_the_server_is_in_the_corpus() {
    let server = Server::standalone();
    let mut client = server.client();
    let commands = Commands::baseline();
    let lines: Vec<&str> =
        KEYED.iter().copied().flatten().chain(SPLIT).chain(NEWER).copied().collect();
    let mut seen = 0;
    for row in commands.iter().filter(|row| matches!(row.class, Class::Keyed | Class::Split)) {
        let name = row.name.replace(' ', "|").to_lowercase();
        if client.call(&format!("COMMAND INFO {name}")).items()[0].is_nil() {
            continue;
        }
        seen += 1;
        let has_key = |rest: &str| rest.starts_with(' ') && rest.contains(" K");
        let calls = lines.iter().filter(|line| line.strip_prefix(&*row.name).is_some_and(has_key));
        assert!(calls.count() > 0, "no call of {}", row.name);
    }
    assert!(seen > 130, "only {seen} commands are known to both");
}

fn compare_keyed(protocol: u8) {
    let (server, gateway) =
        (Server::standalone(), Gateway::before(Cluster::shared()).workers(2).start());
    let name = format!("keyed{protocol}");
    let cases = together([keyed_cases(&name, &payload(&server)), arity_cases(&name)]);
    assert_alike(&cases, protocol, server.address(), gateway.address());
}

/// Every call on every kind of value.
fn keyed_cases(run: &str, payload: &[u8]) -> Vec<Case> {
    let mut cases = Vec::new();
    for (fixture, setup) in FIXTURES {
        for line in KEYED.iter().copied().flatten() {
            let lines = setup.iter().chain([line]).chain(PROBES).copied();
            let key = format!("{run}:{}", cases.len());
            cases.push(case(&format!("{line} ({fixture})"), lines, &key, payload, fixture));
        }
    }
    cases
}

/// Every call with its last words missing, one after the other, and with one word too many.
fn arity_cases(run: &str) -> Vec<Case> {
    let mut lines: Vec<String> = Vec::new();
    for line in KEYED.iter().copied().flatten() {
        let words: Vec<&str> = line.split(' ').collect();
        lines.extend((1..words.len()).map(|count| words[..count].join(" ")));
        lines.push(format!("{line} extra"));
    }
    lines.sort();
    lines.dedup();
    let numbered = lines.iter().enumerate();
    numbered
        .map(|(place, line)| {
            case(line, [line.as_str()], &format!("{run}:arity:{place}"), b"payload", "")
        })
        .collect()
}

fn split_cases(run: &str, apart: bool) -> Vec<Case> {
    let of_line = |(place, line): (usize, &&'static str)| {
        let lines = SPLIT_FIXTURE.iter().chain([line]).chain(SPLIT_PROBES).copied();
        let key = if apart { format!("{run}:{place}:") } else { format!("{{{run}:{place}}}") };
        case(line, lines, &key, b"", "")
    };
    SPLIT.iter().enumerate().map(of_line).collect()
}

fn case<'a>(
    name: &str,
    lines: impl IntoIterator<Item = &'a str>,
    key: &str,
    payload: &[u8],
    fixture: &str,
) -> Case {
    let request = |line: &str| Request {
        line: line.to_owned(),
        bytes: encode(line, key, payload),
        compare: compare_of(line, fixture),
    };
    Case { name: name.to_owned(), requests: lines.into_iter().map(request).collect() }
}

fn together<const N: usize>(cases: [Vec<Case>; N]) -> Vec<Case> {
    cases.into_iter().flatten().collect()
}

/// A request from a line of the corpus: `K` and `K1` become keys, escapes become bytes.
fn encode(line: &str, key: &str, payload: &[u8]) -> Vec<u8> {
    let argument = |word: &str| match word {
        "\"\"" => Vec::new(),
        "DUMP" if !line.starts_with("DUMP") => payload.to_vec(),
        _ if word == "K"
            || (word.len() == 2
                && word.starts_with('K')
                && word.as_bytes()[1].is_ascii_digit()) =>
        {
            [key.as_bytes(), &word.as_bytes()[1..]].concat()
        }
        _ => unescape(word),
    };
    request(&line.split(' ').map(argument).collect::<Vec<_>>())
}

fn unescape(word: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = word;
    while let Some(first) = rest.bytes().next() {
        let (byte, length) = match rest.get(..2) {
            Some("\\r") => (b'\r', 2),
            Some("\\n") => (b'\n', 2),
            Some("\\0") => (0, 2),
            Some("\\x") => (u8::from_str_radix(&rest[2..4], 16).unwrap(), 4),
            _ => (first, 1),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    bytes
}

fn compare_of(line: &str, fixture: &str) -> Compare {
    let row = DIFFERENCES
        .iter()
        .find(|(start, only, ..)| line.starts_with(start) && (only.is_empty() || *only == fixture));
    row.map_or(Compare::Exact, |(_, _, compare, _)| *compare)
}

/// What a server makes of a short string to be restored elsewhere.
fn payload(server: &Server) -> Vec<u8> {
    let mut client = server.client();
    client.call("SET to-be-dumped hello");
    client.call("DUMP to-be-dumped").payload().to_vec()
}

fn assert_alike(cases: &[Case], protocol: u8, expected_from: SocketAddr, found_from: SocketAddr) {
    let (expected, found) =
        (replies(cases, protocol, expected_from), replies(cases, protocol, found_from));
    let mut broken = Vec::new();
    let requests =
        cases.iter().flat_map(|case| case.requests.iter().map(|request| (&case.name, request)));
    for ((case, request), (expected, found)) in requests.zip(expected.iter().zip(&found)) {
        if !alike(expected, found, request.compare) {
            let line = &request.line[..request.line.len().min(100)];
            broken.push(format!(
                "RESP{protocol} {case}: {line}\n  expected {expected}\n  found    {found}"
            ));
        }
    }
    let shown = broken.len().min(40);
    assert!(broken.is_empty(), "{} replies differ\n{}", broken.len(), broken[..shown].join("\n"));
}

fn replies(cases: &[Case], protocol: u8, address: SocketAddr) -> Vec<Reply> {
    let mut client = Client::connect(address);
    if protocol == 3 {
        client.call("HELLO 3");
    }
    let requests: Vec<&[u8]> = cases
        .iter()
        .flat_map(|case| case.requests.iter().map(|request| request.bytes.as_slice()))
        .collect();
    client.exchange(&requests.concat(), requests.len())
}

fn alike(expected: &Reply, found: &Reply, compare: Compare) -> bool {
    if expected == found {
        return true;
    }
    let (mut expected_items, mut found_items) = (expected.items(), found.items());
    let same_frame = expected.kind() == found.kind() && expected_items.len() == found_items.len();
    // An error or a missing value has no order, number or content that may vary.
    if !same_frame || expected.is_error() || expected.is_nil() || found.is_nil() {
        return false;
    }
    let is_leaf = expected_items.is_empty();
    let numbers = || (expected.kind() == b':').then(|| (expected.integer(), found.integer()));
    match compare {
        Compare::Exact => false,
        Compare::Near => numbers().is_some_and(|(expected, found)| {
            expected >= 0 && found >= 0 && expected.abs_diff(found) <= PATIENCE.as_secs()
        }),
        Compare::AnyOrder => {
            expected_items.sort();
            found_items.sort();
            !is_leaf && expected_items == found_items
        }
        Compare::AnyNumbers if is_leaf => {
            expected.kind() == b':' && expected.integer() >= 0 && found.integer() >= 0
        }
        Compare::AnyValues if is_leaf => true,
        Compare::AnyNumbers | Compare::AnyValues => expected_items
            .iter()
            .zip(&found_items)
            .all(|(expected, found)| alike(expected, found, compare)),
    }
}
