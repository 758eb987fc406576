//! A connection on which a node keeps track of what is read: made, and driven to its end.
//!
//! In RESP3 the node's messages come between the replies. A connection that speaks RESP2 has another one beside it
//! that hears them.

use std::rc::Rc;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::timeout;
use tokio_util::codec::FramedRead;

use crate::resp::{Protocol, Value, write};

use super::connect::{Cause, Handshake, dial, send};
use super::driver::Driver;
use super::framing::Replies;
use super::pipeline::{Ended, Pipeline};
use super::pool::Pool;
use super::stream::Stream;

/// Most bytes in one message that comes on a connection of its own; a longer one ends it.
const MESSAGE_BYTES: usize = 1 << 20;

type Talk = FramedRead<Stream, Replies>;

/// Why a connection ended.
pub(super) enum End {
    /// It could not be made, or broke.
    Lost(Ended),
    /// The node does not keep track for the gateway, or does not let the user in.
    Refused(Ended),
}

impl End {
    pub(super) fn reason(&self) -> Ended {
        match self {
            Self::Lost(why) | Self::Refused(why) => why.clone(),
        }
    }
}

/// Connects, has the node keep track, and carries requests until the connection ends; says why it has.
pub(super) async fn converse(
    pool: &Rc<Pool>,
    pipeline: &Rc<Pipeline>,
    options: &[Vec<u8>],
    agreed: impl FnOnce(),
) -> End {
    let node = pipeline.node();
    let (mut talk, ear) = match connect(pool, pipeline).await {
        Ok(connected) => connected,
        Err(end) => return end,
    };
    node.came_up();
    node.barred.lift(pipeline.manner().login);
    node.metrics.set_up(true);
    let patience = pool.settings().backend.connect_timeout;
    let agreement = timeout(patience, begin(&mut talk, ear, options)).await;
    let ear = match agreement.unwrap_or(Err(Cause::Timeout)) {
        Ok(ear) => ear,
        Err(cause) => {
            let why = format!("{}: CLIENT TRACKING: {cause}", node.address).into();
            let refused = matches!(cause, Cause::Refused(_));
            return if refused { End::Refused(why) } else { End::Lost(why) };
        }
    };
    agreed();
    let read = talk.read_buffer_mut().split();
    let driver = Driver::resume(pool.clone(), pipeline.clone(), talk.into_inner(), &read);
    let why = match (driver, ear) {
        (Err(why), _) => why,
        (Ok(driver), None) => driver.await,
        (Ok(driver), Some(ear)) => tokio::select! {
            biased;
            why = listen(ear, pipeline) => why,
            why = driver => why,
        },
    };
    pool.clock().tick();
    End::Lost(format!("{}: {why}", node.address).into())
}

/// The connection, and the one beside it that hears.
async fn connect(pool: &Rc<Pool>, pipeline: &Pipeline) -> Result<(Talk, Option<Talk>), End> {
    let (node, manner) = (pipeline.node(), pipeline.manner());
    let dial = async |manner| {
        let handshake = Handshake { ping: false, ..pool.handshake(manner) };
        match dial(&node.address, &handshake).await {
            Ok(stream) => Ok(FramedRead::new(stream, Replies::new(MESSAGE_BYTES))),
            Err(error) => Err(match pool.bars(node, manner, &error) {
                Some(why) => End::Refused(why),
                None => End::Lost(pool.unreachable(node, &error)),
            }),
        }
    };
    let ear = match manner.protocol {
        Protocol::Resp2 => Some(dial(manner.in_database(0).in_protocol(Protocol::Resp3)).await?),
        Protocol::Resp3 => None,
    };
    Ok((dial(manner).await?, ear))
}

/// `CLIENT TRACKING ON`
async fn begin(
    talk: &mut Talk,
    mut ear: Option<Talk>,
    options: &[Vec<u8>],
) -> Result<Option<Talk>, Cause> {
    let mut words = vec![b"CLIENT".to_vec(), b"TRACKING".to_vec(), b"ON".to_vec()];
    if let Some(ear) = &mut ear {
        let reply = ask(ear, &["CLIENT", "ID"]).await?;
        let number = Value::parse(&reply)?.as_integer().ok_or_else(|| refused(&reply))?;
        words.extend([b"REDIRECT".to_vec(), number.to_string().into_bytes()]);
    }
    words.extend_from_slice(options);
    let reply = ask(talk, &words).await?;
    if reply.first() == Some(&b'+') { Ok(ear) } else { Err(refused(&reply)) }
}

async fn ask(talk: &mut Talk, words: &[impl AsRef<[u8]>]) -> Result<Bytes, Cause> {
    let mut request = Vec::new();
    write::command(&mut request, words);
    send(talk.get_mut(), &request).await?;
    talk.next().await.unwrap_or(Err(Cause::Closed))
}

fn refused(reply: &[u8]) -> Cause {
    let text = String::from_utf8_lossy(reply.get(1..).unwrap_or_default());
    Cause::Refused(text.trim_end().to_owned())
}

/// Passes on what the node says to the connection that hears, until it ends.
async fn listen(mut ear: Talk, pipeline: &Pipeline) -> Ended {
    loop {
        match ear.next().await {
            Some(Ok(message)) => pipeline.pushed(&message),
            Some(Err(cause)) => return cause.to_string().into(),
            None => return Cause::Closed.to_string().into(),
        }
    }
}
