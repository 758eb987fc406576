//! Rules to decisions, and rules to text; `tests/e2e/acl.rs` compares both with a real server.

use super::Denied::{Channel, Command, Key, Patterns, Script};
use super::{DEFAULT, Denied, Fault, FileError, RuleError, RulesError, User, Users, Wording};
use crate::command::{Access, CommandSpec, Commands};
use crate::config::{Auth, Secret};
use crate::resp::{Limits, Parsed, Request, RequestParser, write};

/// The users of whom one, called `u`, has these rules.
fn users(rules: &str) -> Result<Users, RulesError> {
    let rules = rules.split(' ').map(str::as_bytes);
    Users::new(&Auth::default()).with(b"u", rules, &Commands::baseline())
}

fn user(rules: &str) -> User {
    let users = users(rules).unwrap_or_else(|error| panic!("{rules}: {error:?}"));
    User::clone(users.get(b"u").unwrap())
}

fn with_request<T>(call: &str, look: impl FnOnce(&Request<'_>) -> T) -> T {
    let mut frame = Vec::new();
    write::command(&mut frame, &call.split(' ').collect::<Vec<_>>());
    let mut parser = RequestParser::new();
    let parsed = parser.parse(&frame, &Limits::default(), true);
    assert_eq!(parsed, Ok(Parsed::Request(frame.len())));
    look(&parser.request(&frame))
}

fn check(user: &User, call: &str) -> Result<(), Denied> {
    let commands = Commands::baseline();
    with_request(call, |request| user.check(commands.resolve(request).unwrap(), request))
}

fn text(user: &User, wording: Wording) -> String {
    String::from_utf8(user.line(wording, &Commands::baseline())).unwrap()
}

/// A call and what becomes of it.
type Decision = (&'static str, Result<(), Denied>);

/// Rules, and what they say to calls.
const DECISIONS: &[(&str, &[Decision])] = &[
    (
        "on",
        &[("GET k", Err(Command)), ("PING", Err(Command)), ("AUTH x", Ok(())), ("RESET", Ok(()))],
    ),
    ("+@all ~* &*", &[("GET k", Ok(())), ("PUBLISH c m", Ok(())), ("EVAL s 0", Ok(()))]),
    ("+get", &[("GET k", Err(Key(1))), ("SET k v", Err(Command))]),
    (
        "+@all -get ~*",
        &[("GET k", Err(Command)), ("MGET k", Ok(())), ("PUBLISH c m", Err(Channel(1)))],
    ),
    (
        "+@all ~app:*",
        &[
            ("GET app:1", Ok(())),
            ("GET other", Err(Key(1))),
            ("MGET app:1 app:2 b app:3", Err(Key(3))),
            ("COPY app:1 other", Err(Key(2))),
            ("GEORADIUS app:1 1 1 1 m STORE app:2", Ok(())),
            ("GEORADIUS app:1 1 1 1 m STORE app:2 STORE other", Err(Key(9))),
            ("GEORADIUS app:1 1 1 1 m STOREDIST other STORE app:2", Err(Key(7))),
            ("GEORADIUSBYMEMBER app:1 x 1 m STORE app:2 STOREDIST app:3 STORE other", Err(Key(10))),
            ("EVAL s 1 other", Err(Key(3))),
            ("EVAL s 1 app:1", Err(Script)),
            ("EVAL s 5 app:1", Err(Script)),
            ("SCAN 0", Ok(())),
            ("XREAD STREAMS app:1 b 0 0", Err(Key(3))),
            ("SORT app:1 BY w_*", Err(Patterns("BY"))),
            ("SORT app:1 GET x_* BY w_*", Err(Patterns("GET"))),
            ("SORT app:1 BY nosort", Ok(())),
        ],
    ),
    (
        "+@all %R~r:* %W~w:*",
        &[
            ("GET r:1", Ok(())),
            ("SET r:1 v", Err(Key(1))),
            ("SET w:1 v", Ok(())),
            ("SET w:1 v GET", Err(Key(1))),
            ("GET w:1", Err(Key(1))),
            ("EXISTS r:1 w:1", Ok(())),
            ("EXISTS other", Err(Key(1))),
            ("COPY r:1 w:1", Ok(())),
            ("COPY w:1 r:1", Err(Key(1))),
            ("BITFIELD r:1 GET u8 0", Ok(())),
            ("BITFIELD r:1 SET u8 0 1", Err(Key(1))),
        ],
    ),
    (
        "+@all %R~* &*",
        &[
            ("SORT_RO l BY w_* GET #", Ok(())),
            ("SORT l BY w_*", Ok(())),
            ("SORT l STORE d", Err(Key(3))),
        ],
    ),
    ("+@all %R~a %W~a", &[("SET a v GET", Ok(()))]),
    (
        "+@pubsub ~* &news:* &all",
        &[
            ("SUBSCRIBE news:1 all", Ok(())),
            ("SUBSCRIBE news:1 other", Err(Channel(2))),
            ("SSUBSCRIBE other", Err(Channel(1))),
            ("PSUBSCRIBE news:*", Ok(())),
            ("PSUBSCRIBE news:1*", Err(Channel(1))),
            ("PUBLISH news:1 other", Ok(())),
            ("SPUBLISH other m", Err(Channel(1))),
            ("UNSUBSCRIBE other", Ok(())),
            ("PUBSUB CHANNELS other", Ok(())),
            ("PUBSUB NUMSUB other", Ok(())),
        ],
    ),
    (
        "+config|get +select|0 +client -client|kill",
        &[
            ("CONFIG GET x", Ok(())),
            ("CONFIG SET x y", Err(Command)),
            ("SELECT 0", Ok(())),
            ("SELECT 1", Err(Command)),
            ("CLIENT ID", Ok(())),
            ("CLIENT KILL x", Err(Command)),
        ],
    ),
    (
        "+@all -@dangerous -@admin ~*",
        &[
            ("KEYS *", Err(Command)),
            ("FLUSHALL", Err(Command)),
            ("FLUSHDB", Err(Command)),
            ("CONFIG GET x", Err(Command)),
            ("ACL SETUSER x", Err(Command)),
            ("ACL WHOAMI", Ok(())),
            ("INFO", Err(Command)),
            ("GET k", Ok(())),
        ],
    ),
    (
        "+get ~a (+set ~b) (%R~c +@read &*)",
        &[
            ("GET a", Ok(())),
            ("SET a v", Err(Key(1))),
            ("SET b v", Ok(())),
            ("GET b", Err(Key(1))),
            ("STRLEN c", Ok(())),
            ("DEL c", Err(Command)),
            ("MGET a c", Err(Key(1))),
            ("MGET c a", Err(Key(2))),
        ],
    ),
    ("+ts.nrange ~*", &[("TS.NRANGE a b", Ok(()))]),
    ("+ts.nrange ~a", &[("TS.NRANGE a b", Err(Key(0)))]),
];

#[test]
fn what_rules_allow() {
    for (rules, calls) in DECISIONS {
        let user = user(rules);
        for (call, expected) in *calls {
            assert_eq!(check(&user, call), *expected, "{rules}: {call}");
        }
    }
}

#[test]
fn what_is_wrong_with_rules() {
    use RuleError::{AllChannels, AllKeys, FirstArgument, Hash, NoPassword, Syntax, Unknown};
    let table = [
        ("bogus", Syntax),
        ("+", Unknown),
        ("-", Unknown),
        ("+nosuch", Unknown),
        ("-get|x", Unknown),
        ("+get|", Syntax),
        ("+config|nosuch", Unknown),
        ("+config|set|x", FirstArgument),
        ("+client|maint_notifications", Unknown),
        ("+@nosuch", Unknown),
        ("-@", Unknown),
        ("%~x", Syntax),
        ("%X~x", Syntax),
        ("%RR~x", Syntax),
        ("%", Syntax),
        ("#abc", Hash),
        ("!abc", Hash),
        ("<never", NoPassword),
        ("(bogus)", Syntax),
        ("(on)", Syntax),
        ("((~a))", Syntax),
        (")", Syntax),
        ("\0on", Syntax),
        ("~a\tb", Syntax),
        ("+get|a\nb", Syntax),
        ("&a\0b", Syntax),
    ];
    for (rule, expected) in table {
        let error = users(&format!("on {rule}")).unwrap_err();
        assert_eq!(error, RulesError::Rule(rule.as_bytes().to_vec(), expected), "{rule:?}");
    }
    let after = |rules: &str| users(rules).unwrap_err();
    assert_eq!(after("allkeys ~a"), RulesError::Rule(b"~a".to_vec(), AllKeys));
    assert_eq!(after("allkeys %zz"), RulesError::Rule(b"%zz".to_vec(), AllKeys));
    assert_eq!(after("&* &a"), RulesError::Rule(b"&a".to_vec(), AllChannels));
    assert_eq!(after("on (~a +get"), RulesError::OpenSelector(b"(~a".to_vec()));
    let none = std::iter::empty;
    let named = Users::new(&Auth::default()).with(b"a b", none(), &Commands::baseline());
    assert_eq!(named.unwrap_err(), RulesError::Name);
}

#[test]
fn how_rules_are_shown() {
    let hash = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
    let hashed = format!("user u on #{hash} resetchannels -@all");
    let table = [
        ("", "user u off resetchannels -@all", ""),
        ("on nopass allkeys allchannels +@all", "user u on nopass ~* &* +@all", ""),
        ("on >password >password", hashed.as_str(), ""),
        ("reset", "user u off sanitize-payload resetchannels -@all", ""),
        ("skip-sanitize-payload", "user u off skip-sanitize-payload resetchannels -@all", ""),
        ("~a %R~b %w~b %rw~c %W~d &x ~a", "user u off ~a ~b ~c %W~d resetchannels &x -@all", ""),
        ("~a ~* resetkeys", "user u off resetchannels -@all", ""),
        ("+@all -@dangerous", "user u off resetchannels +@all -@dangerous", ""),
        ("+GET +select|0 +Select|0", "user u off resetchannels -@all +get +select|0", ""),
        (
            "+set|KEY",
            "user u off resetchannels -@all +set|KEY",
            "user u off resetchannels -@all +set|key",
        ),
        ("+get -get", "user u off resetchannels -@all", "user u off resetchannels -@all -get"),
        (
            "+client|id +client|list -client +config",
            "user u off resetchannels -@all +config",
            "user u off resetchannels -@all -client +config",
        ),
        ("+@all -@all +@string", "user u off resetchannels -@all +@string", ""),
        ("+json.get +hexpire", "user u off resetchannels -@all +json.get +hexpire", ""),
        (
            "+get (~x +set) (&y nocommands)",
            "user u off resetchannels -@all +get (~x resetchannels -@all +set) (resetchannels &y -@all)",
            "",
        ),
    ];
    for (rules, old, new) in table {
        let user = user(rules);
        assert_eq!(text(&user, Wording::Old), old, "{rules}");
        let new = if new.is_empty() { old } else { new };
        let shown = text(&user, Wording::New).replace(" sanitize-payload", "");
        assert_eq!(shown, new.replace(" sanitize-payload", ""), "{rules}");
    }
}

/// What is written is read as the same rules, in either wording.
#[test]
fn what_is_shown_means_the_same() {
    let lists = [
        "(\"~a)\" \"~b\\\"'c\\\\d\" +get) ~x) ~'y",
        "+@read -@dangerous +config|get +select|0 ~a %R~b",
        "+@all -@admin -@write +set -config +config|get &c",
        "-@all +@string +@hash -@slow +json.get",
        "+@all -@slow +client (+@fast ~x) (-@all +@list %W~y &z)",
    ];
    let commands = Commands::baseline();
    for rules in lists {
        let first = users(&format!("on >pw {rules}")).unwrap();
        let again = Users::read(&first.file(&commands), &Auth::default(), &commands).unwrap();
        let (first, again) = (first.get(b"u").unwrap(), again.get(b"u").unwrap());
        assert_eq!(text(first, Wording::New), text(again, Wording::New), "{rules}");
        for spec in commands.iter() {
            let frame = format!("{} a b c d", spec.name);
            let mut parser = RequestParser::new();
            let mut bytes = Vec::new();
            write::command(&mut bytes, &frame.split(' ').collect::<Vec<_>>());
            parser.parse(&bytes, &Limits::default(), true).unwrap();
            let request = parser.request(&bytes);
            let decisions = [first, again].map(|user| user.check(spec, &request));
            assert_eq!(decisions[0], decisions[1], "{rules}: {}", spec.name);
        }
    }
}

#[test]
fn who_is_admitted() {
    let admits = |rules: &str, password: &str| {
        users(rules).unwrap().admit(b"u", password.as_bytes()).is_some()
    };
    for (rules, password, expected) in [
        ("on >a >b", "a", true),
        ("on >a >b", "b", true),
        ("on >a >b <a", "a", false),
        ("on >a", "c", false),
        ("on >a", "", false),
        ("on >a resetpass", "a", false),
        ("off >a", "a", false),
        ("on nopass", "anything", true),
        ("on nopass >a", "anything", false),
        ("on >a nopass", "c", true),
        ("off nopass", "x", false),
        ("on", "", false),
    ] {
        assert_eq!(admits(rules, password), expected, "{rules}: {password:?}");
    }
    assert!(users("on nopass").unwrap().admit(b"nobody", b"x").is_none());
}

#[test]
fn the_default_user_is_as_the_settings_say() {
    let open = Users::new(&Auth::default());
    assert!(open.are_open() && open.default_user().is_unrestricted());
    let auth = Auth { password: Secret::new("secret"), ..Auth::default() };
    let closed = Users::new(&auth);
    assert!(!closed.are_open());
    assert!(closed.admit(DEFAULT, b"secret").is_some() && closed.admit(DEFAULT, b"x").is_none());
    let with_file = Users::read(b"user app on >pw ~* +@all", &auth, &Commands::baseline()).unwrap();
    assert!(
        with_file.admit(DEFAULT, b"secret").is_some() && with_file.admit(b"app", b"pw").is_some()
    );
}

#[test]
fn scripts_are_for_the_unrestricted_and_the_trusted() {
    let auth = Auth { trust_scripts: true, ..Auth::default() };
    let rules = ["+@all", "~app:*"].map(str::as_bytes);
    let users = Users::new(&auth).with(b"u", rules.into_iter(), &Commands::baseline()).unwrap();
    assert_eq!(check(users.get(b"u").unwrap(), "EVAL s 1 app:1"), Ok(()));
    assert_eq!(check(&user("+@all ~* (~* &* +@all)"), "FCALL f 0"), Ok(()));
    assert_eq!(check(&user("+@all ~* &* -flushall"), "FCALL_RO f 0"), Err(Script));
    assert_eq!(check(&user("+@all ~* -flushall"), "SCRIPT LOAD s"), Ok(()), "it does not run");
}

#[test]
fn a_user_lives_until_it_is_deleted() {
    let commands = Commands::baseline();
    let before = users("on").unwrap();
    let old = before.get(b"u").unwrap();
    let changed = before.with(b"u", [&b"+get"[..]].into_iter(), &commands).unwrap();
    assert!(changed.again(old).is_some());
    let (deleted, count) = changed.without([&b"u"[..], b"nobody", DEFAULT].into_iter());
    assert_eq!((deleted.again(old).is_none(), count), (true, 1));
    let created = deleted.with(b"u", std::iter::empty(), &commands).unwrap();
    assert!(created.again(old).is_none(), "another user of the same name");

    let file = Users::read(b"user v on\nuser u off", &Auth::default(), &commands).unwrap();
    let loaded = file.clone().succeeding(&before);
    assert!(loaded.again(old).is_some() && loaded.again(&before.default_user()).is_some());
    let serials: Vec<u64> = loaded.iter().map(|user| user.serial()).collect();
    assert!(serials[0] != serials[1] && serials[1] != serials[2] && serials[0] != serials[2]);
    assert!(file.succeeding(&created).again(old).is_none());
}

#[test]
fn a_users_file_is_read_as_a_whole() {
    let text = "# people\n\nuser alice on >pw ~a:* +@all\r\n  user bob  on\tnopass \nuser carol off (~x +get) \
                (~y\n";
    let errors = Users::read(text.as_bytes(), &Auth::default(), &Commands::baseline()).unwrap_err();
    let shown: Vec<String> =
        errors.iter().map(|FileError { line, fault }| format!("{line}: {fault}")).collect();
    assert_eq!(shown, ["4: Syntax error", "5: Unmatched parenthesis in selector definition"]);

    let table: [(&str, &[Fault]); 9] = [
        ("user alice on >pw ~* +@all\nuser bob", &[]),
        ("usr alice on", &[Fault::Keyword]),
        ("user", &[Fault::Keyword]),
        ("user a\tb on", &[Fault::Name("a\tb".to_owned())]),
        ("user a on\nuser a off", &[Fault::Twice("a".to_owned())]),
        (
            "user a +nosuch -@nosuch",
            &[Fault::Unknown("+nosuch".to_owned()), Fault::Unknown("-@nosuch".to_owned())],
        ),
        ("user a #secret bogus", &[Fault::Rule(RuleError::Hash)]),
        ("user a ~* ~b +get", &[Fault::Rule(RuleError::AllKeys)]),
        ("user a \t+get\t", &[]),
    ];
    for (text, expected) in table {
        let read = Users::read(text.as_bytes(), &Auth::default(), &Commands::baseline());
        let found = read.err().unwrap_or_default();
        let found: Vec<Fault> = found.into_iter().map(|error| error.fault).collect();
        assert_eq!(found, expected, "{text}");
    }
    let auth = Auth { password: Secret::new("secret"), ..Auth::default() };
    let twice = Users::read(b"user default on >pw", &auth, &Commands::baseline()).unwrap_err();
    assert_eq!(twice, [FileError { line: 1, fault: Fault::TwoPasswords }]);
}

#[test]
fn denials_read_as_the_servers_write_them() {
    let commands = Commands::baseline();
    let spec = commands.find("client|list").unwrap();
    let line =
        |denied: Denied, wording| String::from_utf8(denied.line(b"u", spec, wording)).unwrap();
    let table = [
        (
            Command,
            "NOPERM this user has no permissions to run the 'client|list' command",
            "NOPERM User u has no permissions to run the 'client|list' command",
        ),
        (
            Key(1),
            "NOPERM this user has no permissions to access one of the keys used as arguments",
            "NOPERM No permissions to access a key",
        ),
        (
            Channel(1),
            "NOPERM this user has no permissions to access one of the channels used as arguments",
            "NOPERM No permissions to access a channel",
        ),
    ];
    for (denied, old, new) in table {
        assert_eq!(
            (line(denied, Wording::Old), line(denied, Wording::New)),
            (old.to_owned(), new.to_owned())
        );
    }
}

/// The shipped users, and what each may do.
#[test]
fn the_shipped_users_file() {
    let text = include_bytes!("../../config/users.acl");
    let commands = Commands::baseline();
    let users = Users::read(text, &Auth::default(), &commands).unwrap();
    let names: Vec<_> = users.iter().map(|user| String::from_utf8_lossy(user.name())).collect();
    assert_eq!(names, ["admin", "app", "default", "metrics", "reader"]);
    for user in users.iter() {
        assert!(
            !user.flags(Wording::Old).any(|flag| flag == "on"),
            "a password that everybody knows"
        );
    }
    let refused = [
        "KEYS *",
        "FLUSHALL",
        "FLUSHDB",
        "CONFIG SET a b",
        "ACL SETUSER x",
        "SHUTDOWN",
        "EVAL s 0",
    ];
    for name in ["app", "reader", "metrics", "default"] {
        for call in refused {
            assert_eq!(
                check(users.get(name.as_bytes()).unwrap(), call),
                Err(Command),
                "{name}: {call}"
            );
        }
    }
    let get = |name: &[u8]| users.get(name).unwrap();
    assert!(get(b"admin").is_unrestricted());
    for call in [
        "SET app:1 v",
        "MSET app:1 a app:2 b",
        "SUBSCRIBE app:news",
        "MULTI",
        "INFO",
        "SCAN 0",
        "BLPOP app:q 0",
    ] {
        assert_eq!(check(get(b"app"), call), Ok(()), "{call}");
    }
    assert_eq!(check(get(b"app"), "GET other"), Err(Key(1)));
    assert_eq!(check(get(b"app"), "PUBLISH other m"), Err(Channel(1)));
    for (call, expected) in [
        ("GET app:1", Ok(())),
        ("HGETALL app:1", Ok(())),
        ("HELLO 3", Ok(())),
        ("SET app:1 v", Err(Command)),
        ("GET other", Err(Key(1))),
    ] {
        assert_eq!(check(get(b"reader"), call), expected, "{call}");
    }
    for (call, expected) in [("INFO all", Ok(())), ("DBSIZE", Ok(())), ("GET app:1", Err(Command))]
    {
        assert_eq!(check(get(b"metrics"), call), expected, "{call}");
    }
}

/// As a server does when a module is loaded.
#[test]
fn commands_that_come_later_are_judged_by_the_same_rules() {
    let file = b"user a on ~* +@all -@write\nuser b on ~* +@read +mod.put -mod.get\nuser c on ~* +@all -mod.put\n";
    let before = Users::read(file, &Auth::default(), &Commands::baseline()).unwrap();
    let learned = [("mod.put", Access::Write), ("mod.get", Access::Read)].map(|(name, access)| {
        CommandSpec::learned(
            name,
            2,
            access,
            Commands::baseline().find("get").unwrap().keys.clone(),
        )
    });
    let commands = Commands::baseline().with_learned(learned.to_vec());
    let users = before.reconsidered(&commands);
    let allows = |name: &str, call: &str| {
        with_request(call, |request| {
            let spec = commands.resolve(request).unwrap();
            users.get(name.as_bytes()).unwrap().check(spec, request).is_ok()
        })
    };
    for (name, put, get) in [("a", false, true), ("b", true, false), ("c", false, true)] {
        assert_eq!((allows(name, "mod.put k"), allows(name, "mod.get k")), (put, get), "{name}");
        assert!(users.again(before.get(name.as_bytes()).unwrap()).is_some(), "the same user");
    }
    let written = users.file(&commands);
    assert_eq!(written, before.file(&commands));
    assert!(Users::read(b"user a +other.put|x", &Auth::default(), &commands).is_err());
}
