//! Client libraries as applications use them: in their single-server form, and in their cluster form against a
//! gateway that shows itself as a cluster.

use crate::harness::{Cluster, Gateway};
use crate::script::{node, passes, python, rust};

fn gateway() -> Gateway {
    Gateway::before(Cluster::shared()).workers(2).start()
}

fn as_a_cluster() -> Gateway {
    Gateway::before(Cluster::shared()).workers(2).setting("listen.present", "cluster").start()
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
