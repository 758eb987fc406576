//! Settings that are refused: in which words, and at which place.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Case, from_file, refused};
use crate::config::{Flag, Secret, Settings, Sources};

#[test]
fn unknown_keys_are_refused() {
    for (text, mistake) in [
        (
            "[listen]\nadress = \"127.0.0.1:1\"",
            "FILE:2:1: unknown key `listen.adress`; did you mean `address`?",
        ),
        (
            "[listen]\n  ready_share = 1.0",
            "FILE:2:3: unknown key `listen.ready_share`; did you mean `admin.ready_share`?",
        ),
        (
            "[admin]\nfrobnicate = 1",
            "FILE:2:1: unknown key `admin.frobnicate`; `[admin]` has `address`, `password`, `ready_share`",
        ),
        ("[lisen]\nbacklog = 1", "FILE:1:2: unknown table `lisen`; did you mean `listen`?"),
        ("[frobnicate]\nbacklog = 1", "FILE:1:2: unknown table `frobnicate`"),
        (
            "password = \"x\"",
            "FILE:1:1: unknown key `password`; did you mean `admin.password`, `cluster.password` or `auth.password`?",
        ),
        ("frobnicate = 1", "FILE:1:1: unknown key `frobnicate`"),
        ("listen = 6379", "FILE:1:1: `listen` is a table, written `[listen]`"),
        ("[[listen]]\nbacklog = 1", "FILE:1:3: `listen` is a table, written `[listen]`"),
        (
            "[backend]\nhold_time.max = \"1s\"",
            "FILE:2:1: `backend.hold_time` must be a duration from \"0s\" to \"1h\", found a table",
        ),
    ] {
        refused(text, &[mistake]);
    }
}

#[test]
fn values_that_do_not_fit_are_refused() {
    let duration = "must be a duration from";
    let size = "must be a size in bytes from";
    let address = "must be an IP address and a port such as \"127.0.0.1:6379\",";
    let node = "must be a list of `host:port` such as \"10.0.0.1:7000\" or \"[::1]:7000\",";
    let level = "must be levels (error, warn, info, debug, trace, off) such as \"info\" or \
                 \"info,slotway::backend=debug\",";
    for (setting, value, mistake) in [
        ("listen.address", "\"6379\"", format!("{address} found \"6379\"")),
        ("listen.address", "6379", format!("{address} found 6379")),
        (
            "listen.present",
            "\"alone\"",
            "must be \"standalone\" or \"cluster\", found \"alone\"".to_owned(),
        ),
        (
            "listen.backlog",
            "\"many\"",
            "must be a whole number from 1 to 65535, found \"many\"".to_owned(),
        ),
        (
            "listen.backlog",
            "\"9\"",
            "must be a whole number from 1 to 65535, found \"9\"".to_owned(),
        ),
        ("listen.backlog", "0", "must be a whole number from 1 to 65535, found 0".to_owned()),
        ("listen.backlog", "-1", "must be a whole number from 1 to 65535, found -1".to_owned()),
        ("listen.backlog", "1.5", "must be a whole number from 1 to 65535, found 1.5".to_owned()),
        (
            "backend.max_redirects",
            "300",
            "must be a whole number from 0 to 100, found 300".to_owned(),
        ),
        ("admin.ready_share", "1.5", "must be a number from 0 to 1, found 1.5".to_owned()),
        ("admin.ready_share", "nan", "must be a number from 0 to 1, found nan".to_owned()),
        ("admin.ready_share", "-0.1", "must be a number from 0 to 1, found -0.1".to_owned()),
        ("backend.hold_time", "15", format!("{duration} \"0s\" to \"1h\", found 15")),
        ("backend.hold_time", "\"15\"", format!("{duration} \"0s\" to \"1h\", found \"15\"")),
        ("backend.hold_time", "\"2h\"", format!("{duration} \"0s\" to \"1h\", found \"2h\"")),
        ("backend.hold_bytes", "\"64MB\"", format!("{size} 0 to \"1TiB\", found \"64MB\"")),
        ("backend.hold_bytes", "\"64\"", format!("{size} 0 to \"1TiB\", found \"64\"")),
        (
            "limits.inline_bytes",
            "\"99999999999TiB\"",
            format!("{size} \"1KiB\" to \"1TiB\", found \"99999999999TiB\""),
        ),
        ("backend.retry_idempotent", "1", "must be true or false, found 1".to_owned()),
        ("auth.password_file", "[1]", "must be text, found a list".to_owned()),
        ("log.level", "\"verbose\"", format!("{level} found \"verbose\"")),
        ("log.level", "\"info,backend\"", format!("{level} found \"info,backend\"")),
        ("log.level", "1979-05-27", format!("{level} found a date")),
        ("cluster.nodes", "\"a:1\"", format!("{node} found \"a:1\"")),
    ] {
        let text = format!("{setting} = {value}");
        let column = setting.len() + 4;
        refused(&text, &[&format!("FILE:1:{column}: `{setting}` {mistake}")]);
    }
}

proptest::proptest! {
    /// Settings or mistakes with lines that exist, never a panic.
    #[test]
    fn any_text_is_read_or_refused(pieces in proptest::collection::vec(piece(), 0..12)) {
        let text = pieces.concat();
        for mistake in from_file(&text).err().into_iter().flatten() {
            let line: usize = mistake.split(':').nth(1).unwrap().parse().unwrap_or(0);
            let lines = text.matches('\n').count() + 1;
            assert!(mistake.starts_with("FILE:") && line <= lines, "{mistake} of:\n{text}");
        }
    }
}

fn piece() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::{Just, Strategy, any, prop_oneof};
    prop_oneof![
        proptest::sample::select(vec![
            "[listen]",
            "[auth]\n",
            "[[cluster]]",
            "\n",
            "\n",
            " = ",
            "address",
            "password",
            "nodes",
            "\"0.0.0.0:1\"",
            "\"",
            "'",
            "\"\"\"",
            "{",
            "}",
            "[",
            "]",
            ",",
            ".",
            "#",
            "5",
            "é",
            "\r\n",
            "\0",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
        Just("backend.hold_time = \"1s\"\n".to_owned()),
    ]
}

#[test]
fn nodes_are_host_and_port() {
    for good in
        ["a:1", "10.0.0.1:65535", "[2001:db8::1]:7000", "redis_0.x-y.svc:6379", "bücher.example:1"]
    {
        assert!(from_file(&format!("cluster.nodes = [{good:?}]")).is_ok(), "{good}");
    }
    for bad in [
        "",
        "a",
        "a:",
        ":1",
        "a:0",
        "a:65536",
        "a:+1",
        "::1:7000",
        "[::g]:1",
        "redis://a:1",
        "a b:1",
        "a:1/0",
    ] {
        let mistakes = from_file(&format!("cluster.nodes = [{bad:?}]")).unwrap_err();
        let end = format!(", found {bad:?}");
        assert!(mistakes[0].starts_with("FILE:1:18: `cluster.nodes` must be"), "{mistakes:?}");
        assert!(mistakes[0].ends_with(&end), "{mistakes:?}");
    }
}

#[test]
fn every_mistake_is_reported_in_order_with_its_place() {
    let file = "# comment\n[cluster]\nnodes = [\n  \"a:1\",\n  \"b\", 5,\n]\n\
                address_map = { \"x\" = \"y:1\", \"é:1\" = 2 }\n[listen]\nadress = 1\nbacklog = 0\n";
    let variables: &[_] = &[
        ("SLOTWAY_RUNTIME__WORKERS", "two"),
        ("SLOTWAY_LISTEN__ADRESS", "x"),
        ("SLOTWAY_LISTEN_ADDRESS", "x"),
        ("SLOTWAY_CLUSTER__NODES", "a:1,b,c"),
    ];
    let flags: &[_] =
        &[("--listen", "listen.address", "here"), ("--node", "cluster.nodes", "a,b:1")];
    let mistakes = Case { file: Some(file), variables, flags, needs_nodes: true }.load();
    let host_port = "`host:port` such as \"10.0.0.1:7000\" or \"[::1]:7000\"";
    let nodes = format!("`cluster.nodes` must be a list of {host_port}, found");
    let map =
        format!("`cluster.address_map` must be a table from {host_port} to {host_port}, found");
    let address = "`listen.address` must be an IP address and a port such as \"127.0.0.1:6379\"";
    assert_eq!(
        mistakes.unwrap_err(),
        [
            format!("FILE:5:3: {nodes} \"b\""),
            format!("FILE:5:8: {nodes} 5"),
            format!("FILE:7:17: {map} \"x\""),
            format!("FILE:7:38: {map} 2"),
            "FILE:9:1: unknown key `listen.adress`; did you mean `address`?".to_owned(),
            "FILE:10:11: `listen.backlog` must be a whole number from 1 to 65535, found 0"
                .to_owned(),
            format!("SLOTWAY_CLUSTER__NODES: {nodes} \"b\""),
            format!("SLOTWAY_CLUSTER__NODES: {nodes} \"c\""),
            "SLOTWAY_LISTEN_ADDRESS: unknown setting; did you mean `SLOTWAY_LISTEN__ADDRESS`?"
                .to_owned(),
            "SLOTWAY_LISTEN__ADRESS: unknown setting; did you mean `SLOTWAY_LISTEN__ADDRESS`?"
                .to_owned(),
            "SLOTWAY_RUNTIME__WORKERS: `runtime.workers` must be a whole number from 0 to 1024, \
             found \"two\""
                .to_owned(),
            format!("--listen: {address}, found \"here\""),
            format!("--node: {nodes} \"a\""),
        ]
    );
}

#[test]
fn what_is_not_toml_is_reported_beside_other_mistakes() {
    refused(
        "[auth]\npassword = hunter2\n[listen]\nadress = 1\n[runtime]\nworkers = 08\nworkers = 1\n",
        &[
            "FILE:2:12: not TOML: string values must be quoted, expected literal string",
            "FILE:4:1: unknown key `listen.adress`; did you mean `address`?",
            "FILE:6:11: not TOML: unexpected leading zero, expected nothing",
            "FILE:7:1: not TOML: duplicate key",
        ],
    );
    refused(
        "[listen\nbacklog = 0\n[limits]\nmax_clients = 0\n",
        &["FILE:1:8: not TOML: unclosed table, expected `]`"],
    );
    // Nothing is said about a password that may stand in what could not be read.
    refused(
        "[listen]\naddress = \"0.0.0.0:6379\"\n[auth]\npassword: \"x\"\n",
        &[
            "FILE:4:9: not TOML: invalid unquoted key, expected letters, numbers, `-`, `_`",
            "FILE:4:11: not TOML: key with no value, expected `=`",
        ],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake() {
    let sources = Sources {
        file: Some(PathBuf::from("no/such/slotway.toml")),
        flags: vec![Flag { name: "--workers", path: "runtime.workers", text: "x".to_owned() }],
        ..Sources::default()
    };
    assert_eq!(
        sources.load().unwrap_err().to_string(),
        "no/such/slotway.toml: cannot be read: No such file or directory (os error 2)\n\
         --workers: `runtime.workers` must be a whole number from 0 to 1024, found \"x\""
    );
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_a_mistake() {
    use std::os::unix::ffi::OsStringExt;
    let variable = ("SLOTWAY_AUTH__PASSWORD".into(), OsString::from_vec(vec![b'x', 0xff]));
    let sources = Sources { variables: vec![variable], ..Sources::default() };
    assert_eq!(
        sources.load().unwrap_err().to_string(),
        "SLOTWAY_AUTH__PASSWORD: is not UTF-8 text"
    );
}

#[test]
fn settings_must_fit_together() {
    let open = "is open to other machines without a password: set `auth.password`, \
                `auth.password_file` or `auth.users_file`, or allow it with `auth.allow_open = true`";
    for (text, mistake) in [
        (
            "backend.request_timeout = \"5s\"",
            "FILE:1:27: `backend.hold_time` must not exceed `backend.request_timeout`, which is \
             \"5s\"",
        ),
        (
            "backend.hold_time = \"25s\"",
            "FILE:1:21: `backend.hold_time` must not exceed `backend.request_timeout`, which is \
             \"20s\"",
        ),
        (
            "backend.reconnect_min = \"2s\"",
            "FILE:1:25: `backend.reconnect_min` must not exceed `backend.reconnect_max`, which \
             is \"250ms\"",
        ),
        (
            "cluster.refresh_interval = \"100ms\"\ncluster.refresh_min_interval = \"200ms\"",
            "FILE:2:32: `cluster.refresh_min_interval` must not exceed \
             `cluster.refresh_interval`, which is \"100ms\"",
        ),
        (
            "limits.request_bytes = \"256MiB\"",
            "FILE:1:24: `limits.bulk_bytes` must not exceed `limits.request_bytes`, which is \
             \"256MiB\"",
        ),
        (
            "limits.inline_bytes = \"2GiB\"",
            "FILE:1:23: `limits.inline_bytes` must not exceed `limits.request_bytes`, which is \
             \"1GiB\"",
        ),
        (
            "listen.address = \"127.0.0.1:9121\"",
            "FILE:1:18: `admin.address` takes the port of `listen.address`, 127.0.0.1:9121",
        ),
        (
            "admin.address = \"0.0.0.0:6379\"",
            "FILE:1:17: `admin.address` takes the port of `listen.address`, 127.0.0.1:6379",
        ),
        ("listen.address = \"0.0.0.0:6379\"", &format!("FILE:1:18: `listen.address` {open}")),
        ("listen.address = \"[::]:6379\"", &format!("FILE:1:18: `listen.address` {open}")),
        (
            "listen.peers = [\"a:1\", \"b:2\"]",
            "FILE:1:16: `listen.announce` must be one of `listen.peers`, as the others know this gateway",
        ),
        (
            "routing.stage_prefix = \"a{\"",
            "FILE:1:24: `routing.stage_prefix` must be visible characters without braces",
        ),
    ] {
        refused(text, &[mistake]);
    }
}

#[test]
fn what_fits_together_is_accepted() {
    for good in [
        "listen.address = \"0.0.0.0:6379\"\nauth.password = \"x\"",
        "listen.address = \"0.0.0.0:6379\"\nauth.allow_open = true",
        "listen.address = \"127.9.9.9:6379\"",
        "listen.address = \"[::ffff:127.0.0.1]:6379\"",
        "listen.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"",
        "listen.address = \"127.0.0.1:1\"\nadmin.address = \"127.0.0.2:1\"",
        "listen.peers = [\"a:1\", \"b:2\"]\nlisten.announce = \"b:2\"",
        "listen.announce = \"gate.example:6379\"",
    ] {
        assert!(from_file(good).is_ok(), "{good}");
    }
}

#[test]
fn what_could_not_be_read_is_not_judged() {
    let mistakes = from_file("listen.address = \"0.0.0.0:1\"\nauth.password = 5").unwrap_err();
    assert_eq!(
        mistakes,
        ["FILE:2:17: `auth.password` must be text, found a value of type integer"]
    );
}

#[test]
fn a_flag_is_the_place_of_what_it_breaks() {
    let flags: &[_] = &[("--listen", "listen.address", "0.0.0.0:6379")];
    let mistakes = Case { flags, needs_nodes: true, ..Case::default() }.load().unwrap_err();
    assert_eq!(
        mistakes,
        [
            "--listen: `listen.address` is open to other machines without a password: set \
             `auth.password`, `auth.password_file` or `auth.users_file`, or allow it with \
             `auth.allow_open = true`",
            "no cluster is named: set `cluster.nodes` or give `serve` a `--node HOST:PORT`",
        ]
    );
}

#[test]
fn no_message_shows_a_password() {
    for text in [
        "auth.password = [\"hunter2\"]",
        "auth.password = hunter2",
        "auth.password = \"hunter2",
        "auth.password = 'hunter2'hunter2'",
        "auth.password_file = \"hunter2\"",
        "auth.password = \"hunter2\"\nauth.password = \"hunter2\"",
        "auth.password = \"hunter2\"\nauth.password_file = \"hunter2\"",
        "auth.password = \"hunter2\"\nbackend.hold_time = \"1h\"",
        "cluster.nodes = [\"redis://user:hunter2@10.0.0.1:7000\"]",
        "cluster.nodes = \"user:hunter2@10.0.0.1:7000\"",
    ] {
        let mistakes = from_file(text).unwrap_err().join("\n");
        assert!(!mistakes.contains("hunter2"), "{text}: {mistakes}");
    }
    let variables: &[_] =
        &[("SLOTWAY_AUTH__PASWORD", "hunter2"), ("SLOTWAY_CLUSTER__NODES", "hunter2@a")];
    let mistakes = Case { variables, ..Case::default() }.load().unwrap_err().join("\n");
    assert!(!mistakes.contains("hunter2"), "{mistakes}");

    let mut settings = Settings::default();
    settings.auth.password = Secret::new("hunter2");
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn long_values_are_cut() {
    let mistakes = from_file(&format!("log.level = \"{}\"", "ü".repeat(500))).unwrap_err();
    assert!(mistakes[0].ends_with(&format!("found \"{}\"...", "ü".repeat(60))), "{mistakes:?}");
}
