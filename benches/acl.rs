//! What a user's rules cost a request.
#![allow(missing_docs, reason = "the macros of the harness make functions without")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use slotway::acl::Users;
use slotway::command::Commands;
use slotway::config::Auth;
use slotway::resp::{Limits, RequestParser, write};

fn bench(criterion: &mut Criterion) {
    let commands = Commands::baseline();
    let many: Vec<String> = (0..50).map(|number| format!("~tenant:{number}:*")).collect();
    let cases = [
        ("unrestricted", "~* &* +@all".to_owned(), "GET app:1"),
        ("prefix", "~app:* +@all -@dangerous".to_owned(), "GET app:1"),
        ("glob", "~app:[0-9]*:x +@all".to_owned(), "GET app:1:x"),
        ("denied command", "~app:* +@all -get".to_owned(), "GET app:1"),
        ("denied key", "~app:* +@all".to_owned(), "GET other"),
        ("mset of 3", "%W~app:* +@all".to_owned(), "MSET app:1 a app:2 b app:3 c"),
        ("third selector", "+get ~a (+get ~b) (+get ~app:*)".to_owned(), "GET app:1"),
        ("50 patterns", format!("{} +@all", many.join(" ")), "GET tenant:49:x"),
        ("channel", "&news:* +@pubsub".to_owned(), "PUBLISH news:1 text"),
    ];
    for (name, rules, call) in cases {
        let rules = rules.split(' ').map(str::as_bytes);
        let Ok(users) = Users::new(&Auth::default()).with(b"user", rules, &commands) else {
            return;
        };
        let Some(user) = users.get(b"user") else { return };
        let mut frame = Vec::new();
        write::command(&mut frame, &call.split(' ').collect::<Vec<_>>());
        let mut parser = RequestParser::new();
        if parser.parse(&frame, &Limits::default(), true).is_err() {
            return;
        }
        let request = parser.request(&frame);
        let Ok(spec) = commands.resolve(&request) else { return };
        criterion.bench_function(&format!("check {name}"), |bencher| {
            bencher.iter(|| black_box(user).check(spec, &black_box(request)).is_ok());
        });
    }
    criterion.bench_function("read 20 rules", |bencher| {
        let rules = ["+@all", "-@dangerous", "-@admin", "+info", "~app:*"].repeat(4);
        let users = Users::new(&Auth::default());
        bencher.iter(|| {
            let rules = rules.iter().map(|rule| rule.as_bytes());
            users.with(b"user", rules, &commands).is_ok()
        });
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
