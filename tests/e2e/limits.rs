//! Each limit bites, is counted, and bites nobody else.

use std::time::{Duration, Instant};

use crate::harness::{Client, Cluster, Gateway, request, request_line, wait_for};

const MEBIBYTE: usize = 1 << 20;

#[test]
fn clients_of_one_address_are_bounded() {
    let gateway = Gateway::before(Cluster::shared())
        .workers(2)
        .setting("limits.max_clients_per_address", 3)
        .start();
    let mut clients: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
    for client in &mut clients {
        assert_eq!(client.call("PING").text(), "PONG");
    }
    let refused = gateway.client().read_to_end();
    assert_eq!(refused, b"-ERR max number of clients reached for this address\r\n");
    assert!(gateway.rejected("max_clients_per_address") >= 1.0);
    let mut neighbour = Client::connect_from("127.0.0.2".parse().unwrap(), gateway.address());
    assert_eq!(neighbour.call("PING").text(), "PONG");
    drop(clients.pop());
    wait_for("a free place", || gateway.serves());
    assert_eq!(clients[0].call("PING").text(), "PONG");
}

#[test]
fn requests_beyond_a_limit_end_their_connection_alone() {
    let gateway = Gateway::before(Cluster::shared())
        .setting("limits.request_bytes", "64KiB")
        .setting("limits.bulk_bytes", "32KiB")
        .setting("limits.inline_bytes", "1KiB")
        .setting("limits.request_arguments", 100)
        .start();
    let mut neighbour = gateway.client();
    let (most, too_much) = (vec![b'x'; 32 << 10], vec![b'x'; (32 << 10) + 1]);
    let cases: [(Vec<u8>, &[u8]); 4] = [
        (b"*101\r\n".to_vec(), b"-ERR Protocol error: invalid multibulk length\r\n"),
        (
            request(&[b"ECHO" as &[u8], &too_much[..]]),
            b"-ERR Protocol error: invalid bulk length\r\n",
        ),
        (vec![b'x'; 1_100], b"-ERR Protocol error: too big inline request\r\n"),
        (request(&[b"MSET" as &[u8], b"{a}", &most[..], b"{a}b", &most[..]]), b""),
    ];
    for (number, (bytes, expected)) in (1_u32..).zip(&cases) {
        let mut client = gateway.client();
        // The gateway may have closed already.
        let _ = client.try_send(bytes);
        assert_eq!(client.read_to_end(), *expected);
        assert!((gateway.rejected("request_limit") - f64::from(number)).abs() < 0.5);
        assert_eq!(neighbour.call("PING").text(), "PONG");
    }
    assert_eq!(neighbour.call_args(&[b"ECHO" as &[u8], &most[..]]).payload(), most);
    assert!(gateway.rejected("protocol") < 0.5);
}

#[test]
fn who_leaves_too_much_unread_is_cut_off_alone() {
    let cluster = Cluster::shared();
    let hard = Gateway::before(cluster).setting("limits.output_hard", "1MiB").start();
    let soft = Gateway::before(cluster)
        .setting("limits.output_soft", "1KiB")
        .setting("limits.output_soft_time", "300ms")
        .start();
    let mut neighbour = hard.client();
    let value = vec![b'x'; MEBIBYTE];
    assert_eq!(neighbour.call_args(&[b"SET", b"limits:unread" as &[u8], &value]).text(), "OK");
    for gateway in [&hard, &soft] {
        let mut slow = gateway.client();
        // More than the kernel keeps for it.
        slow.send(&request_line("GET limits:unread").repeat(60));
        wait_for("the slow one to be cut off", || gateway.rejected("output_limit") > 0.5);
        slow.read_to_end();
        let mut neighbour = gateway.client();
        assert_eq!(neighbour.call("GET limits:unread").payload().len(), MEBIBYTE);
        assert!(gateway.rejected("output_limit") < 1.5);
    }
    assert_eq!(neighbour.call("DEL limits:unread").integer(), 1);
}

#[test]
fn limits_that_refuse_a_request_are_counted() {
    let gateway = Gateway::before(Cluster::shared())
        .setting("backend.leases", 0)
        .setting("pubsub.subscriptions", 1)
        .setting("limits.request_bytes", "64KiB")
        .setting("limits.bulk_bytes", "40KiB")
        .setting("routing.gathered_bytes", "1KiB")
        .start();
    let (mut client, mut neighbour) = (gateway.client(), gateway.client());
    let large = "x".repeat(35_000);
    let cases = [
        ("leases", vec!["WATCH limits:watched".to_owned()]),
        ("subscriptions", vec!["SUBSCRIBE one two".to_owned()]),
        ("transaction", vec!["MULTI".to_owned(), format!("ECHO {large}"), format!("ECHO {large}")]),
        (
            "gathered",
            vec![
                "DISCARD".to_owned(),
                format!("SADD limits:set {large}"),
                "SUNION limits:set limits:other".to_owned(),
            ],
        ),
    ];
    for (limit, lines) in cases {
        assert!(gateway.limited(limit) < 0.5, "{limit}");
        let reply = client.pipeline(&lines).pop().unwrap();
        assert!(reply.is_error(), "{limit}: {reply}");
        assert!((gateway.limited(limit) - 1.0).abs() < 0.5, "{limit}: {reply}");
        assert_eq!(neighbour.call("PING").text(), "PONG");
    }
    assert_eq!(client.call("DEL limits:set").integer(), 1);
}

#[test]
fn a_user_ahead_of_its_rate_waits_and_nobody_else_does() {
    let gateway = Gateway::before(Cluster::shared())
        .workers(2)
        .setting("limits.user_commands.app", "50 burst 10")
        .start();
    let mut neighbour = gateway.client();
    assert_eq!(neighbour.call("ACL SETUSER app on >pw ~* &* +@all").text(), "OK");
    let mut pair = [gateway.client(), gateway.client()];
    for client in &mut pair {
        assert_eq!(client.call("AUTH app pw").text(), "OK");
    }
    let lines: Vec<String> = (0..40).map(|number| format!("ECHO {number}")).collect();
    let start = Instant::now();
    let together: Vec<u8> = lines.iter().flat_map(|line| request_line(line)).collect();
    for client in &mut pair {
        client.send(&together);
    }
    wait_for("a request that waits", || gateway.limited("rate") >= 1.0);
    assert_eq!(neighbour.call("ECHO neighbour").text(), "neighbour");
    for client in &mut pair {
        for number in 0..40 {
            assert_eq!(client.reply().text(), number.to_string());
        }
    }
    // Of 80 commands 10 go at once, and 50 each second after that.
    assert!(start.elapsed() >= Duration::from_millis(1_300), "{:?}", start.elapsed());
    assert!(gateway.metric("slotway_rate_wait_seconds_count") >= 1.0);
    // Who leaves while its request waits leaves nothing behind.
    pair[0].send(&together);
    drop(pair);
    assert_eq!(neighbour.call("PING").text(), "PONG");
}

#[test]
fn bytes_have_a_rate_in_both_directions() {
    let gateway = Gateway::before(Cluster::shared())
        .setting("limits.user_bytes.\"*\"", "200KiB burst 1KiB")
        .start();
    let mut client = gateway.client();
    let value = vec![b'x'; 100 << 10];
    let start = Instant::now();
    assert_eq!(client.call_args(&[b"SET", b"limits:rate" as &[u8], &value]).text(), "OK");
    assert_eq!(client.call("GET limits:rate").payload(), value);
    assert_eq!(client.call("DEL limits:rate").integer(), 1);
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    assert!(gateway.limited("rate") >= 2.0);
}

#[test]
fn who_holds_most_is_sent_away_first() {
    let gateway = Gateway::before(Cluster::shared())
        .workers(2)
        .setting("limits.client_memory", "16MiB")
        .start();
    let value = vec![b'x'; 2 * MEBIBYTE];
    let mut small: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
    let mut sets = Vec::new();
    for (number, client) in small.iter_mut().enumerate() {
        let set = request(&[b"SET", format!("limits:small:{number}").as_bytes(), &value[..]]);
        client.send(&set[..MEBIBYTE]);
        sets.push(set);
    }
    let mut large = gateway.client();
    let announced = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", 64 * MEBIBYTE);
    large.send(announced.as_bytes());
    let mut sent = 0;
    while large.try_send(&value).is_ok() {
        sent += value.len();
        assert!(sent < 60 * MEBIBYTE, "still there after {sent} bytes");
    }
    assert!(large.is_closed());
    assert!((gateway.rejected("memory") - 1.0).abs() < 0.5, "nobody else");
    for (client, set) in small.iter_mut().zip(&sets) {
        client.send(&set[MEBIBYTE..]);
        assert_eq!(client.reply().text(), "OK");
    }
    wait_for("memory that is free again", || gateway.metric("slotway_client_memory_bytes") < 1e6);
    for number in 0..3 {
        assert_eq!(small[0].call(&format!("DEL limits:small:{number}")).integer(), 1);
    }
}

#[test]
fn transactions_that_are_collected_count_as_memory() {
    let gateway =
        Gateway::before(Cluster::shared()).setting("limits.client_memory", "4MiB").start();
    let mut neighbour = gateway.client();
    let mut client = gateway.client();
    let value = vec![b'x'; 100 << 10];
    client.send(&request_line("MULTI"));
    let set = request(&[b"SET", b"limits:never" as &[u8], &value]);
    for _ in 0..200 {
        if client.try_send(&set).is_err() {
            break;
        }
    }
    client.read_to_end();
    assert!((gateway.rejected("memory") - 1.0).abs() < 0.5);
    assert!(neighbour.call("GET limits:never").is_nil());
}
