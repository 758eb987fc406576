//! How much of something a second, and how much of it at once.

use super::super::given::{Given, Wrong};
use super::Kind;

/// How much of something a second, and how much of it at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: usize,
    /// After a pause.
    pub burst: usize,
}

/// Stands between what is usual and what may come at once.
const BURST: &str = " burst ";

/// So many of a kind a second.
pub(in crate::config) struct PerSecond<K>(pub(in crate::config) K);

impl<K: Kind<usize>> Kind<Rate> for PerSecond<K> {
    fn expects(&self) -> String {
        let most = self.0.expects();
        format!("{most}, or two of them such as \"1000 burst 5000\"")
    }

    fn read(&self, given: &Given<'_>) -> Result<Rate, Vec<Wrong>> {
        let Some((usual, burst)) = given.text().and_then(|text| text.split_once(BURST)) else {
            let per_second = self.0.read(given)?;
            return Ok(Rate { per_second, burst: per_second });
        };
        let read =
            |part: &str| self.0.read(&Given::Text(part.trim())).map_err(|_| vec![given.wrong()]);
        Ok(Rate { per_second: read(usual)?, burst: read(burst)? })
    }

    fn show(&self, value: &Rate) -> String {
        let part = |value| self.0.show(value).trim_matches('"').to_owned();
        format!("\"{}{BURST}{}\"", part(&value.per_second), part(&value.burst))
    }
}
