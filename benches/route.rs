//! What deciding costs: one slot, many slots, a split and its merge.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use slotway::command::{Commands, Cross};
use slotway::resp::{Limits, RequestParser, write};
use slotway::route::{Plan, Reach, Split, plan};

const REACH: Reach = Reach { cross: Cross::Store, sort_patterns: false };

/// Calls `then` with the parsed request of these words.
fn with_request(words: &[String], then: impl FnOnce(&slotway::resp::Request<'_>)) {
    let mut frame = Vec::new();
    write::command(&mut frame, words);
    let mut parser = RequestParser::new();
    parser.parse(&frame, &Limits::default(), true).expect("a request");
    then(&parser.request(&frame));
}

fn words(name: &str, keys: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(keys).collect()
}

fn planning(c: &mut Criterion) {
    let commands = Commands::baseline();
    let spread = |count: usize| (0..count).map(|number| format!("key:{number:012}"));
    let tagged = (0..10).map(|number| format!("{{user:1000}}:{number}"));
    let cases = [
        ("GET", words("GET", spread(1))),
        ("MGET of 10 keys, one slot", words("MGET", tagged)),
        ("MGET of 10 keys, many slots", words("MGET", spread(10))),
        ("MGET of 100 keys, many slots", words("MGET", spread(100))),
    ];
    let mut group = c.benchmark_group("plan");
    for (name, words) in &cases {
        with_request(words, |request| {
            let spec = commands.resolve(request).expect("a known command");
            let mut positions = Vec::new();
            group.bench_function(*name, |b| {
                b.iter(|| plan(spec, black_box(request), REACH, &mut positions));
            });
        });
    }
    group.finish();
}

fn splitting(c: &mut Criterion) {
    let commands = Commands::baseline();
    let mut group = c.benchmark_group("split");
    for count in [10, 100] {
        let words = words("MGET", (0..count).map(|number| format!("key:{number:012}")));
        with_request(&words, |request| {
            let spec = commands.resolve(request).expect("a known command");
            let mut positions = Vec::new();
            let Ok(Plan::Split(split)) = plan(spec, request, REACH, &mut positions) else {
                panic!("keys in many slots are split")
            };
            let mut out = Vec::new();
            group.bench_function(format!("write the parts of {count} keys"), |b| {
                b.iter(|| {
                    out.clear();
                    split.parts().iter().for_each(|part| split.write_part(request, part, &mut out));
                });
            });
            let replies: Vec<Vec<u8>> = split.parts().iter().map(reply).collect();
            group.bench_function(format!("merge the replies of {count} keys"), |b| {
                b.iter(|| merge(&split, &replies, &mut out));
            });
        });
    }
    group.finish();
}

fn merge(split: &Split, replies: &[Vec<u8>], out: &mut Vec<u8>) {
    let mut merge = split.merge();
    for (reply, part) in replies.iter().zip(0..) {
        merge.fold(part, reply);
    }
    out.clear();
    merge.write(out);
}

/// 64 bytes for each key of the part.
fn reply(part: &slotway::route::SplitPart) -> Vec<u8> {
    let mut reply = Vec::new();
    write::array(&mut reply, part.keys());
    (0..part.keys()).for_each(|_| write::bulk(&mut reply, [b'x'; 64]));
    reply
}

criterion_group!(benches, planning, splitting);
criterion_main!(benches);
