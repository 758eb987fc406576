//! What settings must hold together: one row per rule.

use std::net::SocketAddr;

use super::{Backend, Cluster, Limits, Secret, Settings};

/// A rule over several settings.
pub(super) struct Check {
    /// The settings involved. The mistake names the first, and stands where the first of them that
    /// was set was set.
    pub(super) keys: &'static [&'static str],
    /// What is wrong with the first, if anything: the words after its name.
    pub(super) wrong: fn(&Settings) -> Option<String>,
}

pub(super) const CHECKS: &[Check] = &[
    Check {
        keys: &["admin.address", "listen.address"],
        wrong: |s| {
            let clash = overlap(s.admin.address, s.listen.address);
            clash.then(|| format!("takes the port of `listen.address`, {}", s.listen.address))
        },
    },
    Check {
        keys: &["listen.address", "auth.password", "auth.password_file", "auth.allow_open"],
        wrong: |s| protected(s.listen.address, &s.auth.password, s.auth.allow_open),
    },
    Check {
        keys: &["backend.hold_time", "backend.request_timeout"],
        wrong: |s| {
            let Backend { hold_time, request_timeout, .. } = s.backend;
            above(s, hold_time, ("backend.request_timeout", request_timeout))
        },
    },
    Check {
        keys: &["backend.reconnect_min", "backend.reconnect_max"],
        wrong: |s| {
            let Backend { reconnect_min, reconnect_max, .. } = s.backend;
            above(s, reconnect_min, ("backend.reconnect_max", reconnect_max))
        },
    },
    Check {
        keys: &["cluster.refresh_min_interval", "cluster.refresh_interval"],
        wrong: |s| {
            let Cluster { refresh_min_interval, refresh_interval, .. } = &s.cluster;
            above(s, refresh_min_interval, ("cluster.refresh_interval", refresh_interval))
        },
    },
    Check {
        keys: &["limits.bulk_bytes", "limits.request_bytes"],
        wrong: |s| {
            let Limits { bulk_bytes, request_bytes, .. } = s.limits;
            above(s, bulk_bytes, ("limits.request_bytes", request_bytes))
        },
    },
    Check {
        keys: &["limits.inline_bytes", "limits.request_bytes"],
        wrong: |s| {
            let Limits { inline_bytes, request_bytes, .. } = s.limits;
            above(s, inline_bytes, ("limits.request_bytes", request_bytes))
        },
    },
];

/// Port 0 is any free port, so it clashes with nothing.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let same_host =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_host
}

fn protected(address: SocketAddr, password: &Secret, allow_open: bool) -> Option<String> {
    let loopback = address.ip().to_canonical().is_loopback();
    (!loopback && password.is_empty() && !allow_open).then(|| {
        "is open to other machines without a password: set `auth.password` or \
         `auth.password_file`, or allow it with `auth.allow_open = true`"
            .to_owned()
    })
}

fn above<T: PartialOrd>(settings: &Settings, value: T, (path, limit): (&str, T)) -> Option<String> {
    let shown = Settings::key(path).map_or(String::new(), |key| (key.show)(settings));
    (value > limit).then(|| format!("must not exceed `{path}`, which is {shown}"))
}
