//! Client libraries as applications use them: in their single-server form, and in their cluster form against a
//! gateway that shows itself as a cluster.

use std::process::Command;

use crate::harness::{Authority, Cluster, Gateway};
use crate::script::{node, passes, python, rust};

fn gateway() -> Gateway {
    Gateway::before(Cluster::shared()).workers(2).start()
}

fn as_a_cluster() -> Gateway {
    Gateway::before(Cluster::shared()).workers(2).setting("listen.present", "cluster").start()
}

/// Runs a client against a gateway that speaks TLS and knows the user `app` by its certificate.
fn passes_over_tls(client: impl Fn(&Gateway) -> Command) {
    let authority = Authority::new();
    let (own, app) = (authority.certify("gateway"), authority.certify("app"));
    let users = tempfile::NamedTempFile::new().unwrap();
    let rules = "user default on >secret ~* &* +@all\nuser app on >unused ~* &* +@all\n";
    std::fs::write(&users, rules).unwrap();
    let gateway = Gateway::before(Cluster::shared())
        .workers(2)
        .setting("auth.users_file", users.path())
        .setting("listen.tls_certificate_file", &own.certificate)
        .setting("listen.tls_key_file", &own.key)
        .setting("listen.tls_client_certificates", "optional")
        .setting("listen.tls_client_ca_file", authority.certificate())
        .setting("listen.tls_client_user", "CN")
        .start();
    let mut command = client(&gateway);
    command.env("TLS_CA", authority.certificate());
    command.env("TLS_CERTIFICATE", &app.certificate).env("TLS_KEY", &app.key);
    passes(command);
}

#[test]
fn redis_py_over_tls() {
    passes_over_tls(|gateway| python("redis_tls.py", gateway));
}

#[test]
fn ioredis_over_tls() {
    passes_over_tls(|gateway| node("ioredis_tls.mjs", gateway));
}

#[test]
fn redis_py() {
    let gateway = gateway();
    passes(python("redis_py.py", &gateway));
}

#[test]
fn redis_py_with_asyncio() {
    let gateway = gateway();
    passes(python("redis_asyncio.py", &gateway));
}

#[test]
fn redis_py_with_its_cache() {
    let gateway = gateway();
    passes(python("redis_cache.py", &gateway));
}

#[test]
fn redis_py_cluster() {
    let gateway = as_a_cluster();
    passes(python("redis_cluster.py", &gateway));
}

#[test]
fn ioredis() {
    let gateway = gateway();
    passes(node("ioredis.mjs", &gateway));
}

#[test]
fn ioredis_cluster() {
    let gateway = as_a_cluster();
    passes(node("ioredis_cluster.mjs", &gateway));
}

#[test]
fn node_redis() {
    let gateway = gateway();
    passes(node("node_redis.mjs", &gateway));
}

#[test]
fn rust_redis() {
    let gateway = gateway();
    passes(rust("redis", &gateway));
}

#[test]
fn rust_fred() {
    let gateway = gateway();
    passes(rust("fred", &gateway));
}
