//! Log lines: to standard error, as text for people and as JSON for machines.

use std::io::{IsTerminal, stderr};

use anyhow::{Context, anyhow};
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt};
use tracing_subscriber::reload::{Handle, Layer};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, registry};

use super::repeats::Repeats;
use crate::config::{Log, LogFormat};

/// Starts logging for the whole process. Standard output stays free for the line that says that
/// the gateway is ready.
pub fn start(log: &Log) -> anyhow::Result<Levels> {
    let (subscriber, levels) = subscriber(log, stderr().is_terminal(), stderr)?;
    subscriber.try_init().map_err(|error| anyhow!("logging cannot start: {error}"))?;
    Ok(levels)
}

/// What is logged, for whoever wants to change it.
#[derive(Clone)]
pub struct Levels {
    filter: Handle<EnvFilter, Registry>,
    pub(super) repeats: Repeats,
}

impl Levels {
    /// These levels hold from now on.
    ///
    /// # Errors
    /// They cannot be used.
    pub(super) fn set(&self, level: &str) -> anyhow::Result<()> {
        Ok(self.filter.reload(filter(level)?)?)
    }
}

fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(level).with_context(|| format!("`log.level` {level:?} cannot be used"))
}

fn subscriber<W>(
    log: &Log,
    terminal: bool,
    writer: W,
) -> anyhow::Result<(Box<dyn Subscriber + Send + Sync>, Levels)>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = Layer::new(filter(&log.level)?);
    let lines = fmt::layer().with_writer(writer);
    // On a terminal the library's default stands: colours, unless NO_COLOR is set.
    let lines = if terminal { lines } else { lines.with_ansi(false) };
    let json = match log.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let lines = if json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
    let levels = Levels { filter: handle, repeats: Repeats::default() };
    let subscriber = registry().with(filter).with(levels.repeats.clone()).with(lines);
    Ok((Box::new(subscriber), levels))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written when every level and two rooms have something to say.
    fn written(level: &str, format: LogFormat, terminal: bool) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = Log { level: level.to_owned(), format };
        let (subscriber, _) = subscriber(&log, terminal, file.reopen().unwrap()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!(target: "slotway::backend", node = 7, "dialled");
            tracing::info!(target: "slotway::session", "accepted");
            tracing::warn!(target: "slotway::session", "slow");
        });
        std::fs::read_to_string(file.path()).unwrap()
    }

    #[test]
    fn levels_go_by_room() {
        for (level, messages) in [
            ("info", "accepted slow"),
            ("warn", "slow"),
            ("off", ""),
            ("warn,slotway::backend=debug", "dialled slow"),
            ("info,slotway::session=off", ""),
        ] {
            let text = written(level, LogFormat::Json, false);
            let shown: Vec<String> = text
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
                .map(|line| line["message"].as_str().unwrap().to_owned())
                .collect();
            assert_eq!(shown.join(" "), messages, "at {level}");
        }
    }

    #[test]
    fn a_flood_from_one_place_is_cut_and_told_of() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = Log { level: "debug".to_owned(), format: LogFormat::Json };
        let (subscriber, levels) = subscriber(&log, false, file.reopen().unwrap()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..10_000 {
                tracing::warn!(number, "flood");
                tracing::warn!(target: "audit", "audited");
                tracing::debug!("detail");
            }
            tracing::warn!("rare");
            levels.repeats.tell();
            levels.repeats.tell();
        });
        let text = std::fs::read_to_string(file.path()).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let said = |message: &str| lines.iter().filter(|line| line["message"] == message).count();
        assert_eq!((said("audited"), said("detail"), said("rare")), (10_000, 10_000, 1));
        let told: Vec<_> = lines.iter().filter(|line| line["like"] == "flood").collect();
        let written = said("flood");
        assert!(written < 10_000, "nothing was left out");
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["lines"], 10_000 - written);
    }

    #[test]
    fn json_unless_on_a_terminal() {
        for (format, terminal, json) in [
            (LogFormat::Auto, true, false),
            (LogFormat::Auto, false, true),
            (LogFormat::Text, false, false),
            (LogFormat::Json, true, true),
        ] {
            let text = written("debug", format, terminal);
            let first = text.lines().next().unwrap();
            let parsed = serde_json::from_str::<serde_json::Value>(first);
            assert_eq!(parsed.is_ok(), json, "{format:?}, terminal {terminal}: {first}");
            assert!(first.contains("dialled"), "{first}");
            assert!(terminal || !text.contains('\x1b'), "colours beyond a terminal: {text}");
        }
    }
}
