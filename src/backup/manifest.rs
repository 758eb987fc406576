//! The manifest of a backup: what it holds, and by what that is proven. A backup is whole once its manifest stands.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::cluster::slot_range;

use super::rdb::Counts;

/// The form that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The form of the manifest.
    format: u32,
    /// Of slotway.
    written_by: String,
    /// The folder's name, which begins with the time of its start.
    pub(super) name: String,
    /// RFC 3339, in UTC.
    pub(super) started: String,
    pub(super) finished: String,
    /// In the order of their lowest slots.
    pub(super) shards: Vec<Part>,
}

/// One shard's part of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// Beside the manifest.
    pub(super) file: String,
    pub(super) bytes: u64,
    /// Of the whole file, in hexadecimal digits.
    pub(super) sha256: String,
    /// The file's own checksum, likewise; absent if the server makes none.
    pub(super) crc64: Option<String>,
    /// How the file begins: `REDIS0010`.
    pub(super) rdb: String,
    pub(super) holds: Option<Counts>,
    /// As `CLUSTER NODES` writes them.
    pub(super) slots: Vec<String>,
    /// The node that the file comes from.
    pub(super) node: String,
    pub(super) node_id: String,
    pub(super) role: Role,
    /// Such as `Redis 7.0.15`.
    pub(super) server: String,
    /// Where in the stream of writes it was taken.
    pub(super) replication_id: String,
    pub(super) offset: u64,
}

/// What the node was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    Primary,
    Replica,
}

/// Why a text is no manifest.
#[derive(Debug, thiserror::Error)]
pub(super) enum ManifestError {
    #[error("it cannot be read: {0}")]
    Text(#[from] serde_json::Error),
    #[error("its format is {0}, and this version knows {FORMAT}")]
    Format(u32),
    #[error("it names {0:?}, which is no file beside it")]
    File(String),
    #[error("{0:?} is no range of slots")]
    Slots(String),
}

impl Manifest {
    /// Of a backup that begins now and has nothing yet.
    pub(super) fn begin(now: SystemTime) -> Self {
        Self {
            format: FORMAT,
            written_by: format!("slotway {}", env!("CARGO_PKG_VERSION")),
            name: name_of(now),
            started: time_text(now),
            finished: String::new(),
            shards: Vec::new(),
        }
    }

    pub(super) fn finish(&mut self, now: SystemTime) {
        self.finished = time_text(now);
    }

    pub(super) fn write(&self) -> Result<Vec<u8>, ManifestError> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads one that somebody may have changed: what it names stays beside it.
    pub(super) fn read(text: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let Version { format } = serde_json::from_slice(text)?;
        if format != FORMAT {
            return Err(ManifestError::Format(format));
        }
        let manifest: Self = serde_json::from_slice(text)?;
        for part in &manifest.shards {
            let is_plain =
                |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || c == '.';
            if !part.file.chars().all(is_plain) || !part.file.ends_with(".rdb") {
                return Err(ManifestError::File(part.file.clone()));
            }
            part.ranges()?;
        }
        Ok(manifest)
    }

    /// When it was begun.
    pub(super) fn time(&self) -> Option<SystemTime> {
        humantime::parse_rfc3339(&self.started).ok()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.shards.iter().map(|part| part.bytes).sum()
    }
}

impl Part {
    /// Its slots, each from the first to the last.
    pub(super) fn ranges(&self) -> Result<Vec<std::ops::RangeInclusive<u16>>, ManifestError> {
        let range =
            |text: &String| slot_range(text).ok_or_else(|| ManifestError::Slots(text.clone()));
        self.slots.iter().map(range).collect()
    }
}

/// `20261124T123456.789Z`: in the order of time also when sorted as text.
fn name_of(time: SystemTime) -> String {
    time_text(time).chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

/// Whether a folder may be a backup's, by its name.
pub(super) fn is_name(text: &str) -> bool {
    let form = text.bytes().zip(*b"00000000T000000.000Z");
    text.len() == 20
        && form.into_iter().all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            mark => byte == mark,
        })
}

fn time_text(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn manifest() -> Manifest {
        let mut manifest = Manifest::begin(UNIX_EPOCH + Duration::from_millis(1_795_523_696_700));
        manifest.finish(UNIX_EPOCH + Duration::from_secs(1_795_523_700));
        manifest.shards.push(Part {
            file: "shard-1.rdb".to_owned(),
            bytes: 7,
            sha256: "00".to_owned(),
            crc64: None,
            rdb: "REDIS0010".to_owned(),
            holds: Some(Counts { keys: 2, expiring: 1, functions: 0 }),
            slots: vec!["0-5460".to_owned(), "9000".to_owned()],
            node: "127.0.0.1:7003".to_owned(),
            node_id: "id".to_owned(),
            role: Role::Replica,
            server: "Redis 7.0.15".to_owned(),
            replication_id: "id".to_owned(),
            offset: 9,
        });
        manifest
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let manifest = manifest();
        assert_eq!(manifest.name, "20261124T123456.700Z");
        assert!(is_name(&manifest.name));
        assert_eq!(manifest.started, "2026-11-24T12:34:56.700Z");
        assert_eq!(Manifest::read(&manifest.write().unwrap()).unwrap(), manifest);
        assert_eq!(manifest.shards[0].ranges().unwrap(), [0..=5460, 9000..=9000]);
    }

    #[test]
    fn what_it_names_stays_beside_it() {
        let text = String::from_utf8(manifest().write().unwrap()).unwrap();
        for (was, put, why) in [
            ("shard-1.rdb", "../x.rdb", "no file beside it"),
            ("shard-1.rdb", "/etc/passwd", "no file beside it"),
            ("shard-1.rdb", "manifest.json", "no file beside it"),
            ("0-5460", "0-16384", "no range of slots"),
            ("0-5460", "7-3", "no range of slots"),
            ("\"format\": 1", "\"format\": 2", "its format is 2"),
            ("\"offset\"", "\"offest\"", "cannot be read"),
        ] {
            let broken = text.replace(was, put);
            let error = Manifest::read(broken.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{put}: {error}");
        }
    }

    #[test]
    fn names_of_backups_are_told_from_others() {
        for name in
            ["", "20261124T123456Z", "20261124-123456.789Z", "backup", "2026112xT123456.789Z"]
        {
            assert!(!is_name(name), "{name}");
        }
    }
}
