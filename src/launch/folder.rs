//! The folder that a local cluster lives in: who may use it, what it holds, and what each node needs in it.

use std::fmt;
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use tempfile::TempDir;
use toml::Spanned;
use toml::de::DeTable;

use super::error::LaunchError;
use super::{Contents, Options, SLOTS};

/// What stands in `node.conf` before the ports are known.
const TEMPLATE: &str = include_str!("../../config/node.conf");
/// What stands behind it when the nodes speak TLS; it goes for the same settings above. Paths are relative to the
/// node's folder.
const TLS: &str = include_str!("../../config/node-tls.conf");
const MARKER: &str = "cluster.toml";
const LOCK: &str = "lock";
/// The first part of a node's append-only log, and the list of parts; their names are the servers' own.
const LOG_BASE: &str = "appendonly.aof.1.base.rdb";
const LOG_MANIFEST: &str = "appendonly.aof.manifest";
const TEMPORARY: &str = "slotway-up-";
/// A temporary folder younger than this may belong to a start that has not locked it yet.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);
/// A log longer than this is put aside at the next start.
const LOG_BYTES: u64 = 8 << 20;

/// The shape of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Primaries.
    pub masters: u16,
    /// Replicas of each primary.
    pub replicas: u16,
    /// The first port.
    pub base_port: u16,
    /// Whether the nodes speak TLS, and nothing else.
    pub tls: bool,
}

impl Layout {
    /// Every node's port: the primaries' first, then the replicas'.
    pub(super) fn ports(self) -> impl Iterator<Item = u16> {
        (0..self.nodes()).map(move |index| self.base_port.saturating_add(index))
    }

    /// How many nodes there are; `Options::layout` has proven that they can be counted.
    pub(super) fn nodes(self) -> u16 {
        self.masters.saturating_mul(self.replicas.saturating_add(1))
    }

    /// The flags that ask for this shape.
    pub(super) fn flags(self) -> String {
        let tls = if self.tls { " --tls" } else { "" };
        format!(
            "--masters {} --replicas {} --base-port {}{tls}",
            self.masters, self.replicas, self.base_port
        )
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |n: u16, one: &str, many: &str| match n {
            1 => format!("1 {one}"),
            n => format!("{n} {many}"),
        };
        let primaries = count(self.masters, "primary", "primaries");
        let replicas = count(self.replicas, "replica", "replicas");
        let tls = if self.tls { ", through TLS" } else { "" };
        write!(f, "{primaries} with {replicas} each, from port {}{tls}", self.base_port)
    }
}

/// What `cluster.toml` says of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Marker {
    /// Whether the cluster was once complete. If not, the start was cut off before anything was stored.
    formed: bool,
    layout: Layout,
}

impl Marker {
    fn write(self) -> String {
        let Self { formed, layout: Layout { masters, replicas, base_port, tls } } = self;
        format!(
            "# Written by `slotway up`: the cluster in this folder.\n\
             formed = {formed}\nmasters = {masters}\nreplicas = {replicas}\nbase_port = {base_port}\n\
             tls = {tls}\n"
        )
    }

    fn read(text: &str) -> Option<Self> {
        let table = DeTable::parse(text).ok()?;
        let value = |key: &str| table.get_ref().get(key).map(Spanned::get_ref);
        let number = |key: &str| value(key)?.as_integer()?.as_str().parse().ok();
        let layout = Layout {
            masters: number("masters")?,
            replicas: number("replicas")?,
            base_port: number("base_port")?,
            // Folders of earlier versions do not say so.
            tls: value("tls").is_some_and(|tls| tls.as_bool() == Some(true)),
        };
        Some(Self { formed: value("formed")?.as_bool()?, layout })
    }
}

/// A folder that this process alone uses, until it drops it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    layout: Layout,
    formed: bool,
    /// Removes the folder when dropped.
    temporary: Option<TempDir>,
    /// Locked; the lock ends with the process, however that ends.
    _lock: File,
}

impl Folder {
    /// Finds or makes the folder, locks it, and makes sure that it holds this cluster or none.
    pub(super) fn open(options: &Options, layout: Layout) -> Result<Self, LaunchError> {
        let temporary = options.ephemeral.then(temporary_folder).transpose()?;
        let path = match (&temporary, &options.dir) {
            (Some(temporary), _) => temporary.path().to_owned(),
            (None, Some(dir)) => absolute(dir)?,
            (None, None) => default_folder(layout.base_port)?,
        };
        // What the cluster stores is its user's own business.
        let mut private = DirBuilder::new();
        private
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(LaunchError::system(format_args!("make the folder {}", path.display())))?;
        let lock = lock(&path)?;
        let mut folder = Self { path, layout, formed: false, temporary, _lock: lock };
        folder.formed = folder.examine()?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the folder holds a complete cluster, to be found again rather than formed.
    pub(super) fn formed(&self) -> bool {
        self.formed
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// The folder of one node.
    pub(super) fn node(&self, port: u16) -> PathBuf {
        self.path.join(port.to_string())
    }

    /// Writes down the shape, and each node's configuration.
    pub(super) fn prepare(&self, node_timeout: Duration) -> Result<(), LaunchError> {
        self.mark()?;
        for port in self.layout.ports() {
            let folder = self.node(port);
            std::fs::create_dir_all(&folder)
                .and_then(|()| {
                    std::fs::write(
                        folder.join("node.conf"),
                        render(port, node_timeout, self.layout.tls),
                    )
                })
                .and_then(|()| put_aside_long_log(&folder))
                .map_err(LaunchError::system(format_args!("prepare {}", folder.display())))?;
        }
        Ok(())
    }

    /// Gives each primary what it begins with: an RDB file as the base of its append-only log.
    pub(super) fn plant(&self, contents: &[Contents]) -> Result<(), LaunchError> {
        for (port, Contents { dump, .. }) in self.layout.ports().zip(contents) {
            let log = self.node(port).join("appendonlydir");
            std::fs::create_dir(&log)
                .and_then(|()| std::fs::rename(dump, log.join(LOG_BASE)))
                .and_then(|()| {
                    let line = format!("file {LOG_BASE} seq 1 type b\n");
                    std::fs::write(log.join(LOG_MANIFEST), line)
                })
                .map_err(LaunchError::system(format_args!("fill {}", log.display())))?;
        }
        Ok(())
    }

    /// Writes down that the cluster is complete: from now on it is found again, never formed anew.
    pub(super) fn mark_formed(&mut self) -> Result<(), LaunchError> {
        self.formed = true;
        self.mark()
    }

    /// Written beside and moved into place, so that a crash leaves the old one or the new one.
    fn mark(&self) -> Result<(), LaunchError> {
        let marker = Marker { formed: self.formed, layout: self.layout };
        let (fresh, place) = (self.path.join("cluster.toml.new"), self.path.join(MARKER));
        std::fs::write(&fresh, marker.write())
            .and_then(|()| std::fs::rename(&fresh, &place))
            .map_err(LaunchError::system(format_args!("write {}", place.display())))
    }

    /// Whether a complete cluster of this shape is here; an error if it is another one, or half of one.
    fn examine(&self) -> Result<bool, LaunchError> {
        let foreign = |reason: String| LaunchError::Foreign { dir: self.path.clone(), reason };
        let place = self.path.join(MARKER);
        let marker = match std::fs::read_to_string(&place) {
            Ok(text) => Marker::read(&text)
                .ok_or_else(|| foreign(format!("its {MARKER} cannot be read")))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let stranger =
                    self.layout.ports().map(|port| self.node(port)).find(|node| node.exists());
                return match stranger {
                    Some(node) => {
                        Err(foreign(format!("it has {} but no {MARKER}", node.display())))
                    }
                    None => Ok(false),
                };
            }
            Err(error) => {
                return Err(LaunchError::system(format_args!("read {}", place.display()))(error));
            }
        };
        if marker.layout != self.layout {
            return Err(LaunchError::Mismatch {
                dir: self.path.clone(),
                was: marker.layout,
                wanted: self.layout,
            });
        }
        if marker.formed {
            self.look_for_gaps()?;
        }
        Ok(marker.formed)
    }

    /// A cluster that was once complete must still be: every node knows its place, every slot has a node.
    fn look_for_gaps(&self) -> Result<(), LaunchError> {
        let mut served = vec![false; usize::from(SLOTS)];
        let mut found = Vec::new();
        for port in self.layout.ports() {
            match std::fs::read_to_string(self.node(port).join("nodes.conf")) {
                Ok(text) => own_slots(&text).for_each(|slot| {
                    if let Some(served) = served.get_mut(usize::from(slot)) {
                        *served = true;
                    }
                }),
                Err(error) => found.push(format!("node {port} has lost its nodes.conf ({error})")),
            }
        }
        let missing = served.iter().filter(|served| !**served).count();
        if missing > 0 {
            found.push(format!("{missing} of {SLOTS} slots belong to no node"));
        }
        if found.is_empty() {
            return Ok(());
        }
        Err(LaunchError::HalfFormed { dir: self.path.clone(), found })
    }
}

fn absolute(dir: &Path) -> Result<PathBuf, LaunchError> {
    std::path::absolute(dir).map_err(LaunchError::system(format_args!("find {}", dir.display())))
}

/// `cluster-<port>` under the user's data folder, as the XDG base directory specification places it.
fn default_folder(base_port: u16) -> Result<PathBuf, LaunchError> {
    let set =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let shared = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")));
    let Some(shared) = shared else {
        return Err(LaunchError::Options(
            "neither XDG_DATA_HOME nor HOME says where data goes; name a folder with --dir, or use --ephemeral".to_owned(),
        ));
    };
    Ok(shared.join("slotway").join(format!("cluster-{base_port}")))
}

fn temporary_folder() -> Result<TempDir, LaunchError> {
    remove_abandoned(&std::env::temp_dir());
    tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempdir()
        .map_err(LaunchError::system("make a temporary folder"))
}

/// Removes temporary folders of earlier runs that were killed: nobody holds their locks.
fn remove_abandoned(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            continue;
        }
        let Ok(lock) = File::options().write(true).open(entry.path().join(LOCK)) else { continue };
        let age = lock
            .metadata()
            .and_then(|lock| lock.modified())
            .ok()
            .and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > ABANDONED_AFTER)
            && rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            // Best effort: what cannot be removed belongs to another user.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn lock(dir: &Path) -> Result<File, LaunchError> {
    let place = dir.join(LOCK);
    let attempt = || LaunchError::system(format!("lock {}", place.display()));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&place)
        .map_err(attempt())?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let pid =
                std::fs::read_to_string(&place).ok().and_then(|text| text.trim().parse().ok());
            return Err(LaunchError::InUse { dir: dir.to_owned(), pid });
        }
        Err(error) => return Err(attempt()(error.into())),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(attempt())?;
    Ok(file)
}

/// Whether a `slotway up` runs in the folder: it holds the lock.
pub(super) fn is_in_use(dir: &Path) -> bool {
    let Ok(lock) = File::open(dir.join(LOCK)) else { return false };
    let free = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared);
    dir.join(MARKER).exists() && free == Err(rustix::io::Errno::WOULDBLOCK)
}

fn render(port: u16, node_timeout: Duration, tls: bool) -> String {
    let bus_port = port.saturating_add(super::BUS_OFFSET);
    let head = "# Written by `slotway up` at every start; changes made here do not last.\n\n";
    let text = TEMPLATE
        .replace("{port}", &port.to_string())
        .replace("{bus_port}", &bus_port.to_string())
        .replace("{node_timeout}", &node_timeout.as_millis().to_string());
    let tls = if tls { TLS.replace("{port}", &port.to_string()) } else { String::new() };
    format!("{head}{text}{tls}")
}

fn put_aside_long_log(node: &Path) -> io::Result<()> {
    let log = node.join(super::nodes::LOG);
    match std::fs::metadata(&log) {
        Ok(found) if found.len() > LOG_BYTES => {
            std::fs::rename(&log, log.with_extension("log.old"))
        }
        _ => Ok(()),
    }
}

/// The slots that a node claims for itself in its `nodes.conf` (the format of `CLUSTER NODES`).
fn own_slots(nodes_conf: &str) -> impl Iterator<Item = u16> {
    let myself = nodes_conf.lines().find(|line| {
        line.split(' ').nth(2).is_some_and(|flags| flags.split(',').any(|flag| flag == "myself"))
    });
    let words = myself.into_iter().flat_map(|line| line.split(' ').skip(8));
    slots_in(words)
}

/// The slots that words of `CLUSTER NODES` name.
pub(super) fn slots_in<W: AsRef<str>>(
    words: impl IntoIterator<Item = W>,
) -> impl Iterator<Item = u16> {
    words.into_iter().flat_map(|word| {
        let word = word.as_ref();
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) => first..last.saturating_add(1).min(SLOTS),
            // What stands in brackets is on its way from or to another node.
            _ => 0..0,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_nodes_own_slots() {
        let line = |flags: &str, slots: &str| {
            format!("07c3 127.0.0.1:7000@17000 {flags} - 0 0 1 connected{slots}\n")
        };
        for (text, expected) in [
            (line("myself,master", " 0-2 5 [7->-aa] [8-<-bb]"), vec![0, 1, 2, 5]),
            (line("master", " 0-2") + &line("myself,master", " 16382-16383"), vec![16382, 16383]),
            (line("myself,slave", ""), vec![]),
            (line("master", " 0-16383") + "vars currentEpoch 6 lastVoteEpoch 0\n", vec![]),
            (String::new(), vec![]),
            (line("myself,master", " 9-x 65535-65535"), vec![]),
        ] {
            assert_eq!(own_slots(&text).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn reads_the_marker_that_it_wrote() {
        for formed in [false, true] {
            let marker = Marker {
                formed,
                layout: Layout { masters: 3, replicas: 1, base_port: 7000, tls: formed },
            };
            assert_eq!(Marker::read(&marker.write()), Some(marker));
        }
        for broken in [
            "",
            "formed = true",
            "masters = 3\nreplicas = -1\nbase_port = 7000\nformed = true",
            "{",
        ] {
            assert_eq!(Marker::read(broken), None, "{broken}");
        }
    }

    #[test]
    fn removes_temporary_folders_that_nobody_uses() {
        let parent = tempfile::tempdir().unwrap();
        let old = std::time::SystemTime::now() - ABANDONED_AFTER * 2;
        let mut held = Vec::new();
        for (name, locked, age, kept) in [
            ("slotway-up-abandoned", false, Some(old), false),
            ("slotway-up-in-use", true, Some(old), true),
            ("slotway-up-young", false, Some(std::time::SystemTime::now()), true),
            ("slotway-up-without-lock", false, None, true),
            ("something-else", false, Some(old), true),
        ] {
            let dir = parent.path().join(name);
            std::fs::create_dir(&dir).unwrap();
            if let Some(age) = age {
                let file = lock(&dir).unwrap();
                file.set_modified(age).unwrap();
                held.extend(locked.then_some(file));
            }
            remove_abandoned(parent.path());
            assert_eq!(dir.exists(), kept, "{name}");
        }
    }

    #[test]
    fn fills_in_every_name_of_the_template() {
        let text = render(7003, Duration::from_millis(1500), false);
        for line in
            ["port 7003", "cluster-port 17003", "cluster-node-timeout 1500", "bind 127.0.0.1"]
        {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(
            text.lines().all(|line| line.starts_with('#') || !line.contains(['{', '}'])),
            "{text}"
        );
    }

    #[test]
    fn explains_every_line_of_the_template() {
        let mut previous = "";
        for line in TEMPLATE.lines() {
            if !line.is_empty() && !line.starts_with('#') {
                assert!(previous.starts_with("# "), "{line} has no comment above it");
            }
            previous = line;
        }
    }
}
