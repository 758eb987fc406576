//! Intersections and differences of sorted sets when some are large: one is read, the smallest or the first, and
//! the others are only asked about its members, so they may be of any size.

use std::pin::pin;

use futures_util::{StreamExt, stream};

use crate::merge::set::Members;
use crate::resp::{Value, elements, write};

use super::call::Call;
use super::gather::unbroken;
use super::sorted_sets::Question;
use super::{Steps, Stop, integer, is_error};

/// Members that one request asks about, by number and by bytes, and requests under way at once.
const CHUNK: usize = 1000;
const CHUNK_BYTES: usize = 64 << 10;
const AT_ONCE: usize = 8;

/// With fewer elements than this part of what may be held, reading them all is quicker than asking in turn.
const SMALL_PART: usize = 100;

/// A key that takes part.
struct Source {
    at: usize,
    size: usize,
    /// A set; each member counts with the score 1.
    plain: bool,
    weight: f64,
}

impl Source {
    /// What an answer says of one member: its weighted score, or that it is not there.
    fn score(&self, answer: &[u8]) -> Result<Option<f64>, Stop> {
        let score = match (self.plain, Value::parse(answer)?) {
            (true, Value::Integer(1)) => 1.0,
            (true, Value::Integer(0)) | (false, Value::Null) => return Ok(None),
            (false, text) => {
                text.as_str().and_then(|text| text.parse().ok()).ok_or(Stop::Unexpected)?
            }
            _ => return Err(Stop::Unexpected),
        };
        let weighted: f64 = score * self.weight;
        // Nothing times infinity.
        Ok(Some(if weighted.is_nan() { 0.0 } else { weighted }))
    }
}

/// The parts of the result, as if each key had a slot of its own: of an intersection, members with their
/// weighted scores; of a difference, the first key's with scores, and then members that are taken away. Beside
/// the one that is read, parts have only what that one has. `None`: all of them are better read.
pub(super) async fn parts(
    steps: &Steps,
    call: &Call,
    question: &Question,
    scores: bool,
) -> Result<Option<Vec<Vec<u8>>>, Stop> {
    let Some(mut others) = sources(steps, call, question).await? else { return Ok(None) };
    let smallest = others.iter().enumerate().min_by_key(|(_, source)| source.size);
    let place = if question.intersects() { smallest.map_or(0, |(place, _)| place) } else { 0 };
    let base = others.swap_remove(place);
    others.sort_by_key(|source| source.size);
    let request = question.request(call, &[base.at], scores);
    let first = steps.one(steps.raw(call.slot(base.at), request).read()).await?;
    steps.check_count(std::slice::from_ref(&first), if scores { 2 } else { 1 })?;
    let mut members = members(&first, scores)?;
    let mut parts = vec![first];
    for other in others {
        let with_scores = scores && question.intersects();
        let (part, found) = ask(steps, call, &other, (&members, with_scores)).await?;
        parts.push(part);
        if question.intersects() {
            members = found;
        }
    }
    Ok(Some(parts))
}

/// All keys; `None` when they are small together, or when the nodes know better what their scores count.
async fn sources(
    steps: &Steps,
    call: &Call,
    question: &Question,
) -> Result<Option<Vec<Source>>, Stop> {
    let keys = question.keys();
    let sizes = steps.ask_each(call, "ZCARD", keys).await?;
    let is_plain = |size: &[u8]| size.starts_with(b"-WRONGTYPE");
    let plain = keys.iter().zip(&sizes).filter(|(_, size)| is_plain(size));
    let plain: Vec<usize> = plain.map(|(&at, _)| at).collect();
    let mut plain_sizes = unbroken(steps.ask_each(call, "SCARD", &plain).await?)?.into_iter();
    let mut sources = Vec::with_capacity(keys.len());
    for (&at, size) in keys.iter().zip(sizes) {
        let plain = is_plain(&size);
        let size = if plain { plain_sizes.next().ok_or(Stop::Unexpected)? } else { size };
        if is_error(&size) {
            return Err(Stop::Node(size));
        }
        let size = usize::try_from(integer(&size)?).map_err(|_| Stop::Unexpected)?;
        let Some(weight) = question.weight(call, at) else { return Ok(None) };
        sources.push(Source { at, size, plain, weight });
    }
    let most = steps.worker.gateway.settings().routing.gathered_elements / SMALL_PART;
    let all: usize = sources.iter().map(|source| source.size).sum();
    Ok((all > most).then_some(sources))
}

fn members(part: &[u8], scores: bool) -> Result<Members, Stop> {
    let every = if scores { 2 } else { 1 };
    let mut members = Members::default();
    for member in elements(part).ok_or(Stop::Unexpected)?.step_by(every) {
        members.push(member);
    }
    Ok(members)
}

/// Which of the members a source has: as a part, and by themselves.
async fn ask(
    steps: &Steps,
    call: &Call,
    source: &Source,
    (members, scores): (&Members, bool),
) -> Result<(Vec<u8>, Members), Stop> {
    let asked = stream::iter(members.chunks(CHUNK, CHUNK_BYTES)).map(|chunk| async {
        let command = if source.plain { "SMISMEMBER" } else { "ZMSCORE" };
        let mut request = Vec::with_capacity(chunk.encoded().len() + 64);
        write::array(&mut request, 2 + chunk.len());
        write::bulk(&mut request, command);
        write::bulk(&mut request, call.arg(source.at));
        request.extend_from_slice(chunk.encoded());
        let reply = steps.one(steps.raw(call.slot(source.at), request).read()).await?;
        Ok::<_, Stop>((chunk, reply))
    });
    let mut answered = pin!(asked.buffered(AT_ONCE));
    let (mut listed, mut found) = (Vec::new(), Members::default());
    while let Some(answer) = answered.next().await {
        let (chunk, reply) = answer?;
        for (member, answer) in chunk.iter().zip(elements(&reply).ok_or(Stop::Unexpected)?) {
            let Some(score) = source.score(answer)? else { continue };
            found.push(member);
            listed.extend_from_slice(member);
            if scores {
                write::bulk(&mut listed, write::shortest(score));
            }
        }
        steps.share.give_back(reply.len());
    }
    let mut part = Vec::with_capacity(listed.len() + 16);
    write::array(&mut part, found.len() * if scores { 2 } else { 1 });
    part.append(&mut listed);
    Ok((part, found))
}
