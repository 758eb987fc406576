//! The status page in a headless Chromium, where there is one: `apt-get install chromium`, then
//! `cargo test --test clients browser`. With `PICTURES=DIR` it keeps what it saw.

use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Cluster, Gateway, key_slot};
use crate::packages;
use crate::script::Script;

/// Debian's browser; others name it in `CHROMIUM`.
fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let found = named.unwrap_or_else(|| PathBuf::from("/usr/bin/chromium"));
    found.exists().then_some(found)
}

#[test]
fn the_status_page_is_looked_at_during_a_failover() {
    let Some(chromium) = chromium() else {
        return eprintln!("no chromium on this machine: nobody looks at the status page");
    };
    let mut cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster).workers(2).start();
    let mut client = gateway.client();
    let lines: Vec<String> =
        (0..2_000).map(|number| format!("SET page:{number} {number}")).collect();
    client.pipeline(&lines);
    let mut command = Command::new("node");
    command.arg(packages::node().join("status_page.mjs"));
    command.env("STATUS_PAGE", format!("http://{}/", gateway.admin())).env("CHROMIUM", chromium);
    let mut script = Script::start(command);
    script.wait_for_text("watching");

    let primary = cluster.owner(key_slot(b"page:0"));
    cluster.node_mut(primary).kill();
    cluster.wait_for_primary(primary + 3);
    client.pipeline(&lines);
    script.wait_for_end();
}
