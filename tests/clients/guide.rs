//! What the guide to Redis Cluster shows under "Common Operations", "Client Code Examples" and "Caching Patterns",
//! unchanged but for the port. Where it uses a cluster client, the plain client of the same library does it too.
//!
//! Each run has keys of its own: a small cluster per kind of client.

use std::process::Command;

use crate::harness::{Cluster, Gateway};
use crate::script::{node, passes, python};

const PASSWORD: &str = "your-password";

fn with_a_plain_client(run: impl Fn(&Gateway) -> Command) {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).setting("auth.password", PASSWORD).start();
    let mut command = run(&gateway);
    command.env("GUIDE_CLIENT", "plain");
    passes(command);
}

fn with_a_cluster_client(run: impl Fn(&Gateway) -> Command) {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster)
        .setting("auth.password", PASSWORD)
        .setting("listen.present", "cluster")
        .start();
    let mut command = run(&gateway);
    command.env("GUIDE_CLIENT", "cluster");
    passes(command);
}

#[test]
fn common_operations() {
    with_a_plain_client(|gateway| python("../guide/operations.py", gateway));
}

#[test]
fn common_operations_as_a_cluster() {
    with_a_cluster_client(|gateway| python("../guide/operations.py", gateway));
}

#[test]
fn python_example() {
    with_a_plain_client(|gateway| python("../guide/client.py", gateway));
}

#[test]
fn python_example_as_a_cluster() {
    with_a_cluster_client(|gateway| python("../guide/client.py", gateway));
}

#[test]
fn node_example() {
    with_a_plain_client(|gateway| node("client.mjs", gateway));
}

#[test]
fn node_example_as_a_cluster() {
    with_a_cluster_client(|gateway| node("client.mjs", gateway));
}

#[test]
fn caching_patterns() {
    with_a_plain_client(|gateway| python("../guide/caching.py", gateway));
}
