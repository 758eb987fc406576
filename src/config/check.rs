//! What settings must hold together: one row per rule.

use std::net::SocketAddr;

use super::{
    Auth, Backend, CertificateUser, ClientCertificates, Cluster, Limits, Listen, PubSub, ReadFrom,
    Settings,
};

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
        keys: &[
            "listen.address",
            "auth.password",
            "auth.password_file",
            "auth.users_file",
            "auth.allow_open",
        ],
        wrong: |s| protected(s.listen.address, &s.auth),
    },
    Check {
        keys: &[
            "listen.tls_address",
            "auth.password",
            "auth.password_file",
            "auth.users_file",
            "auth.allow_open",
        ],
        wrong: |s| protected(s.listen.tls_address?, &s.auth),
    },
    Check {
        keys: &["listen.tls_address", "listen.address"],
        wrong: |s| {
            let clash = overlap(s.listen.tls_address?, s.listen.address);
            clash.then(|| format!("takes the port of `listen.address`, {}", s.listen.address))
        },
    },
    Check {
        keys: &["listen.tls_address", "listen.tls_certificate_file"],
        wrong: |s| {
            let bare = s.listen.tls_address.is_some() && s.listen.tls_certificate_file.is_empty();
            bare.then(|| "needs `listen.tls_certificate_file`".to_owned())
        },
    },
    Check {
        keys: &["listen.tls_certificate_file", "listen.tls_key_file"],
        wrong: |s| {
            pair(&s.listen.tls_certificate_file, &s.listen.tls_key_file, "listen.tls_key_file")
        },
    },
    Check {
        keys: &["cluster.tls_certificate_file", "cluster.tls_key_file"],
        wrong: |s| {
            pair(&s.cluster.tls_certificate_file, &s.cluster.tls_key_file, "cluster.tls_key_file")
        },
    },
    Check {
        keys: &["listen.tls_client_certificates", "listen.tls_client_ca_file"],
        wrong: |s| {
            let asked = s.listen.tls_client_certificates != ClientCertificates::Off;
            let blind = asked && s.listen.tls_client_ca_file.is_empty();
            blind.then(|| "needs `listen.tls_client_ca_file`".to_owned())
        },
    },
    Check {
        keys: &["listen.tls_client_user", "listen.tls_client_certificates"],
        wrong: |s| {
            let named = s.listen.tls_client_user != CertificateUser::Off;
            let blind = named && s.listen.tls_client_certificates == ClientCertificates::Off;
            blind.then(|| "needs `listen.tls_client_certificates`".to_owned())
        },
    },
    Check {
        keys: &["listen.announce", "listen.peers"],
        wrong: |s| {
            let Listen { announce, peers, .. } = &s.listen;
            let is_one = announce.as_ref().is_some_and(|announce| peers.contains(announce));
            let stranger = !peers.is_empty() && !is_one;
            stranger.then(|| {
                "must be one of `listen.peers`, as the others know this gateway".to_owned()
            })
        },
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
        keys: &["cluster.read_from", "cluster.zone"],
        wrong: |s| {
            let lost = s.cluster.read_from == ReadFrom::NearestZone && s.cluster.zone.is_empty();
            lost.then(|| "needs `cluster.zone`".to_owned())
        },
    },
    Check {
        keys: &["pubsub.output_soft", "pubsub.output_hard"],
        wrong: |s| {
            let PubSub { output_soft, output_hard, .. } = s.pubsub;
            above(s, output_soft, ("pubsub.output_hard", output_hard))
        },
    },
    Check {
        keys: &["limits.output_soft", "limits.output_hard"],
        wrong: |s| {
            let Limits { output_soft, output_hard, .. } = s.limits;
            above(s, output_soft, ("limits.output_hard", output_hard))
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
    Check { keys: &["traces.endpoint"], wrong: |s| untraceable(&s.traces.endpoint) },
    Check {
        keys: &["routing.stage_prefix"],
        wrong: |s| {
            let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '{' | '}');
            let prefix = &s.routing.stage_prefix;
            let is_sound = !prefix.is_empty() && prefix.chars().all(fits);
            (!is_sound).then(|| "must be visible characters without braces".to_owned())
        },
    },
];

/// Port 0 is any free port, so it clashes with nothing.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let same_host =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_host
}

/// What the users file says is looked at when it is read.
fn protected(address: SocketAddr, auth: &Auth) -> Option<String> {
    let loopback = address.ip().to_canonical().is_loopback();
    let closed = !auth.password.is_empty() || !auth.users_file.is_empty();
    (!loopback && !closed && !auth.allow_open).then(|| {
        "is open to other machines without a password: set `auth.password`, `auth.password_file` or \
         `auth.users_file`, or allow it with `auth.allow_open = true`"
            .to_owned()
    })
}

fn untraceable(endpoint: &str) -> Option<String> {
    if endpoint.is_empty() {
        return None;
    }
    if !cfg!(feature = "traces") {
        return Some("needs a program that is built with the feature `traces`".to_owned());
    }
    let sound = endpoint.parse::<hyper::Uri>().is_ok_and(|uri| {
        uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty())
    });
    (!sound).then(|| {
        "must be a URL such as \"http://127.0.0.1:4318/v1/traces\": TLS is up to a collector on this machine"
            .to_owned()
    })
}

fn above<T: PartialOrd>(settings: &Settings, value: T, (path, limit): (&str, T)) -> Option<String> {
    let shown = Settings::key(path).map_or(String::new(), |key| (key.show)(settings));
    (value > limit).then(|| format!("must not exceed `{path}`, which is {shown}"))
}

/// A certificate and its key are set together or not at all.
fn pair(certificate: &str, key: &str, name: &str) -> Option<String> {
    (certificate.is_empty() != key.is_empty()).then(|| format!("and `{name}` belong together"))
}
