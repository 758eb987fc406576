//! Applications that bring their own use of Redis, each with what README says that it needs.

use std::path::Path;

use crate::harness::{Cluster, Gateway, Shape};
use crate::script::{is_installed, node, passes, php, python, ruby};

/// Debian's packages of Laravel's queue.
const LARAVEL: &str = "php-cli php-redis php-illuminate-queue php-illuminate-redis";

fn gateway() -> Gateway {
    Gateway::before(Cluster::shared()).workers(2).start()
}

#[test]
fn celery() {
    let gateway = gateway();
    let mut command = python("celery_app.py", &gateway);
    command.env("CELERY_PREFIX", "{celery}");
    passes(command);
}

#[test]
fn rq() {
    // A job moves between lists of different slots, and a job that waits for others watches all of them.
    let gateway = Gateway::before(Cluster::shared())
        .workers(2)
        .setting("routing.cross_slot", "move")
        .setting("routing.transactions", "best-effort")
        .start();
    passes(python("rq_app.py", &gateway));
}

#[test]
fn huey() {
    let gateway = gateway();
    passes(python("huey_app.py", &gateway));
}

#[test]
fn django_redis() {
    // `cache.clear()` is FLUSHDB: it empties a cluster of its own.
    let shape = Shape { primaries: 3, replicas: 0, node_timeout_ms: 15_000 };
    let cluster = Cluster::start(shape);
    let gateway = Gateway::before(&cluster).workers(2).start();
    passes(python("django_cache.py", &gateway));
}

#[test]
fn python_socketio() {
    let gateway = gateway();
    passes(python("socketio_app.py", &gateway));
}

#[test]
fn sidekiq() {
    if !is_installed("sidekiq") {
        println!("no sidekiq on this machine: not tested (Debian: apt-get install ruby-sidekiq)");
        return;
    }
    let gateway = gateway();
    passes(ruby("sidekiq_app.rb", &gateway));
}

#[test]
fn laravel_queue() {
    if !Path::new("/usr/share/php/Illuminate/Queue").is_dir() {
        println!("no Laravel on this machine: not tested (Debian: apt-get install {LARAVEL})");
        return;
    }
    let gateway = gateway();
    let mut command = php("laravel_queue.php", &gateway);
    command.env("LARAVEL_QUEUE", "{default}");
    passes(command);
}

#[test]
fn bullmq() {
    let gateway = gateway();
    passes(node("bullmq.mjs", &gateway));
}

#[test]
fn socket_io() {
    let gateway = gateway();
    passes(node("socketio.mjs", &gateway));
}
