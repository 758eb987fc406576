//! What watching costs: one look of each kind, and the turn that comes once a second. A worker takes a bounded number of
//! looks a second, so `benches/README.md` says what share of a core that is.

#![expect(clippy::unwrap_used, reason = "a bench that cannot start should stop")]

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use criterion::{Criterion, criterion_group, criterion_main};
use slotway::command::Commands;
use slotway::config::{Live, Settings};
use slotway::metrics::Metrics;
use slotway::observe::{Lens, Look, Sights, Who};
use slotway::resp::write;

/// Keys that are asked for; many more than are counted, so that most looks meet a key that is not known.
const KEYS: usize = 10_000;

fn lens() -> Lens {
    let live = Live::new(Settings::default());
    let sights = Sights::new(1, live.clone());
    let commands = Arc::new(ArcSwap::from_pointee(Commands::baseline()));
    Lens::new(live, sights, commands, Metrics::new(1).unwrap())
}

fn requests() -> Vec<Vec<u8>> {
    let get = |number: usize| {
        let mut frame = Vec::new();
        write::command(&mut frame, &["GET", &format!("user:{number}:profile")]);
        frame
    };
    (0..KEYS).map(get).collect()
}

fn look(lens: &mut Lens, request: &[u8], (total, reply, sample): (u64, usize, bool)) {
    let look = Look { request, total, node: Some(total), reply, sample };
    let who = || Who { client: "10.0.0.1:50000".into(), name: String::new(), user: "app".into() };
    lens.look(&look, || ("7-1".to_owned(), who()));
}

fn looks(c: &mut Criterion) {
    let requests = requests();
    let mut group = c.benchmark_group("observe");
    for (name, kind) in [
        ("sample", (100, 64, true)),
        ("slow", (20_000, 64, false)),
        ("large", (100, 1 << 20, false)),
    ] {
        let (mut lens, mut random) = (lens(), fastrand::Rng::with_seed(7));
        group.bench_function(name, |b| {
            b.iter(|| {
                look(&mut lens, random.choice(&requests).unwrap(), kind);
            });
        });
    }
    group.finish();
}

/// With every list full.
fn turn(c: &mut Criterion) {
    let (mut lens, requests) = (lens(), requests());
    c.bench_function("observe/turn", |b| {
        b.iter(|| {
            for request in requests.iter().take(64) {
                look(&mut lens, request, (20_000, 1 << 20, true));
            }
            lens.turn(Duration::from_secs(1));
        });
    });
}

criterion_group!(benches, looks, turn);
criterion_main!(benches);
