//! A reload: settings, users, certificates and passwords are read again, and all of them taken over, or none.

use std::rc::Rc;
use std::sync::Arc;

use crate::admin::{self, Readiness};
use crate::config::{Mistake, Mistakes, Place, Reload, Settings};
use crate::session::{Access, Gateway};

use super::certificates::{Certificates, Read};
use super::logging::Levels;

/// What a running gateway needs to do again what was done at its start.
pub struct Again {
    /// Reads all settings from where they came.
    pub settings: Box<dyn Fn() -> Result<Settings, Mistakes>>,
    /// What is logged.
    pub levels: Levels,
    /// Whether the same command line, run again, may take this gateway's place.
    pub may_hand_over: bool,
}

/// Everything that a reload reaches.
pub(super) struct Reloading {
    pub(super) again: Again,
    pub(super) gateway: Arc<Gateway>,
    pub(super) certificates: Rc<Certificates>,
    pub(super) readiness: Arc<Readiness>,
    /// Where it is told how a hand-over went.
    pub(super) pages: Rc<admin::State>,
}

impl Reloading {
    /// Reads everything again. What is wrong changes nothing, and all of it is logged.
    pub(super) fn run(&self) {
        let outcome = self.load();
        self.gateway.metrics.settings_reloaded(outcome.is_ok());
        match outcome {
            Ok(Reload { changed, waiting, .. }) => tracing::info!(
                changed = changed.join(", "),
                needs_restart = waiting.join(", "),
                "settings, users, certificates and passwords loaded again"
            ),
            Err(Mistakes(mistakes)) => {
                for mistake in &mistakes {
                    tracing::error!(%mistake, "a mistake in what was to be loaded again");
                }
                tracing::error!(
                    mistakes = mistakes.len(),
                    "settings, users, certificates and passwords stay as they are"
                );
            }
        }
    }

    fn load(&self) -> Result<Reload, Mistakes> {
        let wanted = (self.again.settings)()?;
        let reload = self.gateway.settings().reload(&wanted);
        let mut mistakes = reload.check().err().map_or_else(Vec::new, |wrong| wrong.0);
        let certificates = Read::new(&reload.settings.listen, &reload.settings.cluster);
        let users = Access::open(&reload.settings);
        if let Err(error) = &certificates {
            mistakes.push(Mistake { place: Place::Nowhere, text: error.to_string() });
        }
        if let Err(Mistakes(wrong)) = &users {
            mistakes.extend(wrong.iter().cloned());
        }
        let (Ok(certificates), Ok(users), true) = (certificates, users, mistakes.is_empty()) else {
            return Err(Mistakes(mistakes));
        };
        let settings = &reload.settings;
        if let Err(error) = self.again.levels.set(&settings.log.level) {
            let text = format!("{error:#}");
            return Err(Mistakes(vec![Mistake { place: Place::Nowhere, text }]));
        }
        self.certificates.take(certificates);
        self.gateway.take_users(&users);
        self.gateway.logins_changed();
        self.gateway.limit_users(&settings.limits);
        self.gateway.metrics.sessions_limited(settings.limits.max_clients);
        self.readiness.require(settings.admin.ready_share);
        self.gateway.metrics.ready(self.readiness.verdict().ready);
        self.gateway.live.replace(settings.clone());
        let gateway = self.gateway.clone();
        tokio::task::spawn_local(async move { gateway.expel().await });
        Ok(reload)
    }
}
