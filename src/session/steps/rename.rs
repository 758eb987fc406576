//! RENAME and RENAMENX over two slots: the copy is there before the original goes.
//!
//! The original is watched from before it is read until it is deleted, so no write to it is lost. Whoever is
//! killed in between leaves both keys.

use crate::cluster::Slot;
use crate::resp::{Value, write};

use super::hold::Hold;
use super::{Call, Outcome, Steps, Stop};

/// Times that a source may change between its copy and its end.
const TRIES: usize = 8;

/// What PEXPIRETIME says of a key that is not there.
const GONE: i64 = -2;

/// Both keys, and whether the destination must not exist.
struct Rename<'a> {
    steps: &'a Steps,
    source: &'a [u8],
    destination: &'a [u8],
    only_new: bool,
}

/// What became of one attempt.
enum Attempt {
    Done,
    /// The destination was there.
    Taken,
    /// Somebody wrote to the source meanwhile; this is the copy that is out of date.
    Overtaken(Vec<u8>),
}

pub(super) async fn perform(steps: &Steps, call: &Call) -> Outcome {
    let only_new = call.spec().name == "RENAMENX";
    let rename = Rename { steps, source: call.arg(1), destination: call.arg(2), only_new };
    let mut reply = Vec::new();
    for _ in 0..TRIES {
        match rename.attempt().await? {
            Attempt::Done if only_new => write::integer(&mut reply, 1),
            Attempt::Done => write::simple(&mut reply, "OK"),
            Attempt::Taken => write::integer(&mut reply, 0),
            Attempt::Overtaken(copy) => {
                if only_new {
                    rename.take_back(&copy).await?;
                }
                continue;
            }
        }
        return Ok(reply);
    }
    Err(Stop::Refused(if only_new {
        "ERR RENAMENX source is changing too fast"
    } else {
        "ERR RENAME source is changing too fast; the destination holds a copy of it"
    }))
}

impl Rename<'_> {
    async fn attempt(&self) -> Result<Attempt, Stop> {
        let Self { steps, source, destination, .. } = *self;
        let reads = [b"WATCH".as_slice(), b"DUMP", b"PEXPIRETIME"];
        let reads = reads.map(|name| request(&[name, source]));
        let (mut hold, replies) = Hold::begin(steps, Slot::of(source), &reads).await?;
        let [watched, dump, expires] = replies.as_slice() else { return Err(Stop::Unexpected) };
        for reply in [watched, dump, expires] {
            Stop::at_error(reply)?;
        }
        let (dump, expires) = (Value::parse(dump)?, super::integer(expires)?);
        // It may have ended between the two.
        let Some(payload) = dump.bytes().filter(|_| expires != GONE) else {
            hold.release().await;
            return Err(Stop::Refused("ERR no such key"));
        };
        if payload.len() > steps.worker.gateway.settings().routing.gathered_bytes {
            return Err(Stop::TooLarge);
        }
        let expires = expires.max(0).to_string();
        let mut restore =
            vec![b"RESTORE".as_slice(), destination, expires.as_bytes(), payload, b"ABSTTL"];
        if !self.only_new {
            restore.push(b"REPLACE");
        }
        let slot = Slot::of(destination);
        match steps.one(steps.raw(slot, request(&restore))).await {
            Ok(_) => {}
            Err(Stop::Node(error)) if self.only_new && error.starts_with(b"-BUSYKEY") => {
                hold.release().await;
                return Ok(Attempt::Taken);
            }
            Err(stop) => {
                hold.release().await;
                return Err(stop);
            }
        }
        Ok(match hold.commit(&[request(&[b"DEL".as_slice(), source])]).await? {
            Some(()) => {
                hold.release().await;
                Attempt::Done
            }
            None => Attempt::Overtaken(payload.to_vec()),
        })
    }

    /// Deletes a copy that is out of date, unless somebody has written to it: then it is his.
    async fn take_back(&self, copy: &[u8]) -> Result<(), Stop> {
        let Self { steps, destination, .. } = *self;
        let reads = [b"WATCH".as_slice(), b"DUMP"].map(|name| request(&[name, destination]));
        let (mut hold, replies) = Hold::begin(steps, Slot::of(destination), &reads).await?;
        let dump = Value::parse(replies.get(1).ok_or(Stop::Unexpected)?)?;
        let is_untouched = dump.bytes() == Some(copy);
        if is_untouched
            && hold.commit(&[request(&[b"DEL".as_slice(), destination])]).await?.is_some()
        {
            hold.release().await;
            return Ok(());
        }
        Err(Stop::Refused(
            "ERR RENAMENX source is changing too fast; the destination holds a copy of it",
        ))
    }
}

fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    write::command(&mut out, words);
    out
}
