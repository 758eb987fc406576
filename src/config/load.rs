//! From sources to settings: the file, then the environment, then the flags, then the password
//! files, then what must fit together. Nothing stops at the first mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::check::CHECKS;
use super::given::Given;
use super::mistake::alternatives;
use super::{Key, Logins, Mistake, Mistakes, Place, Secret, Settings, VARIABLE_PREFIX};

/// Where settings come from. Kept by a gateway, so that a reload reads the same again. There is no
/// `Debug`: variables and flags can hold passwords.
#[derive(Clone, Default)]
pub struct Sources {
    /// A settings file.
    pub file: Option<PathBuf>,
    /// Environment variables; those of other programs are passed over.
    pub variables: Vec<(OsString, OsString)>,
    /// Flags of the command line that stand for a setting.
    pub flags: Vec<Flag>,
    /// Whether `cluster.nodes` must name a node.
    pub needs_nodes: bool,
}

/// A flag that stands for a setting.
#[derive(Clone)]
pub struct Flag {
    /// As typed, such as `--listen`.
    pub name: &'static str,
    /// The setting, such as `listen.address`.
    pub path: &'static str,
    /// Its value; several values are joined by commas.
    pub text: String,
}

impl Sources {
    /// Reads everything, or says everything that is wrong.
    pub fn load(&self) -> Result<Settings, Mistakes> {
        let mut loading = Loading::default();
        if let Some(path) = &self.file {
            loading.read_file(path);
        }
        loading.read_variables(&self.variables);
        for flag in &self.flags {
            let place = Place::Flag(flag.name);
            match Settings::key(flag.path) {
                Some(key) => loading.set(key, &Given::Text(&flag.text), &|_| place.clone()),
                None => loading.mistake(place, format!("there is no setting `{}`", flag.path)),
            }
        }
        loading.read_secret_files();
        loading.check_together();
        if self.needs_nodes {
            loading.check_nodes();
        }
        loading.finish()
    }
}

#[derive(Default)]
struct Loading {
    settings: Settings,
    /// Where each key that is not at its default was set last.
    places: BTreeMap<&'static str, Place>,
    /// Keys that could not be read: what depends on them is not judged.
    failed: BTreeSet<&'static str>,
    /// Whether something in the file could not be read at all: then anything may be missing.
    unreadable: bool,
    mistakes: Vec<Mistake>,
}

impl Loading {
    fn mistake(&mut self, place: Place, text: String) {
        self.mistakes.push(Mistake { place, text });
    }

    fn finish(mut self) -> Result<Settings, Mistakes> {
        if self.mistakes.is_empty() {
            return Ok(self.settings);
        }
        self.mistakes.sort();
        self.mistakes.dedup();
        Err(Mistakes(self.mistakes))
    }

    fn set(
        &mut self,
        key: &'static Key,
        given: &Given<'_>,
        place: &dyn Fn(Option<Range<usize>>) -> Place,
    ) {
        match (key.set)(&mut self.settings, given) {
            Ok(()) => {
                self.places.insert(key.path, place(given.span()));
            }
            Err(wrongs) => {
                self.failed.insert(key.path);
                for wrong in wrongs {
                    let text = format!(
                        "`{}` must be {}, found {}",
                        key.path,
                        (key.expects)(),
                        wrong.found
                    );
                    self.mistake(place(wrong.at), text);
                }
            }
        }
    }

    fn read_file(&mut self, path: &Path) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                self.unreadable = true;
                let place = Place::File(path.to_owned());
                return self.mistake(place, format!("cannot be read: {error}"));
            }
        };
        let (document, errors) = DeTable::parse_recoverable(&text);
        let page = Page::new(path, &text, &errors);
        for error in &errors {
            // Only the message: the error's own display quotes the line, and with it a password.
            self.mistake(page.place(error.span()), format!("not TOML: {}", error.message()));
        }
        self.unreadable = !errors.is_empty();
        if page.has_broken_header() {
            return;
        }
        for (name, value) in document.get_ref() {
            self.read_table(&page, name, value);
        }
    }

    fn read_table(&mut self, page: &Page<'_>, name: &Name<'_>, value: &Value<'_>) {
        let known = Settings::TABLES.iter().any(|(table, _)| table == name.get_ref());
        let text = match value.get_ref() {
            DeValue::Table(keys) if known => {
                for (key, value) in keys {
                    self.read_key(page, name.get_ref(), (key, value));
                }
                return;
            }
            _ if known => format!("`{0}` is a table, written `[{0}]`", name.get_ref()),
            DeValue::Table(_) | DeValue::Array(_) => {
                let tables = Settings::TABLES.iter().map(|(table, _)| *table);
                let near = nearest(name.get_ref(), tables);
                format!("unknown table `{}`{}", name.get_ref(), did_you_mean(near))
            }
            _ => {
                let near = in_any_table(name.get_ref());
                format!("unknown key `{}`{}", name.get_ref(), did_you_mean(near))
            }
        };
        self.mistake_in(page, name.span(), text);
    }

    fn read_key(&mut self, page: &Page<'_>, table: &str, (name, value): (&Name<'_>, &Value<'_>)) {
        let path = format!("{table}.{}", name.get_ref());
        if let Some(key) = Settings::key(&path) {
            if page.is_broken(value.span().start) {
                self.failed.insert(key.path);
            } else {
                self.set(key, &Given::Typed(value), &|span| page.place(span));
            }
            return;
        }
        let siblings = || Settings::KEYS.iter().filter(|key| key.table() == table);
        let mut near = nearest(name.get_ref(), siblings().map(Key::name));
        if near.is_empty() {
            near = in_any_table(name.get_ref());
        }
        if near.is_empty() {
            let names: Vec<String> = siblings().map(|key| format!("`{}`", key.name())).collect();
            let text = format!("unknown key `{path}`; `[{table}]` has {}", names.join(", "));
            return self.mistake_in(page, name.span(), text);
        }
        let text = format!("unknown key `{path}`{}", did_you_mean(near));
        self.mistake_in(page, name.span(), text);
    }

    /// A mistake on a line that is not TOML would only repeat that.
    fn mistake_in(&mut self, page: &Page<'_>, span: Range<usize>, text: String) {
        if !page.is_broken(span.start) {
            self.mistake(page.place(Some(span)), text);
        }
    }

    /// Variables without `__` are left alone, because a container platform adds its own (such as
    /// `SLOTWAY_PORT` for a service of that name), unless one is a setting but for an underscore.
    fn read_variables(&mut self, variables: &[(OsString, OsString)]) {
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(VARIABLE_PREFIX)) else {
                continue;
            };
            let place = Place::Variable(name.to_owned());
            let key = Settings::KEYS.iter().find(|key| key.variable() == name);
            match (key, value.to_str()) {
                (Some(key), Some(text)) => self.set(key, &Given::Text(text), &|_| place.clone()),
                (Some(key), None) => {
                    self.failed.insert(key.path);
                    self.mistake(place, "is not UTF-8 text".to_owned());
                }
                (None, _) => {
                    let known: Vec<String> = Settings::KEYS.iter().map(Key::variable).collect();
                    let plain = |variable: &String| variable.replace("__", "_") == name;
                    if name.contains("__") || known.iter().any(plain) {
                        let near = nearest(name, known.iter().map(String::as_str));
                        self.mistake(place, format!("unknown setting{}", did_you_mean(near)));
                    }
                }
            }
        }
    }

    fn read_secret_files(&mut self) {
        let Settings { cluster, auth, .. } = &mut self.settings;
        let taken = [
            (
                "cluster.password_file",
                "cluster.password",
                take_file(&cluster.password_file, &mut cluster.password, Secret::read),
            ),
            (
                "cluster.logins_file",
                "cluster.logins",
                take_file(&cluster.logins_file, &mut cluster.logins, Logins::read),
            ),
            (
                "auth.password_file",
                "auth.password",
                take_file(&auth.password_file, &mut auth.password, Secret::read),
            ),
        ];
        for (file_key, key, taken) in taken {
            let text = match taken {
                Ok(()) => continue,
                Err(Some(reason)) => format!("`{file_key}` {reason}"),
                Err(None) => format!("`{key}` and `{file_key}` are both set; keep one of them"),
            };
            self.failed.insert(key);
            let place = self.place_of(&[file_key]);
            self.mistake(place, text);
        }
    }

    fn check_together(&mut self) {
        for check in CHECKS {
            let judged =
                !self.unreadable && !check.keys.iter().any(|key| self.failed.contains(key));
            let wrong = judged.then(|| (check.wrong)(&self.settings)).flatten();
            if let (Some(text), Some(key)) = (wrong, check.keys.first()) {
                let place = self.place_of(check.keys);
                self.mistake(place, format!("`{key}` {text}"));
            }
        }
    }

    fn check_nodes(&mut self) {
        let judged = !self.unreadable && !self.failed.contains("cluster.nodes");
        if judged && self.settings.cluster.nodes.is_empty() {
            let text =
                "no cluster is named: set `cluster.nodes` or give `serve` a `--node HOST:PORT`";
            let place = self.place_of(&["cluster.nodes"]);
            self.mistake(place, text.to_owned());
        }
    }

    /// Where the first of these keys that is set was set.
    fn place_of(&self, keys: &[&str]) -> Place {
        keys.iter().find_map(|key| self.places.get(key).cloned()).unwrap_or(Place::Nowhere)
    }
}

/// Reads the file, if one is named, into a value that is not set otherwise. An error without a reason: it is.
fn take_file<T: Default + PartialEq>(
    file: &str,
    value: &mut T,
    read: fn(&Path) -> Result<T, String>,
) -> Result<(), Option<String>> {
    if file.is_empty() {
        return Ok(());
    }
    if *value != T::default() {
        return Err(None);
    }
    *value = read(Path::new(file)).map_err(Some)?;
    Ok(())
}

type Name<'a> = Spanned<DeString<'a>>;
type Value<'a> = Spanned<DeValue<'a>>;

/// A file's text, for turning bytes into lines and columns.
struct Page<'a> {
    path: &'a Path,
    text: &'a str,
    /// Lines that are not TOML.
    broken: BTreeSet<usize>,
}

impl<'a> Page<'a> {
    fn new(path: &'a Path, text: &'a str, errors: &[toml::de::Error]) -> Self {
        let mut page = Self { path, text, broken: BTreeSet::new() };
        page.broken = errors
            .iter()
            .map(|error| page.position(error.span().map_or(0, |s| s.start)).0)
            .collect();
        page
    }

    fn place(&self, span: Option<Range<usize>>) -> Place {
        match span {
            Some(span) => {
                let (line, column) = self.position(span.start);
                Place::Line(self.path.to_owned(), line, column)
            }
            None => Place::File(self.path.to_owned()),
        }
    }

    fn position(&self, byte: usize) -> (usize, usize) {
        let before = self.text.get(..byte).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        (line, before.get(line_start..).unwrap_or_default().chars().count() + 1)
    }

    fn is_broken(&self, byte: usize) -> bool {
        self.broken.contains(&self.position(byte).0)
    }

    /// Then the keys below it are in the wrong table, or in none.
    fn has_broken_header(&self) -> bool {
        let is_header = |line: &str| line.trim_start().starts_with('[');
        let mut lines = self.text.lines().zip(1..);
        lines.any(|(line, number)| is_header(line) && self.broken.contains(&number))
    }
}

/// The known word that was probably meant.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let farthest = 1 + word.len() / 5;
    known
        .map(|known| (strsim::osa_distance(word, known), known))
        .filter(|(distance, _)| *distance <= farthest)
        .min()
        .map(|(_, known)| known.to_owned())
        .into_iter()
        .collect()
}

/// The settings of that very name in other tables.
fn in_any_table(name: &str) -> Vec<String> {
    let same = Settings::KEYS.iter().filter(|key| key.name() == name);
    same.map(|key| key.path.to_owned()).collect()
}

fn did_you_mean(words: Vec<String>) -> String {
    if words.is_empty() {
        return String::new();
    }
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    format!("; did you mean {}?", alternatives(&words))
}
