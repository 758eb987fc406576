//! MSETNX and MSETEX NX over several slots: each slot's part is set by the server when none of its keys is
//! there. When one part is refused, those that were set are taken back.

use std::collections::HashMap;

use crate::resp::{Value, write};
use crate::route::{Split, SplitPart};

use super::hold::Hold;
use super::{CROSSSLOT, Call, Outcome, Steps, Stop, integer};

/// Times that somebody may write to keys that are being taken back.
const TRIES: usize = 8;

pub(super) async fn perform(steps: &Steps, call: &Call) -> Outcome {
    let is_option = |at: usize, word: &str| call.arg(at).eq_ignore_ascii_case(word.as_bytes());
    let split =
        Split::of(call.spec(), &call.request()).map_err(|error| Stop::error(error.to_string()))?;
    if (split.after()..call.len()).any(|at| is_option(at, "XX")) {
        // What was there before would be gone, and could not be taken back.
        return Err(Stop::Refused(CROSSSLOT));
    }
    let new = New { steps, call, split: &split };
    let all = new.are_missing().await? && new.set().await?;
    let mut reply = Vec::new();
    write::integer(&mut reply, i64::from(all));
    Ok(reply)
}

/// Keys to be set when none of them is there.
struct New<'a> {
    steps: &'a Steps,
    call: &'a Call,
    split: &'a Split,
}

impl New<'_> {
    fn keys(&self, part: &SplitPart) -> Vec<&[u8]> {
        self.split.keys_of(part).map(|at| self.call.arg(at)).collect()
    }

    async fn are_missing(&self) -> Result<bool, Stop> {
        let questions = self.split.parts().iter().map(|part| {
            let words = [vec![b"EXISTS".as_slice()], self.keys(part)].concat();
            self.steps.step(part.slot, &words).repeatable()
        });
        let replies = self.steps.all(questions.collect()).await?;
        let mut found = 0;
        for reply in &replies {
            found += integer(reply)?;
        }
        Ok(found == 0)
    }

    /// Sets all parts at once, or in the end none.
    async fn set(&self) -> Result<bool, Stop> {
        let parts = self.split.parts();
        let requests = parts.iter().map(|part| {
            let mut request = Vec::new();
            self.split.write_part(&self.call.request(), part, &mut request);
            self.steps.raw(part.slot, request)
        });
        let replies = self.steps.ask_all(requests.collect()).await?;
        if replies.iter().all(|reply| reply == b":1\r\n") {
            return Ok(true);
        }
        let refused = |reply: &Vec<u8>| super::is_error(reply);
        let stop = replies.iter().find(|reply| refused(reply)).cloned().map(Stop::Node);
        for (part, reply) in parts.iter().zip(&replies) {
            let may_be_set = reply == b":1\r\n" || Stop::Node(reply.clone()).is_uncertain();
            if may_be_set {
                self.take_back(part).await?;
            }
        }
        stop.map_or(Ok(false), Err)
    }

    /// Deletes the keys of a part that have the values which they were given.
    async fn take_back(&self, part: &SplitPart) -> Result<(), Stop> {
        let keys = self.keys(part);
        let given: HashMap<&[u8], &[u8]> =
            self.split.keys_of(part).map(|at| (self.call.arg(at), self.call.arg(at + 1))).collect();
        let encoded = |name: &[u8], keys: &[&[u8]]| {
            let mut out = Vec::new();
            write::command(&mut out, &[&[name], keys].concat());
            out
        };
        let reads = [encoded(b"WATCH", &keys), encoded(b"MGET", &keys)];
        for _ in 0..TRIES {
            let (mut hold, replies) = Hold::begin(self.steps, part.slot, &reads).await?;
            let values = replies.get(1).ok_or(Stop::Unexpected)?;
            Stop::at_error(values)?;
            let values = Value::parse(values)?;
            let values = values.as_array().unwrap_or_default();
            let is_own = |key: &[u8], value: &Value<'_>| {
                value.bytes().filter(|_| !value.is_null()) == given.get(key).copied()
            };
            let own: Vec<&[u8]> = keys
                .iter()
                .zip(values)
                .filter(|(key, value)| is_own(key, value))
                .map(|(key, _)| *key)
                .collect();
            if own.is_empty() {
                hold.release().await;
                return Ok(());
            }
            if hold.commit(&[encoded(b"DEL", &own)]).await?.is_some() {
                hold.release().await;
                return Ok(());
            }
        }
        Err(Stop::Refused("ERR some keys were set and change too fast to be taken back"))
    }
}
