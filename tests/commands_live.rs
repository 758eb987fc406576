//! The table of commands against a real server: what `COMMAND` says, where keys stand, how errors read.
//!
//! The expectations are those of redis-server 7.0, which the rows marked `7.0` describe. A newer server
//! must know all of them too; what later versions changed is compared with 7.0 alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use slotway::command::keys::{Begin, KeyPart};
use slotway::command::{CommandSpec, Commands, Need, Role, learn};
use slotway::resp::{Limits, Parsed, Request, RequestParser, Value, write};

/// A server of its own for one test. Dropping it ends the process.
struct Server {
    process: Child,
    /// Kept open, or the server could not write its log.
    _log: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    fn start() -> Self {
        // Somebody else may take the port before the server does: then it ends, and another is tried.
        (0..5).find_map(|_| Self::try_start()).expect("the server starts")
    }

    fn try_start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut process = Command::new(server_program())
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "no", "--daemonize", "no", "--logfile", ""])
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server is on the PATH");
        let mut log = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("Ready to accept connections") {
            line.clear();
            if log.read_line(&mut line).unwrap_or(0) == 0 {
                let _ = process.wait();
                return None;
            }
        }
        Some(Self { process, _log: log, port })
    }

    fn connect(&self) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        Connection { stream: BufReader::new(stream) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server under test, as in the end-to-end tests.
fn server_program() -> String {
    std::env::var("SLOTWAY_TEST_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// The whole reply, byte for byte.
    fn call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write::command(&mut bytes, arguments);
        self.stream.get_mut().write_all(&bytes).unwrap();
        let mut reply = Vec::new();
        self.read_reply(&mut reply);
        reply
    }

    fn read_reply(&mut self, reply: &mut Vec<u8>) {
        let start = reply.len();
        assert_ne!(self.stream.read_until(b'\n', reply).unwrap(), 0, "the server hung up");
        let count =
            || -> i64 { std::str::from_utf8(&reply[start + 1..]).unwrap().trim().parse().unwrap() };
        match reply[start] {
            b'$' => {
                let count = count();
                if count >= 0 {
                    let body = reply.len();
                    reply.resize(body + count as usize + 2, 0);
                    self.stream.read_exact(&mut reply[body..]).unwrap();
                }
            }
            b'*' => (0..count()).for_each(|_| self.read_reply(reply)),
            _ => {}
        }
    }

    /// The error line without `-` and CRLF, if it is one.
    fn error_of<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Option<Vec<u8>> {
        let reply = self.call(arguments);
        Some(reply.strip_prefix(b"-")?.strip_suffix(b"\r\n").unwrap().to_vec())
    }

    fn is_7_0(&mut self) -> bool {
        String::from_utf8(self.call(&["INFO", "server"])).unwrap().contains("redis_version:7.0.")
    }
}

fn with_request<A: AsRef<[u8]>, T>(arguments: &[A], look: impl FnOnce(&Request<'_>) -> T) -> T {
    let limits = Limits {
        arguments: 1 << 10,
        bulk_bytes: 1 << 20,
        line_bytes: 1 << 16,
        request_bytes: 1 << 20,
    };
    let mut frame = Vec::new();
    write::command(&mut frame, arguments);
    let mut parser = RequestParser::new();
    assert_eq!(parser.parse(&frame, &limits, true), Ok(Parsed::Request(frame.len())));
    look(&parser.request(&frame))
}

fn rows_of_7_0(commands: &Commands) -> impl Iterator<Item = &CommandSpec> {
    commands.iter().filter(|row| row.since == "7.0")
}

#[test]
fn rows_say_what_the_server_says() {
    let server = Server::start();
    let mut connection = server.connect();
    let reply = connection.call(&["COMMAND"]);
    let learned = learn(&Value::parse(&reply).unwrap());
    let commands = Commands::baseline();
    let mut faults = Vec::new();
    for row in rows_of_7_0(&commands) {
        if !learned.iter().any(|spec| spec.name == row.name) {
            faults.push(format!("{}: the server has none", row.name));
        }
    }
    if connection.is_7_0() {
        for spec in &learned {
            match commands.iter().find(|row| row.name == spec.name) {
                Some(row) => faults.extend(differences(row, spec)),
                None => faults.push(format!("{}: no row", spec.name)),
            }
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

fn differences(row: &CommandSpec, server: &CommandSpec) -> Vec<String> {
    let mut faults = Vec::new();
    let mut compare = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            faults.push(format!("{}: {what}: {ours}, the server {theirs}", row.name));
        }
    };
    compare("since", row.since.to_owned(), "7.0".to_owned());
    compare("arity", row.arity.to_string(), server.arity.to_string());
    compare("categories", format!("{:?}", row.categories), format!("{:?}", server.categories));
    // Scripts carry no flag of their own; the row says what their keys need.
    if !row.name.starts_with("EVAL") && !row.name.starts_with("FCALL") {
        compare("access", format!("{:?}", row.access), format!("{:?}", server.access));
    }
    // The keys that SORT and MIGRATE take from options are unknown to the specifications.
    // What SET does to its key depends on GET: the calls with keys compare it.
    let told = server.keys.parts().iter().all(|part| part.begin != Begin::Unknown);
    if told && row.name != "SET" {
        compare("keys", parts_of(row), parts_of(server));
    }
    faults
}

fn parts_of(spec: &CommandSpec) -> String {
    // The specifications name the first of several `STORE`, the server writes to the last: the row has both.
    let is_told = |part: &&KeyPart| !matches!(part.begin, Begin::LaterStore(_));
    let parts = spec.keys.parts().iter().filter(is_told).map(|part| {
        let channel = part.role == Role::Channel;
        format!("{:?} {:?} {:?} {channel}", part.begin, part.find, spec.keys.need_of(part))
    });
    parts.collect::<Vec<_>>().join("; ")
}

#[test]
fn learning_what_the_table_knows_changes_nothing() {
    let server = Server::start();
    let mut connection = server.connect();
    if !connection.is_7_0() {
        return;
    }
    let reply = connection.call(&["COMMAND"]);
    let baseline = Commands::baseline();
    let learned = baseline.with_learned(learn(&Value::parse(&reply).unwrap()));
    let text =
        |commands: &Commands| commands.iter().map(|row| format!("{row:?}")).collect::<Vec<_>>();
    assert_eq!(text(&baseline), text(&learned));
}

/// Calls whose keys depend on options, beside those that [`plain_calls`] makes of every row.
const OPTION_CALLS: &[&str] = &[
    "SORT k",
    "SORT k STORE d",
    "SORT k BY store STORE d",
    "SORT k BY w_* GET store GET # LIMIT 0 store STORE d1 store d2 ALPHA",
    "SORT k STORE",
    "SORT k LIMIT STORE d",
    "SORT_RO k BY w_* GET p_*",
    "GEORADIUS k 1 2 3 m",
    "GEORADIUS k 1 2 3 m STORE d",
    "GEORADIUS k 1 2 3 m COUNT 3 storedist d",
    "GEORADIUS k 1 2 3 m STORE d STOREDIST e",
    "GEORADIUS k 1 2 3 m STOREDIST e STORE d",
    "GEORADIUS k 1 2 3 m STORE",
    "GEORADIUSBYMEMBER k STORE 3 m STORE d",
    "GEORADIUSBYMEMBER k x 3 m",
    "GEORADIUSBYMEMBER k x 3 m ASC STOREDIST d",
    "XREAD STREAMS a 1",
    "XREAD COUNT 2 BLOCK 0 STREAMS a b c 1 2 3",
    "XREAD streams a b 1",
    "XREAD COUNT 2 STREAMS",
    "XREAD STREAMS STREAMS 0 x",
    "XREADGROUP GROUP g c STREAMS a >",
    "XREADGROUP GROUP STREAMS c COUNT 1 NOACK STREAMS a b > 0",
    "XREADGROUP GROUP g STREAMS STREAMS a b 1 2",
    "MIGRATE h 1 k 0 5",
    "MIGRATE h 1 k 0 5 COPY REPLACE",
    "MIGRATE h 1 '' 0 5 COPY AUTH keys KEYS a b c",
    "MIGRATE h 1 '' 0 5 AUTH2 keys keys KEYS a",
    "SET k v",
    "SET k v EX 5 GET",
    "SET k v get",
    "SET k v NX",
    "BITFIELD k",
    "BITFIELD k GET u8 0",
    "BITFIELD k GET u8 0 OVERFLOW SAT",
    "BITFIELD k GET u8 0 OVERFLOW WRAP SET u8 0 1",
    "BITFIELD k GET u8 0 INCRBY u8 0 1",
    "EVAL s 0",
    "EVAL s 0 a b",
    "EVAL s 2 a b c",
    "EVAL s 4 a b c",
    "EVAL s -1 a",
    "EVAL s x a",
    "FCALL f 1 a b",
    "FCALL_RO f 3 a b c",
    "ZUNION 2 a b WEIGHTS 1 2",
    "ZUNION 0 a",
    "ZUNION 9 a",
    "ZINTERSTORE d 2 a b AGGREGATE MAX",
    "ZDIFFSTORE d 1 a",
    "LMPOP 2 a b LEFT COUNT 3",
    "BLMPOP 0 2 a b LEFT",
    "BZMPOP 1.5 1 a MIN",
    "SINTERCARD 3 a b c LIMIT 2",
    "LCS a b IDX MINMATCHLEN 2",
    "MSET a 1 b 2 c 3",
    "MSET a 1 b",
    "MSETNX a 1 b 2",
    "BITOP NOT d a",
    "BITOP AND d a b c",
    "PFMERGE d a b",
    "OBJECT ENCODING k",
    "MEMORY USAGE k SAMPLES 5",
    "XGROUP CREATE k g $ MKSTREAM",
    "COPY a b REPLACE",
];

#[test]
fn keys_stand_where_the_server_finds_them() {
    let server = Server::start();
    let mut connection = server.connect();
    let commands = Commands::baseline();
    let mut calls: Vec<Vec<String>> = OPTION_CALLS.iter().map(|call| split(call)).collect();
    let keyed = rows_of_7_0(&commands)
        .filter(|row| row.keys.parts().iter().any(|part| part.role != Role::Channel));
    let mut covered = 0;
    for row in keyed {
        covered += 1;
        calls.extend(plain_calls(row));
    }
    assert!(covered > 180, "only {covered} rows with keys");
    // `PFMERGE destination` without sources is allowed, but the server finds no key in it and a
    // cluster node would run it on whichever node gets it. Here it goes to the destination's.
    calls.retain(|call| !(call[0] == "PFMERGE" && call.len() == 2));
    let faults: Vec<String> = calls
        .iter()
        .filter_map(|call| {
            let (ours, theirs) = (keys_here(&commands, call), keys_there(&mut connection, call));
            (ours != theirs).then(|| format!("{call:?}: {ours:?}, the server {theirs:?}"))
        })
        .collect();
    assert!(faults.is_empty(), "{} of {}\n{}", faults.len(), calls.len(), faults.join("\n"));
    assert!(calls.len() > 600, "only {} calls", calls.len());
}

fn split(call: &str) -> Vec<String> {
    call.split(' ').map(|word| if word == "''" { String::new() } else { word.to_owned() }).collect()
}

/// The row's name and unlike arguments, from as few as it takes to four more; where it counts keys,
/// with each count from 1 to 3.
fn plain_calls(row: &CommandSpec) -> Vec<Vec<String>> {
    let least = usize::from(row.arity.unsigned_abs());
    let most = if row.arity < 0 { least + 4 } else { least };
    let count_at = row.keys.count_at();
    let mut calls = Vec::new();
    for length in least..=most {
        let mut call = split(&row.name);
        call.extend((call.len()..length).map(|at| format!("a{at}")));
        let Some(at) = count_at else {
            calls.push(call);
            continue;
        };
        for count in 1..=3 {
            call[at] = count.to_string();
            calls.push(call.clone());
        }
    }
    calls
}

/// Each key and whether the command reads and writes it; nothing where it is an error.
type Keys = Vec<(String, bool, bool)>;

fn keys_here(commands: &Commands, call: &[String]) -> Keys {
    with_request(call, |request| {
        let row = commands.resolve(request).unwrap();
        let mut keys = Vec::new();
        let known = row.keys(request, |key| {
            let text = String::from_utf8(request.arg(key.at).unwrap().to_vec()).unwrap();
            keys.push((text, key.need.contains(Need::READ), key.need.contains(Need::WRITE)));
        });
        if known.is_err() {
            return Vec::new();
        }
        let mut positions = Vec::new();
        row.keys.positions(request, &mut positions).unwrap();
        assert!(positions.is_sorted());
        assert_eq!(positions.len(), keys.len(), "{call:?}");
        assert_eq!(row.keys.first(request), positions.first().map(|&at| at as usize), "{call:?}");
        keys.sort();
        keys
    })
}

fn keys_there(connection: &mut Connection, call: &[String]) -> Keys {
    let mut question = split("COMMAND GETKEYSANDFLAGS");
    question.extend_from_slice(call);
    let reply = connection.call(&question);
    let Value::Array(found) = Value::parse(&reply).unwrap() else { return Vec::new() };
    let mut keys: Keys = found
        .iter()
        .map(|pair| {
            let [key, flags] = pair.as_array().unwrap() else { panic!("{pair:?}") };
            let flags: Vec<&str> =
                flags.as_array().unwrap().iter().map(|flag| flag.as_str().unwrap()).collect();
            let has_any = |words: &[&str]| words.iter().any(|word| flags.contains(word));
            let writes = has_any(&["insert", "update", "delete"]);
            (key.as_str().unwrap().to_owned(), has_any(&["access"]), writes)
        })
        .collect();
    keys.sort();
    keys
}

#[test]
fn wrong_calls_get_the_servers_own_words() {
    let server = Server::start();
    let mut connection = server.connect();
    let commands = Commands::baseline();
    let same_arity = connection.is_7_0();
    let mut calls = unknown_calls();
    for row in rows_of_7_0(&commands).filter(|_| same_arity) {
        calls.extend(wrong_arities(row));
    }
    let mut faults = Vec::new();
    for call in &calls {
        let ours = with_request(call, |request| commands.resolve(request).err());
        let ours = ours.map(|error| error.line());
        let theirs = connection.error_of(call);
        if ours.is_none() || ours != theirs {
            let text = |line: Option<Vec<u8>>| line.map(|line| line.escape_ascii().to_string());
            faults.push(format!("{:?}, the server {:?}", text(ours), text(theirs)));
        }
    }
    assert!(faults.is_empty(), "{} of {}\n{}", faults.len(), calls.len(), faults.join("\n"));
    assert!(calls.len() > 50, "only {} calls", calls.len());
}

fn wrong_arities(row: &CommandSpec) -> Vec<Vec<Vec<u8>>> {
    let least = usize::from(row.arity.unsigned_abs());
    let name = split(&row.name.to_lowercase());
    let lengths = if row.arity > 0 { vec![least - 1, least + 1] } else { vec![least - 1] };
    let possible = lengths.into_iter().filter(|&length| length >= name.len());
    possible
        .map(|length| {
            let mut call: Vec<Vec<u8>> =
                name.iter().map(|word| word.clone().into_bytes()).collect();
            call.resize(length, b"x".to_vec());
            call
        })
        .collect()
}

fn unknown_calls() -> Vec<Vec<Vec<u8>>> {
    let long = "n".repeat(300);
    let texts: Vec<Vec<&[u8]>> = vec![
        vec![b"foo"],
        vec![b"FOO", b"a b", b"c"],
        vec![b""],
        vec![b"", b""],
        vec![b"GE"],
        vec![b"GETT", b"k"],
        vec![b"get ", b"k"],
        vec![b"client|id"],
        vec![b"\x47\x45\x54\x00", b"k"],
        vec![b"foo\r\nbar", b"x\ny", b"\r"],
        vec![b"foo\0bar", b"x\0y", b"z"],
        vec![b"\xff\xfe", b"\x80"],
        vec![long.as_bytes(), long.as_bytes(), b"z"],
        vec![b"foo", &long.as_bytes()[..127], b"y", b"z"],
        vec![b"foo", &long.as_bytes()[..124], b"y", b"z"],
        vec![b"foo", &long.as_bytes()[..125], b"y", b"z"],
        vec![b"foo", &long.as_bytes()[..126], b"y", b"z"],
        vec![b"foo", &long.as_bytes()[..60], &long.as_bytes()[..60], &long.as_bytes()[..60]],
        vec![b"sentinel", b"masters"],
        vec![b"client", b"maint_notifications", b"ON"],
        vec![b"client", b"foo"],
        vec![b"Config", b"Foo", b"x"],
        vec![b"CLIENT", b""],
        vec![b"client", long.as_bytes()],
        vec![b"client", b"a\r\nb\0c"],
        vec![b"cluster", b"foo"],
        vec![b"xinfo", b"stream "],
        vec![b"command", b"nothing"],
        vec![b"acl"],
        vec![b"object"],
        vec![b"sElEcT"],
    ];
    let mut calls: Vec<Vec<Vec<u8>>> =
        texts.iter().map(|call| call.iter().map(|word| word.to_vec()).collect()).collect();
    // A subcommand's name is two words, never one.
    calls.extend(
        Commands::baseline()
            .iter()
            .filter(|row| row.name.contains(' '))
            .map(|row| vec![row.name.as_bytes().to_vec(), b"x".to_vec()]),
    );
    let many = |count: usize| (0..count).map(|at| format!("argument{at}").into_bytes());
    calls.extend((1..20).map(|count| [b"nope".to_vec()].into_iter().chain(many(count)).collect()));
    calls
}
