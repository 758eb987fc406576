//! Passwords: read from a file, compared, never shown.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A password. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the plain text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads one line of text, as `echo` writes it. A wrong path can be the password itself, put under the wrong
    /// key, so no reason repeats it.
    ///
    /// # Errors
    /// What is wrong with the file: the words after the name of the setting that names it.
    pub fn read(path: &Path) -> Result<Self, String> {
        const LONGEST: u64 = 64 << 10;
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(LONGEST).read_to_string(&mut text))
            .map_err(|error| format!("names a file that cannot be read: {error}"))?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            return Err("names a file that holds no password".to_owned());
        }
        Ok(Self::new(line))
    }

    /// The plain text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// No password at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(none)" } else { "Secret(***)" })
    }
}
