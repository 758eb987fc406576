//! `slotway backup` and `slotway restore` on real clusters: what was there comes back, and what is damaged is found.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use slotway::launch::{LocalCluster, Options};

use crate::harness::{
    Bucket, Client, Cluster, Reply, Shape, free_ports, new_folder, request, wait_for,
};

fn slotway(arguments: &[&str], variables: &[(&str, String)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slotway"));
    command.args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
    command.output().unwrap()
}

fn succeeds(arguments: &[&str]) -> String {
    said(&slotway(arguments, &[]))
}

fn said(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Why it was refused.
fn refusal(arguments: &[&str]) -> String {
    let output = slotway(arguments, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Names of the backups in a folder, the oldest first.
fn names(target: &Path) -> Vec<String> {
    let entries = fs::read_dir(target).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// A client of whole clusters, that asks whichever node does not send it elsewhere.
struct Everywhere(Vec<Client>);

impl Everywhere {
    fn at(nodes: &[SocketAddr]) -> Self {
        Self(nodes.iter().map(|node| Client::connect(*node)).collect())
    }

    fn call(&mut self, arguments: &[impl AsRef<[u8]>]) -> Reply {
        let bytes = request(arguments);
        let replies = self.0.iter_mut().map(|client| {
            client.send(&bytes);
            client.reply()
        });
        let mut replies =
            replies.filter(|reply| !(reply.is_error() && reply.text().starts_with("MOVED")));
        replies.next().unwrap()
    }

    fn line(&mut self, line: &str) -> Reply {
        self.call(&line.split(' ').collect::<Vec<_>>())
    }

    /// Every key with its value, its end and its form in memory, in an order that is the same everywhere.
    fn contents(&mut self) -> Contents {
        let mut keys = Vec::new();
        for client in &mut self.0 {
            keys.extend(client.call("KEYS *").items().iter().map(Reply::text));
        }
        let mut contents = BTreeMap::new();
        for key in keys.into_iter().filter(|key| !key.starts_with("load:")) {
            let kind = self.line(&format!("TYPE {key}")).text();
            let (read, is_ordered) = match kind.as_str() {
                "string" => ("GET ?", true),
                "list" => ("LRANGE ? 0 -1", true),
                "set" => ("SMEMBERS ?", false),
                "hash" => ("HGETALL ?", false),
                "zset" => ("ZRANGE ? 0 -1 WITHSCORES", true),
                "stream" => ("XRANGE ? - +", true),
                other => panic!("{key} is a {other}"),
            };
            let value = self.line(&read.replace('?', &key));
            let bytes = |reply: &Reply| reply.bytes().to_vec();
            let mut parts: Vec<Vec<u8>> = match kind.as_str() {
                "string" | "stream" => vec![bytes(&value)],
                _ => value.items().iter().map(bytes).collect(),
            };
            if kind == "hash" {
                parts = parts.chunks(2).map(<[_]>::concat).collect();
            }
            if !is_ordered {
                parts.sort();
            }
            parts.push(bytes(&self.line(&format!("PEXPIRETIME {key}"))));
            if kind == "stream" {
                // How far its group has read is a replica's own count; what was not acknowledged is not.
                parts.push(bytes(&self.line(&format!("XPENDING {key} group"))));
            }
            // A string says nothing of it where it is stored.
            if kind != "string" {
                parts.push(bytes(&self.line(&format!("OBJECT ENCODING {key}"))));
            }
            assert!(contents.insert(key, parts).is_none());
        }
        contents
    }
}

/// Keys of every type, small and large, and a library of functions.
fn fill(cluster: &Cluster) {
    let mut all = Everywhere::at(&cluster.addresses()[..3]);
    let binary: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    assert_eq!(all.call(&[b"SET".as_slice(), b"binary", &binary]).text(), "OK");
    let many = |command: &str, each: &dyn Fn(usize) -> String| {
        let words: Vec<String> = (0..700).map(each).collect();
        format!("{command} {}", words.join(" "))
    };
    for line in [
        "SET text value".to_owned(),
        "SET number 12345678901".to_owned(),
        "SET \u{e9}t\u{e9} \u{2713}".to_owned(),
        "SET passing value EX 100000".to_owned(),
        "SETBIT bits 100000 1".to_owned(),
        "PFADD hyperloglog a b c".to_owned(),
        "RPUSH list a b c".to_owned(),
        many("RPUSH list:long", &|n| format!("element-{n:0>200}")),
        "SADD set:numbers 1 2 3".to_owned(),
        "SADD set a b c".to_owned(),
        many("SADD set:large", &|n| format!("member-{n}")),
        "HSET hash a 1 b 2".to_owned(),
        many("HSET hash:large", &|n| format!("field-{n} value-{n}")),
        "ZADD zset 1 a 2.5 b inf c".to_owned(),
        many("ZADD zset:large", &|n| format!("{n}.25 member-{n}")),
        "GEOADD places 13.361389 38.115556 Palermo 15.087269 37.502669 Catania".to_owned(),
        "XADD stream 1-1 a 1".to_owned(),
        "XADD stream 2-1 b 2".to_owned(),
        "XDEL stream 1-1".to_owned(),
        "XGROUP CREATE stream group 0".to_owned(),
        "XREADGROUP GROUP group me COUNT 1 STREAMS stream >".to_owned(),
    ] {
        let reply = all.line(&line);
        assert!(!reply.is_error(), "{line}: {reply}");
    }
    let library = "#!lua name=mine\nredis.register_function('answer', function() return 42 end)";
    for client in &mut all.0 {
        assert_eq!(
            client.call_args(&[b"FUNCTION".as_slice(), b"LOAD", library.as_bytes()]).text(),
            "mine"
        );
    }
}

/// Tells writers to stop when it is dropped, also by a test that fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes rising numbers to a few keys until it is told to stop.
fn load(nodes: &[SocketAddr], stop: &AtomicBool) {
    let mut all = Everywhere::at(nodes);
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        for key in 0..8 {
            assert_eq!(all.line(&format!("SET load:{key} {number}")).text(), "OK");
        }
    }
}

fn load_numbers(all: &mut Everywhere) -> Vec<u64> {
    let numbers = (0..8).map(|key| all.line(&format!("GET load:{key}")).text());
    numbers.map(|text| text.parse().unwrap_or(0)).collect()
}

type Contents = BTreeMap<String, Vec<Vec<u8>>>;

fn compare(wanted: &Contents, found: &Contents) {
    assert_eq!(wanted.len(), 18);
    for (key, value) in wanted {
        assert!(found.get(key) == Some(value), "{key} is another, or gone");
    }
    assert_eq!(found.len(), wanted.len());
}

/// The ranges of slots that are served together.
fn slots(all: &mut Everywhere) -> Vec<(i64, i64)> {
    let ranges = all.line("CLUSTER SLOTS").items();
    let ends = ranges.iter().map(Reply::items);
    let mut ends: Vec<_> = ends.map(|it| (it[0].integer(), it[1].integer())).collect();
    ends.sort_unstable();
    ends
}

#[test]
fn every_key_comes_back() {
    let cluster = Cluster::start(Shape { primaries: 3, replicas: 1, node_timeout_ms: 15_000 });
    fill(&cluster);
    let nodes = cluster.addresses();
    let primaries = &nodes[..3];
    let mut source = Everywhere::at(primaries);
    let (node, folder) = (cluster.wait_until_known(), new_folder("backups"));
    let target = folder.to_str().unwrap();

    let stop = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        scope.spawn(|| load(primaries, &stop));
        let writing = Stop(&stop);
        wait_for("writes under way", || load_numbers(&mut source).iter().all(|number| *number > 0));
        let written = load_numbers(&mut source);
        let output = slotway(&["backup", "--node", &node, "--to", target, "--json"], &[]);
        drop(writing);
        let report: serde_json::Value = serde_json::from_str(&said(&output)).unwrap();
        for shard in report["manifest"]["shards"].as_array().unwrap() {
            assert_eq!(
                (&shard["role"], &shard["holds"]["functions"]),
                (&"replica".into(), &1.into())
            );
        }
        written
    });
    let verified = succeeds(&["backup", "--to", target, "--verify"]);
    assert!(
        verified.starts_with("verified ") && verified.contains("3 shards, 26 keys"),
        "{verified}"
    );

    let (dir, port) = (new_folder("restored"), free_ports(7));
    let restore = ["restore", "--from", target, "--dir", dir.to_str().unwrap(), "--base-port"];
    let restored = succeeds(&[&restore[..], &[&port.to_string()]].concat());
    assert!(
        restored.contains(
            "26 keys, libraries of functions: 1; compared with the backup, each of them\n\
             start it with: slotway up"
        ),
        "{restored}"
    );
    let again = refusal(&[&restore[..], &[&port.to_string()]].concat());
    assert!(again.contains("is not empty"), "{again}");

    // Found again as any other cluster of `slotway up`, with the same slots and everything in it.
    let options = Options { base_port: port, dir: Some(dir), ..Options::default() };
    let copy = LocalCluster::start(&options, &|_| {}).unwrap();
    let mut found = Everywhere::at(&copy.addresses()[..3]);
    compare(&source.contents(), &found.contents());
    for (at_least, number) in written.iter().zip(load_numbers(&mut found)) {
        assert!(
            number >= *at_least,
            "{number} where {at_least} was acknowledged before the backup"
        );
    }
    assert_eq!(found.line("FCALL answer 0").integer(), 42);
    assert_eq!(slots(&mut found), slots(&mut source));
    copy.stop();
}

/// Becomes the real server, but a node of the new cluster finds a write of its own in its log.
const FORGER: &str = r#"#!/bin/sh
case $PWD in */restore/*) ;; *)
    if [ -d appendonlydir ] && [ ! -e forged ]; then
        touch forged
        printf '*3\r\n$6\r\nLPUSHX\r\n$4\r\nlist\r\n$1\r\nx\r\n' >appendonlydir/appendonly.aof.1.incr.aof
        echo 'file appendonly.aof.1.incr.aof seq 1 type i' >>appendonlydir/appendonly.aof.manifest
    fi
esac
exec "$SERVER" "$@"
"#;

#[test]
fn a_key_that_is_another_is_found() {
    let cluster = Cluster::small();
    let mut all = Everywhere::at(&cluster.addresses());
    for line in ["RPUSH list a b c", "SET text value"] {
        assert!(!all.line(line).is_error(), "{line}");
    }
    let (node, folder) = (cluster.node(0).address().to_string(), new_folder("backups"));
    let target = folder.to_str().unwrap();
    succeeds(&["backup", "--node", &node, "--to", target]);
    let forger = folder.with_extension("sh");
    fs::write(&forger, FORGER).unwrap();
    fs::set_permissions(&forger, fs::Permissions::from_mode(0o755)).unwrap();
    let server = std::env::var("SLOTWAY_TEST_SERVER").unwrap_or("redis-server".to_owned());
    let restore = |more: &[&str]| {
        let (dir, port) = (new_folder("restored"), free_ports(3).to_string());
        let dir = dir.to_str().unwrap();
        let arguments = ["restore", "--from", target, "--dir", dir, "--replicas", "0"];
        let place = ["--base-port", &port, "--server", forger.to_str().unwrap()];
        slotway(&[&arguments[..], &place, more].concat(), &[("SERVER", server.clone())])
    };
    let output = restore(&[]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("the key 'list' has another value"), "{error}");
    // Their number is the same.
    assert!(said(&restore(&["--quick"])).contains("2 keys, libraries of functions: 0; counted\n"));
}

#[test]
fn what_is_damaged_or_incomplete_is_found() {
    let cluster = Cluster::small();
    // The other form of a snapshot: from a file, of a length that is said.
    for place in 0..2 {
        let mut client = cluster.node(place).client();
        assert_eq!(client.call("CONFIG SET repl-diskless-sync no").text(), "OK");
        assert!(!client.call("FUNCTION FLUSH").is_error());
    }
    let (node, folder) = (cluster.node(0).address().to_string(), new_folder("backups"));
    let target = folder.to_str().unwrap();
    let missing = refusal(&["backup", "--to", target, "--verify"]);
    assert!(missing.contains("there is no whole backup in"), "{missing}");
    succeeds(&["backup", "--node", &node, "--to", target]);
    let backup = folder.join(&names(&folder)[0]);
    let file = backup.join("shard-2.rdb");
    let whole = fs::read(&file).unwrap();
    let damaged = |bytes: &[u8], why: &str| {
        fs::write(&file, bytes).unwrap();
        let error = refusal(&["backup", "--to", target, "--verify"]);
        assert!(error.contains("shard-2.rdb") && error.contains(why), "{error}");
        let dir = new_folder("restored");
        let error = refusal(&["restore", "--from", target, "--dir", dir.to_str().unwrap()]);
        assert!(error.contains("shard-2.rdb") && error.contains(why), "{error}");
        assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
    };
    let mut changed = whole.clone();
    changed[20] ^= 1;
    damaged(&changed, "its own checksum is");
    damaged(&whole[..whole.len() - 1], "it was cut off");
    damaged(b"", "does not begin");
    // Another file that is sound.
    let other = fs::read(backup.join("shard-1.rdb")).unwrap();
    damaged(&other, "instead of");
    fs::remove_file(&file).unwrap();
    assert!(refusal(&["backup", "--to", target, "--verify"]).contains("cannot read"));
    fs::write(&file, &whole).unwrap();
    succeeds(&["backup", "--to", target, "--verify"]);

    fs::remove_file(backup.join("manifest.json")).unwrap();
    assert!(refusal(&["backup", "--to", target, "--verify"]).contains("no whole backup"));
    assert!(succeeds(&["backup", "--to", target, "--list"]).contains("not whole"));

    cluster.begin_migration(7, 1);
    let error = refusal(&["backup", "--node", &node, "--to", target]);
    assert!(error.contains("slots are being moved"), "{error}");
}

#[test]
fn old_backups_go_and_nothing_else_does() {
    let cluster = Cluster::small();
    let (node, folder) = (cluster.node(0).address().to_string(), new_folder("backups"));
    let target = folder.to_str().unwrap();
    let take =
        |more: &[&str]| succeeds(&[&["backup", "--node", &node, "--to", target], more].concat());
    let [stranger, incomplete]: [PathBuf; 2] =
        ["20200101T000000.000Z/mine.rdb", "20200102T000000.000Z/shard-1.rdb"]
            .map(|it| folder.join(it));
    for file in [&stranger, &incomplete] {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "mine").unwrap();
    }
    take(&[]);
    take(&[]);
    take(&["--keep-days", "1"]);
    assert_eq!(names(&folder).len(), 5);
    let before = names(&folder);
    take(&["--keep", "2"]);
    let after = names(&folder);
    assert_eq!(after.len(), 4, "{after:?}");
    assert_eq!(after[2], before[4]);
    assert!(stranger.exists() && incomplete.exists());
    succeeds(&["backup", "--to", target, "--verify", &after[2]]);
}

#[test]
fn object_storage_takes_large_files_in_pieces() {
    let cluster = Cluster::small();
    let bucket = Bucket::start();
    let mut all = Everywhere::at(&cluster.addresses());
    // More than one piece, and nothing that the server could compress.
    let mut noise = 1_u64;
    for key in 0..20 {
        let value: Vec<u8> = (0..1 << 20)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (noise >> 56) as u8
            })
            .collect();
        assert_eq!(
            all.call(&[b"SET".as_slice(), format!("{{a}}{key}").as_bytes(), &value]).text(),
            "OK"
        );
    }
    let node = cluster.node(0).address().to_string();
    let backup = |more: &[&str]| {
        let arguments =
            [&["backup", "--node", &node, "--to", "s3://bucket/one/two"], more].concat();
        slotway(&arguments, &bucket.variables())
    };
    assert!(said(&backup(&[])).contains("2 shards, 20 keys"));
    assert_eq!((bucket.keys().len(), bucket.assembled()), (3, 1));
    said(&backup(&["--verify"]));
    said(&backup(&["--keep", "1"]));
    let keys = bucket.keys();
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert!(keys.iter().all(|key| key.starts_with("one/two/2")), "{keys:?}");
    bucket.damage(&keys[1]);
    let output = backup(&["--verify"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && error.contains("is damaged: shard-1.rdb"),
        "{error}"
    );
}

#[test]
fn a_target_that_is_none_is_refused() {
    for (target, why) in [
        ("nonsense://x", "cannot open nonsense://x"),
        ("/proc/none/here", "cannot make the folder"),
    ] {
        let node = Cluster::shared().node(0).address().to_string();
        let error = refusal(&["backup", "--node", &node, "--to", target]);
        assert!(error.contains(why), "{error}");
    }
    let error = refusal(&["restore", "--from", "/nowhere", "--dir", "/nowhere/else"]);
    assert!(error.contains("cannot open the folder /nowhere"), "{error}");
}
