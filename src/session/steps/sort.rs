//! `SORT` and `SORT_RO` where the sorted key is not the only one: the result is stored in another slot, or
//! patterns name other keys (`BY`, `GET`), which needs the setting `routing.sort_patterns`.

use std::ops::Range;

use crate::cluster::Slot;
use crate::merge::set::Members;
use crate::merge::sort::{By, Named, order};
use crate::resp::{Value, elements, number, write};

use super::call::Call;
use super::gather::{NO_INTEGER, SYNTAX};
use super::store::Block;
use super::{Outcome, Step, Steps, Stop, is_error, request};

/// Values of other keys that are asked for at once.
const AT_ONCE: usize = 1000;
/// Comparing elements costs as much as looking at so many bytes of each.
const SORTING: usize = 100;

/// What a request says.
struct Question<'a> {
    /// The pattern that names what is compared.
    by: Option<&'a [u8]>,
    /// `BY` names nothing: the elements stay in their order.
    unsorted: bool,
    get: Vec<&'a [u8]>,
    limit: (i64, i64),
    descending: bool,
    alphabetical: bool,
    destination: Option<usize>,
}

/// Sorts, and answers or stores the result.
pub(super) async fn perform(steps: &Steps, call: &Call) -> Outcome {
    let mut question = Question::of(call)?;
    if question.is_for_the_node() {
        let request = question.request(call.arg(1));
        let reply = steps.one(steps.raw(call.slot(1), request).read()).await?;
        return question.finish(steps, call, reply).await;
    }
    let (kind, list) = elements_of(steps, call).await?;
    let found = elements(&list).ok_or(Stop::Unexpected)?;
    steps.check_number(found.announced())?;
    let mut found = found.map(text).collect::<Result<Vec<_>, _>>()?;
    question.adapt(kind, &mut found);
    let chosen = question.chosen(steps, found).await?;
    let reply = question.shown(steps, chosen).await?;
    question.finish(steps, call, reply).await
}

/// What a sorted key may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Set,
    /// A list or a sorted set.
    Ordered,
}

/// All elements in their own order.
async fn elements_of(steps: &Steps, call: &Call) -> Result<(Kind, Vec<u8>), Stop> {
    let (slot, key) = (call.slot(1), call.arg(1));
    let kind = steps.one(steps.step(slot, &[b"TYPE", key]).read()).await?;
    let (kind, words): (_, Vec<&[u8]>) = match kind.as_slice() {
        b"+set\r\n" => (Kind::Set, vec![b"SMEMBERS", key]),
        b"+zset\r\n" => (Kind::Ordered, vec![b"ZRANGE", key, b"0", b"-1"]),
        // For anything else the node has the right error.
        _ => (Kind::Ordered, vec![b"LRANGE", key, b"0", b"-1"]),
    };
    Ok((kind, steps.one(steps.step(slot, &words).read()).await?))
}

impl<'a> Question<'a> {
    fn of(call: &'a Call) -> Result<Self, Stop> {
        let mut question = Self {
            by: None,
            unsorted: false,
            get: Vec::new(),
            limit: (0, -1),
            descending: false,
            alphabetical: false,
            destination: None,
        };
        let stores = call.spec().name == "SORT";
        let mut at = 2;
        while at < call.len() {
            let left = call.len() - at - 1;
            let word = call.arg(at).to_ascii_uppercase();
            at += 1;
            match word.as_slice() {
                b"ASC" => question.descending = false,
                b"DESC" => question.descending = true,
                b"ALPHA" => question.alphabetical = true,
                b"LIMIT" if left >= 2 => {
                    let limit = |at| number::integer(call.arg(at)).ok_or(NO_INTEGER);
                    question.limit = (limit(at)?, limit(at + 1)?);
                    at += 2;
                }
                b"STORE" if stores && left >= 1 => {
                    question.destination = Some(at);
                    at += 1;
                }
                b"BY" if left >= 1 => {
                    question.unsorted = !call.arg(at).contains(&b'*');
                    question.by = Some(call.arg(at));
                    at += 1;
                }
                b"GET" if left >= 1 => {
                    question.get.push(call.arg(at));
                    at += 1;
                }
                _ => return Err(SYNTAX),
            }
        }
        Ok(question)
    }

    /// Whether the key's node can do it all but for storing: sorting by numbers that are the elements.
    fn is_for_the_node(&self) -> bool {
        self.by.is_none() && self.get.is_empty() && !self.alphabetical
    }

    /// The request without `STORE`.
    fn request(&self, key: &[u8]) -> Vec<u8> {
        let order: &[u8] = if self.descending { b"DESC" } else { b"ASC" };
        let (start, count) = (self.limit.0.to_string(), self.limit.1.to_string());
        request(&[b"SORT_RO", key, order, b"LIMIT", start.as_bytes(), count.as_bytes()])
    }

    /// What the servers do when nothing is to be sorted: a set that is stored is sorted all the same, so that
    /// replicas agree, and what has an order can be read backwards.
    fn adapt(&mut self, kind: Kind, elements: &mut [Vec<u8>]) {
        if self.unsorted && kind == Kind::Set && self.destination.is_some() {
            (self.unsorted, self.alphabetical, self.by) = (false, true, None);
        }
        if self.unsorted && kind == Kind::Ordered && self.descending {
            elements.reverse();
        }
    }

    /// The elements of the result, in its order.
    async fn chosen(&self, steps: &Steps, elements: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Stop> {
        if self.unsorted {
            let range = self.range(elements.len());
            return Ok(elements.get(range).unwrap_or_default().to_vec());
        }
        let weights = match self.by {
            Some(pattern) => {
                let names = elements.iter().map(|element| Named::by(pattern, element)).collect();
                Some(values(steps, names).await?)
            }
            None => None,
        };
        let by = if self.alphabetical { By::Bytes } else { By::Number };
        let (range, descending) = (self.range(elements.len()), self.descending);
        let bytes = elements.iter().map(|element| element.len() + SORTING).sum();
        let chosen = steps.compute(bytes, move || {
            let mut places = order(&elements, weights.as_deref(), by)?;
            if descending {
                places.reverse();
            }
            let places = places.get(range).unwrap_or_default();
            Ok(places.iter().filter_map(|&place| elements.get(place).cloned()).collect())
        });
        chosen.await?
    }

    /// The places that `LIMIT` leaves.
    fn range(&self, count: usize) -> Range<usize> {
        let start = usize::try_from(self.limit.0).unwrap_or(0).min(count);
        let wanted = usize::try_from(self.limit.1).unwrap_or(count);
        start..start.saturating_add(wanted).min(count)
    }

    /// The reply: the elements, or what the patterns name for each.
    async fn shown(&self, steps: &Steps, elements: Vec<Vec<u8>>) -> Outcome {
        let mut out = Vec::new();
        if self.get.is_empty() {
            write::command(&mut out, &elements);
            return Ok(out);
        }
        steps.check_number(elements.len().saturating_mul(self.get.len()))?;
        let of_element = |element: &Vec<u8>| -> Vec<Named> {
            self.get.iter().map(|pattern| Named::by(pattern, element)).collect()
        };
        let values = values(steps, elements.iter().flat_map(of_element).collect()).await?;
        write::array(&mut out, values.len());
        for value in values {
            match value {
                Some(value) => write::bulk(&mut out, value),
                // A list has no place for nothing.
                None if self.destination.is_some() => write::bulk(&mut out, ""),
                None => write::null(&mut out, steps.manner.protocol),
            }
        }
        Ok(out)
    }

    async fn finish(&self, steps: &Steps, call: &Call, reply: Vec<u8>) -> Outcome {
        let Some(at) = self.destination else { return Ok(reply) };
        let key = call.arg(at).to_vec();
        let written = steps.compute(reply.len(), move || {
            let elements = Members::read(&reply)?;
            Ok::<_, Stop>((Block::members("RPUSH", &key, &elements), elements.len()))
        });
        steps.commit_counted(call, at, written.await??).await
    }
}

/// What patterns have named, in the same order.
async fn values(steps: &Steps, names: Vec<Named>) -> Result<Vec<Option<Vec<u8>>>, Stop> {
    let mut room = steps.worker.gateway.settings().routing.gathered_bytes;
    let mut values = Vec::with_capacity(names.len());
    for names in names.chunks(AT_ONCE) {
        let asked: Vec<Step> = names.iter().filter_map(|named| ask(steps, named)).collect();
        let mut replies = steps.ask_all(asked).await?.into_iter();
        for named in names {
            let value = match named {
                Named::Itself(element) => Some(element.clone()),
                Named::Nothing => None,
                _ => value(replies.next().ok_or(Stop::Unexpected)?)?,
            };
            let bytes = value.as_ref().map_or(0, Vec::len);
            room = room.checked_sub(bytes).ok_or(Stop::TooLarge)?;
            values.push(value);
        }
    }
    Ok(values)
}

fn ask(steps: &Steps, named: &Named) -> Option<Step> {
    let step = match named {
        Named::Key(key) => steps.step(Slot::of(key), &[&b"GET"[..], key]),
        Named::Field(key, field) => steps.step(Slot::of(key), &[&b"HGET"[..], key, field]),
        Named::Itself(_) | Named::Nothing => return None,
    };
    Some(step.read())
}

/// A value of the wrong type counts as none.
fn value(reply: Vec<u8>) -> Result<Option<Vec<u8>>, Stop> {
    if reply.starts_with(b"-WRONGTYPE") {
        return Ok(None);
    }
    if is_error(&reply) {
        return Err(Stop::Node(reply));
    }
    match Value::parse(&reply)? {
        Value::Bulk(value) => Ok(Some(value.to_vec())),
        Value::Null => Ok(None),
        _ => Err(Stop::Unexpected),
    }
}

fn text(element: &[u8]) -> Result<Vec<u8>, Stop> {
    match Value::parse(element)? {
        Value::Bulk(text) => Ok(text.to_vec()),
        _ => Err(Stop::Unexpected),
    }
}
