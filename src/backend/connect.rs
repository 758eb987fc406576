//! The one way in to a node: dial, AUTH, HELLO, READONLY; and a conversation for the control thread.

mod open;
mod shown;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::codec::FramedRead;

use crate::config::{self, Secret};
use crate::resp::{Protocol, ReplyError, Value, write};
use crate::tls::{Connector, TlsError};

use super::framing::Replies;
use super::login::{Login, Logins};
use super::stream::Stream;
use open::open;

/// Most bytes in a reply to the handshake. HELLO lists the server's modules.
const HANDSHAKE_BYTES: usize = 1 << 20;

/// As whom the gateway logs in to a node, and whom it believes to be one.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// User name; empty means the default user.
    pub username: String,
    /// Password; empty means that no login is made.
    pub password: Secret,
    /// The password before it, for nodes that do not know the new one yet; empty means that there was none.
    pub previous: Secret,
    /// How nodes are believed; `None`: they speak plain.
    pub tls: Option<Connector>,
    /// As whom it logs in for some of its users.
    logins: Arc<Logins>,
}

/// What a connection must be before it is used.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The protocol it speaks.
    pub protocol: Protocol,
    /// The database that requests are about.
    pub database: u16,
    /// The login.
    pub credentials: Credentials,
    /// Whether a replica may answer reads on it.
    pub readonly: bool,
    /// Whether the node must have said something: a frozen one takes connections, and never answers.
    pub ping: bool,
    /// Time for all of it: name, connection, replies.
    pub timeout: Duration,
}

/// What had to be done when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Looking up the host's addresses.
    Resolve,
    /// Making the TCP connection.
    Connect,
    /// Encrypting it.
    Tls,
    /// Logging in.
    Auth,
    /// Choosing the protocol.
    Hello,
    /// Choosing the database.
    Select,
    /// Allowing reads on a replica.
    ReadOnly,
    /// Asking for a sign of life.
    Ping,
    /// A question after the handshake.
    Ask,
}

/// Why it failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The system says so.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("timed out")]
    Timeout,
    /// The node's own words.
    #[error("{0}")]
    Refused(String),
    /// The node closed the connection.
    #[error("connection closed by the node")]
    Closed,
    /// The node does not speak the protocol.
    #[error("{0}")]
    Reply(#[from] ReplyError),
    /// The reply is longer than it may be.
    #[error("reply longer than {0} bytes")]
    TooLong(usize),
    /// More came than was asked for.
    #[error("unexpected bytes after the reply")]
    Unasked,
}

/// A node could not be reached, or did not let the gateway in.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {step}: {cause}")]
pub struct ConnectError {
    /// The node, as it was to be dialled.
    pub address: String,
    /// How far it went.
    pub step: Step,
    /// What stopped it.
    pub cause: Cause,
}

impl ConnectError {
    /// Whether the node is well, and only has not the database that was asked for.
    pub(super) fn lacks_database(&self) -> bool {
        self.step == Step::Select && matches!(self.cause, Cause::Refused(_))
    }

    /// Whether the node is well, and only does not let this user in, or not do what a connection begins with.
    pub(super) fn bars_user(&self) -> bool {
        const WORDS: [&str; 3] = ["WRONGPASS", "NOPERM", "NOAUTH"];
        matches!(&self.cause, Cause::Refused(text) if WORDS.iter().any(|it| text.starts_with(it)))
    }
}

impl Credentials {
    /// What the settings give, certificates and keys read from their files.
    ///
    /// # Errors
    /// The setting whose file is of no use, and why.
    pub fn load(settings: &config::Cluster) -> Result<Self, TlsError> {
        Ok(Self {
            username: settings.username.clone(),
            password: settings.password.clone(),
            previous: Secret::default(),
            tls: Connector::load(settings)?,
            logins: Arc::new(Logins::of(&settings.logins)),
        })
    }

    /// These in the place of `before`, whose passwords nodes may still want.
    #[must_use]
    pub fn succeeding(mut self, before: &Self) -> Self {
        let is_same = self.password == before.password;
        self.previous = if is_same { &before.previous } else { &before.password }.clone();
        self.logins = Arc::new(self.logins.succeeding(&before.logins));
        self
    }

    /// As whom the requests of this user of the gateway are sent.
    pub fn login_of(&self, user: &[u8]) -> Login {
        self.logins.login_of(user)
    }

    /// The users of the gateway that are sent as other ones than all the rest.
    pub fn named(&self) -> impl Iterator<Item = &[u8]> {
        self.logins.names()
    }

    /// Those for a connection that is logged in so.
    pub(super) fn of(&self, login: Login) -> Self {
        let Some((username, password, previous)) = self.logins.secrets(login) else {
            return self.clone();
        };
        Self {
            username: username.to_owned(),
            password: password.clone(),
            previous: previous.clone(),
            ..self.clone()
        }
    }

    /// The same with the password before it, if there was one.
    fn outdated(&self) -> Option<Self> {
        let password = Some(self.previous.clone()).filter(|password| !password.is_empty())?;
        Some(Self { password, previous: Secret::default(), ..self.clone() })
    }
}

impl Handshake {
    /// What the control thread needs: RESP2, because its answers are read by the gateway alone.
    pub fn control(credentials: Credentials, timeout: Duration) -> Self {
        let (protocol, database) = (Protocol::Resp2, 0);
        Self { protocol, database, credentials, readonly: false, ping: false, timeout }
    }

    /// The requests to send, in one write, and the step that each belongs to.
    fn requests(&self) -> (Vec<u8>, Vec<Step>) {
        let (mut bytes, mut steps) = (Vec::new(), Vec::new());
        let Credentials { username, password, .. } = &self.credentials;
        if !password.is_empty() {
            let user = (!username.is_empty()).then_some(username.as_str());
            let words: Vec<&str> =
                ["AUTH"].into_iter().chain(user).chain([password.expose()]).collect();
            write::command(&mut bytes, &words);
            steps.push(Step::Auth);
        }
        if self.protocol == Protocol::Resp3 {
            write::command(&mut bytes, &["HELLO", "3"]);
            steps.push(Step::Hello);
        }
        if self.database > 0 {
            write::command(&mut bytes, &["SELECT", &self.database.to_string()]);
            steps.push(Step::Select);
        }
        if self.readonly {
            write::command(&mut bytes, &["READONLY"]);
            steps.push(Step::ReadOnly);
        }
        if self.ping && steps.is_empty() {
            write::command(&mut bytes, &["PING"]);
            steps.push(Step::Ping);
        }
        (bytes, steps)
    }
}

/// Dials one node: every address of its name in turn, until one takes the connection; then the handshake.
/// The name is resolved each time, so that a node which came back elsewhere is found. A node that refuses the
/// password is dialled again with the one before it, should it have changed.
///
/// # Errors
/// Which node, which step, and why.
pub async fn dial(address: &str, want: &Handshake) -> Result<Stream, ConnectError> {
    let deadline = Instant::now() + want.timeout;
    let dialled = dial_by(address, want, deadline).await;
    let refused =
        matches!(&dialled, Err(ConnectError { step: Step::Auth, cause: Cause::Refused(_), .. }));
    match want.credentials.outdated() {
        Some(credentials) if refused => {
            dial_by(address, &Handshake { credentials, ..want.clone() }, deadline).await
        }
        _ => dialled,
    }
}

async fn dial_by(
    address: &str,
    want: &Handshake,
    deadline: Instant,
) -> Result<Stream, ConnectError> {
    let failed = |step, cause| ConnectError { address: address.to_owned(), step, cause };
    let opened = open(address, want.credentials.tls.as_ref(), deadline).await;
    let stream = opened.map_err(|(step, cause)| failed(step, cause))?;
    let (bytes, steps) = want.requests();
    if steps.is_empty() {
        return Ok(stream);
    }
    let mut talk = FramedRead::new(stream, Replies::new(HANDSHAKE_BYTES));
    let first = steps.first().copied().unwrap_or(Step::Connect);
    send(talk.get_mut(), &bytes).await.map_err(|error| failed(first, error.into()))?;
    for step in steps {
        let reply = timeout_at(deadline, next(&mut talk)).await.unwrap_or(Err(Cause::Timeout));
        match reply {
            // Whatever it says: it lives.
            Ok(_) if step == Step::Ping => {}
            reply => reply.and_then(accepted).map_err(|cause| failed(step, cause))?,
        }
    }
    // Nothing else was asked, and a byte too many here would be taken for the first reply.
    if !talk.read_buffer().is_empty() {
        return Err(failed(Step::Connect, Cause::Unasked));
    }
    Ok(talk.into_inner())
}

/// Whether the reply is no error.
pub(super) fn accepted(reply: Bytes) -> Result<(), Cause> {
    match Value::parse(&reply)?.as_error() {
        Some(error) => Err(Cause::Refused(String::from_utf8_lossy(error).into_owned())),
        None => Ok(()),
    }
}

/// Writes it all, and leaves nothing behind in an encrypted stream.
pub(super) async fn send(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn next(talk: &mut FramedRead<Stream, Replies>) -> Result<Bytes, Cause> {
    talk.next().await.unwrap_or(Err(Cause::Closed))
}

/// Questions and answers with one node, one question at a time, for the control thread.
/// After an error the connection is of no use any more.
#[derive(Debug)]
pub struct Conversation {
    address: String,
    talk: FramedRead<Stream, Replies>,
    timeout: Duration,
}

impl Conversation {
    /// Dials `address`. Later answers may take as long as the handshake, and have at most `most` bytes each.
    ///
    /// # Errors
    /// As [`dial`].
    pub async fn open(address: &str, want: &Handshake, most: usize) -> Result<Self, ConnectError> {
        let stream = dial(address, want).await?;
        let talk = FramedRead::new(stream, Replies::new(most));
        Ok(Self { address: address.to_owned(), talk, timeout: want.timeout })
    }

    /// The node, as it was dialled.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends requests in one write and waits for the reply to each, as received.
    ///
    /// # Errors
    /// The replies did not come whole, or not in time.
    pub async fn ask<const N: usize>(
        &mut self,
        requests: [&[&str]; N],
    ) -> Result<[Bytes; N], ConnectError> {
        let mut replies = [const { Bytes::new() }; N];
        self.answer(&requests, &mut replies).await?;
        Ok(replies)
    }

    /// The same for requests of any bytes, and any number of them.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_all(&mut self, requests: &[&[&[u8]]]) -> Result<Vec<Bytes>, ConnectError> {
        let mut replies = vec![Bytes::new(); requests.len()];
        self.answer(requests, &mut replies).await?;
        Ok(replies)
    }

    async fn answer(
        &mut self,
        requests: &[&[impl AsRef<[u8]>]],
        replies: &mut [Bytes],
    ) -> Result<(), ConnectError> {
        let mut bytes = Vec::new();
        for words in requests {
            write::command(&mut bytes, words);
        }
        let answered = timeout(self.timeout, self.exchange(&bytes, replies)).await;
        let failed = |cause| ConnectError { address: self.address.clone(), step: Step::Ask, cause };
        answered.unwrap_or(Err(Cause::Timeout)).map_err(failed)
    }

    async fn exchange(&mut self, bytes: &[u8], replies: &mut [Bytes]) -> Result<(), Cause> {
        if !self.talk.read_buffer().is_empty() {
            return Err(Cause::Unasked);
        }
        send(self.talk.get_mut(), bytes).await?;
        for reply in replies {
            *reply = next(&mut self.talk).await?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Resolve => "looking up the name",
            Self::Connect => "connecting",
            Self::Tls => "TLS",
            Self::Auth => "AUTH",
            Self::Hello => "HELLO 3",
            Self::Select => "SELECT",
            Self::ReadOnly => "READONLY",
            Self::Ping => "PING",
            Self::Ask => "asking",
        })
    }
}

#[cfg(test)]
mod tests;
