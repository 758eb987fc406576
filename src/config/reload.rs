//! New settings in a running gateway: what of them holds at once, and what waits for a restart.

use super::check::CHECKS;
use super::{Mistake, Mistakes, Place, Settings};

impl Settings {
    /// What becomes of these settings when `wanted` is loaded in a running gateway.
    pub fn reload(&self, wanted: &Self) -> Reload {
        let mut settings = wanted.clone();
        for key in Self::KEYS.iter().filter(|key| key.needs_restart) {
            (key.copy)(self, &mut settings);
        }
        let changed = self.differences(&settings);
        let waiting = settings.differences(wanted);
        Reload { settings, changed, waiting }
    }

    /// What `other` changes, one line per setting: `key: old → new`, passwords masked.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        Self::KEYS
            .iter()
            .filter(|key| !(key.same)(self, other))
            .map(|key| format!("{}: {} → {}", key.path, (key.show)(self), (key.show)(other)))
            .collect()
    }
}

/// What a reload comes to.
#[derive(Debug)]
pub struct Reload {
    /// What holds from now on: as wanted, except for what waits for a restart.
    pub settings: Settings,
    /// What changes, one line per setting, passwords masked.
    pub changed: Vec<String>,
    /// What would change with a restart.
    pub waiting: Vec<String>,
}

impl Reload {
    /// Whether what holds from now on still fits together: what waits for a restart may not fit what does not.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), Mistakes> {
        let wrong = CHECKS.iter().filter_map(|check| {
            let text = (check.wrong)(&self.settings)?;
            let key = check.keys.first()?;
            let text = format!("`{key}` {text} (before a restart)");
            Some(Mistake { place: Place::Nowhere, text })
        });
        let wrong: Vec<Mistake> = wrong.collect();
        if wrong.is_empty() { Ok(()) } else { Err(Mistakes(wrong)) }
    }
}
