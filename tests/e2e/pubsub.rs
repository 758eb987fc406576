//! Publish and subscribe: a server's frames and counts, messages in order and once, whatever happens to the nodes.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::harness::{
    Client, Cluster, Gateway, Make, PATIENCE, Reply, Server, key_slot, request, request_line,
    tag_in_slot, wait_for,
};

/// What one client sends and how many frames come back, in either protocol.
pub(crate) const TALK: &[(&str, usize)] = &[
    ("SUBSCRIBE a b a", 3),
    ("PSUBSCRIBE a* [x", 2),
    ("SSUBSCRIBE s1 s2 s3", 3),
    ("PING", 1),
    ("PING x", 1),
    ("PING x y", 1),
    ("GET a", 1),
    ("CLIENT GETNAME", 1),
    ("FOO bar", 1),
    ("EXEC", 1),
    ("GET", 1),
    ("PUBLISH", 1),
    ("PUBSUB", 1),
    ("PUBSUB FOO", 1),
    ("PUBSUB NUMPAT x", 1),
    ("SUBSCRIBE", 1),
    ("SSUBSCRIBE", 1),
    ("UNSUBSCRIBE nope", 1),
    ("PUNSUBSCRIBE [x none", 2),
    ("PUNSUBSCRIBE", 1),
    ("PUNSUBSCRIBE", 1),
    ("UNSUBSCRIBE b", 1),
    ("UNSUBSCRIBE", 1),
    ("UNSUBSCRIBE", 1),
    ("SUNSUBSCRIBE s1 s3 s1", 3),
    ("SUNSUBSCRIBE", 1),
    ("SUNSUBSCRIBE", 1),
    ("PING", 1),
    ("GET a", 1),
    ("SUBSCRIBE \"\"", 1),
    ("UNSUBSCRIBE \"\"", 1),
    ("CLIENT REPLY OFF", 0),
    ("SUBSCRIBE muted", 1),
    ("UNSUBSCRIBE", 1),
    ("CLIENT REPLY ON", 1),
    ("SUBSCRIBE c d", 2),
    ("RESET", 1),
    ("GET a", 1),
    ("SUBSCRIBE last", 1),
    ("QUIT", 1),
];

/// The same for a client that speaks RESP3, which may do anything while it is subscribed.
pub(crate) const FREE_TALK: &[(&str, usize)] = &[
    ("SUBSCRIBE own", 1),
    ("PUBLISH own one", 2),
    ("PSUBSCRIBE own o*n none", 3),
    ("PUBLISH own two", 4),
    ("PUBLISH own \"\"", 4),
    ("SSUBSCRIBE own", 1),
    ("SPUBLISH own three", 2),
    ("PUBLISH other x", 1),
    ("SPUBLISH other x", 1),
    ("PUBSUB NUMSUB own other own", 1),
    ("PUBSUB NUMSUB", 1),
    ("PUBSUB SHARDNUMSUB own other", 1),
    ("PUBSUB CHANNELS", 1),
    ("PUBSUB CHANNELS o*", 1),
    ("PUBSUB CHANNELS O*", 1),
    ("PUBSUB CHANNELS a b", 1),
    ("PUBSUB SHARDCHANNELS", 1),
    ("PUBSUB SHARDCHANNELS x*", 1),
    ("PUBSUB NUMPAT", 1),
    ("CLIENT REPLY OFF", 0),
    ("PUBLISH own quiet", 3),
    ("CLIENT REPLY ON", 1),
    ("UNSUBSCRIBE own", 1),
    ("PUBLISH own four", 3),
    ("PUNSUBSCRIBE own", 1),
    ("HELLO 2", 1),
    ("GET a", 1),
    ("PUBLISH own five", 1),
    ("RESET", 1),
    ("PUBLISH own six", 1),
    ("PUBSUB CHANNELS", 1),
    ("PUBSUB NUMPAT", 1),
];

fn talk(address: SocketAddr, protocol: u8, lines: &[(&str, usize)]) -> Vec<(String, Vec<Reply>)> {
    let mut client = Client::connect(address);
    client.call(&format!("HELLO {protocol}"));
    let mut found = Vec::new();
    for (line, count) in lines {
        client.send(&request_line(line));
        let reply = |_| client.try_reply().unwrap_or_else(|error| panic!("{line}: {error}"));
        found.push(((*line).to_owned(), (0..*count).map(reply).collect()));
    }
    found
}

fn assert_same_talk(server: &Server, gateway: &Gateway, protocol: u8, lines: &[(&str, usize)]) {
    let expected = talk(server.address(), protocol, lines);
    let found = talk(gateway.address(), protocol, lines);
    for ((line, expected), (_, found)) in expected.iter().zip(&found) {
        if line.starts_with("HELLO") {
            continue;
        }
        assert_eq!(ordered(found), ordered(expected), "{line} in RESP{protocol}");
    }
}

/// In which order a server goes through patterns that match one message is its own affair; and since 7.2 a client
/// hears its own message after the reply. A push may come at any time, and the gateway's comes first, as before.
fn ordered(frames: &[Reply]) -> Vec<&Reply> {
    let by_pattern = |frame: &&Reply| frame.bytes().starts_with(b">4");
    let mut of_patterns: Vec<&Reply> = frames.iter().filter(by_pattern).collect();
    of_patterns.sort();
    let mut next = of_patterns.into_iter();
    let mut all: Vec<&Reply> = frames
        .iter()
        .map(|frame| if by_pattern(&frame) { next.next().unwrap() } else { frame })
        .collect();
    if Make::of_servers().is_since(7, 2) {
        all.sort_by_key(|frame| frame.kind() == b':');
    }
    all
}

#[test]
fn frames_counts_and_errors_are_a_servers() {
    let server = Server::standalone();
    let (_cluster, gateway) = own_gateway();
    for protocol in [2, 3] {
        assert_same_talk(&server, &gateway, protocol, TALK);
    }
}

#[test]
fn a_client_of_resp3_hears_itself_before_its_reply() {
    let server = Server::standalone();
    let (_cluster, gateway) = own_gateway();
    for _ in 0..20 {
        assert_same_talk(&server, &gateway, 3, FREE_TALK);
    }
}

/// A cluster to which nobody else subscribes, and a gateway of two workers before it.
pub(crate) fn own_gateway() -> (Cluster, Gateway) {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).workers(2).start();
    (cluster, gateway)
}

/// Subscribes and takes the confirmations, and the messages before them.
pub(crate) fn subscribe(client: &mut Client, line: &str) {
    client.send(&request_line(line));
    let mut left = line.split(' ').count() - 1;
    while left > 0 {
        let frame = client.reply();
        assert!(matches!(frame.kind(), b'*' | b'>'), "{line}: {frame}");
        left -= usize::from(frame.items()[0].text().ends_with("subscribe"));
    }
}

/// The channel's name and the message.
pub(crate) fn message(reply: &Reply) -> (String, String) {
    let items = reply.items();
    assert!(items.len() >= 3 && items[0].text().ends_with("message"), "no message: {reply}");
    (items[items.len() - 2].text(), items[items.len() - 1].text())
}

pub(crate) fn metric(gateway: &Gateway, name: &str) -> f64 {
    gateway.metric(name)
}

#[test]
fn counts_are_of_clients_on_all_workers_and_nodes() {
    let (cluster, gateway) = own_gateway();
    let mut listeners: Vec<Client> = (0..6).map(|at| gateway.client_of(2 + at % 2)).collect();
    for (at, client) in listeners.iter_mut().enumerate() {
        subscribe(client, "SUBSCRIBE news");
        // Whoever publishes after a confirmation counts it, on whatever worker it is.
        for _ in 0..2 {
            let mut publisher = gateway.client();
            let expected = at as i64 + 1;
            assert_eq!(publisher.call("PUBLISH news x").integer(), expected);
            assert_eq!(publisher.call("PUBSUB NUMSUB news").items()[1].integer(), expected);
        }
    }
    subscribe(&mut listeners[0], "PSUBSCRIBE n?ws *");
    assert_eq!(gateway.client().call("PUBLISH news x").integer(), 8);
    assert_eq!(gateway.client().call("PUBSUB NUMPAT").integer(), 2);
    let info = gateway.client().call("INFO stats").text();
    for line in ["pubsub_channels:1\r\n", "pubsub_patterns:2\r\n", "pubsubshard_channels:0\r\n"] {
        assert!(info.contains(line), "{line}: {info}");
    }
    let mut direct = cluster.node(0).client();
    subscribe(&mut direct, "SUBSCRIBE news own:to:a:node");
    assert_eq!(gateway.client().call("PUBSUB NUMSUB news").items()[1].integer(), 7);
    let channels = gateway.client().call("PUBSUB CHANNELS").items();
    let channels: HashSet<String> = channels.iter().map(Reply::text).collect();
    assert_eq!(channels, HashSet::from(["news".to_owned(), "own:to:a:node".to_owned()]));
    drop(direct);
    drop(listeners);
    wait_for("nobody who listens", || {
        gateway.client().call("PUBLISH news x").integer() == 0
            && gateway.client().call("PUBSUB CHANNELS").items().is_empty()
    });
    assert!((metric(&gateway, "slotway_subscriptions")).abs() < 0.5);
}

#[test]
fn who_has_reset_or_unsubscribed_is_counted_by_nobody() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let mut publishers = [gateway.client(), gateway.client()];
    let mut client = gateway.client_of(3);
    let names: Vec<String> = (0..500).map(|at| format!("ended:{at}")).collect();
    let publish: Vec<String> =
        names.iter().step_by(10).map(|name| format!("PUBLISH {name} x")).collect();
    for end in ["RESET", "UNSUBSCRIBE"].repeat(2) {
        subscribe(&mut client, &format!("SUBSCRIBE {}", names.join(" ")));
        client.send(&request_line(end));
        let frames = if end == "RESET" { 1 } else { names.len() };
        (0..frames).for_each(|_| assert!(!client.reply().is_error()));
        for publisher in &mut publishers {
            let counts = publisher.pipeline(&publish);
            assert!(counts.iter().all(|count| count.integer() == 0), "after {end}: {counts:?}");
        }
    }
}

#[test]
fn a_thousand_subscribers_hear_everything_in_one_order() {
    const PUBLISHERS: usize = 4;
    const MESSAGES: usize = 50;
    let (_cluster, gateway) = own_gateway();
    let mut listeners: Vec<Client> =
        (0..1_000).map(|at| gateway.client_of(2 + (at % 2) as u8)).collect();
    for client in &mut listeners {
        client.send(&request_line("SUBSCRIBE crowd"));
    }
    listeners.iter_mut().for_each(|client| drop(client.reply()));
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let mut client = gateway.client();
            scope.spawn(move || {
                let lines: Vec<String> =
                    (0..MESSAGES).map(|at| format!("PUBLISH crowd {publisher}:{at}")).collect();
                for reply in client.pipeline(&lines) {
                    assert_eq!(reply.integer(), 1_000);
                }
            });
        }
    });
    let heard = |client: &mut Client| -> Vec<String> {
        (0..PUBLISHERS * MESSAGES).map(|_| message(&client.reply()).1).collect()
    };
    let first = heard(&mut listeners[0]);
    for publisher in 0..PUBLISHERS {
        let own: Vec<&String> =
            first.iter().filter(|text| text.starts_with(&format!("{publisher}:"))).collect();
        let expected: Vec<String> = (0..MESSAGES).map(|at| format!("{publisher}:{at}")).collect();
        assert_eq!(own, expected.iter().collect::<Vec<_>>());
    }
    for client in &mut listeners[1..] {
        assert_eq!(heard(client), first);
    }
}

/// How many channels; `SLOTWAY_TEST_CHANNELS` says another number.
fn channels() -> usize {
    let number = env::var("SLOTWAY_TEST_CHANNELS").ok();
    number.map_or(1_000, |number| number.parse().unwrap())
}

#[test]
fn a_thousand_channels_of_one_client() {
    let (_cluster, gateway) = own_gateway();
    let names: Vec<String> = (0..channels()).map(|at| format!("ch:{at}")).collect();
    for (command, publish) in [("SUBSCRIBE", "PUBLISH"), ("SSUBSCRIBE", "SPUBLISH")] {
        let mut client = gateway.client_of(3);
        subscribe(&mut client, &format!("{command} {}", names.join(" ")));
        let lines: Vec<String> =
            names.iter().map(|name| format!("{publish} {name} to:{name}")).collect();
        assert!(gateway.client().pipeline(&lines).iter().all(|reply| reply.integer() == 1));
        let mut heard: Vec<(String, String)> =
            names.iter().map(|_| message(&client.reply())).collect();
        heard.sort();
        let mut expected: Vec<(String, String)> =
            names.iter().map(|name| (name.clone(), format!("to:{name}"))).collect();
        expected.sort();
        assert_eq!(heard, expected);
    }
}

#[test]
fn what_was_written_before_a_message_is_there_when_it_comes() {
    let (_cluster, gateway) = own_gateway();
    let mut listener = gateway.client_of(3);
    subscribe(&mut listener, "SUBSCRIBE written");
    let mut writer = gateway.client();
    for round in 0..200 {
        let key = format!("written:{round}");
        writer.send(&request_line(&format!("SET {key} {round}")));
        writer.send(&request_line(&format!("PUBLISH written {key}")));
        writer.send(&request_line(&format!("GET {key}")));
        let (_, heard) = message(&listener.reply());
        assert_eq!(listener.call(&format!("GET {heard}")).text(), round.to_string());
        assert_eq!(writer.reply().text(), "OK");
        assert_eq!(writer.reply().integer(), 1);
        assert_eq!(writer.reply().text(), round.to_string());
    }
}

/// As outside of a transaction: clients are counted, on whatever node the transaction runs.
#[test]
fn a_message_in_a_transaction_is_counted_and_heard_as_any_other() {
    let cluster = Cluster::shared();
    for sharded in [false, true] {
        let builder = Gateway::before(cluster).workers(2).setting("pubsub.sharded", sharded);
        let gateway = builder.start();
        let channel = format!("counted:{sharded}");
        let mut listeners: Vec<Client> = (0..3).map(|at| gateway.client_of(2 + at % 2)).collect();
        for client in &mut listeners {
            subscribe(client, &format!("SUBSCRIBE {channel}"));
        }
        subscribe(&mut listeners[0], &format!("SSUBSCRIBE {channel}"));
        let [plain, both] = if sharded { [4, 4] } else { [3, 1] };
        let mut publisher = gateway.client_of(3);
        // A key on each primary, and none at all.
        let keys = [1, 7_000, 16_000].map(|slot| format!("SET {{{}}} v", tag_in_slot(slot)));
        for (round, line) in keys.iter().map(String::as_str).chain(["PING"]).enumerate() {
            let publish = [
                format!("PUBLISH {channel} {round}"),
                format!("SPUBLISH {channel} {round}"),
                "PUBLISH nobody x".to_owned(),
            ];
            let [first, second, third] = &publish;
            let replies = publisher.pipeline(&["MULTI", first, line, second, third, "EXEC"]);
            let counts = replies[5].items();
            let counts = [&counts[0], &counts[2], &counts[3]].map(Reply::integer);
            assert_eq!(counts, [plain, both, 0], "{line} with pubsub.sharded = {sharded}");
            for (client, heard) in listeners.iter_mut().zip([2 + usize::from(sharded) * 2, 1, 1]) {
                let heard = if sharded && heard == 1 { 2 } else { heard };
                for _ in 0..heard {
                    assert_eq!(message(&client.reply()).1, round.to_string());
                }
            }
        }
    }
}

#[test]
fn messages_never_fall_into_a_reply() {
    let (_cluster, gateway) = own_gateway();
    let value = vec![b'v'; 8 << 20];
    let set: [&[u8]; 3] = [b"SET", b"large", &value];
    assert_eq!(gateway.client().call_args(&set).text(), "OK");
    let mut listener = gateway.client_of(3);
    subscribe(&mut listener, "SUBSCRIBE busy");
    const MESSAGES: usize = 2_000;
    thread::scope(|scope| {
        scope.spawn(|| {
            let lines: Vec<String> = (0..MESSAGES).map(|at| format!("PUBLISH busy {at}")).collect();
            let mut client = gateway.client();
            lines.chunks(20).for_each(|some| drop(client.pipeline(some)));
        });
        let (mut next, mut values) = (0, 0);
        while next < MESSAGES || values < 3 {
            if values < 3 {
                listener.send(&request_line("GET large"));
            }
            loop {
                let frame = listener.reply();
                if frame.kind() == b'$' {
                    assert!(frame.payload() == value, "a broken value");
                    values += 1;
                    break;
                }
                assert_eq!(message(&frame).1, next.to_string());
                next += 1;
                if values >= 3 && next == MESSAGES {
                    break;
                }
            }
        }
    });
}

/// Publishes numbers until the listener has heard one that was published after the call, and says how many it missed.
/// It never hears one twice, or out of order.
fn missed_until_heard_again(
    gateway: &Gateway,
    listener: &mut Client,
    publish: &str,
    next: &mut u64,
) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    let start = *next;
    let mut publisher = gateway.client();
    loop {
        assert!(Instant::now() < deadline, "nothing is heard any more");
        let published = publisher.call(&format!("{publish} {next}"));
        *next += 1;
        if published.is_error() || published.integer() == 0 {
            continue;
        }
        let mut frame = listener.try_reply();
        while let Ok(reply) = &frame {
            let number: u64 = message(reply).1.parse().unwrap();
            if number >= start {
                return number - start;
            }
            frame = listener.try_reply();
        }
        let error = frame.unwrap_err();
        assert!(
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
            "the listener was disconnected: {error}"
        );
    }
}

#[test]
fn shard_channels_follow_their_slot() {
    let cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster).workers(2).start();
    let slot = key_slot(b"{shard}");
    let mut listener = gateway.client_of(3).patience(Duration::from_millis(300));
    subscribe(&mut listener, "SSUBSCRIBE {shard}:a {shard}:b other");
    assert_eq!(gateway.client().call("SPUBLISH {shard}:a now").integer(), 1);
    assert_eq!(message(&listener.reply()), ("{shard}:a".to_owned(), "now".to_owned()));
    let mut next = 0;
    let target = (cluster.owner(slot) + 1) % 3;
    cluster.migrate_slot(slot, target);
    missed_until_heard_again(&gateway, &mut listener, "SPUBLISH {shard}:a", &mut next);
    missed_until_heard_again(&gateway, &mut listener, "SPUBLISH {shard}:b", &mut next);
    cluster.wait_until_whole();
    cluster.fail_over_to(target + 3);
    missed_until_heard_again(&gateway, &mut listener, "SPUBLISH {shard}:a", &mut next);
    missed_until_heard_again(&gateway, &mut listener, "SPUBLISH other", &mut next);
    wait_for("one subscription, at the new owner", || {
        let count = |place: usize| {
            let mut node = cluster.node(place).client();
            node.call("PUBSUB SHARDNUMSUB {shard}:b").items()[1].integer()
        };
        count(target + 3) == 1 && (0..6).map(count).sum::<i64>() == 1
    });
    assert_eq!(gateway.client().call("PUBSUB SHARDNUMSUB {shard}:b").items()[1].integer(), 1);
    assert!(metric(&gateway, "slotway_subscription_gaps_total") >= 2.0);
}

#[test]
fn keyspace_events_come_from_every_primary_once() {
    let cluster = Cluster::small().with_one_more(Server::node(15_000));
    for place in 0..3 {
        cluster.node(place).client().call("CONFIG SET notify-keyspace-events KEA");
    }
    let gateway = Gateway::before(&cluster).setting("cluster.refresh_interval", "300ms").start();
    let mut by_pattern = gateway.client();
    subscribe(&mut by_pattern, "PSUBSCRIBE __keyevent@0__:s*");
    let mut by_channel = gateway.client();
    subscribe(&mut by_channel, "SUBSCRIBE __keyevent@0__:set plain");
    let mut all = gateway.client();
    subscribe(&mut all, "PSUBSCRIBE *");
    let mut writer = gateway.client();
    for at in 0..40 {
        assert_eq!(writer.call(&format!("SET event:{at} 1")).text(), "OK");
    }
    assert_eq!(writer.call("PUBLISH plain end").integer(), 2);
    let expected: HashSet<String> = (0..40).map(|at| format!("event:{at}")).collect();
    for client in [&mut by_pattern, &mut by_channel] {
        let heard: Vec<String> = (0..40).map(|_| message(&client.reply()).1).collect();
        assert_eq!(heard.iter().cloned().collect::<HashSet<_>>(), expected);
    }
    assert_eq!(message(&by_channel.reply()).1, "end");
    // Two events for each key, and what was published once, not once for each primary.
    let heard: Vec<(String, String)> = (0..81).map(|_| message(&all.reply())).collect();
    assert_eq!(heard.iter().filter(|(channel, _)| channel == "plain").count(), 1);
    // A node that becomes a primary with slots is listened to as well.
    let slot = 77;
    cluster.migrate_slot(slot, 2);
    let key = format!("{{{}}}", tag_in_slot(slot));
    let mut by_pattern = by_pattern.patience(Duration::from_millis(200));
    wait_for("an event of the new primary", || {
        writer.call(&format!("SET {key} 1"));
        by_pattern.try_reply().is_ok_and(|reply| message(&reply).1 == key)
    });
}

#[test]
fn a_slow_subscriber_is_cut_off_alone() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster)
        .setting("pubsub.output_hard", "1MiB")
        .setting("pubsub.output_soft", "512KiB")
        .start();
    let (mut slow, mut quick) = (gateway.client_of(3), gateway.client());
    subscribe(&mut slow, "SUBSCRIBE flood");
    subscribe(&mut quick, "SUBSCRIBE flood");
    let mut publisher = gateway.client();
    let text = "x".repeat(64 << 10);
    let mut sent = 0;
    wait_for("the slow one to be cut off", || {
        let reached = publisher.call(&format!("PUBLISH flood {text}")).integer();
        sent += 1;
        assert_eq!(message(&quick.reply()).1.len(), text.len());
        reached == 1
    });
    assert!(sent > 10, "cut off after {sent} messages");
    slow.read_to_end();
    assert!((metric(&gateway, "slotway_slow_subscribers_total") - 1.0).abs() < 0.5);
    assert_eq!(publisher.call("PUBLISH flood end").integer(), 1);
    assert_eq!(message(&quick.reply()).1, "end");
}

#[test]
fn a_subscriber_beyond_the_soft_limit_is_cut_off_in_time() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster)
        .setting("pubsub.output_soft", "1KiB")
        .setting("pubsub.output_soft_time", "300ms")
        .start();
    let mut slow = gateway.client();
    subscribe(&mut slow, "SUBSCRIBE flood");
    let mut publisher = gateway.client();
    // More than the kernel keeps for it; no message comes after that.
    let message = vec![b'x'; 1 << 20];
    let publish: [&[u8]; 3] = [b"PUBLISH", b"flood", &message];
    for _ in 0..12 {
        publisher.call_args(&publish);
    }
    wait_for("the slow one to be cut off", || {
        metric(&gateway, "slotway_slow_subscribers_total") > 0.5
    });
}

#[test]
fn a_loss_may_disconnect_subscribers() {
    let cluster = Cluster::small();
    let going_on = Gateway::before(&cluster).start();
    let gateway = Gateway::before(&cluster).setting("pubsub.on_loss", "disconnect").start();
    let (mut kept, mut cut, mut other) = (going_on.client(), gateway.client(), gateway.client());
    subscribe(&mut kept, "SUBSCRIBE mortal");
    subscribe(&mut cut, "SUBSCRIBE mortal");
    for place in 0..2 {
        cluster.node(place).client().call("CLIENT KILL TYPE pubsub");
    }
    assert!(cut.is_closed());
    assert_eq!(other.call("PING").text(), "PONG");
    wait_for("the channel again", || going_on.client().call("PUBLISH mortal x").integer() >= 1);
    assert_eq!(message(&kept.reply()).1, "x");
}

#[test]
fn plain_channels_may_be_carried_by_their_shard() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).workers(2).setting("pubsub.sharded", true).start();
    let mut listeners: Vec<Client> = (0..4).map(|at| gateway.client_of(2 + at % 2)).collect();
    for client in &mut listeners {
        subscribe(client, "SUBSCRIBE one two three");
    }
    let mut sharded = gateway.client_of(3);
    subscribe(&mut sharded, "SSUBSCRIBE one");
    let mut publisher = gateway.client();
    assert_eq!(publisher.call("PUBLISH one x").integer(), 5);
    assert_eq!(publisher.call("PUBLISH two y").integer(), 4);
    assert_eq!(publisher.call("SPUBLISH one z").integer(), 5);
    for client in &mut listeners {
        let frames = [client.reply(), client.reply(), client.reply()];
        let mut heard: Vec<_> = frames.iter().map(message).map(|(_, text)| text).collect();
        heard.sort();
        assert_eq!(heard, ["x", "y", "z"]);
        assert!(frames.iter().all(|frame| frame.items()[0].text() == "message"));
    }
    assert_eq!(sharded.reply().items()[0].text(), "smessage");
    assert_eq!(
        publisher.call("PUBSUB NUMSUB one two").to_string(),
        "*4\\r\\n$3\\r\\none\\r\\n:4\\r\\n$3\\r\\ntwo\\r\\n:4\\r\\n"
    );
    assert_eq!(publisher.call("PUBSUB SHARDNUMSUB one two").items()[1].integer(), 1);
    assert_eq!(publisher.call("PUBSUB SHARDNUMSUB one two").items()[3].integer(), 0);
    assert_eq!(publisher.call("PUBSUB SHARDCHANNELS").items().len(), 1);
    for place in 0..2 {
        assert_eq!(cluster.node(place).client().call("PUBSUB CHANNELS").items().len(), 0);
    }
    let refused = publisher.call("PSUBSCRIBE one*");
    assert!(refused.is_error() && refused.text().contains("pubsub.sharded"), "{refused}");
    subscribe(&mut publisher, "PSUBSCRIBE __keyspace@0__:*");
}

#[test]
fn subscriptions_of_one_client_are_bounded() {
    let cluster = Cluster::shared();
    let gateway = Gateway::before(cluster).setting("pubsub.subscriptions", 3).start();
    let mut client = gateway.client();
    subscribe(&mut client, "SUBSCRIBE a b");
    subscribe(&mut client, "SSUBSCRIBE a");
    assert_eq!(client.call("PSUBSCRIBE c").text(), "ERR max number of subscriptions reached");
    assert_eq!(client.call("SUBSCRIBE a").items()[2].integer(), 2);
    assert_eq!(client.call("UNSUBSCRIBE b").items()[2].integer(), 1);
    assert_eq!(client.call("PSUBSCRIBE c").items()[2].integer(), 2);
}

#[test]
fn subscribers_are_shown_as_such_and_may_be_silent() {
    let gateway =
        Gateway::before(Cluster::shared()).setting("limits.idle_timeout", "300ms").start();
    let mut subscriber = gateway.client();
    subscribe(&mut subscriber, "SUBSCRIBE shown a");
    subscribe(&mut subscriber, "PSUBSCRIBE s*");
    let listed = gateway.client().call("CLIENT LIST TYPE pubsub").text();
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert!(listed.contains(" flags=P ") && listed.contains(" sub=2 psub=1 ssub=0 "), "{listed}");
    let normal = gateway.client().call("CLIENT LIST TYPE normal").text();
    assert!(!normal.contains("flags=P"), "{normal}");
    let mut idle = gateway.client();
    assert!(idle.is_closed(), "a client that does nothing is closed");
    assert_eq!(subscriber.call("PING still").items()[1].text(), "still");
    assert_eq!(gateway.client().call("CLIENT KILL TYPE pubsub").integer(), 1);
    assert!(subscriber.is_closed());
}

#[test]
fn a_channel_may_be_any_bytes() {
    let (_cluster, gateway) = own_gateway();
    let names: [&[u8]; 4] = [b"\0", b"a\r\nb", b"\xff\xfe", &[b'n'; 70_000]];
    let mut client = gateway.client();
    let mut arguments: Vec<&[u8]> = vec![b"SUBSCRIBE"];
    arguments.extend(names);
    client.send(&request(&arguments));
    for name in names {
        assert_eq!(client.reply().items()[1].payload(), name);
    }
    for name in names {
        let publish: [&[u8]; 3] = [b"PUBLISH", name, &[b'm'; 100_000]];
        assert_eq!(gateway.client().call_args(&publish).integer(), 1);
        let heard = client.reply().items();
        assert_eq!((heard[1].payload(), heard[2].payload().len()), (name, 100_000));
    }
}

#[test]
fn a_subscription_that_no_node_takes_is_refused_in_time() {
    let mut cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).setting("backend.hold_time", "300ms").start();
    let mut client = gateway.client();
    subscribe(&mut client, "SUBSCRIBE before");
    for place in 0..2 {
        cluster.node_mut(place).kill();
    }
    for line in
        ["SUBSCRIBE after", "PSUBSCRIBE after*", "SSUBSCRIBE after", "SUBSCRIBE before after"]
    {
        let refused = client.call(line);
        assert_eq!(refused.text(), "CLUSTERDOWN no node takes the subscription", "{line}");
    }
    assert_eq!(client.call("UNSUBSCRIBE before").items()[2].integer(), 0);
    assert!(client.call("PUBLISH before x").text().starts_with("CLUSTERDOWN"));
    cluster.node_mut(0).start();
    cluster.node_mut(1).start();
    wait_for("a subscription", || !client.call("SUBSCRIBE after").is_error());
}
