//! TLS to the nodes and to clients: everything as in plain, certificates asked for and renewed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::{
    Authority, Builder, Cluster, Gateway, Identity, PATIENCE, free_port, local, request, text,
    wait_for,
};

pub(crate) type Encrypted = StreamOwned<ClientConnection, TcpStream>;

/// Connects, and shows the identity if there is one. The handshake comes with the first bytes.
pub(crate) fn connect(
    address: SocketAddr,
    authority: &Authority,
    identity: Option<&Identity>,
) -> Encrypted {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.certificate()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = vec![CertificateDer::from_pem_file(&identity.certificate).unwrap()];
            let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket)
}

pub(crate) fn exchange(stream: &mut Encrypted, requests: &[u8], expected: &[u8]) {
    stream.write_all(requests).unwrap();
    let mut found = vec![0; expected.len()];
    stream.read_exact(&mut found).unwrap();
    assert!(found == expected, "{} bytes are not as expected", found.len());
}

/// A gateway with this certificate before the shared cluster, whose nodes speak plain.
fn encrypted(own: &Identity) -> Builder {
    to_clients(Gateway::before(Cluster::shared()), own)
}

fn to_clients(builder: Builder, own: &Identity) -> Builder {
    builder
        .setting("listen.tls_certificate_file", &own.certificate)
        .setting("listen.tls_key_file", &own.key)
}

/// A gateway that speaks TLS to nodes that this authority has certified, with this certificate.
fn to_nodes(nodes: &[SocketAddr], authority: &Authority, own: &Identity) -> Builder {
    Gateway::before_nodes(nodes)
        .setting("cluster.tls", true)
        .setting("cluster.tls_ca_file", authority.certificate())
        .setting("cluster.tls_certificate_file", &own.certificate)
        .setting("cluster.tls_key_file", &own.key)
}

/// A gateway that speaks TLS on both sides, and where clients find it.
fn gateway(authority: &Authority, nodes: &[SocketAddr]) -> (Gateway, SocketAddr) {
    let (own, address) = (authority.certify("gateway"), local(free_port()));
    let gateway = to_clients(to_nodes(nodes, authority, &own), &own)
        .setting("listen.tls_address", address.to_string())
        .start();
    (gateway, address)
}

#[test]
fn everything_goes_through_tls_as_in_plain() {
    let authority = Authority::new();
    let (_cluster, nodes) = Cluster::encrypted(&authority);
    let (gateway, address) = gateway(&authority, &nodes);
    let mut stream = connect(address, &authority, None);

    exchange(&mut stream, b"PING\r\n", b"+PONG\r\n");
    let large = vec![b'x'; 5 << 20];
    exchange(&mut stream, &request(&[&b"SET"[..], b"large", &large]), b"+OK\r\n");
    let reply = [b"$5242880\r\n", &large[..], b"\r\n"].concat();
    exchange(&mut stream, &request(&["GET", "large"]), &reply);

    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    for number in 0..2_000 {
        let (key, value) = (format!("key:{number}"), format!("value-{number}"));
        requests.extend(request(&["SET", &key, &value]));
        requests.extend(request(&["MGET", &key, "nothing"]));
        let length = value.len();
        replies.extend(format!("+OK\r\n*2\r\n${length}\r\n{value}\r\n$-1\r\n").into_bytes());
    }
    exchange(&mut stream, &requests, &replies);

    // The plain port beside it serves the same data.
    assert_eq!(gateway.client().call("GET key:7").text(), "value-7");
}

#[test]
fn many_small_records_at_once_are_all_read() {
    let authority = Authority::new();
    let gateway = encrypted(&authority.certify("gateway")).start();
    let mut stream = connect(gateway.address(), &authority, None);
    exchange(&mut stream, b"PING\r\n", b"+PONG\r\n");
    // Each piece is a record of its own, as client libraries send long pipelines.
    let echo = request(&["ECHO", &"x".repeat(100)]);
    for piece in echo.repeat(4_000).chunks(6_000) {
        stream.write_all(piece).unwrap();
    }
    let reply = format!("$100\r\n{}\r\n", "x".repeat(100)).into_bytes();
    exchange(&mut stream, b"", &reply.repeat(4_000));
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    let authority = Authority::new();
    let (_cluster, nodes) = Cluster::encrypted(&authority);
    let (_gateway, address) = gateway(&authority, &nodes);
    let mut stream = connect(address, &authority, None);
    let large = vec![b'y'; 1 << 20];
    exchange(&mut stream, &request(&[&b"SET"[..], b"large", &large]), b"+OK\r\n");
    // More than the sockets hold is under way before the first byte is read.
    stream.write_all(&request(&["GET", "large"]).repeat(24)).unwrap();
    let reply = [b"$1048576\r\n", &large[..], b"\r\n"].concat();
    for _ in 0..24 {
        exchange(&mut stream, b"", &reply);
    }
}

#[test]
fn redis_cli_speaks_tls_to_the_one_port_there_is() {
    let authority = Authority::new();
    let gateway = encrypted(&authority.certify("gateway")).start();
    let port = gateway.address().port().to_string();
    let ca = authority.certificate();
    let output = Command::new("redis-cli")
        .args(["-p", &port, "--tls", "--cacert", text(&ca), "ECHO", "through TLS"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "through TLS\n", "{output:?}");
    let plain = Command::new("redis-cli").args(["-p", &port, "PING"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&plain.stdout).contains("PONG"), "{plain:?}");
}

#[test]
fn clients_must_show_a_certificate_where_that_is_set() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let gateway = encrypted(&authority.certify("gateway"))
        .setting("listen.tls_client_certificates", "required")
        .setting("listen.tls_client_ca_file", authority.certificate())
        .start();
    let talk = |identity: Option<&Identity>| {
        let mut stream = connect(gateway.address(), &authority, identity);
        let mut reply = [0; 7];
        stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut reply)).map(|()| reply)
    };
    assert_eq!(talk(Some(&authority.certify("app"))).unwrap(), *b"+PONG\r\n");
    assert!(talk(None).is_err());
    assert!(talk(Some(&stranger.certify("app"))).is_err());
    assert_eq!(talk(Some(&authority.certify("app"))).unwrap(), *b"+PONG\r\n");
}

#[test]
fn a_certificate_names_the_user() {
    let authority = Authority::new();
    let door = local(free_port());
    let socket = std::env::temp_dir().join(format!("slotway-named-{}.sock", std::process::id()));
    // Three doors side by side: TLS with a client's certificate, plain on loopback, a Unix socket.
    let gateway = encrypted(&authority.certify("gateway"))
        .setting("listen.tls_address", door.to_string())
        .setting("listen.unix_socket", &socket)
        .setting("listen.tls_client_certificates", "optional")
        .setting("listen.tls_client_ca_file", authority.certificate())
        .setting("listen.tls_client_user", "CN")
        .start();
    let mut admin = gateway.client();
    for rules in
        ["app on >pw +@all ~app:*", "off >pw +@all ~*", "default reset on >default +@all ~* &*"]
    {
        assert_eq!(admin.call(&format!("ACL SETUSER {rules}")).text(), "OK");
    }
    let who = |identity: Option<&Identity>| {
        let mut stream = connect(door, &authority, identity);
        stream.write_all(b"ACL WHOAMI\r\nQUIT\r\n").unwrap();
        let mut reply = String::new();
        // The gateway closes after QUIT.
        let _ = stream.read_to_string(&mut reply);
        reply
    };
    assert!(who(Some(&authority.certify("app"))).starts_with("$3\r\napp\r\n"));
    // Nobody of that name, somebody who is off, and no certificate at all: these have to log in.
    for identity in [Some(authority.certify("stranger")), Some(authority.certify("off")), None] {
        assert!(who(identity.as_ref()).starts_with("-NOAUTH "));
    }
    // Who was named by a certificate has that user's rights and no others, and may log in as another.
    let mut stream = connect(door, &authority, Some(&authority.certify("app")));
    let denied =
        b"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n";
    exchange(&mut stream, b"GET app:1\r\n", b"$-1\r\n");
    exchange(&mut stream, b"GET other\r\n", denied);
    exchange(&mut stream, b"AUTH default default\r\nGET other\r\n", b"+OK\r\n$-1\r\n");
    let by_socket = Command::new("redis-cli")
        .args(["-s", text(&socket), "-a", "default", "--no-auth-warning", "PING"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&by_socket.stdout), "PONG\n");
    wait_for("the login in the audit log", || gateway.errors().contains(r#""by":"certificate""#));
}

#[test]
fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let authority = Authority::new();
    let own = authority.certify_until("gateway", 2100);
    let gateway = encrypted(&own).start();
    const EXPIRY: &str =
        "slotway_certificate_expiry_timestamp_seconds{setting=\"listen.tls_certificate_file\"}";
    // The first of January of 2100 and of 2200.
    assert_eq!(gateway.metric(EXPIRY), 4_102_444_800.0);
    let shown = || {
        let mut stream = connect(gateway.address(), &authority, None);
        exchange(&mut stream, b"PING\r\n", b"+PONG\r\n");
        stream.conn.peer_certificates().unwrap()[0].clone()
    };
    let first = shown();
    let mut standing = connect(gateway.address(), &authority, None);
    exchange(&mut standing, b"PING\r\n", b"+PONG\r\n");

    authority.certify_until("gateway", 2200);
    gateway.signal(rustix::process::Signal::HUP);
    wait_for("the new certificate", || shown() != first);
    assert_eq!(gateway.metric(EXPIRY), 7_258_118_400.0);
    exchange(&mut standing, b"PING\r\n", b"+PONG\r\n");

    let second = shown();
    std::fs::write(&own.certificate, "no certificate").unwrap();
    gateway.signal(rustix::process::Signal::HUP);
    wait_for("a word on the broken file", || {
        gateway.errors().contains("listen.tls_certificate_file")
    });
    assert_eq!(shown(), second);
    assert_eq!(gateway.metric(EXPIRY), 7_258_118_400.0);
}

#[test]
fn a_node_that_cannot_be_believed_is_not() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (_cluster, nodes) = Cluster::encrypted(&authority);
    let gateway = to_nodes(&nodes, &stranger, &stranger.certify("gateway")).start_unready();
    wait_for("a word on the certificate", || gateway.errors().contains("TLS: invalid peer"));
    assert_eq!(gateway.page("/readyz").0, 503);
}
