//! Transactions while the cluster moves, nodes refuse or die: all of a block or nothing, and no lost update.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::harness::{Act, Client, Cluster, FakeCluster, Gateway, key_slot, tag_in_slot, wait_for};
use crate::load::Stop;
use crate::transaction::say;

const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";
const UNCERTAIN: &str =
    "-UNCERTAIN backend connection lost after the command was sent; it may have been executed";
const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";

/// What a client that moves money saw.
#[derive(Default, Debug)]
struct Ledger {
    done: i64,
    uncertain: i64,
    changed: i64,
}

/// Moves 1 from one account to another, with values that it read before; tells whether it was done.
fn transfer(client: &mut Client, from: usize, to: usize, ledger: &mut Ledger) {
    let keys = format!("{{bank}}{from} {{bank}}{to} {{bank}}count");
    assert_eq!(client.call(&format!("WATCH {keys}")).text(), "OK");
    let values: Vec<i64> = client
        .call(&format!("MGET {keys}"))
        .items()
        .iter()
        .map(|value| value.text().parse().unwrap())
        .collect();
    let lines = [
        "MULTI".to_owned(),
        format!("SET {{bank}}{from} {}", values[0] - 1),
        format!("SET {{bank}}{to} {}", values[1] + 1),
        format!("SET {{bank}}count {}", values[2] + 1),
        "EXEC".to_owned(),
    ];
    let reply = client.pipeline(&lines).pop().unwrap();
    match reply.bytes()[0] {
        b'*' | b'_' if reply.is_nil() => ledger.changed += 1,
        b'*' => ledger.done += 1,
        _ => {
            assert!(reply.text().starts_with("UNCERTAIN "), "{reply}");
            ledger.uncertain += 1;
        }
    }
}

/// Clients that move money while `chaos` goes on.
fn bank(gateway: &Gateway, chaos: impl FnOnce()) -> Ledger {
    let stop = AtomicBool::new(false);
    let mut total = Ledger::default();
    thread::scope(|scope| {
        let stopped_in_any_case = Stop(&stop);
        let clients: Vec<_> = (0..4)
            .map(|number| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut client = gateway.client_of(2 + (number % 2) as u8);
                    let mut ledger = Ledger::default();
                    let mut round = number;
                    while !stop.load(Ordering::Relaxed) {
                        round += 1;
                        let from = round * 7 % 10;
                        transfer(&mut client, from, (from + 1 + round % 9) % 10, &mut ledger);
                    }
                    ledger
                })
            })
            .collect();
        chaos();
        drop(stopped_in_any_case);
        for client in clients {
            let ledger = client.join().unwrap();
            total.done += ledger.done;
            total.uncertain += ledger.uncertain;
            total.changed += ledger.changed;
        }
    });
    total
}

fn money(client: &mut Client) -> i64 {
    let lines: Vec<String> = (0..10).map(|account| format!("GET {{bank}}{account}")).collect();
    client.pipeline(&lines).iter().map(|reply| reply.text().parse::<i64>().unwrap()).sum()
}

fn count(client: &mut Client) -> i64 {
    client.call("GET {bank}count").text().parse().unwrap()
}

#[test]
fn a_bank_loses_nothing_in_migrations_and_failovers() {
    let mut cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster).workers(2).start();
    let mut client = gateway.client();
    for account in 0..10 {
        client.call(&format!("SET {{bank}}{account} 100"));
    }
    client.call("SET {bank}count 0");
    let slot = key_slot(b"{bank}");
    let grown = |client: &mut Client| {
        let before = count(client);
        wait_for("transfers", || count(client) > before + 30);
    };

    let ledger = bank(&gateway, || {
        let mut client = gateway.client();
        for _ in 0..4 {
            grown(&mut client);
            let target = (cluster.owner(slot) + 1) % 3;
            cluster.begin_migration(slot, target);
            cluster.migrate_keys(slot, target, 5);
            cluster.finish_migration(slot, target);
        }
        grown(&mut client);
        cluster.wait_until_whole();
        cluster.fail_over_to(cluster.owner(slot) + 3);
        grown(&mut client);
    });
    assert_eq!(money(&mut client), 1000, "{ledger:?}");
    let counted = count(&mut client);
    assert!(
        (ledger.done..=ledger.done + ledger.uncertain).contains(&counted),
        "{counted} {ledger:?}"
    );
    assert!(ledger.changed > 0, "nobody was in anybody's way: {ledger:?}");

    cluster.wait_until_whole();
    let primary = cluster.owner(slot);
    let replica = primary % 3;
    let ledger = bank(&gateway, || {
        let mut client = gateway.client();
        grown(&mut client);
        cluster.node_mut(primary).kill();
        cluster.wait_for_primary(replica);
        grown(&mut client);
    });
    assert_eq!(money(&mut client), 1000, "{ledger:?}");
    assert!(ledger.done > 30, "{ledger:?}");
}

#[test]
fn a_watched_key_that_is_not_there_is_watched_while_its_slot_moves() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let (mut client, mut other) = (gateway.client(), gateway.client());
    let slot = 700;
    let key = |name: &str| format!("{{{}}}{name}", tag_in_slot(slot));
    let (old, missing) = (key("old"), key("missing"));
    let write = |client: &mut Client, key: &str| {
        say(client, &["MULTI", &format!("SET {key} written"), "EXEC"]).pop().unwrap()
    };
    let target = 1 - cluster.owner(slot);
    client.call(&format!("SET {old} 1"));

    // The node that still has the slot does not see what is written where it moves.
    client.call(&format!("WATCH {missing}"));
    cluster.begin_migration(slot, target);
    other.call(&format!("SET {missing} other"));
    assert_eq!(write(&mut client, &old), "*-1");

    // Where it moves, keys are watched as well.
    let fresh = key("fresh");
    assert_eq!(client.call(&format!("WATCH {fresh}")).text(), "OK");
    assert_eq!(write(&mut client, &fresh), "*1 +OK");
    let fresher = key("fresher");
    assert_eq!(client.call(&format!("WATCH {fresher}")).text(), "OK");
    other.call(&format!("SET {fresher} other"));
    assert_eq!(write(&mut client, &fresher), "*-1");

    // It moves for good between WATCH and EXEC.
    client.call(&format!("WATCH {old}"));
    client.call(&format!("WATCH {}", key("never")));
    cluster.finish_migration(slot, target);
    assert_eq!(write(&mut client, &old), "*-1");
    client.call(&format!("WATCH {old} {}", key("never")));
    assert_eq!(write(&mut client, &old), "*1 +OK");

    // A transaction in another slot looks at the watched one, too.
    client.call(&format!("WATCH {}", key("never")));
    cluster.migrate_slot(slot, 1 - target);
    other.call(&format!("SET {} other", key("never")));
    assert_eq!(write(&mut client, "elsewhere"), "*-1");
}

#[test]
fn a_block_in_a_half_moved_slot_runs_whole_or_not_at_all() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let (slot, mut client) = (900, gateway.client());
    let target = 1 - cluster.owner(slot);
    let key = |number: usize| format!("{{{}}}{number}", tag_in_slot(slot));
    for number in 0..10 {
        client.call(&format!("SET {} 0", key(number)));
    }
    cluster.begin_migration(slot, target);
    assert_eq!(cluster.migrate_keys(slot, target, 5), 5);
    for number in 0..10 {
        let increment = format!("INCR {}", key(number));
        let replies = say(&mut client, &["MULTI", &increment, &increment, "EXEC"]);
        assert_eq!(replies[3], "*2 :1 :2", "{number}");
    }
    let mut lines: Vec<String> = (0..10).map(|number| format!("INCR {}", key(number))).collect();
    lines.insert(0, "MULTI".to_owned());
    lines.push("EXEC".to_owned());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    // The keys never come together in time.
    let replies = say(&mut client, &lines);
    assert!(replies[11].starts_with("-TRYAGAIN "), "{}", replies[11]);
    let values = |client: &mut Client| -> Vec<String> {
        (0..10).map(|number| client.call(&format!("GET {}", key(number))).text()).collect()
    };
    assert_eq!(values(&mut client), ["2"; 10]);
    cluster.finish_migration(slot, target);
    assert_eq!(say(&mut client, &lines)[11], format!("*10{}", " :3".repeat(10)));
}

/// Blocks and plain requests of one session in one pipeline, while their slot moves: order is kept.
#[test]
fn pipelined_blocks_keep_their_order_while_their_slot_moves() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).workers(2).start();
    let (slot, stop) = (1200, AtomicBool::new(false));
    thread::scope(|scope| {
        let stopped_in_any_case = Stop(&stop);
        let writers: Vec<_> = (0..3)
            .map(|number| {
                let (gateway, stop) = (&gateway, &stop);
                scope.spawn(move || {
                    let mut client = gateway.client_of(2 + (number % 2) as u8);
                    let key = format!("{{{}}}{number}", tag_in_slot(slot));
                    // One key never stands on both sides of a migration, two may.
                    let other = format!("{key}{}", ["", ":other"][number % 2]);
                    let mut rounds = 0;
                    while !stop.load(Ordering::Relaxed) {
                        rounds = count_up(&mut client, &key, &other, rounds);
                    }
                    rounds
                })
            })
            .collect();
        for _ in 0..6 {
            let target = 1 - cluster.owner(slot);
            cluster.begin_migration(slot, target);
            while cluster.migrate_keys(slot, target, 1) > 0 {}
            cluster.finish_migration(slot, target);
        }
        drop(stopped_in_any_case);
        for writer in writers {
            assert!(writer.join().unwrap() > 0);
        }
    });
}

/// Twenty times a block that counts both keys up, and a plain request for the first; returns how often it was done
/// so far.
fn count_up(client: &mut Client, key: &str, other: &str, done: i64) -> i64 {
    const ROUND: usize = 6;
    let (one, two) = (format!("INCR {key}"), format!("INCR {other}"));
    let round = ["MULTI", &one, &two, "EXEC", &one, "PING"];
    let lines: Vec<&str> = round.iter().copied().cycle().take(20 * ROUND).collect();
    for (replies, round) in say(client, &lines).chunks(ROUND).zip(done..) {
        let (first, second, third) = if key == other {
            (3 * round + 1, 3 * round + 2, 3 * round + 3)
        } else {
            (2 * round + 1, round + 1, 2 * round + 2)
        };
        let block = format!("*2 :{first} :{second}");
        assert_eq!(replies, ["+OK", "+QUEUED", "+QUEUED", &block, &format!(":{third}"), "+PONG"]);
    }
    done + 20
}

#[test]
fn a_full_node_runs_nothing_and_lets_nothing_run_elsewhere() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let mut client = gateway.client();
    let (here, there) =
        (format!("{{{}}}k", tag_in_slot(1)), format!("{{{}}}k", tag_in_slot(16_000)));
    let full = cluster.owner(16_000);
    assert_eq!(cluster.node(full).client().call("CONFIG SET maxmemory 1").text(), "OK");
    let why = "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.";
    let (set_here, set_there) = (format!("SET {here} 1"), format!("SET {there} 1"));
    let (get_here, get_there) = (format!("GET {here}"), format!("GET {there}"));
    let one_slot = say(&mut client, &["MULTI", &get_there, &set_there, "EXEC", &get_there]);
    assert_eq!(one_slot[3..], [why, "$-1"]);
    let two_slots =
        say(&mut client, &["MULTI", &set_here, &set_there, "EXEC", &get_here, &get_there]);
    assert_eq!(two_slots[3..], [why, "$-1", "$-1"]);
    let watch = format!("WATCH {here}");
    let watched = say(&mut client, &[&watch, "MULTI", &set_here, &set_there, "EXEC", &get_here]);
    assert_eq!(watched[4..], [why, "$-1"]);
    let watch = format!("WATCH {there}");
    let watched = say(&mut client, &[&watch, "MULTI", &set_here, &set_there, "EXEC", &get_here]);
    assert_eq!(watched[4..], [why, "$-1"]);
    // What only reads is queued by a full node of newer versions, and by no full node of 7.0.
    let alone = say(&mut cluster.node(full).client(), &["MULTI", &get_there, "EXEC"]);
    let expected = if alone[1] == "+QUEUED" { "*2 $-1 $-1" } else { why };
    let read = say(&mut client, &["MULTI", &get_here, &get_there, "EXEC"]);
    assert_eq!(read[3], expected);
    cluster.node(full).client().call("CONFIG SET maxmemory 0");
    assert_eq!(say(&mut client, &["MULTI", &set_here, &set_there, "EXEC"])[3], "*2 +OK +OK");
}

/// A key of the slot, and one of another node's.
fn keys() -> (String, String) {
    (format!("{{{}}}k", tag_in_slot(1)), format!("{{{}}}k", tag_in_slot(16_000)))
}

fn answer_exec(fake: &FakeCluster) {
    for node in 0..2 {
        fake.always(node, "EXEC", Act::say("*1\r\n+OK\r\n"));
    }
}

#[test]
fn a_redirected_block_is_sent_again_whole() {
    let fake = FakeCluster::of(2);
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    let (key, there) = (keys().0, fake.addresses()[1]);
    answer_exec(&fake);
    fake.once(0, &format!("SET {key}"), vec![Act::Say(format!("-ASK 1 {there}\r\n").into_bytes())]);
    fake.once(0, "EXEC", vec![Act::say(ABORTED)]);
    let set = format!("SET {key} v");
    let replies = say(&mut gateway.client(), &["MULTI", &set, "EXEC"]);
    assert_eq!(replies, ["+OK", "+QUEUED", "*1 +OK"]);
    let history = fake.history(1);
    let at = history.iter().position(|line| line == "ASKING").unwrap();
    assert_eq!(history[at..at + 4], ["ASKING", "MULTI", &set, "EXEC"]);
    fake.once(0, "EXEC", vec![Act::Say(format!("-MOVED 1 {there}\r\n").into_bytes())]);
    assert_eq!(say(&mut gateway.client(), &["MULTI", &set, "EXEC"])[2], "*1 +OK");
    assert_eq!(fake.seen(1, "EXEC"), 2);
}

#[test]
fn a_lost_node_makes_the_outcome_uncertain_and_is_never_asked_twice() {
    let fake = FakeCluster::of(2);
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    let ((here, there), mut client) = (keys(), gateway.client());
    let lost = || vec![Act::SayAndReset(Vec::new())];
    let (set_here, set_there) = (format!("SET {here} v"), format!("SET {there} v"));
    answer_exec(&fake);
    fake.once(0, "EXEC", lost());
    assert_eq!(say(&mut client, &["MULTI", &set_here, "EXEC"])[2], UNCERTAIN);
    assert_eq!(fake.seen(0, "EXEC"), 1);

    // What only reads is asked for again.
    fake.once(0, "EXEC", lost());
    assert_eq!(say(&mut client, &["MULTI", &format!("GET {here}"), "EXEC"])[2], "*1 +OK");
    assert_eq!(fake.seen(0, "EXEC"), 3);

    // One of two slots.
    fake.once(1, "EXEC", lost());
    assert_eq!(say(&mut client, &["MULTI", &set_here, &set_there, "EXEC"])[3], UNCERTAIN);
    assert_eq!((fake.seen(0, "EXEC"), fake.seen(1, "EXEC")), (4, 1));

    // A node that agreed in the trial, and does not when it comes to it.
    fake.once(1, "EXEC", vec![Act::say(OOM)]);
    let partly = "-UNCERTAIN the transaction was executed in some of its slots only: OOM command not allowed when used memory > 'maxmemory'.";
    assert_eq!(say(&mut client, &["MULTI", &set_here, &set_there, "EXEC"])[3], partly);

    // Replies that are fewer than commands.
    fake.once(1, "EXEC", vec![Act::say("*0\r\n")]);
    let unexpected =
        "-UNCERTAIN unexpected reply from a node; the transaction may have been executed";
    assert_eq!(say(&mut client, &["MULTI", &set_here, &set_there, "EXEC"])[3], unexpected);

    // Under WATCH.
    let watch = format!("WATCH {here}");
    fake.once(0, "EXEC", lost());
    assert_eq!(say(&mut client, &[&watch, "MULTI", &set_here, "EXEC"])[3], UNCERTAIN);
    fake.once(0, "EXEC", vec![Act::say("*2\r\n:0\r\n+OK\r\n")]);
    assert_eq!(say(&mut client, &[&watch, "MULTI", &set_here, "EXEC"])[3], "*1 +OK");
}

#[test]
fn a_trial_that_fails_runs_nothing() {
    let fake = FakeCluster::of(2);
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    let ((here, there), mut client) = (keys(), gateway.client());
    answer_exec(&fake);
    fake.once(1, "SET", vec![Act::say("-NOREPLICAS Not enough good replicas to write.\r\n")]);
    let replies =
        say(&mut client, &["MULTI", &format!("SET {here} v"), &format!("SET {there} v"), "EXEC"]);
    let why = "-EXECABORT Transaction discarded because of: NOREPLICAS Not enough good replicas to write.";
    assert_eq!(replies[3], why);
    assert_eq!((fake.seen(0, "EXEC"), fake.seen(1, "EXEC")), (0, 0));
    assert_eq!((fake.seen(0, "DISCARD"), fake.seen(1, "DISCARD")), (1, 1));
}

/// The gateway's user on the cluster may not say MULTI: then nothing holds its commands back.
#[test]
fn a_node_that_begins_no_transaction_leaves_the_outcome_uncertain() {
    let fake = FakeCluster::of(2);
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    let ((here, there), mut client) = (keys(), gateway.client());
    for node in 0..2 {
        fake.always(node, "MULTI", Act::say("-NOPERM User gateway has no permissions\r\n"));
        fake.always(node, "EXEC", Act::say("-ERR EXEC without MULTI\r\n"));
        fake.always(node, "DISCARD", Act::say("-ERR DISCARD without MULTI\r\n"));
    }
    let why = "-UNCERTAIN the node began no transaction; its commands may have been executed: NOPERM User gateway has no permissions";
    let (set_here, set_there) = (format!("SET {here} v"), format!("SET {there} v"));
    assert_eq!(say(&mut client, &["MULTI", &set_here, "EXEC"])[2], why);
    assert_eq!(say(&mut client, &["MULTI", &set_here, &set_there, "EXEC"])[3], why);
    let watch = format!("WATCH {here}");
    assert_eq!(say(&mut client, &[&watch, "MULTI", &set_here, "EXEC"])[3], UNCERTAIN);
}

/// In EXEC's array NOSCRIPT cannot be repaired, so the script goes before.
#[test]
fn a_script_that_the_node_forgot_runs_in_a_transaction() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).workers(2).start();
    let (here, there) = keys();
    let mut client = gateway.client();
    let load = ["SCRIPT", "LOAD", "return redis.call('INCR', KEYS[1])"];
    let digest = client.call_args(&load).text();
    let run = |key: &str| format!("EVALSHA {digest} 1 {key}");
    // Some of them on the worker whose clients have not sent the script.
    for number in 0..6 {
        let mut client = gateway.client_of(2 + number % 2);
        let forget = || {
            for node in 0..2 {
                assert_eq!(cluster.node(node).client().call("SCRIPT FLUSH").text(), "OK");
            }
        };
        client.pipeline(&[format!("DEL {here}"), format!("DEL {there}")]);
        forget();
        let one = say(&mut client, &["MULTI", &run(&here), "PING", &run(&here), "EXEC"]);
        assert_eq!(one[4], "*3 :1 +PONG :2");
        forget();
        let watch = format!("WATCH {here}");
        let watched = say(&mut client, &[&watch, "MULTI", &run(&here), &run(&there), "EXEC"]);
        assert_eq!(watched[4], "*2 :3 :1");
        forget();
        let two = say(&mut client, &["MULTI", &run(&here), &run(&there), &run(&here), "EXEC"]);
        assert_eq!(two[4], "*3 :4 :2 :5");
        forget();
        let inline = "EVAL return(redis.call('INCR',KEYS[1])) 1";
        say(&mut client, &["MULTI", &format!("{inline} {here}"), "EXEC"]);
        let unknown = format!("EVALSHA {} 0", "f".repeat(40));
        let unknown = say(&mut client, &["MULTI", &unknown, "EXEC"]).pop().unwrap();
        assert!(unknown.starts_with("*1 -NOSCRIPT "), "{unknown}");
    }
}

#[test]
fn connections_do_not_grow_with_transactions() {
    let fake = FakeCluster::of(2);
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    let ((here, there), mut client) = (keys(), gateway.client());
    let connections = || fake.connections(0) + fake.connections(1);
    answer_exec(&fake);
    let (set_here, set_there) = (format!("SET {here} v"), format!("SET {there} v"));
    let transaction = ["MULTI", &set_here, &set_there, "EXEC"];
    say(&mut client, &transaction);
    let before = connections();
    for _ in 0..200 {
        assert_eq!(say(&mut client, &transaction)[3], "*2 +OK +OK");
        assert_eq!(say(&mut client, &["MULTI", &set_here, "EXEC"])[2], "*1 +OK");
    }
    assert_eq!(connections(), before);
    fake.always(0, "EXEC", Act::say("*2\r\n:0\r\n+OK\r\n"));
    let watch = format!("WATCH {here}");
    for round in 0..100 {
        // One client leaves a watch by each of its ends.
        let end = ["EXEC", "DISCARD"][round % 2];
        say(&mut client, &[&watch, "MULTI", &set_here, end]);
        say(&mut client, &[&watch, "UNWATCH"]);
    }
    let more = connections() - before;
    assert!((1..=4).contains(&more), "{more} connections for watching, one after the other");
}

#[test]
fn a_watching_client_that_leaves_or_loses_its_node_holds_nothing() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let (slot, mut client) = (key_slot(b"watched"), gateway.client());
    let node = cluster.node(cluster.owner(slot));
    let watching = || {
        let list = node.client().call("CLIENT LIST").text();
        list.lines().filter(|line| line.contains("cmd=watch")).count()
    };
    let clients: Vec<Client> = (0..10)
        .map(|_| {
            let mut client = gateway.client();
            assert_eq!(client.call("WATCH watched").text(), "OK");
            client
        })
        .collect();
    assert_eq!(watching(), 10);
    drop(clients);
    wait_for("the connections of clients that left", || watching() == 0);

    assert_eq!(client.call("WATCH watched").text(), "OK");
    node.client().call("CLIENT KILL TYPE normal SKIPME yes");
    assert_eq!(say(&mut client, &["MULTI", "SET watched 1", "EXEC"])[2], "*-1");
    assert_eq!(say(&mut client, &["WATCH watched", "MULTI", "SET watched 1", "EXEC"])[3], "*1 +OK");
}

#[test]
fn a_transaction_is_bounded() {
    let gateway = Gateway::before(Cluster::shared())
        .setting("limits.request_bytes", 65_536)
        .setting("limits.bulk_bytes", 50_000)
        .start();
    let mut client = gateway.client();
    let half = format!("SET bounded {}", "x".repeat(40_000));
    let too_large = "-ERR the transaction is larger than the gateway allows (limits.request_bytes)";
    let aborted = ABORTED.trim_end();
    let replies = say(&mut client, &["MULTI", &half, &half, &half, "EXEC", "GET bounded"]);
    assert_eq!(replies, ["+OK", "+QUEUED", too_large, "+QUEUED", aborted, "$-1"]);
    let mut pings = vec!["PING"; 10_003];
    pings[0] = "MULTI";
    pings[10_002] = "EXEC";
    let room = Gateway::before(Cluster::shared()).start();
    assert_eq!(say(&mut room.client(), &pings)[10_000..], ["+QUEUED", too_large, aborted]);
    pings.remove(1);
    let replies = room.client().pipeline(&pings).pop().unwrap().items();
    assert_eq!(replies.len(), 10_000);
    let watch = format!("WATCH {}", "x".repeat(40_000));
    assert_eq!(say(&mut client, &[&watch, &watch, "UNWATCH"]), ["+OK", too_large, "+OK"]);
}

#[test]
fn a_transaction_over_thousands_of_slots_and_one_with_large_replies() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut client = gateway.client();
    let mut lines = vec!["MULTI".to_owned()];
    lines.extend((0..3_000).map(|number| format!("SET wide:{number} {number}")));
    lines.extend((0..3_000).map(|number| format!("GET wide:{number}")));
    lines.extend((0..3_000).map(|number| format!("DEL wide:{number}")));
    lines.push("EXEC".to_owned());
    let items = client.pipeline(&lines).pop().unwrap().items();
    assert_eq!(items.len(), 9_000);
    for number in 0..3_000 {
        assert_eq!(items[3_000 + number].text(), number.to_string());
    }
    let large = "x".repeat(1 << 20);
    client.call(&format!("SET wide:large {large}"));
    let get = ["MULTI", "GET wide:large", "GET wide:large", "EXEC"];
    let one_slot = client.pipeline(&get).pop().unwrap().items();
    assert!(one_slot.iter().all(|item| item.text() == large));
    let get = ["MULTI", "GET wide:large", "GET wide:small", "PING", "GET wide:large", "EXEC"];
    let two_slots = client.pipeline(&get).pop().unwrap().items();
    assert_eq!((two_slots[0].text(), two_slots[3].text()), (large.clone(), large));
    client.call("DEL wide:large");
}

#[test]
fn what_the_gateway_answers_later_stands_at_its_place() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    for protocol in [2, 3] {
        let mut client = gateway.client_of(protocol);
        let lines = [
            "MULTI",
            "INFO server",
            "GET spliced",
            "CONFIG GET maxmemory",
            "CLIENT LIST",
            "TIME",
            "CLIENT ID",
            "EXEC",
            "PING",
        ];
        let replies = client.pipeline(&lines);
        assert!(replies[1..7].iter().all(|reply| reply.text() == "QUEUED"), "{replies:?}");
        let items = replies[7].items();
        assert_eq!(items.len(), 6, "{}", replies[7]);
        assert!(items[0].text().contains("redis_version:"));
        assert!(items[1].is_nil());
        assert_eq!(items[2].items()[0].text(), "maxmemory");
        assert!(items[3].text().contains("id="));
        assert_eq!(items[4].items().len(), 2);
        assert!(items[5].integer() > 0);
        assert_eq!(replies[8].text(), "PONG");
    }
}
