//! Clients that come through a balancer: their own address counts, if the balancer is one of those that are believed.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::harness::{
    Client, Cluster, Gateway, PATIENCE, Process, free_port, local, new_folder, request_line, text,
    wait_for,
};

/// The header for a client with this address, as balancers send it.
fn header(client: &str) -> Vec<u8> {
    let SocketAddr::V4(client) = client.parse().unwrap() else { panic!("{client}") };
    let addresses = [&client.ip().octets()[..], &[127, 0, 0, 1]].concat();
    let ports = [client.port().to_be_bytes(), 6379_u16.to_be_bytes()].concat();
    // What follows the addresses is for others.
    let more = [4, 0, 3, 0, 0, 0];
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x12".as_slice(), &addresses, &ports, &more].concat()
}

/// Connects as a balancer does for a client with this address.
fn through(gateway: &Gateway, client: &str) -> Client {
    let mut connection = gateway.client();
    connection.send(&header(client));
    connection
}

/// Whether it was closed without a word.
fn is_refused(client: &mut Client) -> bool {
    let refused = |kind| matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset);
    client.try_reply().is_err_and(|error| refused(error.kind()))
}

#[test]
fn the_clients_address_is_the_one_in_the_header() {
    let gateway = Gateway::before(Cluster::shared())
        .setting("listen.proxy_networks", ["10.0.0.0/8", "127.0.0.1"])
        .setting("limits.max_clients_per_address", 2)
        .setting("auth.failed_login_delay", "0s")
        .start();
    // Header and request in one piece, and the header byte by byte.
    let mut client = gateway.client();
    let sent = [header("192.0.2.1:1234"), request_line("CLIENT INFO")].concat();
    client.send(&sent);
    assert!(client.reply().text().contains(" addr=192.0.2.1:1234 laddr=127.0.0.1:"));
    let mut slow = gateway.client();
    header("192.0.2.1:1235").iter().for_each(|byte| slow.send(&[*byte]));
    assert!(slow.call("CLIENT INFO").text().contains(" addr=192.0.2.1:1235 "));

    // The bound on clients of one address, and the log of who failed to log in, are about that address.
    let mut third = through(&gateway, "192.0.2.1:1236");
    assert_eq!(third.reply().text(), "ERR max number of clients reached for this address");
    let mut other = through(&gateway, "192.0.2.2:1");
    other.call("AUTH nobody nothing");
    wait_for("the failed login in the log", || {
        gateway.errors().contains("\"client\":\"192.0.2.2:1\"")
    });
    let listed = other.call("CLIENT LIST").text();
    assert!(listed.contains(" addr=192.0.2.1:1235 "), "{listed}");
    assert_eq!(other.call("CLIENT KILL ADDR 192.0.2.1:1234").integer(), 1);
    assert!(client.is_closed());

    // What a balancer asks for itself, it asks by its own address.
    let mut check = gateway.client();
    check.send(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    assert!(check.call("CLIENT INFO").text().contains(" addr=127.0.0.1:"));
}

#[test]
fn a_believed_balancer_has_to_say_for_whom_it_speaks() {
    let gateway = Gateway::before(Cluster::shared())
        .setting("listen.proxy_networks", ["127.0.0.0/8"])
        .start();
    for wrong in [
        &b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n"[..],
        b"PROXY TCP4 192.0.2.1 127.0.0.1 1234 6379\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0cabcdabcdabcd",
    ] {
        let mut client = gateway.client();
        client.send(wrong);
        assert!(is_refused(&mut client), "{}", wrong.escape_ascii());
    }
    wait_for("a word on it", || gateway.errors().contains("connection of a proxy closed"));
    // One that is silent keeps nobody from coming in.
    let _silent: Vec<Client> = (0..50).map(|_| gateway.client()).collect();
    assert_eq!(through(&gateway, "192.0.2.1:1").call("PING").text(), "PONG");
}

#[test]
fn nobody_else_is_believed() {
    let gateway =
        Gateway::before(Cluster::shared()).setting("listen.proxy_networks", ["10.0.0.0/8"]).start();
    let mut liar = gateway.client();
    liar.send(&[header("192.0.2.1:1"), request_line("CLIENT INFO")].concat());
    let answer = liar.read_to_end();
    assert!(!answer.escape_ascii().to_string().contains("192.0.2.1"), "{}", answer.escape_ascii());
    assert!(gateway.client().call("CLIENT INFO").text().contains(" addr=127.0.0.1:"));
}

#[test]
fn a_balancer_comes_by_the_unix_socket_too() {
    let path = std::env::temp_dir().join(format!("slotway-proxied-{}.sock", std::process::id()));
    let gateway = Gateway::before(Cluster::shared())
        .setting("listen.unix_socket", &path)
        .setting("listen.unix_proxy", true)
        .start();
    let said = |first: &[u8]| {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let requests = [first, &request_line("CLIENT INFO"), &request_line("QUIT")].concat();
        stream.write_all(&requests).unwrap();
        let mut answer = String::new();
        // One that is not believed is closed with what it sent unread.
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let place = text(&path);
    let shown = said(&header("192.0.2.1:1234"));
    assert!(shown.contains(&format!(" addr=192.0.2.1:1234 laddr={place}:0 ")), "{shown}");
    let own = said(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    assert!(own.contains(&format!(" addr={place}:0 ")), "{own}");
    assert_eq!(said(b""), "");
    // The port beside it knows no balancers.
    assert!(gateway.client().call("CLIENT INFO").text().contains(" addr=127.0.0.1:"));
}

/// A real balancer before the gateway's doors: the port, and the Unix socket.
#[test]
fn haproxy_introduces_its_clients() {
    let installed = std::process::Command::new("haproxy").arg("-v").output();
    if installed.is_err() {
        println!("haproxy is not installed: left out");
        return;
    }
    let folder = new_folder("haproxy");
    let socket = folder.join("gateway.sock");
    let gateway = Gateway::before(Cluster::shared())
        .setting("listen.proxy_networks", ["127.0.0.1"])
        .setting("listen.unix_socket", &socket)
        .setting("listen.unix_proxy", true)
        .start();
    introduces_its_clients(&folder, &gateway.address().to_string());
    introduces_its_clients(&folder, &format!("unix@{}", text(&socket)));
}

fn introduces_its_clients(folder: &Path, gateway: &str) {
    let door = local(free_port());
    let config = folder.join("haproxy.cfg");
    let lines = format!(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         listen redis\n  bind {door}\n  server gateway {gateway} send-proxy-v2 check\n"
    );
    fs::write(&config, lines).unwrap();
    let arguments = ["-f", text(&config), "-db"].map(Into::into);
    let _haproxy = Process::start("haproxy", &arguments, &folder.join("errors"));
    wait_for("haproxy", || {
        Client::try_connect(door).and_then(|mut client| client.try_call("PING")).is_ok()
    });
    let mut client = Client::connect(door);
    let own = client.writer().local_addr().unwrap();
    let shown = client.call("CLIENT INFO").text();
    assert!(shown.contains(&format!(" addr={own} ")), "{own}: {shown}");
    assert_eq!(client.call("SET proxied value").text(), "OK");
    assert_eq!(client.call("GET proxied").text(), "value");
}
