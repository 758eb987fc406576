//! The command line as scripts see it: flags, exit status, and what stands on which output.

#![expect(clippy::unwrap_used, reason = "a test ends where something unforeseen happens")]

use std::path::Path;
use std::process::Command;

struct Ran {
    status: Option<i32>,
    out: String,
    err: String,
}

fn slotway(arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_slotway"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    Ran {
        status: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn in_file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("gate.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path.to_str().unwrap().to_owned())
}

#[test]
fn help_lists_what_scripts_rely_on() {
    for (arguments, expected) in [
        (
            &["--help"][..],
            &[
                "up",
                "serve",
                "check",
                "probe",
                "doctor",
                "drill",
                "backup",
                "restore",
                "manual",
                "completions",
            ][..],
        ),
        (
            &["up", "--help"],
            &[
                "--masters <N>",
                "[default: 3]",
                "--replicas <N>",
                "[default: 1]",
                "--base-port <PORT>",
                "[default: 7000]",
                "--listen <ADDRESS:PORT>",
                "[default: 127.0.0.1:6379]",
                "--admin <ADDRESS:PORT>",
                "[default: 127.0.0.1:9121]",
                "--dir <DIR>",
                "--ephemeral",
                "--server <PATH>",
                "--workers <N>",
                "--config <FILE>",
            ],
        ),
        (
            &["serve", "--help"],
            &[
                "--config <FILE>",
                "--node <HOST:PORT>",
                "--listen <ADDRESS:PORT>",
                "--admin <ADDRESS:PORT>",
                "--workers <N>",
            ],
        ),
        (&["check", "--help"], &["--config <FILE>", "--connect"]),
        (&["probe", "--help"], &["--admin <ADDRESS:PORT>", "--config <FILE>", "--alive"]),
        (&["upgrade", "--help"], &["--admin <ADDRESS:PORT>", "--config <FILE>"]),
    ] {
        let ran = slotway(arguments, &[]);
        assert_eq!(ran.status, Some(0), "{arguments:?}");
        for text in expected {
            assert!(ran.out.contains(text), "{arguments:?} lacks {text}:\n{}", ran.out);
        }
        assert!(!ran.out.contains("node-exec"), "a hidden command shows:\n{}", ran.out);
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["serve", "--frobnicate"],
        &["serve", "--node"],
        &["check"],
        &["up", "--masters", "many"],
        &["up", "--ephemeral", "--dir", "here"],
        &["node-exec"],
    ] {
        let ran = slotway(arguments, &[]);
        assert_eq!(ran.status, Some(2), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains("--help"), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{arguments:?}");
    }
}

#[test]
fn check_accepts_the_reference_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/slotway.toml");
    let path = path.to_str().unwrap();
    let ran = slotway(&["check", "--config", path], &[]);
    assert_eq!((ran.status, ran.out, ran.err), (Some(0), format!("{path}: ok\n"), String::new()));
}

#[test]
fn check_reports_every_mistake_with_its_place() {
    let (_folder, path) = in_file("[listen]\nadress = \"x\"\nbacklog = 0\n");
    let ran = slotway(&["check", "--config", &path], &[("SLOTWAY_RUNTIME__WORKERS", "x")]);
    let expected = format!(
        "{path}:2:1: unknown key `listen.adress`; did you mean `address`?\n\
         {path}:3:11: `listen.backlog` must be a whole number from 1 to 65535, found 0\n\
         SLOTWAY_RUNTIME__WORKERS: `runtime.workers` must be a whole number from 0 to 1024, \
         found \"x\"\n"
    );
    assert_eq!((ran.status, ran.out, ran.err), (Some(2), String::new(), expected));
}

#[test]
fn check_counts_what_the_environment_supplies() {
    let (_folder, path) = in_file("listen.address = \"0.0.0.0:6379\"\n");
    let ran = slotway(&["check", "--config", &path], &[]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.starts_with(&format!("{path}:1:18: `listen.address` is open")), "{}", ran.err);
    let ran = slotway(&["check", "--config", &path], &[("SLOTWAY_AUTH__PASSWORD", "hunter2")]);
    assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""));
}

#[test]
fn check_needs_a_file_that_can_be_read() {
    let ran = slotway(&["check", "--config", "no/such.toml"], &[]);
    let expected = "no/such.toml: cannot be read: No such file or directory (os error 2)\n";
    assert_eq!((ran.status, ran.err.as_str()), (Some(2), expected));
}

#[test]
fn check_connect_needs_nodes() {
    let (_folder, path) = in_file("");
    let ran = slotway(&["check", "--config", &path, "--connect"], &[]);
    let expected =
        "no cluster is named: set `cluster.nodes` or give `serve` a `--node HOST:PORT`\n";
    assert_eq!((ran.status, ran.err.as_str()), (Some(2), expected));
}

#[test]
fn probe_without_a_gateway_fails() {
    for variables in [&[][..], &[("SLOTWAY_ADMIN__ADDRESS", "127.0.0.1:2")]] {
        let flag = ["probe", "--admin", "127.0.0.1:1"];
        let (arguments, port) = if variables.is_empty() { (&flag[..], 1) } else { (&flag[..1], 2) };
        let ran = slotway(arguments, variables);
        let expected = format!("slotway: no answer from 127.0.0.1:{port} (admin.address): ");
        assert!(ran.err.starts_with(&expected), "{}", ran.err);
        assert_eq!((ran.status, ran.out.as_str()), (Some(1), ""));
    }
}

#[test]
fn wrong_flags_are_reported_together_with_the_rest() {
    let (_folder, path) = in_file("[runtime]\nworkers = -1\n");
    let arguments =
        ["--config", &path, "--listen", "6379", "--admin", "x", "--workers", "two", "--node", "a"];
    let ran = slotway(&[&["serve"], &arguments[..]].concat(), &[]);
    let places: Vec<&str> = ran.err.lines().filter_map(|line| line.split(": ").next()).collect();
    let first = format!("{path}:2:11");
    assert_eq!(places, [first.as_str(), "--admin", "--listen", "--node", "--workers"]);
    assert_eq!(ran.status, Some(2));

    let ran = slotway(&["up", "--listen", "x"], &[]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.starts_with("--listen: `listen.address` must be"), "{}", ran.err);
}

#[test]
fn serve_without_a_cluster_says_how_to_name_one() {
    let ran = slotway(&["serve"], &[]);
    let expected =
        "no cluster is named: set `cluster.nodes` or give `serve` a `--node HOST:PORT`\n";
    assert_eq!((ran.status, ran.err.as_str()), (Some(2), expected));
}

/// The commands that `--help` lists.
fn commands() -> Vec<String> {
    let help = slotway(&["--help"], &[]).out;
    let list = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let lines = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = lines.map(|line| line.split_whitespace().next().unwrap().to_owned());
    names.filter(|name| name != "help").collect()
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let folder = tempfile::TempDir::new().unwrap();
    let pages = folder.path().join("man1");
    let ran = slotway(&["manual", pages.to_str().unwrap()], &[]);
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""));
    let read = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    let first = read("slotway.1");
    assert!(commands().len() >= 7, "{:?}", commands());
    for command in commands() {
        assert!(first.contains(&format!("slotway\\-{command}(1)")), "{command}: {first}");
        let page = read(&format!("slotway-{command}.1"));
        let help = slotway(&[&command, "--help"], &[]).out;
        let flags = help.split_whitespace().filter(|word| word.starts_with("--"));
        for flag in flags.filter(|flag| flag.bytes().all(|b| b == b'-' || b.is_ascii_lowercase())) {
            assert!(page.contains(&flag.replace('-', "\\-")), "{command} lacks {flag}: {page}");
        }
    }
    assert!(first.contains("Exit status: 0 after a clean stop"), "{first}");
    assert_eq!(slotway(&["manual"], &[]).out, first);
    let files = std::fs::read_dir(&pages).unwrap().map(|file| file.unwrap().file_name());
    assert!(files.into_iter().all(|name| !name.to_str().unwrap().contains("node-exec")));
}

#[test]
fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = slotway(&["completions", shell], &[]);
        assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""), "{shell}");
        for command in commands() {
            assert!(ran.out.contains(&command), "{shell} lacks {command}");
        }
        for flag in ["masters", "listen", "json", "connect"] {
            assert!(ran.out.contains(flag), "{shell} lacks {flag}");
        }
    }
    let words = "slotway do";
    let script = format!(
        "source /dev/stdin; COMP_WORDS=({words}); COMP_CWORD=1; _slotway slotway do slotway; echo ${{COMPREPLY[@]}}"
    );
    let mut bash = Command::new("bash")
        .args(["-c", &script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let completions = slotway(&["completions", "bash"], &[]).out;
    std::io::Write::write_all(&mut bash.stdin.take().unwrap(), completions.as_bytes()).unwrap();
    let output = bash.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "doctor");
    assert_eq!(slotway(&["completions", "cmd"], &[]).status, Some(2));
}
