//! SIGTERM and SIGINT: not ready, no new clients, what is in flight is answered, then an orderly end in time.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Act, Client, Cluster, FakeCluster, Gateway, request_line, wait_for};

#[test]
fn what_is_in_flight_is_answered() {
    for signal in [Signal::TERM, Signal::INT] {
        let fake = FakeCluster::of(1);
        let mut gateway = Gateway::before_nodes(&fake.addresses()).start();
        fake.always(
            0,
            "GET late",
            Act::SayLate(Duration::from_millis(1_000), b"$4\r\nlate\r\n".to_vec()),
        );
        let (mut busy, mut idle) = (gateway.client(), gateway.client());
        assert_eq!(idle.call("PING").text(), "PONG");
        busy.send(&request_line("GET late"));
        fake.wait_until_seen(0, "GET late", 1);
        gateway.signal(signal);
        assert!(idle.is_closed(), "an idle session is closed at once");
        wait_for("a gateway that is not ready", || {
            !matches!(gateway.try_page("/readyz"), Ok((200, _)))
        });
        let refused =
            Client::try_connect(gateway.address()).and_then(|mut client| client.try_call("PING"));
        assert!(refused.is_err(), "a new client is served: {refused:?}");
        assert_eq!(busy.reply().text(), "late");
        assert!(busy.is_closed());
        gateway.wait_for_end();
    }
}

/// Clients that keep sending are answered up to some whole reply and then told the end. A reset would take with it
/// replies that are still on their way.
#[test]
fn pipelines_are_answered_up_to_some_request_and_then_closed() {
    let mut gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let bytes: Vec<u8> =
        (0..100_000).flat_map(|number| request_line(&format!("ECHO {number}"))).collect();
    let mut clients: Vec<Client> = (0..6).map(|_| gateway.client()).collect();
    thread::scope(|scope| {
        for client in &mut clients {
            let (mut writer, bytes) = (client.writer(), &bytes);
            // The gateway may close while this still writes.
            scope.spawn(move || drop(writer.write_all(bytes)));
            assert_eq!(client.reply().text(), "0");
        }
        gateway.signal(Signal::TERM);
        for client in &mut clients {
            scope.spawn(|| read_to_orderly_end(client, 1));
        }
    });
    gateway.wait_for_end();
}

fn read_to_orderly_end(client: &mut Client, first: usize) {
    for next in first.. {
        match client.try_reply() {
            Ok(reply) => assert_eq!(reply.text(), next.to_string()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "after {next} replies");
                break;
            }
        }
    }
    assert_eq!(client.read_to_end(), b"", "no half reply");
}

#[test]
fn a_node_that_never_answers_delays_the_end_for_the_drain_time_only() {
    let fake = FakeCluster::of(1);
    let builder = Gateway::before_nodes(&fake.addresses()).setting("runtime.drain_time", "1s");
    let mut gateway = builder.setting("backend.probe_interval", "30s").start();
    fake.always(0, "GET", Act::Freeze);
    let mut client = gateway.client();
    client.send(&request_line("GET never"));
    fake.wait_until_seen(0, "GET", 1);
    let start = Instant::now();
    gateway.signal(Signal::TERM);
    gateway.wait_for_end();
    assert!(start.elapsed() > Duration::from_millis(800), "{:?}", start.elapsed());
    assert!(client.is_closed());
}

#[test]
fn hundreds_of_idle_clients_do_not_delay_the_end() {
    // Longer than this test waits for its end.
    let builder = Gateway::before(Cluster::shared()).setting("runtime.drain_time", "10m");
    let mut gateway = builder.workers(2).start();
    let mut clients: Vec<Client> = (0..300).map(|_| gateway.client()).collect();
    for client in &mut clients {
        assert_eq!(client.call("GET none").kind(), b'$');
    }
    gateway.signal(Signal::TERM);
    gateway.wait_for_end();
    assert!(clients.iter_mut().all(Client::is_closed));
}
