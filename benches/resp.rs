//! What it costs to find requests and replies in bytes.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use slotway::resp::{Limits, Parsed, ReplyScanner, RequestParser, elements, write};

fn request(arguments: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    write::command(&mut out, arguments);
    out
}

/// Parses everything in the buffer, as a session does after a read.
fn parse_all(parser: &mut RequestParser, limits: &Limits, mut buffer: &[u8]) -> usize {
    let mut bytes = 0;
    while let Ok(Parsed::Request(length)) = parser.parse(buffer, limits, true) {
        let request = parser.request(buffer);
        bytes += request.name().len() + request.arg(1).map_or(0, <[u8]>::len);
        buffer = buffer.get(length..).unwrap_or_default();
    }
    bytes
}

fn scan_all(scanner: &mut ReplyScanner, mut buffer: &[u8]) -> usize {
    let mut replies = 0;
    while let Ok(Some(length)) = scanner.scan(buffer) {
        buffer = buffer.get(length..).unwrap_or_default();
        replies += 1;
    }
    replies
}

fn requests(criterion: &mut Criterion) {
    let value = "v".repeat(64);
    let get = request(&["GET", "key:000000012345"]);
    let set = request(&["SET", "key:000000012345", &value]);
    let pairs: Vec<String> = (0..10).map(|index| format!("key:{index:012}")).collect();
    let mset: Vec<&str> = std::iter::once("MSET")
        .chain(pairs.iter().flat_map(|key| [key.as_str(), value.as_str()]))
        .collect();
    let cases = [
        ("get", get.clone()),
        ("set", set),
        ("get_x16", get.repeat(16)),
        ("mset_10", request(&mset)),
        ("inline_get", b"GET key:000000012345\r\n".to_vec()),
    ];
    let mut group = criterion.benchmark_group("parse");
    for (name, bytes) in cases {
        let (mut parser, limits) = (RequestParser::new(), Limits::default());
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| parse_all(&mut parser, &limits, black_box(&bytes)));
        });
    }
}

fn replies(criterion: &mut Criterion) {
    let mut bulk = Vec::new();
    write::bulk(&mut bulk, "v".repeat(64));
    let mut array = Vec::new();
    write::array(&mut array, 10);
    array.extend_from_slice(&bulk.repeat(10));
    let cases = [
        ("ok", b"+OK\r\n".to_vec()),
        ("ok_x16", b"+OK\r\n".repeat(16)),
        ("integer", b":12\r\n".to_vec()),
        ("bulk_64", bulk.clone()),
        ("bulk_64_x16", bulk.repeat(16)),
        ("array_10", array.clone()),
        ("moved", b"-MOVED 12345 127.0.0.1:7001\r\n".to_vec()),
    ];
    let mut group = criterion.benchmark_group("scan");
    for (name, bytes) in cases {
        let mut scanner = ReplyScanner::new();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| scan_all(&mut scanner, black_box(&bytes)));
        });
    }
    group.bench_function("elements_10", |bencher| {
        bencher
            .iter(|| elements(black_box(&array)).map(|list| list.map(<[u8]>::len).sum::<usize>()));
    });
}

criterion_group!(benches, requests, replies);
criterion_main!(benches);
