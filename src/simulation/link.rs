//! A connection to a node, at the node's end.
//!
//! What arrives is noted at once, whether the node looks at it or not. What the node makes of it, and when its replies
//! leave, is up to chance.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::resp::{Limits, Parsed, Protocol, RequestParser, write};

use super::World;
use super::cluster::NodeId;
use super::command::{Command, Data, Form};
use super::ledger::Number;
use super::schedule::Key;

pub(super) type LinkId = usize;

/// As much may be on its way in each direction; more than is ever sent.
pub(super) const WINDOW: usize = 1 << 20;

/// A request, if it told its number, its tag, and whether it did not run.
type Settled = (Option<Number>, usize, bool);

/// What came of a command.
struct Outcome {
    reply: Vec<u8>,
    /// What this is the reply to.
    settles: Option<Settled>,
}

struct Inbound {
    /// None once the connection is over.
    half: Option<ReadHalf<DuplexStream>>,
    bytes: Vec<u8>,
    commands: VecDeque<Command>,
    waker: Waker,
}

/// The node's end of a connection.
pub(super) struct Link {
    id: LinkId,
    node: NodeId,
    inbound: RefCell<Inbound>,
    outbound: RefCell<Option<WriteHalf<DuplexStream>>>,
    /// Commands have arrived, or the connection is over.
    news: Notify,
    /// The gateway, or the network, has ended it.
    over: Cell<bool>,
    /// Then the node runs no more of what it has received.
    deaf: Cell<bool>,
    asking: Cell<bool>,
    /// The gateway reads here although the node may be a replica.
    readonly: Cell<bool>,
    /// The transaction that is open, and whether something was wrong with it.
    block: RefCell<Option<(Vec<Data>, bool)>>,
}

impl Link {
    pub(super) fn open(world: &Rc<World>, node: NodeId, stream: DuplexStream) -> Rc<Self> {
        let (half, outbound) = tokio::io::split(stream);
        let inbound = Inbound {
            half: Some(half),
            bytes: Vec::new(),
            commands: VecDeque::new(),
            waker: Waker::noop().clone(),
        };
        let link = Rc::new(Self {
            id: world.next_link(),
            node,
            inbound: RefCell::new(inbound),
            outbound: RefCell::new(Some(outbound)),
            news: Notify::new(),
            over: Cell::new(false),
            deaf: Cell::new(false),
            asking: Cell::new(false),
            readonly: Cell::new(false),
            block: RefCell::new(None),
        });
        tokio::task::spawn_local(link.clone().receive(world.clone()));
        tokio::task::spawn_local(link.clone().work(world.clone()));
        link
    }

    /// The network ends the connection; what has been received may still run.
    pub(super) fn cut(&self, world: &World, runs_on: bool) {
        self.take_in(world);
        self.deaf.set(self.deaf.get() || !runs_on);
        self.end(world);
    }

    fn end(&self, world: &World) {
        if !self.over.replace(true) {
            world.ledger.borrow_mut().lost(self.id);
            self.outbound.take();
            self.inbound.borrow_mut().half = None;
            self.news.notify_one();
        }
    }

    async fn receive(self: Rc<Self>, world: Rc<World>) {
        poll_fn(|cx| {
            self.inbound.borrow_mut().waker = cx.waker().clone();
            self.take_in(&world);
            if self.over.get() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Notes all that has arrived.
    pub(super) fn take_in(&self, world: &World) {
        let mut inbound = self.inbound.borrow_mut();
        let waker = inbound.waker.clone();
        let mut cx = Context::from_waker(&waker);
        let mut space = [0; 4096];
        let Inbound { half: Some(half), bytes, .. } = &mut *inbound else { return };
        let ended = loop {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut *half).poll_read(&mut cx, &mut buffer) {
                Poll::Pending => break false,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    bytes.extend_from_slice(buffer.filled());
                }
                Poll::Ready(_) => break true,
            }
        };
        let before = inbound.commands.len();
        self.parse(world, &mut inbound);
        if inbound.commands.len() > before {
            self.news.notify_one();
        }
        drop(inbound);
        if ended {
            self.end(world);
        }
    }

    fn parse(&self, world: &World, inbound: &mut Inbound) {
        let mut parser = RequestParser::new();
        let mut at = 0;
        while let Some(rest) = inbound.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match parser.parse(rest, &Limits::default(), true) {
                Ok(Parsed::Request(length)) => {
                    let words: Vec<&[u8]> = parser.request(rest).args().collect();
                    let command = Command::of(&words);
                    self.note(world, &command);
                    inbound.commands.push_back(command);
                    at += length;
                }
                Ok(Parsed::Incomplete) => break,
                other => return world.fail(format!("not a request: {other:?}")),
            }
        }
        inbound.bytes.drain(..at);
    }

    fn note(&self, world: &World, command: &Command) {
        match command {
            Command::ReadOnly => self.readonly.set(true),
            Command::Data(Data { number: Some(number), keys, .. }) => {
                let tag = keys.first().map_or(0, |key| key.tag);
                let readonly = self.readonly.get();
                world.ledger.borrow_mut().arrived(*number, tag, self.id, readonly);
            }
            Command::Data(data) => tracing::debug!(link = self.id, ?data, "arrived"),
            _ => {}
        }
    }

    async fn work(self: Rc<Self>, world: Rc<World>) {
        loop {
            while self.inbound.borrow().commands.is_empty() {
                if self.over.get() {
                    return;
                }
                self.news.notified().await;
            }
            world.pause(3).await;
            self.wait_for_node(&world).await;
            self.take_in(&world);
            if self.deaf.get() {
                return;
            }
            let outcomes = self.serve(&world);
            world.pause(3).await;
            self.take_in(&world);
            self.reply(&world, outcomes);
        }
    }

    async fn wait_for_node(&self, world: &World) {
        while world.cluster.borrow().nodes[self.node].frozen {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Runs a few of the commands that have arrived.
    fn serve(&self, world: &World) -> Vec<Outcome> {
        let most = world.chance(1..=8);
        let mut outcomes = Vec::new();
        while outcomes.len() < most {
            let Some(command) = self.inbound.borrow_mut().commands.pop_front() else { break };
            outcomes.push(self.run(world, command));
        }
        outcomes
    }

    fn reply(&self, world: &World, outcomes: Vec<Outcome>) {
        let mut outbound = self.outbound.borrow_mut();
        let Some(half) = &mut *outbound else { return };
        let mut cx = Context::from_waker(Waker::noop());
        for Outcome { reply, settles } in outcomes {
            if let Some((number, tag, refused)) = settles {
                world.ledger.borrow_mut().replied(number, tag, self.id, refused);
            }
            // The window is never full, and a gateway that has gone needs no reply.
            let _ = Pin::new(&mut *half).poll_write(&mut cx, &reply);
        }
    }

    fn run(&self, world: &World, command: Command) -> Outcome {
        let mut reply = Vec::new();
        let mut settles = None;
        let in_block = self.block.borrow().is_some();
        let asking = match command {
            Command::Asking => self.asking.replace(true),
            _ if in_block => self.asking.get(),
            Command::Multi => self.asking.get(),
            _ => self.asking.take(),
        };
        match command {
            Command::Ping => write::simple(&mut reply, "PONG"),
            Command::Hello => {
                write::map(&mut reply, Protocol::Resp3, 1);
                write::bulk(&mut reply, "proto");
                write::integer(&mut reply, 3);
            }
            Command::Asking | Command::ReadOnly => write::simple(&mut reply, "OK"),
            Command::Multi => {
                self.block.replace(Some((Vec::new(), false)));
                write::simple(&mut reply, "OK");
            }
            Command::Discard => {
                self.block.take();
                write::simple(&mut reply, "OK");
            }
            Command::Exec => settles = self.exec(world, &mut reply),
            Command::Data(data) => settles = self.data(world, data, asking, &mut reply),
            Command::Other(words) => world.fail(format!("a node was sent {words}")),
        }
        Outcome { reply, settles }
    }

    fn data(
        &self,
        world: &World,
        data: Data,
        asking: bool,
        reply: &mut Vec<u8>,
    ) -> Option<Settled> {
        let tag = data.keys.first().map_or(0, |key| key.tag);
        let mut tags = data.keys.iter().map(|key| key.tag);
        if tags.any(|other| other != tag) {
            world.fail(format!("keys of several slots: {data:?}"));
        }
        if self.readonly.get() && world.cluster.borrow().copies(self.node, tag) {
            return self.tell_copy(world, &data, reply);
        }
        let verdict = world.cluster.borrow().serves(self.node, &data.keys, asking);
        let settles = |refused| Some((data.number, tag, refused));
        let mut block = self.block.borrow_mut();
        match (verdict, &mut *block) {
            (Err(words), None) => {
                write::error(reply, words);
                settles(true)
            }
            (Err(words), Some((queued, spoiled))) => {
                *spoiled = true;
                queued.push(data);
                write::error(reply, words);
                None
            }
            (Ok(()), Some((queued, _))) => {
                queued.push(data);
                write::simple(reply, "QUEUED");
                None
            }
            (Ok(()), None) => {
                self.apply(world, &data, reply);
                settles(false)
            }
        }
    }

    /// Answers as a replica: with what it has, or with nothing.
    fn tell_copy(&self, world: &World, data: &Data, reply: &mut Vec<u8>) -> Option<Settled> {
        let [key] = *data.keys else {
            world.fail(format!("a replica was sent {data:?}"));
            return None;
        };
        let cluster = world.cluster.borrow();
        match cluster.copy(self.node, key).filter(|_| !data.writes) {
            Some(writes) => {
                let run = world.ledger.borrow_mut().ran(data.number, key, false, !self.over.get());
                tell(reply, run, writes);
            }
            None if data.writes => world.fail(format!("a replica was sent {data:?}")),
            None => write::bulk(reply, ""),
        }
        Some((data.number, key.tag, false))
    }

    fn exec(&self, world: &World, reply: &mut Vec<u8>) -> Option<Settled> {
        let Some((queued, spoiled)) = self.block.take() else {
            write::error(reply, "ERR EXEC without MULTI");
            return None;
        };
        let asking = self.asking.take();
        let keys: Vec<Key> = queued.iter().flat_map(|data| data.keys.iter().copied()).collect();
        let settles = |refused| Some((queued.first()?.number, keys.first()?.tag, refused));
        if spoiled {
            write::error(reply, "EXECABORT Transaction discarded because of previous errors.");
            return settles(true);
        }
        if let Err(words) = world.cluster.borrow().serves(self.node, &keys, asking) {
            write::error(reply, words);
            return settles(true);
        }
        write::array(reply, queued.len());
        for data in &queued {
            self.apply(world, data, reply);
        }
        settles(false)
    }

    /// Runs a command that the node serves.
    fn apply(&self, world: &World, data: &Data, reply: &mut Vec<u8>) {
        let mut cluster = world.cluster.borrow_mut();
        let mut run = 0;
        if matches!(data.form, Form::Array) {
            write::array(reply, data.keys.len());
        }
        for key in &data.keys {
            let alive = !self.over.get();
            run = world.ledger.borrow_mut().ran(data.number, *key, data.writes, alive);
            if let Some(number) = data.number.filter(|_| data.writes) {
                cluster.write(*key, number);
            }
            if matches!(data.form, Form::Bulk | Form::Array) {
                tell(reply, run, cluster.read(*key));
            }
        }
        match data.form {
            Form::Run => write::integer(reply, run as i64),
            Form::Ok => write::simple(reply, "OK"),
            Form::Bulk | Form::Array => {}
        }
    }
}

/// What a read says: which run it is, and all writes so far.
fn tell(reply: &mut Vec<u8>, run: usize, writes: &[Number]) {
    let log: Vec<String> = writes.iter().map(Number::to_string).collect();
    write::bulk(reply, format!("{run};{}", log.join(",")));
}
