//! A snapshot of one node's data, asked for as a replica asks, and read in pieces.
//!
//! ```text
//! REPLCONF capa eof          the node may send what it has without writing a file first
//! REPLCONF rdb-only 1        nothing is wanted behind the snapshot (since 7.0)
//! PSYNC ? -1                 +FULLRESYNC <replication id> <offset>
//!                            empty lines while it prepares
//!                            $<bytes>, and so many bytes; or $EOF:<mark of 40 bytes>, bytes, and the mark again
//! ```

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::resp::write;

/// A node that says nothing for so long has gone: one that prepares a snapshot sends empty lines.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest line of the protocol.
const LINE_BYTES: usize = 4 << 10;
/// Bytes read at once.
const PIECE: usize = 256 << 10;
const MARK: usize = 40;

/// A snapshot on its way.
#[derive(Debug)]
pub(super) struct Transfer<S> {
    stream: S,
    buffer: BytesMut,
    end: End,
    /// Where in the stream of writes it was taken.
    pub(super) position: Position,
}

/// A place in a primary's stream of writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) replication_id: String,
    pub(super) offset: u64,
}

#[derive(Debug)]
enum End {
    /// After so many bytes.
    After(u64),
    /// At the mark.
    Mark([u8; MARK]),
    Reached,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransferError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the node was silent for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the node closed the connection before the end of the snapshot")]
    Cut,
    #[error("the node refuses: {0}")]
    Refused(String),
    #[error("the node answered what is no snapshot: {0}")]
    Unknown(String),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transfer<S> {
    /// Asks the node at the other end, which must have let us in. Returns when the snapshot begins.
    pub(super) async fn begin(mut stream: S) -> Result<Self, TransferError> {
        let mut request = Vec::new();
        write::command(&mut request, &["REPLCONF", "capa", "eof"]);
        write::command(&mut request, &["REPLCONF", "rdb-only", "1"]);
        stream.write_all(&request).await?;
        stream.flush().await?;
        let position = Position { replication_id: String::new(), offset: 0 };
        let mut transfer = Self { stream, buffer: BytesMut::new(), end: End::Reached, position };
        for _ in 0..2 {
            // Older servers do not know the one or the other, and do without. Whoever may not ask is told below.
            transfer.line().await?;
        }
        let mut request = Vec::new();
        write::command(&mut request, &["PSYNC", "?", "-1"]);
        transfer.stream.write_all(&request).await?;
        transfer.stream.flush().await?;
        let line = transfer.line().await?;
        transfer.position = Position::read(&line)?;
        let line = transfer.line().await?;
        transfer.end = End::read(&line)?;
        Ok(transfer)
    }

    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, TransferError> {
        loop {
            let ready = match &mut self.end {
                End::Reached => return Ok(None),
                End::After(left) => {
                    let ready = self.buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= ready as u64;
                    let is_over = *left == 0;
                    if is_over {
                        self.end = End::Reached;
                    }
                    ready
                }
                // Nothing follows the mark until it is asked for, so it is at the end of what has arrived.
                End::Mark(mark) => {
                    let ready = self.buffer.len().saturating_sub(MARK);
                    if self.buffer.ends_with(mark) {
                        self.end = End::Reached;
                    }
                    ready
                }
            };
            if ready > 0 {
                return Ok(Some(self.buffer.split_to(ready).freeze()));
            }
            if !matches!(self.end, End::Reached) {
                self.fill().await?;
            }
        }
    }

    /// The next line that is not empty, without its end.
    async fn line(&mut self) -> Result<String, TransferError> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let line = self.buffer.split_to(end + 1);
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if !line.is_empty() {
                    return Ok(line);
                }
                continue;
            }
            if self.buffer.len() > LINE_BYTES {
                return Err(TransferError::Unknown("a line without end".to_owned()));
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), TransferError> {
        self.buffer.reserve(PIECE);
        match timeout(SILENCE, self.stream.read_buf(&mut self.buffer)).await {
            Err(_) => Err(TransferError::Silent),
            Ok(Ok(0)) => Err(TransferError::Cut),
            Ok(read) => Ok(read.map(drop)?),
        }
    }
}

impl Position {
    fn read(line: &str) -> Result<Self, TransferError> {
        if let Some(error) = line.strip_prefix('-') {
            return Err(TransferError::Refused(error.to_owned()));
        }
        let mut words = line.strip_prefix("+FULLRESYNC ").into_iter().flat_map(|it| it.split(' '));
        match (words.next(), words.next().and_then(|offset| offset.parse().ok())) {
            (Some(id), Some(offset)) => Ok(Self { replication_id: id.to_owned(), offset }),
            _ => Err(TransferError::Unknown(line.to_owned())),
        }
    }
}

impl End {
    fn read(line: &str) -> Result<Self, TransferError> {
        if let Some(error) = line.strip_prefix('-') {
            return Err(TransferError::Refused(error.to_owned()));
        }
        let size = line.strip_prefix('$');
        let mark = size.and_then(|size| size.strip_prefix("EOF:")?.as_bytes().try_into().ok());
        let end = mark.map(Self::Mark).or_else(|| size?.parse().ok().map(Self::After));
        end.ok_or_else(|| TransferError::Unknown(line.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "+OK\r\n-ERR Unrecognized REPLCONF option: rdb-only\r\n";

    /// What comes of a node that sends this, in pieces of so many bytes.
    async fn transfer(sent: &[u8], piece: usize) -> Result<(Position, Vec<u8>), String> {
        let (near, mut far) = tokio::io::duplex(piece);
        let sent = [HELLO.as_bytes(), sent].concat();
        let send = async move {
            // A write fails once nobody reads any more.
            let (mut out, mut asked) = (sent, vec![0; 256]);
            let _ = far.read(&mut asked).await;
            let (mut from, mut to) = tokio::io::split(far);
            let drain = async { while from.read(&mut asked).await.is_ok_and(|read| read > 0) {} };
            let write = async {
                let _ = to.write_all(&out).await;
                out.clear();
                let _ = to.shutdown().await;
            };
            tokio::join!(drain, write);
        };
        let take = async move {
            let mut transfer = Transfer::begin(near).await?;
            let mut taken = Vec::new();
            while let Some(piece) = transfer.next().await? {
                taken.extend_from_slice(&piece);
            }
            Ok((transfer.position.clone(), taken))
        };
        let (taken, ()) = tokio::join!(take, send);
        taken.map_err(|error: TransferError| error.to_string())
    }

    #[tokio::test]
    async fn both_forms_are_read_in_any_pieces() {
        let mark = "0123456789abcdef0123456789abcdef01234567";
        let body = "REDIS0010\r\nwhatever\n";
        let known = format!("+FULLRESYNC id 17\r\n\n\n${}\r\n{body}", body.len());
        let marked = format!("+FULLRESYNC id 17\r\n\n$EOF:{mark}\r\n{body}{mark}");
        let position = Position { replication_id: "id".to_owned(), offset: 17 };
        for sent in [known, marked] {
            for piece in [1, 7, 41, 4096] {
                let taken = transfer(sent.as_bytes(), piece).await.unwrap();
                assert_eq!(taken, (position.clone(), body.as_bytes().to_vec()), "{sent} {piece}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_whole_snapshot_is_refused() {
        for (sent, why) in [
            ("-NOPERM no\r\n", "the node refuses: NOPERM no"),
            ("+FULLRESYNC id x\r\n", "no snapshot: +FULLRESYNC id x"),
            ("+CONTINUE\r\n", "no snapshot: +CONTINUE"),
            ("+FULLRESYNC id 1\r\n$9\r\nREDIS", "closed the connection before the end"),
            ("+FULLRESYNC id 1\r\n$EOF:short\r\nREDIS", "no snapshot: $EOF:short"),
            ("+FULLRESYNC id 1\r\n-ERR no\r\n", "the node refuses: ERR no"),
            ("+FULLRESYNC id 1\r\n", "closed the connection"),
        ] {
            let found = transfer(sent.as_bytes(), 64).await.unwrap_err();
            assert!(found.contains(why), "{sent}: {found}");
        }
    }
}
