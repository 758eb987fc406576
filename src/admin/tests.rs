//! The pages over a real socket, and the bounds of a connection.

use std::future::Future;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::config::Settings;
use crate::metrics;

/// Longer than any answer takes when nothing is wrong.
const PATIENCE: Duration = Duration::from_secs(600);

/// The server, its state, and what stops it.
struct Server {
    address: SocketAddr,
    state: Rc<State>,
    live: Arc<Live>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let readiness = Arc::new(Readiness::new(1.0));
        let live = Live::new(Settings::default());
        let state = Rc::new(
            State::new(
                Metrics::new(1).unwrap(),
                readiness,
                Sights::new(1, live.clone()),
                Arc::new(ArcSwap::from_pointee(Topology::empty())),
                live.clone(),
            )
            .unwrap(),
        );
        let stop = CancellationToken::new();
        let task = tokio::task::spawn_local(serve(listener, Rc::clone(&state), stop.clone()));
        Self { address, state, live, stop, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One request on a connection of its own.
    async fn ask(&self, request: &str) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        Answer::parse(&read_to_end(&mut stream).await)
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"))
            .await
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What comes until the other side closes; a reset also ends it.
async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes));
    let _ = read.await.expect("the server closes the connection");
    bytes
}

/// Reads one answer with a length from a connection that stays.
async fn read_answer(stream: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let answer = Answer::parse(&bytes);
            let length: usize = answer.header("content-length").unwrap().parse().unwrap();
            if bytes.len() == end + 4 + length {
                return Some(answer);
            }
        }
        let read = timeout(PATIENCE, stream.read_buf(&mut bytes));
        if read.await.expect("an answer or the end comes").unwrap_or(0) == 0 {
            return None;
        }
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build_local(Default::default());
    runtime.unwrap().block_on(test);
}

/// As `run`, with a clock that jumps to the next deadline whenever nothing else can happen.
fn run_paused(test: impl Future<Output = ()>) {
    run(async {
        tokio::time::pause();
        test.await;
    });
}

#[test]
fn pages_answer() {
    run(async {
        let server = Server::start().await;
        let text = "text/plain; charset=utf-8";
        let cases = [
            ("/", 200, "text/html; charset=utf-8", "<title>slotway</title>"),
            ("/status.json", 200, "application/json", "\"slots\":[[0,16383,null]]"),
            ("/healthz", 200, text, "ok\n"),
            ("/healthz?verbose=1", 200, text, "ok\n"),
            ("/metrics", 200, metrics::CONTENT_TYPE, "# TYPE slotway_sessions gauge\n"),
            ("/metrics", 200, metrics::CONTENT_TYPE, "slotway_ready 0\n"),
            ("/readyz", 503, "application/json", "\"ready\":false"),
            ("/metrics/", 404, text, "not found\n"),
            ("/nothing", 404, text, "not found\n"),
            ("*", 404, text, "not found\n"),
        ];
        for (path, status, content_type, part) in cases {
            let answer = server.get(path).await;
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
            assert!(answer.body.contains(part), "{path}: {}", answer.body);
        }
    });
}

#[test]
fn methods_are_get_and_head() {
    run(async {
        let server = Server::start().await;
        let rest = "HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
        let head = server.ask(&format!("HEAD /healthz {rest}\r\n")).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_eq!(head.header("content-length"), Some("3"));
        let head = server.ask(&format!("HEAD /metrics {rest}\r\n")).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_eq!(head.header("content-type"), Some(metrics::CONTENT_TYPE));
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
            let request = format!("{method} /metrics {rest}content-length: 4\r\n\r\nbody");
            let answer = server.ask(&request).await;
            assert_eq!(answer.status, 405, "{method}");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method}");
        }
        let answer = server.ask(&format!("POST /nothing {rest}\r\n")).await;
        assert_eq!(answer.status, 404);
    });
}

#[test]
fn readiness_shows_on_both_pages() {
    run(async {
        let server = Server::start().await;
        server.state.readiness.slots_covered(16_384);
        let answer = server.get("/readyz").await;
        let expected = serde_json::json!({
            "ready": true, "slots_covered": 16_384, "slots": 16_384, "required_share": 1.0,
            "draining": false, "reason": null,
        });
        assert_eq!(answer.status, 200);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&answer.body).unwrap(), expected);
        assert!(server.get("/metrics").await.body.contains("slotway_ready 1\n"));

        server.state.readiness.drain();
        let answer = server.get("/readyz").await;
        assert_eq!(answer.status, 503);
        assert!(answer.body.contains("\"reason\":\"the gateway is draining\""), "{}", answer.body);
        let page = server.get("/metrics").await.body;
        assert!(page.contains("slotway_ready 0\n") && page.contains("slotway_draining 1\n"));
    });
}

#[test]
fn what_is_not_http_is_refused() {
    run(async {
        let server = Server::start().await;
        let long = format!("GET / HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n", "x".repeat(HEAD_BYTES));
        for (request, status) in [("PING\r\n\r\n", 400), (long.as_str(), 431)] {
            assert_eq!(server.ask(request).await.status, status);
        }
        assert_eq!(server.get("/healthz").await.status, 200);
    });
}

#[test]
fn a_slow_head_is_cut_off() {
    run_paused(async {
        let server = Server::start().await;
        for head in ["", "GET /healthz HTTP/1.1\r\nho", "GET /healthz HTTP/1.1\r\nhost: x\r\n"] {
            let mut stream = server.connect().await;
            let start = Instant::now();
            stream.write_all(head.as_bytes()).await.unwrap();
            assert_eq!(read_to_end(&mut stream).await, b"", "{head:?}");
            let took = start.elapsed();
            assert!(took >= HEAD_TIME && took < HEAD_TIME * 2, "{head:?}: {took:?}");
        }
    });
}

#[test]
fn connections_are_bounded_in_number() {
    run(async {
        let server = Server::start().await;
        let mut idle = Vec::new();
        for _ in 0..MOST_CONNECTIONS {
            idle.push(server.connect().await);
        }
        tokio::time::pause();
        let start = Instant::now();
        assert_eq!(server.get("/healthz").await.status, 200);
        let took = start.elapsed();
        // The idle ones were connected a moment before the clock stopped.
        assert!(took >= HEAD_TIME / 2 && took < HEAD_TIME * 2, "served at once: {took:?}");
    });
}

#[test]
fn a_busy_connection_ends_in_time_and_between_answers() {
    run(async {
        let server = Server::start().await;
        let mut stream = server.connect().await;
        let start = Instant::now();
        let mut answers = 0;
        while stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok() {
            let Some(answer) = read_answer(&mut stream).await else { break };
            assert_eq!(answer.body, "ok\n");
            answers += 1;
            tokio::time::pause();
            tokio::time::advance(HEAD_TIME / 2).await;
            tokio::time::resume();
        }
        let took = start.elapsed();
        assert!(took >= CONNECTION_TIME && took < CONNECTION_TIME + HEAD_TIME, "{took:?}");
        assert!(answers >= 12, "{answers} answers");
    });
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    run_paused(async {
        let server = Server::start().await;
        let mut stream = server.connect().await;
        let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
        // What cannot be written within a second of this clock cannot be written at all.
        while timeout(Duration::from_secs(1), stream.write_all(request)).await.is_ok() {}
        // The test, the server and each connection hold the state.
        assert_eq!(Rc::strong_count(&server.state), 3);
        sleep(CONNECTION_TIME + LAST_ANSWER_TIME + Duration::from_secs(1)).await;
        assert_eq!(Rc::strong_count(&server.state), 2, "the connection still waits");
    });
}

#[test]
fn stop_closes_what_is_idle_and_ends() {
    run(async {
        let server = Server::start().await;
        let mut kept = server.connect().await;
        kept.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert_eq!(read_answer(&mut kept).await.unwrap().body, "ok\n");
        server.stop.cancel();
        assert_eq!(read_to_end(&mut kept).await, b"");
        timeout(PATIENCE, server.task).await.expect("the server ends").unwrap();
        assert!(TcpStream::connect(server.address).await.is_err());
    });
}

#[test]
fn pages_with_keys_are_for_this_machine_and_run_nothing_else() {
    run(async {
        let server = Server::start().await;
        let policy = server.get("/").await.header("content-security-policy").unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        for path in ["/", "/status.json"] {
            let request =
                format!("GET {path} HTTP/1.1\r\nhost: x.example\r\nconnection: close\r\n\r\n");
            let refusal = server.ask(&request).await;
            assert_eq!(refusal.status, 403);
            assert!(refusal.body.contains("set admin.password"), "{}", refusal.body);
        }
        server.live.replace(Settings {
            admin: crate::config::Admin {
                password: crate::config::Secret::new("pw"),
                ..Default::default()
            },
            ..Settings::default()
        });
        let refusal = server.get("/status.json").await;
        assert_eq!(refusal.status, 401);
        assert!(refusal.header("www-authenticate").unwrap().starts_with("Basic "));
        assert_eq!(server.get("/metrics").await.status, 200);
    });
}
