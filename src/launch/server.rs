//! Which program the nodes run, whether it is new enough, and how to get one where there is none.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::LaunchError;

/// Programs looked for on the PATH, in this order. Redis comes first because a machine with both has
/// Valkey's under its own name, and `redis-server` is the one that its user set up on purpose.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

/// The oldest version that knows `CLUSTER ADDSLOTSRANGE`, `cluster-port` and `shutdown-timeout`.
const OLDEST: (u32, u32) = (7, 0);

/// A server program that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Absolute, symbolic links kept: some systems install one program under several names, and it looks
    /// at the name it was called by.
    pub(super) path: PathBuf,
    /// As it says of itself.
    pub(super) version: String,
}

impl Server {
    /// The program given, a bare name looked for on the PATH as a shell does; or the first on the PATH that is
    /// new enough.
    pub(super) fn find(given: Option<&Path>) -> Result<Self, LaunchError> {
        if let Some(path) = given {
            let bare = path.components().count() == 1;
            let found = bare.then(|| on_path(path).into_iter().next()).flatten();
            return Self::examine(found.as_deref().unwrap_or(path));
        }
        let mut refused = None;
        for path in PROGRAMS.iter().flat_map(|program| on_path(Path::new(program))) {
            match Self::examine(&path) {
                Ok(server) => return Ok(server),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.unwrap_or_else(|| {
            let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
            LaunchError::NoServer(install_hint(&system, cfg!(target_os = "macos")))
        }))
    }

    fn examine(path: &Path) -> Result<Self, LaunchError> {
        let path = std::path::absolute(path)
            .map_err(LaunchError::system(format_args!("find {}", path.display())))?;
        let refuse = |reason: String| LaunchError::NotAServer { path: path.clone(), reason };
        let answer = Command::new(&path)
            .arg("--version")
            .output()
            .map_err(|error| refuse(format!("it does not run ({error})")))?;
        let Some(version) = version_in(&String::from_utf8_lossy(&answer.stdout)) else {
            return Err(refuse("its --version is not that of a server".to_owned()));
        };
        match number(&version) {
            Some(number) if number >= OLDEST => Ok(Self { path, version }),
            _ => Err(LaunchError::TooOld { path, version }),
        }
    }
}

fn on_path(program: &Path) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::env::split_paths(&path).map(|folder| folder.join(program));
    candidates.filter(|candidate| candidate.is_file()).collect()
}

/// The version in `Redis server v=7.0.15 sha=...` or `Valkey server v=8.0.1 sha=...`.
fn version_in(text: &str) -> Option<String> {
    let (_, after) = text.split_once("erver v=")?;
    after.split_whitespace().next().map(str::to_owned)
}

fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What to type on this system, known from the text of `/etc/os-release`.
fn install_hint(os_release: &str, macos: bool) -> String {
    if macos {
        return "install one with: brew install redis".to_owned();
    }
    let mut families = Vec::new();
    for line in os_release.lines() {
        if let Some(("ID" | "ID_LIKE", value)) = line.split_once('=') {
            families.extend(value.trim_matches('"').split_whitespace().map(str::to_owned));
        }
    }
    let command = families.iter().find_map(|family| match family.as_str() {
        // The package starts a server of its own on the port that the gateway listens on by default.
        "debian" | "ubuntu" => Some(
            "apt-get install redis-server (it also starts a server on port 6379, which slotway wants: \
             systemctl disable --now redis-server)",
        ),
        "alpine" => Some("apk add redis"),
        "fedora" => Some("dnf install valkey"),
        "rhel" | "centos" => Some("dnf install valkey (where there is none: dnf module install redis:7)"),
        "arch" => Some("pacman -S valkey"),
        "suse" | "opensuse" => Some("zypper install valkey"),
        _ => None,
    });
    command.map_or_else(
        || "install Redis 7.0 or later, or Valkey, with this system's package manager".to_owned(),
        |command| format!("install one with: {command}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version() {
        for (text, expected) in [
            (
                "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d",
                Some("7.0.15"),
            ),
            ("Valkey server v=8.1.3 sha=00000000:0 malloc=jemalloc bits=64 build=1", Some("8.1.3")),
            ("Server v=9.0.0 sha=0", Some("9.0.0")),
            ("redis-cli 7.0.15", None),
            ("", None),
        ] {
            assert_eq!(version_in(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn compares_versions_as_numbers() {
        for (version, usable) in [
            ("6.2.14", false),
            ("7.0.0", true),
            ("7.2.4", true),
            ("8.0.1", true),
            ("10.1.0", true),
            ("x", false),
        ] {
            assert_eq!(number(version).is_some_and(|number| number >= OLDEST), usable, "{version}");
        }
    }

    #[test]
    fn knows_the_command_of_each_system() {
        for (os_release, macos, expected) in [
            ("ID=debian\n", false, "apt-get install redis-server"),
            (
                "NAME=Mint\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n",
                false,
                "apt-get install redis-server",
            ),
            ("ID=alpine\n", false, "apk add redis"),
            ("ID=fedora\n", false, "dnf install valkey"),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", false, "dnf module install redis:7"),
            ("", true, "brew install redis"),
            ("ID=plan9\n", false, "this system's package manager"),
        ] {
            let hint = install_hint(os_release, macos);
            assert!(hint.contains(expected), "{os_release}: {hint}");
        }
    }
}
