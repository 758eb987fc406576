//! The map as a test: which room may import which, what a file may be called, and how long it may grow.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Rooms from the bottom up, each with the rooms that it may import. The table is ordered: a room names only rooms
/// that stand above it here, so a cycle cannot be written down.
const ROOMS: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("metrics", &[]),
    ("resp", &[]),
    ("tls", &["config"]),
    ("merge", &["resp"]),
    ("command", &["merge", "resp"]),
    ("acl", &["command", "config", "resp"]),
    ("cluster", &["resp"]),
    ("route", &["cluster", "command", "merge", "resp"]),
    ("backend", &["cluster", "config", "metrics", "resp", "tls"]),
    ("observe", &["command", "config", "metrics", "resp"]),
    (
        "session",
        &[
            "acl", "backend", "cluster", "command", "config", "merge", "metrics", "observe",
            "resp", "route", "tls",
        ],
    ),
    ("admin", &["acl", "cluster", "config", "metrics", "observe"]),
    (
        "runtime",
        &["acl", "admin", "backend", "cluster", "config", "metrics", "observe", "session", "tls"],
    ),
    ("launch", &["backend", "config", "resp", "tls"]),
    ("doctor", &["backend", "cluster", "config", "resp"]),
    ("survey", &["backend", "cluster", "config", "resp"]),
    ("drill", &["backend", "cluster", "config", "launch", "resp", "survey"]),
    ("backup", &["backend", "cluster", "config", "launch", "resp", "survey", "tls"]),
    ("simulation", &["backend", "cluster", "config", "metrics", "resp", "session"]),
];

/// Files that are no room: the map, which declares the rooms and holds no code, and the command line, which imports
/// the library by its name.
const ROOMLESS: &[&str] = &["lib.rs", "main.rs"];

/// Names that say nothing about what stands behind them.
const BANNED_NAMES: &[&str] = &[
    "util", "utils", "common", "core", "helper", "helpers", "manager", "handler", "handlers",
    "executor", "inner", "data", "misc",
];

const MOST_LINES: usize = 400;

/// Files that may be longer, each with the reason.
const LONG_FILES: &[(&str, &str)] =
    &[("command/table.rs", "a table: one row per command, nothing to split")];

#[test]
fn every_import_is_in_the_table() {
    let sources = read_sources();
    let broken: Vec<String> = sources.iter().flat_map(Source::import_faults).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_file_belongs_to_a_room() {
    let sources = read_sources();
    assert!(sources.len() > ROOMS.len(), "only {} files found", sources.len());
    let broken: Vec<String> = sources.iter().filter_map(Source::room_fault).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn names_say_something() {
    let broken: Vec<String> = read_sources().iter().flat_map(Source::name_faults).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn files_stay_short() {
    let broken: Vec<String> = read_sources().iter().filter_map(Source::length_fault).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_long_file_is_still_long() {
    let sources = read_sources();
    for (path, reason) in LONG_FILES {
        assert!(!reason.is_empty(), "{path} is exempt without a reason");
        // A file that is not written yet needs no exemption, but keeps its place here.
        if let Some(source) = sources.iter().find(|source| source.path == *path) {
            assert!(source.code_lines() > MOST_LINES, "{path} is short now: take it off the list");
        }
    }
}

#[test]
fn the_table_has_no_upward_import() {
    assert_eq!(table_faults(ROOMS), Vec::<String>::new());
}

/// One file below `src`.
struct Source {
    path: String,
    text: String,
}

/// `crate::name` or `super::..::name` that leaves the room, and the line where it stands.
struct Import {
    room: String,
    line: usize,
}

impl Source {
    /// The room that the file belongs to, by its place: `session/local.rs` and `session.rs` are both `session`.
    fn room(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Modules that lead to the file: `session/local.rs` is two deep, `session/mod.rs` and `merge.rs` one.
    fn module_depth(&self) -> usize {
        let parts: Vec<&str> = self.path.split('/').collect();
        parts.len() - usize::from(parts.last() == Some(&"mod.rs"))
    }

    fn room_fault(&self) -> Option<String> {
        let known = ROOMS.iter().any(|(room, _)| *room == self.room());
        (!known && !ROOMLESS.contains(&self.path.as_str()))
            .then(|| format!("{}: belongs to no room", self.path))
    }

    fn import_faults(&self) -> Vec<String> {
        if self.path == "main.rs" {
            return Vec::new();
        }
        let allowed: &[&str] = ROOMS
            .iter()
            .find(|(room, _)| *room == self.room())
            .map_or(&[], |(_, allowed)| *allowed);
        imports(&self.text, self.module_depth())
            .into_iter()
            .filter(|import| import.room != self.room() && !allowed.contains(&import.room.as_str()))
            .map(|import| {
                let verdict = if ROOMS.iter().any(|(room, _)| *room == import.room) {
                    "may not"
                } else {
                    "cannot"
                };
                format!(
                    "{}:{}: {} {verdict} import `{}`",
                    self.path,
                    import.line,
                    self.room(),
                    import.room
                )
            })
            .collect()
    }

    fn name_faults(&self) -> Vec<String> {
        let stems = self.path.split('/').map(|part| part.trim_end_matches(".rs").to_owned());
        let inline = words(&blank(&self.text))
            .windows(2)
            .filter(|pair| pair[0].0 == "mod")
            .map(|pair| pair[1].0.clone())
            .collect::<Vec<_>>();
        stems
            .chain(inline)
            .filter(|name| BANNED_NAMES.contains(&name.as_str()))
            .map(|name| format!("{}: `{name}` names nothing", self.path))
            .collect()
    }

    fn code_lines(&self) -> usize {
        // A file of its own for the tests is tests from its first line.
        if self.path.split('/').any(|part| part.trim_end_matches(".rs") == "tests") {
            return 0;
        }
        let lines: Vec<&str> = self.text.lines().map(str::trim).collect();
        let tests = lines
            .windows(2)
            .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].contains("mod tests"));
        tests.unwrap_or(lines.len())
    }

    fn length_fault(&self) -> Option<String> {
        let exempt = LONG_FILES.iter().any(|(path, _)| *path == self.path);
        let lines = self.code_lines();
        (lines > MOST_LINES && !exempt)
            .then(|| format!("{}: {lines} lines before its tests, at most {MOST_LINES}", self.path))
    }
}

/// Rows that name a room which does not stand above them.
fn table_faults(rooms: &[(&str, &[&str])]) -> Vec<String> {
    let order: BTreeMap<&str, usize> =
        rooms.iter().enumerate().map(|(place, (room, _))| (*room, place)).collect();
    let mut faults = Vec::new();
    for (place, (room, allowed)) in rooms.iter().enumerate() {
        for import in *allowed {
            if order.get(import).is_none_or(|above| *above >= place) {
                faults.push(format!("`{room}` may not name `{import}`: it does not stand above"));
            }
        }
    }
    faults
}

/// Every room that the text names, by `crate::` or by enough `super::` to leave the room's root.
fn imports(text: &str, file_depth: usize) -> Vec<Import> {
    let words = words(&blank(text));
    let mut found = Vec::new();
    let mut modules = InlineModules::default();
    let mut at = 0;
    while at < words.len() {
        modules.see(&words, at);
        let start = at;
        let mut climbed = 0;
        while word(&words, at) == "super" && word(&words, at + 1) == "::" {
            climbed += 1;
            at += 2;
        }
        let from_crate = word(&words, at) == "crate" && word(&words, at + 1) == "::";
        let depth = file_depth + modules.depth();
        if from_crate || (climbed > 0 && climbed >= depth) {
            found.extend(first_segments(&words, if from_crate { at + 2 } else { at }));
        }
        at = at.max(start + 1);
    }
    found
}

/// The first segment after a path's root: one, or each of a group `{a::b, c::{d, e}}`.
fn first_segments(words: &[(String, usize)], at: usize) -> Vec<Import> {
    if word(words, at) != "{" {
        return vec![Import { room: word(words, at).to_owned(), line: line(words, at) }];
    }
    let mut found = Vec::new();
    let mut open = 0;
    let mut expect = false;
    for (text, line) in &words[at..] {
        match text.as_str() {
            "{" => open += 1,
            "}" => open -= 1,
            _ => {}
        }
        if open == 0 {
            break;
        }
        if expect && text != "}" {
            found.push(Import { room: text.clone(), line: *line });
        }
        expect = open == 1 && (text == "{" || text == ",");
    }
    found
}

/// Which `mod name { .. }` are open at a word.
#[derive(Default)]
struct InlineModules {
    braces: usize,
    opened_at: Vec<usize>,
}

impl InlineModules {
    fn see(&mut self, words: &[(String, usize)], at: usize) {
        match word(words, at) {
            "{" => {
                if at >= 2 && word(words, at - 2) == "mod" {
                    self.opened_at.push(self.braces);
                }
                self.braces += 1;
            }
            "}" => {
                self.braces = self.braces.saturating_sub(1);
                if self.opened_at.last() == Some(&self.braces) {
                    self.opened_at.pop();
                }
            }
            _ => {}
        }
    }

    fn depth(&self) -> usize {
        self.opened_at.len()
    }
}

fn word(words: &[(String, usize)], at: usize) -> &str {
    words.get(at).map_or("", |(text, _)| text)
}

fn line(words: &[(String, usize)], at: usize) -> usize {
    words.get(at).map_or(0, |(_, line)| *line)
}

/// Identifiers, `::` and single marks, each with its line.
fn words(code: &str) -> Vec<(String, usize)> {
    let mut found: Vec<(String, usize)> = Vec::new();
    for (index, text) in code.lines().enumerate() {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            let length = if is_name(first) {
                rest.find(|c| !is_name(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (piece, after) = rest.split_at(length);
            found.push((piece.to_owned(), index + 1));
            rest = after.trim_start();
        }
    }
    found
}

/// The text without comments and the contents of string and character literals, lines kept.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = skipped_length(rest);
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        code.push(' ');
        code.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        rest = &rest[skipped..];
    }
    code
}

/// Length of the comment or literal that the text starts with, or 0.
fn skipped_length(text: &str) -> usize {
    let until = |from: usize, end: &str| {
        text[from..].find(end).map_or(text.len(), |at| from + at + end.len())
    };
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return until(2, "*/");
    }
    if let Some(raw) = text.strip_prefix('r').map(|after| after.trim_start_matches('#')) {
        let hashes = text.len() - raw.len() - 1;
        if raw.starts_with('"') {
            return until(hashes + 2, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    match text.chars().next() {
        Some('"') => quoted_length(text),
        // A lifetime has no closing quote; a character has one right after it or after its escape.
        Some('\'') if text.starts_with("'\\") => quoted_length_of(text, '\''),
        Some('\'') if text.chars().nth(2) == Some('\'') => {
            2 + text.chars().nth(1).map_or(0, char::len_utf8)
        }
        _ => 0,
    }
}

fn quoted_length(text: &str) -> usize {
    quoted_length_of(text, '"')
}

fn quoted_length_of(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn read_sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(Source {
                    path: relative(&root, &path),
                    text: fs::read_to_string(&path).unwrap(),
                });
            }
        }
    }
    sources
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/")
}

mod the_test_itself {
    use super::{MOST_LINES, Source, table_faults};

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn sees_every_way_to_import() {
        let seen = [
            ("resp/reply.rs", "use crate::session::Session;", 1),
            ("resp/reply.rs", "use crate::{merge, session::{Session, local}};", 2),
            ("resp/reply.rs", "use crate::{\n    resp::Reply,\n    session,\n};", 1),
            ("resp/mod.rs", "pub(crate) use super::session::Session;", 1),
            ("resp/reply.rs", "use super::super::session::Session;", 1),
            ("resp/reply.rs", "use super::super::{merge, session};", 2),
            ("resp/mod.rs", "mod tests { use super::super::session; }", 1),
            ("resp/mod.rs", "fn f() { crate::session::start(); let x: crate::merge::Merge; }", 2),
            ("merge.rs", "fn f() { $crate::session::start() }", 1),
            ("merge.rs", "use crate::*;", 1),
            ("merge.rs", "use crate::nothing;", 1),
            ("route/mod.rs", "use crate::backend::Pool;", 1),
            ("backend/mod.rs", "use crate::command::CommandSpec;", 1),
            ("lib.rs", "use crate::session::Session;", 1),
        ];
        for (path, text, faults) in seen {
            let found = source(path, text).import_faults();
            assert_eq!(found.len(), faults, "{path}: {text}: {found:?}");
        }
    }

    #[test]
    fn lets_allowed_imports_pass() {
        let fine = [
            ("merge.rs", "use crate::resp::Reply;"),
            ("resp/reply.rs", "use crate::resp::ParseError; use super::ParseError;"),
            ("resp/reply.rs", "mod tests { use super::super::ParseError; use super::Reply; }"),
            (
                "resp/mod.rs",
                "mod a { mod b { use super::super::Reply; } } mod c { use super::Reply; }",
            ),
            ("resp/mod.rs", "// use crate::session;\n/* crate::session */ /// [`crate::session`]"),
            (
                "resp/mod.rs",
                r##"const A: &str = "crate::session"; const B: &str = r#"crate::session"#; "##,
            ),
            (
                "resp/mod.rs",
                r#"fn f<'a>(a: &'a u8) { let q = ('"', '\'', '{'); use_it("crate::session") }"#,
            ),
            ("session/local.rs", "use crate::{backend::Pool, route::Plan};"),
        ];
        for (path, text) in fine {
            assert_eq!(source(path, text).import_faults(), Vec::<String>::new(), "{path}: {text}");
        }
    }

    #[test]
    fn names_the_line() {
        let found = source("resp/mod.rs", "//! Text.\n\n/* a\nb */ use crate::session::Session;\n")
            .import_faults();
        assert_eq!(found, ["resp/mod.rs:4: resp may not import `session`"]);
    }

    #[test]
    fn sees_a_file_without_a_room() {
        assert!(source("extra.rs", "").room_fault().is_some());
        assert!(source("extra/mod.rs", "").room_fault().is_some());
        assert!(source("lib.rs", "").room_fault().is_none());
        assert!(source("session/local.rs", "").room_fault().is_none());
        assert!(source("merge.rs", "").room_fault().is_none());
    }

    #[test]
    fn sees_empty_names() {
        for (path, text) in [
            ("session/utils.rs", ""),
            ("common/mod.rs", ""),
            ("session/mod.rs", "mod helper { }"),
            ("session/mod.rs", "pub mod manager;"),
        ] {
            assert_eq!(source(path, text).name_faults().len(), 1, "{path}: {text}");
        }
        assert_eq!(
            source("session/local.rs", "mod tests { fn helper() {} } // mod utils").name_faults(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn sees_a_long_file() {
        let long = "//\n".repeat(MOST_LINES + 1);
        assert!(source("session/mod.rs", &long).length_fault().is_some());
        assert!(source("command/table.rs", &long).length_fault().is_none());
        assert!(source("session/tests.rs", &long).length_fault().is_none());
        assert!(source("session/tests/order.rs", &long).length_fault().is_none());
        let short = "//\n".repeat(MOST_LINES);
        let tests_are_free = format!("{short}#[cfg(test)]\nmod tests {{\n{long}");
        assert!(source("session/mod.rs", &tests_are_free).length_fault().is_none());
        let for_tests = format!("#[cfg(test)]\nmod simulated;\n{long}");
        assert!(source("session/mod.rs", &for_tests).length_fault().is_some());
    }

    #[test]
    fn sees_an_upward_row() {
        assert_eq!(table_faults(&[("a", &["b"]), ("b", &[])]).len(), 1);
        assert_eq!(table_faults(&[("a", &["a"])]).len(), 1);
        assert_eq!(table_faults(&[("a", &[]), ("b", &["missing"])]).len(), 1);
        assert_eq!(table_faults(&[("a", &[]), ("b", &["a"])]).len(), 0);
    }
}
