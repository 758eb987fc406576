//! Who may do what, from where, and with which version.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::super::facts::{Facts, Node};
use super::super::{Finding, Severity};
use super::found;

/// Redis before this version gets no fixes any more.
const OLDEST_FIXED: (u64, u64) = (7, 2);

/// A certificate that expires within this time should have been renewed.
const RENEWED_BEFORE_DAYS: i64 = 14;
const DAY: i64 = 24 * 3600;

pub(super) fn cluster(facts: &Facts) -> Vec<Finding> {
    versions(facts).into_iter().collect()
}

fn versions(facts: &Facts) -> Option<Finding> {
    let versions: BTreeSet<String> = facts.nodes.iter().map(version).collect();
    (versions.len() > 1).then(|| Finding {
        severity: Severity::Warning,
        check: "version-skew",
        node: String::new(),
        what: format!("nodes run different versions: {}", Vec::from_iter(versions).join(", ")),
        cause: "an upgrade is under way or was not completed".to_owned(),
        cure: "upgrade replicas first, fail over to them, then upgrade the rest".to_owned(),
    })
}

fn version(node: &Node) -> String {
    match node.info("valkey_version") {
        "" => format!("Redis {}", node.info("redis_version")),
        version => format!("Valkey {version}"),
    }
}

pub(super) fn old(node: &Node) -> Option<Finding> {
    if !node.info("valkey_version").is_empty() {
        return None;
    }
    let mut numbers = node.info("redis_version").split('.').map(|number| number.parse().ok());
    let (major, minor) = (numbers.next()??, numbers.next()??);
    ((major, minor) < OLDEST_FIXED).then(|| {
        found(
            node,
            (Severity::Advice, "version-old"),
            [
                format!("runs {}", version(node)),
                "its makers no longer mend this version; distributions may".to_owned(),
                "follow your distribution's security updates, or move to Redis 7.2 or newer, or to Valkey".to_owned(),
            ],
        )
    })
}

/// The rules of the default user.
fn default_user(node: &Node) -> Option<Vec<&str>> {
    let rules = node.users.iter().find_map(|user| user.strip_prefix("user default "))?;
    Some(rules.split(' ').collect())
}

pub(super) fn open_user(node: &Node) -> Option<Finding> {
    let rules = default_user(node)?;
    (rules.contains(&"on") && rules.contains(&"nopass")).then(|| {
        let severity =
            if listens_beyond(node) { Severity::Critical } else { Severity::Warning };
        found(
            node,
            (severity, "no-password"),
            [
                "lets anybody in as the default user, without a password".to_owned(),
                "requirepass is not set, and no ACL rule says otherwise".to_owned(),
                "set requirepass and masterauth, or an ACL; give slotway the password with cluster.password_file".to_owned(),
            ],
        )
    })
}

pub(super) fn dangerous_open(node: &Node) -> Option<Finding> {
    let rules = default_user(node)?;
    let all = rules.contains(&"on") && rules.contains(&"+@all");
    (all && !rules.contains(&"-@dangerous")).then(|| {
        found(
            node,
            (Severity::Advice, "dangerous-open"),
            [
                "its default user may run KEYS, FLUSHALL, FLUSHDB, SHUTDOWN and the like".to_owned(),
                "the default user has +@all".to_owned(),
                "let applications connect through the gateway with a user without @dangerous (see config/users.acl), or take it away here".to_owned(),
            ],
        )
    })
}

fn listens_beyond(node: &Node) -> bool {
    let binds = node.setting("bind").split(' ').filter(|bind| !bind.is_empty());
    let is_loopback = |bind: &str| {
        let bind = bind.trim_start_matches('-');
        bind.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    binds.into_iter().any(|bind| !is_loopback(bind))
}

pub(super) fn exposed(node: &Node) -> Option<Finding> {
    (listens_beyond(node) && node.setting("protected-mode") == "no").then(|| {
        found(
            node,
            (Severity::Warning, "exposed"),
            [
                format!("listens on {} with protected-mode off", node.setting("bind")),
                "whoever reaches the port may try to log in, or needs not even that without a password".to_owned(),
                "bind private interfaces only, close the port to everybody but gateways and nodes, keep protected-mode on".to_owned(),
            ],
        )
    })
}

pub(super) fn plain(node: &Node) -> Option<Finding> {
    (listens_beyond(node) && node.setting("tls-port") == "0").then(|| {
        found(
            node,
            (Severity::Advice, "no-tls"),
            [
                "does not speak TLS".to_owned(),
                "passwords and data cross the network as they are".to_owned(),
                "set tls-port, tls-cluster and tls-replication, and cluster.tls of slotway"
                    .to_owned(),
            ],
        )
    })
}

pub(super) fn certificate(node: &Node) -> Option<Finding> {
    let days = node.certificate_left? / DAY;
    (days < RENEWED_BEFORE_DAYS).then(|| {
        found(
            node,
            (Severity::Warning, "certificate-expires"),
            [
                format!("its certificate expires in {days} days"),
                "it was not renewed; once it has expired, nobody who checks it connects".to_owned(),
                "put a new certificate in tls-cert-file, then CONFIG SET tls-cert-file to the same path to load it".to_owned(),
            ],
        )
    })
}
