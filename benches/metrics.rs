//! What counting costs: the events of one request, and a scrape.

#![expect(clippy::unwrap_used, reason = "a bench that cannot start should stop")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use slotway::metrics::{Family, Metrics, Outcome};

/// The events of the request path, each as it is called there.
fn events(c: &mut Criterion) {
    let metrics = Metrics::new(1).unwrap();
    let worker = metrics.worker(0).unwrap();
    let node = worker.node("127.0.0.1:7000");
    let mut group = c.benchmark_group("metrics");
    let mut micros = 0_u32;
    group.bench_function("request_settled", |b| {
        b.iter(|| {
            // Latencies that differ, so that no bucket stays in a register.
            micros = (micros.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)) >> 16;
            worker.request_settled(black_box(Family::String), black_box(Outcome::Ok), micros);
        });
    });
    group.bench_function("node_settled", |b| {
        b.iter(|| {
            worker.node_settled(black_box(180));
            node.settled(black_box(false), black_box(180));
        });
    });
    group.bench_function("client_read", |b| b.iter(|| worker.client_read(black_box(64))));
    group.finish();
}

/// A scrape of 16 workers that know 12 nodes.
fn scrape(c: &mut Criterion) {
    let metrics = Metrics::new(16).unwrap();
    for index in 0..16 {
        let worker = metrics.worker(index).unwrap();
        for port in 7000..7012 {
            worker.node(&format!("127.0.0.1:{port}")).set_up(true);
        }
    }
    c.bench_function("metrics/render", |b| {
        b.iter(|| metrics.render().unwrap());
    });
}

criterion_group!(benches, events, scrape);
criterion_main!(benches);
