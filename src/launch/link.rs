//! Questions to one node, in the servers' own protocol, so that no `redis-cli` is needed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::resp::write;
use crate::resp::{ReplyScanner, Value};
use crate::tls::Connector;

/// A node of this machine that says nothing for so long is busy with something else.
const PATIENCE: Duration = Duration::from_secs(2);
const PIECE: usize = 16 << 10;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Silence {
    /// Nobody is there, or not yet.
    Away(io::Error),
    /// The node answered with an error.
    Refused(String),
}

/// A connection to one node, made when it is needed.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) port: u16,
    tls: Option<Connector>,
    stream: Option<Box<dyn Stream>>,
}

trait Stream: io::Read + io::Write + std::fmt::Debug {}

impl<S: io::Read + io::Write + std::fmt::Debug> Stream for S {}

impl Link {
    pub(super) fn new(port: u16, tls: Option<Connector>) -> Self {
        Self { port, tls, stream: None }
    }

    /// Asks, and returns the answer as text.
    pub(super) fn ask(&mut self, words: &[&str]) -> Result<String, Silence> {
        let bytes = self.exchange(words).map_err(|error| {
            // What is left on this connection belongs to nobody.
            self.stream = None;
            Silence::Away(error)
        })?;
        match Value::parse(&bytes) {
            Ok(Value::Error(text)) => {
                Err(Silence::Refused(String::from_utf8_lossy(text).into_owned()))
            }
            Ok(value) => Ok(value.as_str().map(str::to_owned).unwrap_or_default()),
            Err(error) => Err(Silence::Away(io::Error::other(error))),
        }
    }

    fn exchange(&mut self, words: &[&str]) -> io::Result<Vec<u8>> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(dial(self.port, self.tls.as_ref())?),
        };
        let mut request = Vec::new();
        write::command(&mut request, words);
        stream.write_all(&request)?;
        let (mut reply, mut scanner) = (Vec::new(), ReplyScanner::new());
        let mut piece = [0; PIECE];
        loop {
            match stream.read(&mut piece) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => reply.extend(piece.iter().take(read)),
                // A Ctrl-C; whoever asks will notice it.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if let Some(end) = scanner.scan(&reply).map_err(io::Error::other)? {
                reply.truncate(end);
                return Ok(reply);
            }
        }
    }
}

fn dial(port: u16, tls: Option<&Connector>) -> io::Result<Box<dyn Stream>> {
    let stream =
        TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(match tls {
        None => Box::new(stream),
        Some(tls) => Box::new(tls.connect_blocking("127.0.0.1", stream)?),
    })
}
