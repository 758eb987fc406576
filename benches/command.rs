//! Finding a request's row and its keys.
#![allow(missing_docs, reason = "the macros of the harness make functions without")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use slotway::command::Commands;
use slotway::resp::{Limits, RequestParser, write};

const LIMITS: Limits =
    Limits { arguments: 1 << 10, bulk_bytes: 1 << 20, line_bytes: 1 << 16, request_bytes: 1 << 20 };

fn bench(criterion: &mut Criterion) {
    let commands = Commands::baseline();
    let calls = [
        ("get", "GET key"),
        ("set lower case", "set key value EX 10"),
        ("mget", "MGET a b c"),
        ("client id", "CLIENT ID"),
        ("unknown", "NOPE a b c"),
    ];
    for (name, call) in calls {
        with_frame(call, |parser, frame| {
            let request = parser.request(frame);
            criterion.bench_function(&format!("resolve {name}"), |bencher| {
                bencher.iter(|| black_box(commands.resolve(&black_box(request))).is_ok());
            });
        });
    }
    let pairs = "MSET a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8 i 9 j 10";
    for (name, call) in [("get", "GET key"), ("mset of 10", pairs), ("eval", "EVAL s 2 a b c")] {
        with_frame(call, |parser, frame| {
            let request = parser.request(frame);
            let Ok(row) = commands.resolve(&request) else { return };
            criterion.bench_function(&format!("first key {name}"), |bencher| {
                bencher.iter(|| row.keys.first(&black_box(request)));
            });
            let mut positions = Vec::new();
            criterion.bench_function(&format!("positions {name}"), |bencher| {
                bencher.iter(|| row.keys.positions(&black_box(request), &mut positions));
            });
        });
    }
}

fn with_frame(call: &str, measure: impl FnOnce(&RequestParser, &[u8])) {
    let mut frame = Vec::new();
    write::command(&mut frame, &call.split(' ').collect::<Vec<_>>());
    let mut parser = RequestParser::new();
    if parser.parse(&frame, &LIMITS, true).is_ok() {
        measure(&parser, &frame);
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
