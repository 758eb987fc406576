//! A client's connection, made again when it ends.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::harness::{Client, PATIENCE, Reply};
use crate::history::Moment;

/// What a client takes a connection for that ends before the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The request was not run, so it is sent again: what a gateway promises that drains or hands over.
    NotRun,
    /// Nobody knows: the gateway was killed.
    Unknown,
}

/// Where to connect, and how.
#[derive(Clone)]
pub(crate) struct Place {
    /// In order of preference: the next one when one does not answer.
    pub(crate) gateways: Vec<SocketAddr>,
    pub(crate) protocol: u8,
    pub(crate) ending: Ending,
}

pub(crate) struct Line {
    place: Place,
    client: Option<Client>,
    clock: Clock,
    /// Connections that ended before an answer.
    pub(crate) ended: usize,
}

/// What came of a request, when.
pub(crate) struct Came {
    pub(crate) at: Moment,
    pub(crate) reply: Option<Reply>,
}

impl Line {
    pub(crate) fn new(place: Place, clock: Clock) -> Self {
        Self { place, client: None, clock, ended: 0 }
    }

    /// Sends the requests in one piece and takes all replies. One of them is `None` when nobody knows what became of
    /// the request. Those that are a `block` make sense together only.
    ///
    /// # Errors
    /// When an answer does not come within [`PATIENCE`], or is none.
    pub(crate) fn ask(&mut self, requests: &[Vec<u8>], is_block: bool) -> io::Result<Vec<Came>> {
        let mut came: Vec<Came> = Vec::with_capacity(requests.len());
        while came.len() < requests.len() {
            let clock = self.clock;
            let client = self.connected()?;
            let ended = match client.try_send(&requests[came.len()..].concat()) {
                Ok(()) => loop {
                    match client.try_reply() {
                        Ok(reply) => came.push(Came { at: clock.now(), reply: Some(reply) }),
                        // This process was stopped for a while.
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => break error,
                    }
                    if came.len() == requests.len() {
                        return Ok(came);
                    }
                },
                Err(error) => error,
            };
            self.client = None;
            if !is_end(&ended) {
                return Err(ended);
            }
            self.ended += 1;
            match self.place.ending {
                Ending::NotRun if is_block => came.clear(),
                Ending::NotRun => {}
                Ending::Unknown => {
                    came.resize_with(requests.len(), || Came { at: clock.now(), reply: None });
                }
            }
        }
        Ok(came)
    }

    /// What the other side says by itself; `None` if that takes longer than the client is patient, or the connection
    /// has ended.
    pub(crate) fn listen(&mut self) -> io::Result<Option<Reply>> {
        let Some(client) = &mut self.client else { return Ok(None) };
        match client.try_reply() {
            Ok(reply) => Ok(Some(reply)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(None)
            }
            Err(error) if is_end(&error) => {
                self.client = None;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.is_some()
    }

    /// From now on it waits this long for what it listens to.
    pub(crate) fn be_patient(&mut self, bound: Duration) {
        self.client = self.client.take().map(|client| client.patience(bound));
    }

    fn connected(&mut self) -> io::Result<&mut Client> {
        let deadline = Instant::now() + PATIENCE;
        while self.client.is_none() {
            match self.connect() {
                Ok(client) => self.client = Some(client),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => {
                    // The next time, another one is asked first.
                    self.place.gateways.rotate_left(1);
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
        self.client.as_mut().ok_or_else(|| ErrorKind::NotConnected.into())
    }

    fn connect(&self) -> io::Result<Client> {
        let mut client = Client::try_connect(self.place.gateways[0])?;
        if self.place.protocol == 3 {
            client.try_call("HELLO 3")?;
        }
        Ok(client)
    }
}

fn is_end(error: &io::Error) -> bool {
    let ends = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    ends.contains(&error.kind())
}
