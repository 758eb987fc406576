use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::open::connect;
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_millis(60);

/// What a fake node does with the one connection that it takes.
enum Act {
    /// Reads so many bytes, then goes on.
    Read(usize),
    Say(&'static [u8]),
    /// Says it for as long as somebody listens.
    SayForEver(&'static [u8]),
    Close,
    Reset,
}

/// A fake node, and what it was sent.
async fn node(script: Vec<Act>) -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heard = tokio::task::spawn_local(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        for act in script {
            match act {
                Act::Read(bytes) => {
                    let start = heard.len();
                    heard.resize(start + bytes, 0);
                    stream.read_exact(&mut heard[start..]).await.unwrap();
                }
                Act::Say(bytes) => stream.write_all(bytes).await.unwrap(),
                Act::SayForEver(bytes) => while stream.write_all(bytes).await.is_ok() {},
                Act::Close => return heard,
                Act::Reset => {
                    stream.set_zero_linger().unwrap();
                    return heard;
                }
            }
        }
        let _ = stream.read_to_end(&mut heard).await;
        heard
    });
    (address, heard)
}

fn want(protocol: Protocol, login: (&str, &str), readonly: bool, timeout: Duration) -> Handshake {
    let credentials = Credentials {
        username: login.0.to_owned(),
        password: Secret::new(login.1),
        ..Credentials::default()
    };
    Handshake { protocol, database: 0, credentials, readonly, ping: false, timeout }
}

const AUTH: &[u8] = b"*3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$6\r\nsesame\r\n";
const AUTH_DEFAULT: &[u8] = b"*2\r\n$4\r\nAUTH\r\n$6\r\nsesame\r\n";
const HELLO: &[u8] = b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n";
const READONLY: &[u8] = b"*1\r\n$8\r\nREADONLY\r\n";
const HELLO_REPLY: &[u8] = b"%2\r\n$5\r\nproto\r\n:3\r\n$7\r\nmodules\r\n*0\r\n";

#[tokio::test(flavor = "local")]
async fn the_handshake_is_one_write() {
    type Pieces = &'static [&'static [u8]];
    type Case = (Protocol, (&'static str, &'static str), bool, Pieces, Pieces);
    let cases: &[Case] = &[
        (Protocol::Resp2, ("", ""), false, &[], &[]),
        (Protocol::Resp2, ("app", ""), false, &[], &[]),
        (Protocol::Resp2, ("", "sesame"), false, &[AUTH_DEFAULT], &[b"+OK\r\n"]),
        (Protocol::Resp2, ("app", "sesame"), true, &[AUTH, READONLY], &[b"+OK\r\n", b"+OK\r\n"]),
        (Protocol::Resp3, ("", ""), false, &[HELLO], &[HELLO_REPLY]),
        (
            Protocol::Resp3,
            ("app", "sesame"),
            true,
            &[AUTH, HELLO, READONLY],
            &[b"+OK\r\n", HELLO_REPLY, b"+OK\r\n"],
        ),
    ];
    for (protocol, login, readonly, requests, replies) in cases {
        let expected = requests.concat();
        // No reply before everything was read: it was all sent without waiting for one.
        let mut script = vec![Act::Read(expected.len())];
        script.extend(replies.iter().map(|reply| Act::Say(reply)));
        let (address, heard) = node(script).await;
        let stream = dial(&address, &want(*protocol, *login, *readonly, PATIENCE)).await.unwrap();
        assert!(stream.socket().nodelay().unwrap());
        drop(stream);
        assert_eq!(heard.await.unwrap(), expected);
    }
}

#[tokio::test(flavor = "local")]
async fn what_goes_wrong_is_named() {
    let length = AUTH.len() + HELLO.len() + READONLY.len();
    let read = || Act::Read(length);
    let cases = [
        (
            vec![read(), Act::Say(b"-WRONGPASS invalid\r\n-NOAUTH x\r\n-NOAUTH x\r\n")],
            "AUTH: WRONGPASS invalid",
        ),
        (
            vec![read(), Act::Say(b"+OK\r\n-NOPROTO unsupported\r\n+OK\r\n")],
            "HELLO 3: NOPROTO unsupported",
        ),
        (vec![read(), Act::Say(b"+OK\r\n%0\r\n-ERR no cluster\r\n")], "READONLY: ERR no cluster"),
        (
            vec![Act::Say(b"-ERR max number of clients reached\r\n"), Act::Close],
            "AUTH: ERR max number of clients reached",
        ),
        (vec![read(), Act::Close], "AUTH: connection closed by the node"),
        (
            vec![read(), Act::Say(b"+OK\r\n%1\r\n$5\r\npro"), Act::Close],
            "HELLO 3: connection closed by the node",
        ),
        (
            vec![read(), Act::Say(b"HTTP/1.1 400 Bad Request\r\n")],
            "AUTH: a reply cannot start with byte 0x48",
        ),
        (
            vec![read(), Act::Say(b"+OK\r\n%0\r\n+OK\r\n+OK\r\n")],
            "connecting: unexpected bytes after the reply",
        ),
        (vec![read(), Act::SayForEver(&[b'+'; 4096])], "AUTH: reply longer than 1048576 bytes"),
        (vec![read(), Act::Say(b"$9000000000\r\n")], "AUTH: reply longer than 1048576 bytes"),
    ];
    for (script, expected) in cases {
        let (address, _heard) = node(script).await;
        let want = want(Protocol::Resp3, ("app", "sesame"), true, PATIENCE);
        let error = dial(&address, &want).await.unwrap_err().to_string();
        assert_eq!(error, format!("{address}: {expected}"));
    }
}

#[tokio::test(flavor = "local")]
async fn a_reset_and_a_silent_node() {
    let login = want(Protocol::Resp2, ("app", "sesame"), false, PATIENCE);
    let (address, _heard) = node(vec![Act::Read(AUTH.len()), Act::Reset]).await;
    let error = dial(&address, &login).await.unwrap_err();
    assert!(matches!(error.cause, Cause::Io(_)), "{error}");
    assert_eq!(error.step, Step::Auth);

    let (address, _heard) = node(vec![]).await;
    let error = dial(&address, &Handshake { timeout: SOON, ..login }).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{address}: AUTH: timed out"));
}

#[tokio::test(flavor = "local")]
async fn nobody_there() {
    let want = want(Protocol::Resp2, ("", ""), false, PATIENCE);
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = dial(&gone.to_string(), &want).await.unwrap_err();
    assert_eq!(error.step, Step::Connect);
    assert!(error.to_string().contains("refused"), "{error}");
    for name in ["", "127.0.0.1", "127.0.0.1:port", ":", "a b:1", "name.invalid:6379"] {
        let error = dial(name, &want).await.unwrap_err();
        assert_eq!(error.step, Step::Resolve, "{error}");
    }
}

#[tokio::test(flavor = "local")]
async fn every_address_is_tried() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let live = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let places = [gone, gone, live.local_addr().unwrap()];
    let stream = connect(&places, Instant::now() + PATIENCE).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), live.local_addr().unwrap());
    assert!(connect(&[gone, gone], Instant::now() + PATIENCE).await.is_err());
    let nowhere = connect(&[], Instant::now() + PATIENCE).await.unwrap_err();
    assert_eq!(nowhere.to_string(), "the name has no address");
}

#[test]
fn passwords_are_not_shown() {
    let want = want(Protocol::Resp3, ("app", "sesame"), false, PATIENCE);
    assert!(!format!("{want:?}").contains("sesame"));
}

#[tokio::test(flavor = "local")]
async fn a_conversation() {
    let question = b"*1\r\n$4\r\nPING\r\n".len();
    let script = vec![
        Act::Read(2 * question),
        Act::Say(b"+PONG\r\n$4\r\nPO"),
        Act::Say(b"NG\r\n"),
        Act::Read(question),
        Act::Say(b"*2\r\n:1\r\n:2\r\n+again\r\n"),
    ];
    let (address, heard) = node(script).await;
    let want = Handshake::control(Credentials::default(), PATIENCE);
    let mut talk = Conversation::open(&address, &want, 64).await.unwrap();
    let replies = talk.ask([&["PING"], &["PING"]]).await.unwrap();
    assert_eq!(replies, [&b"+PONG\r\n"[..], b"$4\r\nPONG\r\n"]);
    let [reply] = talk.ask([&["PING"]]).await.unwrap();
    assert_eq!(reply, &b"*2\r\n:1\r\n:2\r\n"[..]);
    // What nobody asked for must not become the answer to the next question.
    let error = talk.ask([&["PING"]]).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{address}: asking: unexpected bytes after the reply"));
    assert_eq!(talk.address(), address);
    drop(talk);
    assert_eq!(heard.await.unwrap().len(), 3 * question);
}

#[tokio::test(flavor = "local")]
async fn answers_are_bounded_in_size_and_time() {
    let cases = [
        (vec![Act::Say(b"$65\r\n")], "reply longer than 64 bytes"),
        (vec![Act::SayForEver(b"*1\r\n")], "reply longer than 64 bytes"),
        (vec![Act::SayForEver(&[b'+'; 100])], "reply longer than 64 bytes"),
        (vec![Act::Say(b"$40\r\nhalf")], "timed out"),
        (vec![Act::Say(b"$40\r\nhalf"), Act::Close], "connection closed by the node"),
        (vec![Act::Close], "connection closed by the node"),
        (vec![Act::Say(b"rubbish")], "a reply cannot start with byte 0x72"),
    ];
    for (mut script, expected) in cases {
        script.insert(0, Act::Read(b"*1\r\n$4\r\nPING\r\n".len()));
        let (address, _heard) = node(script).await;
        let timeout = if expected == "timed out" { SOON } else { PATIENCE };
        let want = Handshake::control(Credentials::default(), timeout);
        let mut talk = Conversation::open(&address, &want, 64).await.unwrap();
        let error = talk.ask([&["PING"]]).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{address}: asking: {expected}"));
    }
}
