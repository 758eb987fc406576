//! Settings from text: what loads, what beats what, and the reference file.

mod mistakes;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{CrossSlot, Flag, LogFormat, Present, Secret, Settings, Sources, millis, seconds};

/// Sources to load; a file among them is called `FILE` in the mistakes.
#[derive(Default)]
struct Case<'a> {
    file: Option<&'a str>,
    variables: &'a [(&'a str, &'a str)],
    flags: &'a [(&'static str, &'static str, &'a str)],
    needs_nodes: bool,
}

impl Case<'_> {
    fn load(&self) -> Result<Settings, Vec<String>> {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("slotway.toml");
        if let Some(text) = self.file {
            std::fs::write(&path, text).unwrap();
        }
        let flag = |(name, path, text): &(&'static str, &'static str, &str)| Flag {
            name,
            path,
            text: (*text).to_owned(),
        };
        let sources = Sources {
            file: self.file.map(|_| path.clone()),
            variables: self.variables.iter().map(|(n, v)| (n.into(), v.into())).collect(),
            flags: self.flags.iter().map(flag).collect(),
            needs_nodes: self.needs_nodes,
        };
        sources.load().map_err(|mistakes| {
            let shown = mistakes.to_string().replace(path.to_str().unwrap(), "FILE");
            shown.lines().map(str::to_owned).collect()
        })
    }
}

fn from_file(text: &str) -> Result<Settings, Vec<String>> {
    Case { file: Some(text), ..Case::default() }.load()
}

fn refused(text: &str, mistakes: &[&str]) {
    assert_eq!(from_file(text).unwrap_err(), mistakes, "of file:\n{text}");
}

#[test]
fn every_kind_of_value_is_read() {
    let settings = from_file(
        r#"
        listen.address = "[::1]:7379"
        listen.present = "cluster"
        listen.backlog = 0x200
        admin.ready_share = 0.5
        cluster.nodes = ["10.0.0.1:7000", "[::1]:7001", "redis-0.redis:6379"]
        cluster.username = "gate"
        cluster.password = "s3cret"
        cluster.address_map = { "10.0.0.1:7000" = "localhost:17000" }
        backend.hold_time = "1s 500ms"
        backend.hold_bytes = "3KiB"
        backend.retry_idempotent = true
        routing.cross_slot = "gather"
        limits.inflight_bytes = 1_048_576
        log = { level = "info,slotway::backend=debug", format = "json" }
        "#,
    )
    .unwrap();
    let mut expected = Settings::default();
    expected.listen.address = "[::1]:7379".parse().unwrap();
    expected.listen.present = Present::Cluster;
    expected.listen.backlog = 512;
    expected.admin.ready_share = 0.5;
    expected.cluster.nodes =
        ["10.0.0.1:7000", "[::1]:7001", "redis-0.redis:6379"].map(str::to_owned).to_vec();
    expected.cluster.username = "gate".to_owned();
    expected.cluster.password = Secret::new("s3cret");
    expected.cluster.address_map =
        [("10.0.0.1:7000".to_owned(), "localhost:17000".to_owned())].into();
    expected.backend.hold_time = millis(1500);
    expected.backend.hold_bytes = 3 << 10;
    expected.backend.retry_idempotent = true;
    expected.routing.cross_slot = CrossSlot::Gather;
    expected.limits.inflight_bytes = 1 << 20;
    expected.log.level = "info,slotway::backend=debug".to_owned();
    expected.log.format = LogFormat::Json;
    assert_eq!(settings, expected);
}

#[test]
fn variables_are_read_as_text() {
    let variables = [
        ("SLOTWAY_LISTEN__ADDRESS", "127.0.0.1:7379"),
        ("SLOTWAY_LISTEN__BACKLOG", "7"),
        ("SLOTWAY_ADMIN__READY_SHARE", "0.25"),
        ("SLOTWAY_CLUSTER__NODES", "a:1, b:2,"),
        ("SLOTWAY_CLUSTER__ADDRESS_MAP", "a:1=b:2,[::1]:3=c:4"),
        ("SLOTWAY_CLUSTER__PASSWORD", "pass,word=1"),
        ("SLOTWAY_BACKEND__HOLD_BYTES", "2MiB"),
        ("SLOTWAY_BACKEND__REQUEST_TIMEOUT", "1m"),
        ("SLOTWAY_BACKEND__RETRY_IDEMPOTENT", "true"),
        ("SLOTWAY_LIMITS__REQUEST_ARGUMENTS", "4096"),
        ("PATH", "/bin"),
        // What a container platform adds for a service called `slotway`.
        ("SLOTWAY_SERVICE_HOST", "10.0.0.9"),
        ("SLOTWAY_PORT_6379_TCP_ADDR", "10.0.0.9"),
    ];
    let settings = Case { variables: &variables, ..Case::default() }.load().unwrap();
    let mut expected = Settings::default();
    expected.listen.address = "127.0.0.1:7379".parse().unwrap();
    expected.listen.backlog = 7;
    expected.admin.ready_share = 0.25;
    expected.cluster.nodes = vec!["a:1".to_owned(), "b:2".to_owned()];
    expected.cluster.address_map =
        [("a:1", "b:2"), ("[::1]:3", "c:4")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    expected.cluster.password = Secret::new("pass,word=1");
    expected.backend.hold_bytes = 2 << 20;
    expected.backend.request_timeout = seconds(60);
    expected.backend.retry_idempotent = true;
    expected.limits.request_arguments = 4096;
    assert_eq!(settings, expected);
}

#[test]
fn a_flag_beats_the_environment_beats_the_file() {
    let file = Some("[runtime]\nworkers = 1\n[listen]\nbacklog = 1\n[limits]\nmax_clients = 1\n");
    let variables: &[_] = &[("SLOTWAY_RUNTIME__WORKERS", "2"), ("SLOTWAY_LISTEN__BACKLOG", "2")];
    let flags: &[_] = &[("--workers", "runtime.workers", "3")];
    let settings = Case { file, variables, flags, needs_nodes: false }.load().unwrap();
    let read = (settings.runtime.workers, settings.listen.backlog, settings.limits.max_clients);
    assert_eq!(read, (3, 2, 1));
    assert_eq!(settings.admin, Settings::default().admin);
}

#[test]
fn password_files_are_read() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    for (bytes, password) in
        [("p w", "p w"), ("pw\n", "pw"), ("pw\r\n", "pw"), ("pw\n\n", "pw\n"), (" pw ", " pw ")]
    {
        let path = write("password", bytes.as_bytes());
        let settings = from_file(&format!("auth.password_file = {path:?}")).unwrap();
        assert_eq!(settings.auth.password.expose(), password);
        assert_eq!(settings.auth.password_file, path);
    }
    let path = write("cluster", b"node\n");
    let settings = from_file(&format!("cluster.password_file = {path:?}")).unwrap();
    assert_eq!(settings.cluster.password.expose(), "node");

    let empty = write("empty", b"\n");
    let binary = write("binary", b"\xff");
    let missing = folder.path().join("missing").to_str().unwrap().to_owned();
    for (path, reason) in [
        (&empty, "names a file that holds no password"),
        (&binary, "names a file that cannot be read: stream did not contain valid UTF-8"),
        (&missing, "names a file that cannot be read: No such file or directory (os error 2)"),
    ] {
        let text = format!("auth.password_file = {path:?}\nlisten.address = \"0.0.0.0:1\"");
        refused(&text, &[&format!("FILE:1:22: `auth.password_file` {reason}")]);
    }
    refused(
        &format!("auth.password = \"x\"\nauth.password_file = {path:?}"),
        &["FILE:2:22: `auth.password` and `auth.password_file` are both set; keep one of them"],
    );
}

#[test]
fn differences_name_what_changed() {
    let (before, mut after) = (Settings::default(), Settings::default());
    assert_eq!(before.differences(&after), Vec::<String>::new());
    after.listen.tcp_keepalive = seconds(90);
    after.cluster.nodes = vec!["a:1".to_owned()];
    after.auth.password = Secret::new("hunter2");
    after.limits.output_hard = 1000;
    let mut later = after.clone();
    later.auth.password = Secret::new("hunter3");
    later.routing.cross_slot = CrossSlot::Off;
    assert_eq!(
        before.differences(&after),
        [
            "listen.tcp_keepalive: \"5m\" → \"1m 30s\"",
            "cluster.nodes: [] → [\"a:1\"]",
            "auth.password: \"\" → ***",
            "limits.output_hard: \"256MiB\" → 1000",
        ]
    );
    assert_eq!(
        after.differences(&later),
        ["routing.cross_slot: \"store\" → \"off\"", "auth.password: *** → ***"]
    );
}

#[test]
fn the_defaults_are_within_their_bounds_and_fit_together() {
    let text: String = Settings::KEYS
        .iter()
        .map(|key| format!("{} = {}\n", key.path, (key.show)(&Settings::default())))
        .collect();
    assert_eq!(from_file(&text).unwrap(), Settings::default());
}

/// The reference file is written from the rows; `BLESS=1 cargo test reference_file` writes it.
#[test]
fn the_reference_file_lists_every_setting() {
    let path = config_folder().join("slotway.toml");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, reference()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, reference(), "run BLESS=1 cargo test reference_file");
    let sources = Sources { file: Some(path), ..Sources::default() };
    assert_eq!(sources.load().unwrap(), Settings::default());
}

#[test]
fn a_reload_takes_over_what_it_can_and_says_what_waits() {
    let before = from_file("auth.password = \"one\"").unwrap();
    let wanted = from_file(
        "auth.password = \"two\"\nlisten.address = \"127.0.0.1:1\"\nlimits.max_clients = 5",
    );
    let reload = before.reload(&wanted.unwrap());
    let changed = ["auth.password: *** → ***", "limits.max_clients: 10000 → 5"];
    assert_eq!(reload.changed, changed);
    let waiting = ["listen.address: \"127.0.0.1:6379\" → \"127.0.0.1:1\""];
    assert_eq!(reload.waiting, waiting);
    assert_eq!(reload.settings.listen.address, before.listen.address);
    assert_eq!(reload.settings.limits.max_clients, 5);
    assert!(reload.check().is_ok());
}

/// The file alone is sound: nobody needs a password on loopback. But the gateway still listens elsewhere.
#[test]
fn a_reload_does_not_open_what_waits_for_a_restart() {
    let before = from_file("listen.address = \"0.0.0.0:6379\"\nauth.password = \"one\"").unwrap();
    let wrong = before.reload(&Settings::default()).check().unwrap_err().to_string();
    assert!(wrong.starts_with("`listen.address` is open to other machines"), "{wrong}");
}

#[test]
fn every_settings_file_loads() {
    let files = std::fs::read_dir(config_folder()).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    assert!(!files.is_empty());
    for file in files {
        let loaded = Sources { file: Some(file.clone()), ..Sources::default() }.load();
        assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
    }
}

fn config_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn reference() -> String {
    let mut text = "\
# Every setting of slotway with its default. A gateway started without a file runs with these.
#
# Each can also be set by an environment variable, named after table and key:
# SLOTWAY_LISTEN__ADDRESS is `address` of `[listen]`. There, elements of a list are separated by
# commas, and a table is written `from=to,from=to`. A flag of the command line beats the
# environment, the environment beats the file. `slotway check --config FILE` reports every mistake.
#
# Durations are text with units, such as \"500ms\", \"10s\" or \"1m 30s\". Sizes are bytes, or text with
# a unit, such as \"64KiB\", \"64MiB\" or \"1GiB\".
#
# SIGHUP loads this file again, with the files that it names. What is wrong then changes nothing. Where it is
# said that a change needs a restart, SIGUSR2 makes one without losing a request.
"
    .to_owned();
    for (table, docs) in Settings::TABLES {
        text += "\n\n";
        docs.iter().for_each(|line| text += &format!("#{line}\n"));
        text += &format!("[{table}]\n");
        for key in Settings::KEYS.iter().filter(|key| key.table() == *table) {
            text += "\n";
            key.docs.iter().for_each(|line| text += &format!("#{line}\n"));
            let expects = (key.expects)();
            if expects != "text" {
                let (first, rest) = expects.split_at(1);
                text += &format!("# {}{rest}.\n", first.to_uppercase());
            }
            if key.needs_restart {
                text += "# A change needs a restart.\n";
            }
            text += &format!("{} = {}\n", key.name(), (key.show)(&Settings::default()));
        }
    }
    text
}
