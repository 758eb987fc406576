//! Settings files: whatever they are, they are taken or every mistake has its place; what is taken means the same when
//! it is written and read again; no mistake shows a password.

use std::fs;

use slotway::config::{Key, Place, Settings, Sources};
use tempfile::NamedTempFile;

use crate::random::Random;

/// Stands for a password where one belongs.
const PASSWORD: &str = "correct horse battery staple";

const VALUES: &[&str] = &[
    "0",
    "1",
    "-1",
    "0x7f",
    "99999999999999999999",
    "0.5",
    "1e400",
    "nan",
    "true",
    "1979-05-27",
    "\"\"",
    "\"text\"",
    "'back\\slash'",
    "\"\\u0000\\u007f\\u00e9\"",
    "\"1s\"",
    "\"90d\"",
    "\"1MiB\"",
    "\"99999999999999999999TiB\"",
    "\"127.0.0.1:1\"",
    "\"[::1]:1\"",
    "\"770\"",
    "\"CN\"",
    "\"info,a::b=debug\"",
    "[]",
    "[1, \"a\"]",
    "[\"127.0.0.1:1\", \"host:2\"]",
    "[\"10.0.0.0/8\", \"::1\"]",
    "{}",
    "{ \"127.0.0.1:1\" = \"host:2\" }",
    "{ app = \"1000 burst 5000\", \"*\" = \"1KiB\" }",
    "{ a = { b = [] } }",
];

/// What a file says of a key; also a wrong value of a password, which is a password all the same.
fn value(random: &mut Random, key: &Key) -> String {
    // As lines of users, it is one with the password "battery staple".
    let is_password = key.path.ends_with(".password") || key.path == "cluster.logins";
    match random.below(6) {
        0 if is_password => format!("[\"{PASSWORD}\"]"),
        _ if is_password => format!("\"{PASSWORD}\""),
        0 | 1 => (key.show)(&Settings::default()),
        _ => random.pick(VALUES).to_owned(),
    }
}

/// Some keys of every table.
fn document(random: &mut Random) -> String {
    let mut text = String::new();
    for (table, _) in Settings::TABLES {
        text += &format!("[{table}]\n");
        for key in Settings::KEYS.iter().filter(|key| key.table() == *table) {
            if random.once_in(8) {
                text += &format!("{} = {}\n", key.name(), value(random, key));
            }
        }
    }
    text
}

fn load(text: &[u8]) -> Result<Settings, slotway::config::Mistakes> {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    Sources { file: Some(file.path().to_owned()), ..Sources::default() }.load()
}

/// All of it as a file has it, but for passwords, which are never shown.
fn written(settings: &Settings) -> String {
    let shown = |key: &Key| Some((key.show)(settings)).filter(|shown| shown != "***");
    let lines =
        Settings::KEYS.iter().filter_map(|key| Some(format!("{} = {}\n", key.path, shown(key)?)));
    lines.collect()
}

pub(crate) fn in_files(random: &mut Random) {
    let text = document(random);
    let mut bytes = text.clone().into_bytes();
    let damaged = random.once_in(2);
    if damaged {
        random.damage(&mut bytes);
    }
    match load(&bytes) {
        Ok(settings) => {
            let first = written(&settings);
            // A rule about several settings may need the password that is not written.
            let with_password = first.clone() + &passwords(&settings);
            let again = load(with_password.as_bytes());
            let again = again.unwrap_or_else(|mistakes| panic!("{mistakes} in {first}"));
            assert_eq!(written(&again), first);
        }
        Err(mistakes) => {
            assert!(!mistakes.0.is_empty());
            let lines = bytes.split(|byte| *byte == b'\n').count();
            for mistake in &mistakes.0 {
                if let Place::Line(_, line, column) = &mistake.place {
                    assert!((1..=lines).contains(line) && *column > 0, "{mistake}");
                }
                // What is damaged may have put the password under another key.
                assert!(damaged || !mistake.text.contains("horse"), "{mistake}");
            }
        }
    }
}

fn passwords(settings: &Settings) -> String {
    let given = |(path, secret): (&str, &slotway::config::Secret), file: &str| {
        let written = !secret.is_empty() && file.is_empty();
        if written { format!("{path} = {:?}\n", secret.expose()) } else { String::new() }
    };
    let Settings { cluster, auth, admin, .. } = settings;
    let logins = cluster.logins.iter();
    let logins = logins.map(|(user, it)| format!("{user} {} {}\n", it.name, it.password.expose()));
    let logins = slotway::config::Secret::new(logins.collect::<String>());
    given(("cluster.password", &cluster.password), &cluster.password_file)
        + &given(("cluster.logins", &logins), &cluster.logins_file)
        + &given(("auth.password", &auth.password), &auth.password_file)
        + &given(("admin.password", &admin.password), "")
}
