//! How long it takes to find a key's slot, and to agree on who serves it: with three nodes, and with a thousand.
#![allow(missing_docs, reason = "criterion's macros write undocumented items")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use slotway::cluster::{Dialling, Preferred, Slot, Topology, View, merge_views};

/// Keys as applications have them.
const KEYS: &[(&str, &[u8])] = &[
    ("8 bytes", b"user:123"),
    ("16 bytes", b"session:1234abcd"),
    ("16 bytes, tag of 4", b"cart:{1234}:item"),
    ("40 bytes", b"cache:v2:catalogue:products:eu:000123456"),
    ("200 bytes", &[b'k'; 200]),
];

fn slot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("Slot::of");
    for (name, key) in KEYS {
        group.throughput(Throughput::Bytes(key.len() as u64));
        group.bench_function(*name, |bencher| bencher.iter(|| Slot::of(black_box(key))));
    }
    group.finish();
}

/// What a node of a cluster of so many nodes says, half of them replicas, its slots in many pieces after years of moves.
fn description(nodes: usize, myself: usize) -> String {
    let primaries = nodes / 2;
    let mut text = String::new();
    for node in 0..nodes {
        let flags = if node < primaries { "master" } else { "slave" };
        let me = if node == myself { "myself," } else { "" };
        let primary =
            if node < primaries { "-".to_owned() } else { format!("{:040x}", node - primaries) };
        let (high, low) = (node / 250, node % 250);
        let _ = write!(
            text,
            "{node:040x} 10.0.{high}.{low}:6379@16379 {me}{flags} {primary} 0 1700000000000 {} connected",
            node % primaries + 1
        );
        let pieces = (0..16_384).step_by(8).filter(|first| first / 8 % primaries == node);
        for first in pieces {
            let _ = write!(text, " {first}-{}", first + 7);
        }
        text.push('\n');
    }
    text
}

/// One look at the topology: three answers are read, and agreed upon.
fn look(criterion: &mut Criterion) {
    let map = BTreeMap::new();
    let dialling = Dialling { asked: "10.0.0.0:6379", preferred: Preferred::Ip, map: &map };
    let info = "cluster_state:ok\r\ncluster_current_epoch:501\r\n";
    let mut group = criterion.benchmark_group("a look at the topology");
    for nodes in [6, 1_000] {
        let texts: Vec<String> = (0..3).map(|viewer| description(nodes, viewer)).collect();
        let read = |text: &String| View::parse(text, info, &dialling).ok();
        group.bench_function(format!("{nodes} nodes, one answer read"), |bencher| {
            bencher.iter(|| texts.first().and_then(|text| read(black_box(text))));
        });
        let views: Vec<View> = texts.iter().filter_map(read).collect();
        assert_eq!(views.len(), 3);
        let published = merge_views(&views, &Topology::empty()).unwrap_or_else(Topology::empty);
        assert_eq!(published.covered(), Slot::COUNT);
        group.bench_function(format!("{nodes} nodes, three answers agreed upon"), |bencher| {
            bencher.iter(|| merge_views(black_box(&views), black_box(&published)));
        });
    }
    group.finish();
}

criterion_group!(benches, slot, look);
criterion_main!(benches);
