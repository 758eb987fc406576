//! A client that sends and sees raw bytes. It finds the end of a reply by itself, apart from the code under test.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::PATIENCE;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    taken: usize,
}

/// One complete reply, as it came.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Reply(Vec<u8>);

/// A request in the form that client libraries send: an array of bulk strings.
pub(crate) fn request<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend(format!("${}\r\n", argument.len()).bytes());
        bytes.extend(argument);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// As [`request`], from words with single spaces between them; `""` stands for an empty argument.
pub(crate) fn request_line(line: &str) -> Vec<u8> {
    request(&line.split(' ').map(|word| if word == "\"\"" { "" } else { word }).collect::<Vec<_>>())
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        Self::on(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    fn on(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, received: Vec::new(), taken: 0 })
    }

    /// From another address of this machine.
    pub(crate) fn connect_from(source: IpAddr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        Self::on(socket.into()).unwrap()
    }

    /// Another bound for waiting on a reply.
    pub(crate) fn patience(self, bound: Duration) -> Self {
        self.stream.set_read_timeout(Some(bound)).unwrap();
        self
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next reply, pushes included.
    pub(crate) fn reply(&mut self) -> Reply {
        self.try_reply().unwrap_or_else(|error| {
            let rest = String::from_utf8_lossy(&self.received[self.taken..]).into_owned();
            panic!(
                "no complete reply: {error}; got {:?}",
                rest.chars().take(200).collect::<String>()
            )
        })
    }

    /// The next reply, or why there is none: the end of the stream is `UnexpectedEof`.
    pub(crate) fn try_reply(&mut self) -> io::Result<Reply> {
        loop {
            if let Some(length) = frame_length(&self.received[self.taken..])? {
                let reply = Reply(self.received[self.taken..self.taken + length].to_vec());
                self.taken += length;
                if self.taken == self.received.len() {
                    self.received.clear();
                    self.taken = 0;
                }
                return Ok(reply);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut piece = [0; 64 << 10];
        match self.stream.read(&mut piece)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            length => {
                self.received.extend(&piece[..length]);
                Ok(())
            }
        }
    }

    /// Sends one request of words with single spaces between them and takes its reply.
    pub(crate) fn call(&mut self, line: &str) -> Reply {
        self.send(&request_line(line));
        self.reply()
    }

    pub(crate) fn call_args<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Reply {
        self.send(&request(arguments));
        self.reply()
    }

    pub(crate) fn try_call(&mut self, line: &str) -> io::Result<Reply> {
        self.try_send(&request_line(line))?;
        self.try_reply()
    }

    /// Sends all the bytes while it takes that many replies, so that neither side can fill the other's buffers.
    pub(crate) fn exchange(&mut self, bytes: &[u8], replies: usize) -> Vec<Reply> {
        let mut writer = self.stream.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || writer.write_all(bytes).unwrap());
            (0..replies).map(|_| self.reply()).collect()
        })
    }

    /// As [`Client::exchange`], for lines of words.
    pub(crate) fn pipeline<L: AsRef<str>>(&mut self, lines: &[L]) -> Vec<Reply> {
        let bytes: Vec<u8> = lines.iter().flat_map(|line| request_line(line.as_ref())).collect();
        self.exchange(&bytes, lines.len())
    }

    /// Everything up to the end of the stream; a reset counts as the end.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                    ) =>
                {
                    break;
                }
                Err(error) => panic!("the connection stays open: {error}; got {}", self.unread()),
            }
        }
        self.received.split_off(self.taken)
    }

    /// Whether the other side has closed the connection, waiting for that within the client's patience.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.fill(), Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset))
    }

    pub(crate) fn close_writing(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// A second handle on the same socket, for a thread that only sends.
    pub(crate) fn writer(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    /// Closes with a reset instead of an orderly end.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn unread(&self) -> String {
        self.received[self.taken..].escape_ascii().to_string()
    }
}

impl Reply {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn kind(&self) -> u8 {
        self.0[0]
    }

    pub(crate) fn is_error(&self) -> bool {
        matches!(self.kind(), b'-' | b'!')
    }

    pub(crate) fn is_nil(&self) -> bool {
        matches!(self.bytes(), b"$-1\r\n" | b"*-1\r\n" | b"_\r\n")
    }

    /// What stands after the mark of a simple reply, or the contents of a bulk one.
    pub(crate) fn payload(&self) -> &[u8] {
        let end = line_end(&self.0).unwrap();
        match self.kind() {
            b'$' | b'=' | b'!' if !self.is_nil() => &self.0[end + 2..self.0.len() - 2],
            _ => &self.0[1..end],
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.payload()).into_owned()
    }

    pub(crate) fn integer(&self) -> i64 {
        assert_eq!(self.kind(), b':', "not an integer: {self}");
        self.text().parse().unwrap()
    }

    /// The elements of an aggregate, keys and values of a map one after the other; none for any other reply.
    pub(crate) fn items(&self) -> Vec<Self> {
        if !matches!(self.kind(), b'*' | b'~' | b'%' | b'>') || self.is_nil() {
            return Vec::new();
        }
        let mut items = Vec::new();
        let mut at = line_end(&self.0).unwrap() + 2;
        while at < self.0.len() {
            let length = frame_length(&self.0[at..]).unwrap().unwrap();
            items.push(Self(self.0[at..at + length].to_vec()));
            at += length;
        }
        items
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(300)];
        write!(f, "{}", shown.escape_ascii())?;
        if shown.len() < self.0.len() { write!(f, ".. ({} bytes)", self.0.len()) } else { Ok(()) }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Length of the reply that the bytes start with, once it is complete.
fn frame_length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(end) = line_end(bytes) else { return Ok(None) };
    let after_line = end + 2;
    let number = || {
        let text =
            std::str::from_utf8(&bytes[1..end]).ok().and_then(|text| text.parse::<i64>().ok());
        text.ok_or_else(|| {
            io::Error::new(ErrorKind::InvalidData, format!("bad length {:?}", &bytes[..end]))
        })
    };
    let items = match bytes[0] {
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => 0,
        b'$' | b'=' | b'!' => {
            let whole =
                usize::try_from(number()?).map_or(after_line, |length| after_line + length + 2);
            return Ok((bytes.len() >= whole).then_some(whole));
        }
        b'*' | b'~' | b'>' => number()?,
        b'%' => number()? * 2,
        // An attribute belongs to the reply that follows it.
        b'|' => number()? * 2 + 1,
        other => {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("no reply starts with {:?}", char::from(other)),
            ));
        }
    };
    let mut at = after_line;
    for _ in 0..items {
        match frame_length(&bytes[at..])? {
            Some(length) => at += length,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n")
}

#[test]
fn finds_the_end_of_every_reply() {
    let replies: [&[u8]; 16] = [
        b"+OK\r\n",
        b"-ERR x\r\n",
        b":-1\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$4\r\na\r\nb\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n*1\r\n:1\r\n$1\r\na\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",1.5\r\n",
        b"%1\r\n+a\r\n:1\r\n",
        b"~1\r\n+a\r\n",
        b"=5\r\ntxt:a\r\n",
        b">2\r\n+a\r\n+b\r\n",
    ];
    for reply in replies {
        for cut in 0..reply.len() {
            assert_eq!(
                frame_length(&reply[..cut]).unwrap(),
                None,
                "{}",
                reply[..cut].escape_ascii()
            );
        }
        let longer = [reply, b"+more\r\n"].concat();
        assert_eq!(frame_length(&longer).unwrap(), Some(reply.len()), "{}", reply.escape_ascii());
    }
    assert!(frame_length(b"?\r\n").is_err());
}
