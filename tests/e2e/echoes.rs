//! Nobody hears what it published before it subscribed, by whatever way it published.

use crate::harness::{Client, Cluster, Gateway, Reply, request_line, tag_in_slot};
use crate::pubsub::{message, subscribe};

/// Rounds of each way, and of each protocol.
const ROUNDS: usize = 15;

/// A way to publish to `C`, and how to subscribe to it and have something published afterwards. `I` stands for another
/// number each time, `A` and `B` for keys of two nodes.
const WAYS: &[(&[&str], &str, &str)] = &[
    (&["PUBLISH C I"], "SUBSCRIBE C", "PUBLISH C end"),
    (&["PUBLISH C I"], "PSUBSCRIBE C*", "PUBLISH C end"),
    (&["PUBLISH C I", "PUBLISH other I"], "SUBSCRIBE D C", "PUBLISH C end"),
    (&["SPUBLISH C I"], "SSUBSCRIBE C", "SPUBLISH C end"),
    (&["SPUBLISH C I", "PUBLISH C I", "SPUBLISH D I"], "SSUBSCRIBE D C", "SPUBLISH C end"),
    (&["EVAL PUB 1 A C I"], "SUBSCRIBE C", "PUBLISH C end"),
    (&["EVAL PUB 1 B C I"], "PSUBSCRIBE C*", "PUBLISH C end"),
    (&["EVAL PUB 1 B C I", "EVAL PUB 1 A C I", "EVAL PUB 0 C I"], "SUBSCRIBE C", "PUBLISH C end"),
    (&["EVAL SPUB 1 C C I"], "SSUBSCRIBE C", "SPUBLISH C end"),
    (&["MULTI", "SET A I", "PUBLISH C I", "EXEC"], "SUBSCRIBE C", "PUBLISH C end"),
    (&["MULTI", "PUBLISH C I", "SET B I", "SPUBLISH D I", "EXEC"], "SUBSCRIBE C", "PUBLISH C end"),
    (&["MULTI", "PUBLISH C I", "EXEC"], "PSUBSCRIBE C*", "PUBLISH C end"),
    (&["MULTI", "EVAL PUB 1 A C I", "EXEC"], "SUBSCRIBE C", "PUBLISH C end"),
    (&["MULTI", "EVAL PUB 1 B C I", "EXEC"], "SUBSCRIBE C", "PUBLISH C end"),
    (&["SET A I", "SET B I"], "SUBSCRIBE __keyevent@0__:set", "SET end I"),
];

/// The same where shard channels carry plain ones. What a script publishes to a plain channel reaches nobody there.
const SHARDED: &[(&[&str], &str, &str)] = &[
    (&["PUBLISH C I"], "SUBSCRIBE C", "PUBLISH C end"),
    (&["PUBLISH C I", "PUBLISH D I"], "SUBSCRIBE D C", "PUBLISH C end"),
    (&["MULTI", "SET A I", "PUBLISH C I", "PUBLISH D I", "EXEC"], "SUBSCRIBE C D", "PUBLISH C end"),
    (&["EVAL SPUB 1 C C I"], "SUBSCRIBE C", "SPUBLISH C end"),
];

fn line(words: &str, number: usize) -> Vec<u8> {
    let call = |name: &str| format!("return redis.call('{name}',ARGV[#ARGV-1],ARGV[#ARGV])");
    let word = |word: &str| match word {
        "C" => "echo".to_owned(),
        "C*" => "ech?".to_owned(),
        "D" => "echo:too".to_owned(),
        "I" => number.to_string(),
        "A" => format!("{{{}}}", tag_in_slot(10)),
        "B" => format!("{{{}}}", tag_in_slot(16_000)),
        "PUB" => call("PUBLISH"),
        "SPUB" => call("SPUBLISH"),
        other => other.to_owned(),
    };
    crate::harness::request(&words.split(' ').map(word).collect::<Vec<_>>())
}

/// Publishes, subscribes in the same breath, and hears first what was published after that.
fn hears_no_echo(
    gateway: &Gateway,
    protocol: u8,
    (publish, subscribe, end): (&[&str], &str, &str),
) {
    let mut other = gateway.client();
    for round in 0..ROUNDS {
        let mut client = gateway.client_of(protocol);
        let lines = publish.iter().chain([&subscribe]);
        client.send(&lines.flat_map(|words| line(words, round)).collect::<Vec<_>>());
        for words in publish {
            let reply = client.reply();
            assert!(!reply.is_error(), "{words}: {reply}");
        }
        for _ in subscribe.split(' ').skip(1) {
            let frame = client.reply();
            assert!(frame.items()[0].text().ends_with("subscribe"), "{publish:?}: {frame}");
        }
        other.send(&line(end, round));
        assert!(!other.reply().is_error());
        let heard = message(&client.reply()).1;
        assert_eq!(heard, "end", "{publish:?} and {subscribe} in RESP{protocol}, round {round}");
    }
}

#[test]
fn nobody_hears_what_it_published_before_it_subscribed() {
    let cluster = Cluster::small();
    for place in 0..2 {
        cluster.node(place).client().call("CONFIG SET notify-keyspace-events KEA");
    }
    for (sharded, ways) in [(false, WAYS), (true, SHARDED)] {
        let gateway =
            Gateway::before(&cluster).workers(2).setting("pubsub.sharded", sharded).start();
        // They listen all the time, on both workers.
        let mut listeners: Vec<Client> = (0..2).map(|_| gateway.client()).collect();
        for client in &mut listeners {
            subscribe(client, "SUBSCRIBE echo echo:too __keyevent@0__:set");
            subscribe(client, "SSUBSCRIBE echo echo:too");
            if !sharded {
                subscribe(client, "PSUBSCRIBE ech? *");
            }
        }
        for way in ways {
            for protocol in [2, 3] {
                hears_no_echo(&gateway, protocol, *way);
            }
        }
        let channels = gateway.client().call("PUBSUB CHANNELS").items();
        assert!(channels.iter().map(Reply::text).all(|name| !name.contains("slotway")));
        for client in &mut listeners {
            client.send(&request_line("PING listened"));
            // What the gateway publishes for itself reaches nobody.
            let mut frame = client.reply();
            while frame.items()[0].text() != "pong" {
                let heard = message(&frame);
                assert!(!heard.0.contains("slotway"), "{heard:?}");
                frame = client.reply();
            }
        }
    }
}
