//! What every end-to-end test stands on: processes that cannot outlive it, servers, gateways, raw clients, fake nodes.
#![allow(
    dead_code,
    unused_imports,
    reason = "the fault harness and the tests with clients share it, and need other parts of it"
)]

mod authority;
mod bucket;
mod cluster;
mod fake;
mod gateway;
mod process;
mod relay;
mod server;
mod serving;
mod site;
mod slots;
mod wire;

pub(crate) use authority::{Authority, Identity, text};
pub(crate) use bucket::Bucket;
pub(crate) use cluster::{Cluster, Shape};
pub(crate) use fake::{Act, FakeCluster};
pub(crate) use gateway::{Builder, Gateway};
pub(crate) use process::Process;
pub(crate) use relay::Relay;
pub(crate) use server::{Make, Server};
pub(crate) use serving::{Serving, has_ended};
pub(crate) use site::Site;
pub(crate) use slots::{key_slot, tag_in_slot};
pub(crate) use wire::{Client, Reply, request, request_line};

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fs, process as os, thread};

/// How long a test waits for anything before it fails. Generous: the machines that run tests are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the condition holds; fails the test, naming what it waited for, when that takes too long.
pub(crate) fn wait_for(what: &str, condition: impl FnMut() -> bool) {
    wait_within(PATIENCE, what, condition);
}

/// As [`wait_for`], with another bound than [`PATIENCE`].
pub(crate) fn wait_within(bound: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + bound;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {bound:?} in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Sets the flag when it is dropped, so that threads that look at it end also when their test fails.
pub(crate) struct StopAtEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A free port below the range that the kernel hands out for outgoing connections, so that it stays free while its
/// server restarts.
pub(crate) fn free_port() -> u16 {
    free_ports(1)
}

/// The first of so many in a row. Nobody here is given the ports 10000 above them, where a local cluster's nodes talk.
pub(crate) fn free_ports(count: u16) -> u16 {
    const LOWEST: u16 = 11_000;
    const SPAN: u16 = 10_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(count, Ordering::Relaxed);
        let start = (os::id() as u16).wrapping_mul(211);
        let first = LOWEST + start.wrapping_add(step) % SPAN;
        if (first..first + count).all(|port| TcpListener::bind(local(port)).is_ok()) {
            return first;
        }
    }
}

/// The port on this machine.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A new folder for one server or gateway. Those that earlier runs left are removed first.
pub(crate) fn new_folder(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e");
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    if number == 0 {
        remove_leftovers(&root);
    }
    let folder = root.join(os::id().to_string()).join(format!("{name}-{number}"));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Removes the folder of a server or gateway that has ended, unless `SLOTWAY_TEST_KEEP` is set: then its log stays until
/// the next run.
fn remove_folder(folder: &Path) {
    if std::env::var_os("SLOTWAY_TEST_KEEP").is_none() {
        // What stays is removed by the next run.
        let _ = fs::remove_dir_all(folder);
    }
}

fn remove_leftovers(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let owner = entry.file_name();
        if !Path::new("/proc").join(&owner).exists() {
            // Another run may be removing the same folder; either way it is gone.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
