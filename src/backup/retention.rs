//! Which backups have had their time.

use std::time::{Duration, SystemTime};

use clap::Args;

use super::manifest::Manifest;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What to keep. With both rules, a backup goes only if neither keeps it. Without one, all stay.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Retention {
    /// After a backup was taken, delete all but the N newest.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,
    /// After a backup was taken, delete those that are older than N days.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep_days: Option<u32>,
}

impl Retention {
    /// Of the whole backups, those to delete: never the newest, which has just been taken.
    pub(super) fn outdated(
        self,
        manifests: &[Manifest],
        now: SystemTime,
    ) -> impl Iterator<Item = &Manifest> {
        let mut newest_first: Vec<&Manifest> = manifests.iter().collect();
        newest_first.sort_by(|one, other| other.name.cmp(&one.name));
        let Self { keep, keep_days } = self;
        let rules = keep.is_some() || keep_days.is_some();
        newest_first.into_iter().enumerate().skip(1).filter_map(move |(place, manifest)| {
            let by_number = keep.is_some_and(|keep| place < keep as usize);
            // One whose time is not known is not old.
            let age = manifest.time().and_then(|time| now.duration_since(time).ok());
            let by_age = keep_days.is_some_and(|days| age.is_none_or(|age| age <= DAY * days));
            (rules && !by_number && !by_age).then_some(manifest)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_backup_goes_when_no_rule_keeps_it() {
        let day = |day: u32| UNIX_EPOCH + DAY * day;
        let all: Vec<Manifest> = [12, 10, 13, 1].map(|n| Manifest::begin(day(n))).into();
        let outdated = |keep, keep_days| -> Vec<u32> {
            let retention = Retention { keep, keep_days };
            let gone = retention.outdated(&all, day(14));
            let time = |one: &Manifest| one.time().unwrap().duration_since(UNIX_EPOCH).unwrap();
            gone.map(|one| (time(one).as_secs() / DAY.as_secs()) as u32).collect()
        };
        assert_eq!(outdated(None, None), [0; 0]);
        assert_eq!(outdated(Some(2), None), [10, 1]);
        assert_eq!(outdated(Some(9), None), [0; 0]);
        assert_eq!(outdated(None, Some(4)), [1]);
        assert_eq!(outdated(Some(3), Some(1)), [1]);
        assert_eq!(outdated(Some(1), Some(2)), [10, 1]);
        // The newest stays, however old it is.
        assert_eq!(outdated(Some(1), None), [12, 10, 1]);
        assert_eq!(
            Retention { keep: None, keep_days: Some(1) }.outdated(&all[..1], day(99)).count(),
            0
        );
    }
}
