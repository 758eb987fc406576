//! What a user's rules cost a request.
#![allow(missing_docs, reason = "the macros of the harness make functions without")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run may panic")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use slotway::acl::{User, Users};
use slotway::command::{CommandSpec, Commands};
use slotway::config::Auth;
use slotway::resp::{Limits, RequestParser, write};

/// A user and what it asks for.
struct Case<'a> {
    user: Arc<User>,
    spec: &'a CommandSpec,
    frame: Vec<u8>,
    parser: RequestParser,
}

impl<'a> Case<'a> {
    fn new(rules: &str, call: &str, commands: &'a Commands) -> Self {
        let rules = rules.split(' ').map(str::as_bytes);
        let users = Users::new(&Auth::default()).with(b"user", rules, commands).unwrap();
        let (mut frame, mut parser) = (Vec::new(), RequestParser::new());
        write::command(&mut frame, &call.split(' ').collect::<Vec<_>>());
        parser.parse(&frame, &Limits::default(), true).unwrap();
        let spec = commands.resolve(&parser.request(&frame)).unwrap();
        Self { user: users.get(b"user").unwrap().clone(), spec, frame, parser }
    }

    fn is_allowed(&self) -> bool {
        let request = self.parser.request(&self.frame);
        black_box(&self.user).check(self.spec, &black_box(request)).is_ok()
    }
}

/// Rules with 50 patterns.
fn fifty(pattern: impl Fn(usize) -> String) -> String {
    let rules: Vec<String> = (0..50).map(pattern).collect();
    format!("{} +@all", rules.join(" "))
}

fn bench(criterion: &mut Criterion) {
    let commands = Commands::baseline();
    let prefixes = fifty(|number| format!("~tenant:{number}:*"));
    let cases = [
        ("unrestricted", "~* &* +@all".to_owned(), "GET app:1"),
        ("prefix", "~app:* +@all -@dangerous".to_owned(), "GET app:1"),
        ("glob", "~app:[0-9]*:x +@all".to_owned(), "GET app:1:x"),
        ("denied command", "~app:* +@all -get".to_owned(), "GET app:1"),
        ("denied key", "~app:* +@all".to_owned(), "GET other"),
        ("mset of 3", "%W~app:* +@all".to_owned(), "MSET app:1 a app:2 b app:3 c"),
        ("third selector", "+get ~a (+get ~b) (+get ~app:*)".to_owned(), "GET app:1"),
        ("50 patterns", prefixes.clone(), "GET tenant:49:x"),
        ("50 patterns, denied", prefixes, "GET tenant:50:x"),
        ("50 globs", fifty(|number| format!("~tenant:{number}:[0-9]*")), "GET tenant:49:7"),
        ("50 globs without a head", fifty(|number| format!("~*:{number}")), "GET tenant:49"),
        ("channel", "&news:* +@pubsub".to_owned(), "PUBLISH news:1 text"),
    ];
    for (name, rules, call) in cases {
        let case = Case::new(&rules, call, &commands);
        criterion.bench_function(&format!("check {name}"), |bencher| {
            bencher.iter(|| case.is_allowed());
        });
    }
    // Each request is another user's than the one before.
    let cases: Vec<Case<'_>> = (0..100)
        .map(|user| {
            let rules = fifty(|number| format!("~tenant:{user}:part:{number}:*"));
            Case::new(&rules, &format!("GET tenant:{user}:part:{}:x", user / 2), &commands)
        })
        .collect();
    let mut turns = cases.iter().cycle();
    criterion.bench_function("check 50 patterns of 100 users in turn", |bencher| {
        bencher.iter(|| turns.next().is_some_and(Case::is_allowed));
    });
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
