//! Every command line that README shows is run, here or by a test that is named here.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::harness::{Cluster, Gateway, Process, free_port, local, new_folder};

const README: &str = include_str!("../../README.md");
const PASSWORD: &str = "a-long-password";

/// What runs a line.
enum By {
    /// This test: it ends, with this exit status.
    Ending(i32),
    /// This test: it serves until it is told to stop.
    Serving,
    /// This test: what follows it in README is typed in, and answered as README shows.
    Typing,
    /// Another test, or whoever runs all of them: a file, and what stands in it.
    Other(&'static str, &'static str),
}

/// Every line in a block of shell commands. A new one is added here, with what runs it.
const LINES: &[(&str, By)] = &[
    (
        "sudo apt-get install -y redis-server redis-tools; sudo systemctl disable --now redis-server; cargo run --release -- up",
        By::Other("tests/launch.rs", "fn ctrl_c_ends_the_nodes_and_removes_a_temporary_folder"),
    ),
    ("redis-cli -p 6379", By::Typing),
    ("cargo test", By::Other(".ci/run", "\ncargo test\n")),
    (
        "slotway serve --node 10.0.0.1:6379 --node 10.0.0.2:6379 --listen 127.0.0.1:6379",
        By::Serving,
    ),
    ("slotway serve --config slotway.toml", By::Serving),
    ("slotway check --config slotway.toml --connect", By::Ending(0)),
    ("slotway manual /usr/local/share/man/man1", By::Ending(0)),
    ("slotway completions bash > /usr/share/bash-completion/completions/slotway", By::Ending(0)),
    // The test cluster has no limit to its memory.
    ("slotway doctor --node 10.0.0.1:6379", By::Ending(1)),
    ("slotway doctor --config slotway.toml --json", By::Ending(1)),
    (
        "slotway drill --node 10.0.0.1:6379 --shard 1",
        By::Other(
            "tests/e2e/drill.rs",
            "fn a_replica_takes_over_and_clients_of_the_gateway_see_only_a_pause",
        ),
    ),
    (
        "slotway drill --config slotway.toml --gateway 127.0.0.1:6379 --yes --json",
        By::Other(
            "tests/e2e/drill.rs",
            "fn a_replica_takes_over_and_clients_of_the_gateway_see_only_a_pause",
        ),
    ),
    (
        "slotway backup --node 10.0.0.1:6379 --to /var/backups/redis --keep 7",
        By::Other("tests/e2e/backup.rs", "fn old_backups_go_and_nothing_else_does"),
    ),
    (
        "slotway backup --config slotway.toml --to s3://bucket/redis --keep-days 30",
        By::Other("tests/e2e/backup.rs", "fn object_storage_takes_large_files_in_pieces"),
    ),
    (
        "slotway backup --to /var/backups/redis --verify",
        By::Other("tests/e2e/backup.rs", "fn every_key_comes_back"),
    ),
    (
        "slotway backup --to /var/backups/redis --list",
        By::Other("tests/e2e/backup.rs", "fn what_is_damaged_or_incomplete_is_found"),
    ),
    (
        "slotway restore --from /var/backups/redis --dir restored --base-port 7000",
        By::Other("tests/e2e/backup.rs", "fn every_key_comes_back"),
    ),
    (
        "slotway up --dir restored --base-port 7000",
        By::Other("tests/e2e/backup.rs", "fn every_key_comes_back"),
    ),
    (
        "deploy/compose/passwords.sh",
        By::Other("tests/deploy/test_scripts.py", "def test_passwords_are_made_once"),
    ),
    (
        "docker compose -f deploy/compose/compose.yaml up -d --build",
        By::Other("tests/deploy/test_compose.py", "def test_compose_accepts_the_files"),
    ),
    (
        "redis-cli -p 6379 -a \"$(cat deploy/compose/secrets/slotway_password)\" SET user:1000:name \"John Doe\"",
        By::Ending(0),
    ),
    (
        "cargo bench --bench side_by_side",
        By::Other("benches/README.md", "cargo bench --bench side_by_side"),
    ),
];

/// The lines in blocks of shell commands, each with the lines that show what happens.
fn lines() -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut inside = false;
    let mut shown = false;
    for line in README.lines() {
        match line {
            "```sh" => (inside, shown) = (true, false),
            "```" => inside = false,
            _ if !inside => {}
            _ if shown || line.starts_with("127.0.0.1:6379> ") => {
                shown = true;
                found.last_mut().unwrap().1.push(line.to_owned());
            }
            _ => found.push((line.to_owned(), Vec::new())),
        }
    }
    found
}

#[test]
fn every_command_line_is_run() {
    let place = Place::new();
    let mut known: BTreeSet<&str> = LINES.iter().map(|(line, _)| *line).collect();
    assert_eq!(known.len(), LINES.len(), "a line stands twice");
    for (line, session) in lines() {
        let (_, by) = LINES.iter().find(|(listed, _)| *listed == line).unwrap_or_else(|| {
            panic!("README shows {line:?}: add it to tests/e2e/readme.rs, with what runs it")
        });
        known.remove(line.as_str());
        match by {
            By::Ending(status) => place.runs(&line, *status),
            By::Serving => place.serves(&line),
            By::Typing => place.answers(&line, &session),
            By::Other(file, text) => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
                let found = std::fs::read_to_string(&path).unwrap();
                assert!(found.contains(text), "{file} does not run {line:?}");
            }
        }
    }
    assert!(known.is_empty(), "README does not show these any more: {known:?}");
}

/// Where README is followed: the addresses, ports and folders that it names are those of the test.
struct Place {
    gateway: Gateway,
    folder: PathBuf,
}

impl Place {
    fn new() -> Self {
        let cluster = Cluster::shared();
        let gateway = Gateway::before(cluster).setting("auth.password", PASSWORD).start();
        let folder = new_folder("readme");
        let secrets = folder.join("deploy/compose/secrets");
        std::fs::create_dir_all(&secrets).unwrap();
        std::fs::write(secrets.join("slotway_password"), PASSWORD).unwrap();
        symlink(env!("CARGO_BIN_EXE_slotway"), folder.join("slotway")).unwrap();
        let settings = format!(
            "listen.address = \"{}\"\nadmin.address = \"{}\"\ncluster.nodes = [\"{}\"]\n",
            local(free_port()),
            local(free_port()),
            cluster.addresses()[0]
        );
        std::fs::write(folder.join("slotway.toml"), settings).unwrap();
        Self { gateway, folder }
    }

    /// The line as it is typed here.
    fn here(&self, line: &str) -> String {
        let nodes = Cluster::shared().addresses();
        let folder = self.folder.to_str().unwrap();
        std::fs::create_dir_all(self.folder.join("usr/share/bash-completion/completions")).unwrap();
        line.replace("10.0.0.1:6379", &nodes[0].to_string())
            .replace("10.0.0.2:6379", &nodes[1].to_string())
            .replace("127.0.0.1:6379", &local(free_port()).to_string())
            .replace("-p 6379", &format!("-p {}", self.gateway.address().port()))
            .replace(" /usr/", &format!(" {folder}/usr/"))
    }

    fn shell(&self, line: &str) -> Command {
        let mut shell = Command::new("sh");
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", self.folder.display());
        shell.args(["-c", line]).env("PATH", path).current_dir(&self.folder);
        shell
    }

    fn runs(&self, line: &str, status: i32) {
        let output = self.shell(&self.here(line)).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{line:?}: {output:?}");
    }

    fn serves(&self, line: &str) {
        let admin = local(free_port());
        let errors = self.folder.join("errors");
        let line =
            format!("cd {}; exec ./{} --admin {admin}", self.folder.display(), self.here(line));
        let arguments: [OsString; 2] = ["-c".into(), line.as_str().into()];
        let (mut process, output) = Process::start("sh", &arguments, &errors);
        let mut first = String::new();
        BufReader::new(output).read_line(&mut first).unwrap();
        let said = std::fs::read_to_string(&errors).unwrap();
        assert!(first.starts_with("slotway ready on 127.0.0.1:"), "{line:?}: {first:?}: {said}");
        process.signal(Signal::TERM);
        assert!(process.wait_for_end("the end of the gateway").success(), "{line:?}");
    }

    /// Types what stands behind the prompt, and compares what comes.
    fn answers(&self, line: &str, session: &[String]) {
        let prompt = "127.0.0.1:6379> ";
        let typed: String = session
            .iter()
            .filter_map(|line| Some(format!("{}\n", line.strip_prefix(prompt)?)))
            .collect();
        let expected: String = session
            .iter()
            .filter(|line| !line.starts_with(prompt))
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(!typed.is_empty() && !expected.is_empty(), "{session:?}");
        let mut cli = self
            .shell(&format!("{} --no-raw", self.here(line)))
            .env("REDISCLI_AUTH", PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        cli.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let output = cli.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{line:?}");
    }
}
