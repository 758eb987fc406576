//! A client: sends what its schedule says, and holds every reply against the ledger.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncReadExt, AsyncWrite, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

use crate::resp::{ReplyScanner, write};

use super::World;
use super::ledger::Number;
use super::schedule::{Batch, Request};

enum Expected {
    /// What the gateway says itself.
    Own(&'static [u8]),
    /// Its greeting.
    Greeting,
    /// The reply to this request.
    To(Number),
}

pub(super) struct Client {
    number: usize,
    world: Rc<World>,
    outbound: RefCell<WriteHalf<DuplexStream>>,
    expected: RefCell<VecDeque<Expected>>,
    /// It has nothing more to send.
    finished: Cell<bool>,
    news: Notify,
}

impl Client {
    /// A connected client, and the task that takes its replies until there is one to everything.
    pub(super) fn new(
        number: usize,
        world: &Rc<World>,
        stream: DuplexStream,
    ) -> (Rc<Self>, JoinHandle<()>) {
        let (inbound, outbound) = tokio::io::split(stream);
        let client = Rc::new(Self {
            number,
            world: world.clone(),
            outbound: RefCell::new(outbound),
            expected: RefCell::default(),
            finished: Cell::new(false),
            news: Notify::new(),
        });
        let receiving = spawn_local(client.clone().receive(inbound));
        (client, receiving)
    }

    /// Sends the batches, each after its pause.
    pub(super) async fn send(self: Rc<Self>, batches: Vec<Batch>) {
        for Batch { pause, requests } in batches {
            sleep(Duration::from_millis(pause)).await;
            let mut bytes = Vec::new();
            for request in requests {
                self.ask(request, &mut bytes);
            }
            self.write(&bytes);
        }
    }

    /// What leaves at once, for the gateway has room for all that is ever sent.
    fn write(&self, bytes: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        let written = Pin::new(&mut *self.outbound.borrow_mut()).poll_write(&mut cx, bytes);
        if !matches!(written, Poll::Ready(Ok(count)) if count == bytes.len()) {
            self.world.fail(format!("client {} was disconnected", self.number));
        }
        self.news.notify_one();
    }

    /// The connection speaks RESP3 from then on.
    pub(super) fn greet(&self) {
        let mut bytes = Vec::new();
        write::command(&mut bytes, &["HELLO", "3"]);
        self.expected.borrow_mut().push_back(Expected::Greeting);
        self.write(&bytes);
    }

    pub(super) fn finish(&self) {
        self.finished.set(true);
        self.news.notify_one();
    }

    fn ask(&self, request: Request, out: &mut Vec<u8>) {
        let number = self.world.ledger.borrow_mut().asked(self.number, request.clone());
        let mut expected = self.expected.borrow_mut();
        let text = number.to_string();
        let command = |out: &mut Vec<u8>, words: &[&str]| write::command(out, words);
        match request {
            Request::Append(key) => command(out, &["APPEND", &key.to_string(), &text]),
            Request::Set(key) => command(out, &["SET", &key.to_string(), &text]),
            Request::Get(key) => command(out, &["GETRANGE", &key.to_string(), "0", &text]),
            Request::GetMany(keys) => {
                let words: Vec<String> = ["MGET".to_owned()]
                    .into_iter()
                    .chain(keys.iter().map(ToString::to_string))
                    .collect();
                write::command(out, &words);
            }
            Request::SetMany(keys) => {
                let pairs = keys.iter().flat_map(|key| [key.to_string(), text.clone()]);
                let words: Vec<String> = ["MSET".to_owned()].into_iter().chain(pairs).collect();
                write::command(out, &words);
            }
            Request::SetNew(one, two) => {
                command(out, &["MSETNX", &one.to_string(), &text, &two.to_string(), &text]);
            }
            Request::Block(keys) => {
                command(out, &["MULTI"]);
                expected.push_back(Expected::Own(b"+OK\r\n"));
                for (key, written) in keys {
                    match written {
                        true => command(out, &["APPEND", &key.to_string(), &text]),
                        false => command(out, &["GETRANGE", &key.to_string(), "0", &text]),
                    }
                    expected.push_back(Expected::Own(b"+QUEUED\r\n"));
                }
                command(out, &["EXEC"]);
            }
        }
        expected.push_back(Expected::To(number));
    }

    async fn receive(self: Rc<Self>, mut inbound: ReadHalf<DuplexStream>) {
        let mut bytes = Vec::new();
        let mut scanner = ReplyScanner::new();
        loop {
            while self.expected.borrow().is_empty() {
                if self.finished.get() {
                    return;
                }
                self.news.notified().await;
            }
            if !matches!(inbound.read_buf(&mut bytes).await, Ok(count) if count > 0) {
                return self.world.fail(format!("client {} was disconnected", self.number));
            }
            while let Some(length) = scanner.scan(&bytes).unwrap_or_default() {
                let reply: Vec<u8> = bytes.drain(..length).collect();
                self.take(&reply);
            }
        }
    }

    fn take(&self, reply: &[u8]) {
        let expected = self.expected.borrow_mut().pop_front();
        match expected {
            Some(Expected::Greeting) => {}
            Some(Expected::Own(text)) if text == reply => {}
            Some(Expected::To(number)) => {
                if reply.starts_with(b"-UNCERTAIN") {
                    // The gateway may have ended a connection that its node has not looked at since.
                    self.world.take_in();
                }
                self.world.ledger.borrow_mut().answered(number, reply);
            }
            Some(Expected::Own(_)) | None => {
                let reply = reply.escape_ascii();
                self.world.fail(format!("client {} was told {reply}", self.number));
            }
        }
    }
}
