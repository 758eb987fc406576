//! How long it takes to find a key's slot, and its shard.
#![allow(missing_docs, reason = "criterion's macros write undocumented items")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use slotway::cluster::Slot;

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

criterion_group!(benches, slot);
criterion_main!(benches);
