//! Searches for places whose result goes to another slot: `GEOSEARCHSTORE`, and `GEORADIUS` and
//! `GEORADIUSBYMEMBER` with `STORE` or `STOREDIST`.
//!
//! The source's node searches. What is stored is either the hash of each place, which it tells, or its distance,
//! which it would round; so that is computed from the coordinates.

use crate::merge::MergeError;
use crate::merge::geo::{Point, metres};
use crate::merge::score::number;
use crate::merge::scored::Scored;
use crate::resp::{Value, elements};

use super::call::Call;
use super::gather::SYNTAX;
use super::store::Block;
use super::{Outcome, Steps, Stop, is_error, request};

/// Where the search begins.
#[derive(Clone, Copy)]
enum Centre {
    Nowhere,
    /// The member that stands there.
    Member(usize),
    /// The longitude that stands there, and the latitude behind it.
    Point(usize),
}

/// What a request says.
struct Search<'a> {
    /// The request that only searches.
    words: Vec<&'a [u8]>,
    source: usize,
    destination: usize,
    distances: bool,
    centre: Centre,
    /// Where the distance's unit stands.
    unit: usize,
    /// It asks for something to be shown, which cannot be when it is stored.
    shows: bool,
}

/// `GEOSEARCHSTORE destination source ...`
pub(super) async fn search(steps: &Steps, call: &Call) -> Outcome {
    let mut search = Search::new(call, vec![b"GEOSEARCH", call.arg(2)], 2);
    search.destination = 1;
    search.read_options(call, 3, true);
    search.perform(steps, call).await
}

/// `GEORADIUS source longitude latitude radius unit ... STORE destination`
pub(super) async fn radius(steps: &Steps, call: &Call) -> Outcome {
    let mut search = Search::new(call, vec![b"GEORADIUS_RO"], 1);
    search.words.extend((1..6).map(|at| call.arg(at)));
    (search.centre, search.unit) = (Centre::Point(2), 5);
    search.read_options(call, 6, false);
    search.perform(steps, call).await
}

/// `GEORADIUSBYMEMBER source member radius unit ... STORE destination`
pub(super) async fn radius_by_member(steps: &Steps, call: &Call) -> Outcome {
    let mut search = Search::new(call, vec![b"GEORADIUSBYMEMBER_RO"], 1);
    search.words.extend((1..5).map(|at| call.arg(at)));
    (search.centre, search.unit) = (Centre::Member(2), 4);
    search.read_options(call, 5, false);
    search.perform(steps, call).await
}

impl<'a> Search<'a> {
    fn new(call: &Call, words: Vec<&'a [u8]>, source: usize) -> Self {
        Self {
            words,
            source,
            destination: call.destination(),
            distances: false,
            centre: Centre::Nowhere,
            unit: 0,
            shows: false,
        }
    }

    /// Walks the options as the server does, so that a place called `store` is none. Those that say what is
    /// stored are not sent on; all others are judged by the node.
    fn read_options(&mut self, call: &'a Call, from: usize, is_search: bool) {
        let (mut at, options) = (from, self.words.len());
        while at < call.len() {
            let word = call.arg(at).to_ascii_uppercase();
            let mut sent = true;
            let arguments = match word.as_slice() {
                b"WITHDIST" | b"WITHHASH" | b"WITHCOORD" => {
                    self.shows = true;
                    0
                }
                b"STOREDIST" if is_search => {
                    (self.distances, sent) = (true, false);
                    0
                }
                b"STORE" | b"STOREDIST" if !is_search && at + 1 < call.len() => {
                    (self.distances, sent) = (word == b"STOREDIST", false);
                    self.destination = at + 1;
                    1
                }
                b"COUNT" => 1,
                b"FROMMEMBER" => {
                    self.centre = Centre::Member(at + 1);
                    1
                }
                b"FROMLONLAT" => {
                    self.centre = Centre::Point(at + 1);
                    2
                }
                b"BYRADIUS" => {
                    self.unit = at + 2;
                    2
                }
                b"BYBOX" => {
                    self.unit = at + 3;
                    3
                }
                _ => 0,
            };
            let next = (at + 1 + arguments).min(call.len());
            if sent {
                self.words.extend((at..next).map(|at| call.arg(at)));
            }
            at = next;
        }
        // In front of the others, where it cannot be taken for the argument of one.
        self.words.insert(options, if self.distances { b"WITHCOORD" } else { b"WITHHASH" });
    }

    async fn perform(self, steps: &Steps, call: &Call) -> Outcome {
        // A destination that the command's keys do not name was not checked by anybody.
        if !call.keys().iter().any(|key| key.at == self.destination) {
            return Err(SYNTAX);
        }
        let slot = call.slot(self.source);
        let member = match self.centre {
            Centre::Member(at) if self.distances => Some(call.arg(at)),
            _ => None,
        };
        let position = member.map(|member| request(&[b"GEOPOS", call.arg(self.source), member]));
        let requests: Vec<Vec<u8>> = position.into_iter().chain([request(&self.words)]).collect();
        let reply = steps.one(steps.block(slot, &requests).read()).await?;
        let found: Vec<&[u8]> = elements(&reply).ok_or(Stop::Unexpected)?.collect();
        let (Some(places), position) = (found.last(), found.first()) else {
            return Err(Stop::Unexpected);
        };
        self.check(call, places)?;
        steps.check_count(&[places.to_vec()], 1)?;
        let measure = self.measure(call, position.copied().unwrap_or_default())?;
        let (key, places) = (call.arg(self.destination).to_vec(), places.to_vec());
        let written = steps.compute(places.len(), move || {
            let entries =
                entries(&Value::parse(&places).map_err(|_| MergeError::Unexpected)?, measure)?;
            Ok::<_, MergeError>((Block::scored(&key, &entries), entries.len()))
        });
        steps.commit_counted(call, self.destination, written.await??).await
    }

    /// The node's error, or the one about options that show something. The server looks for that one before
    /// it looks whether something is missing.
    fn check(&self, call: &Call, places: &[u8]) -> Result<(), Stop> {
        let missing = |error: &[u8]| {
            error.starts_with(b"-ERR exactly one of") || error.starts_with(b"-ERR the ANY argument")
        };
        if self.shows && (!is_error(places) || missing(places)) {
            let name =
                if self.destination == 1 { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(Stop::Command(format!(
                "ERR {name} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        if !is_error(places) {
            return Ok(());
        }
        // Such an error ends with the command's name, as the client wrote it.
        match places.strip_suffix(b"GEOSEARCH\r\n") {
            Some(text) => Err(Stop::Node([text, call.arg(0), b"\r\n"].concat())),
            None => Err(Stop::Node(places.to_vec())),
        }
    }

    /// How distances are computed, when they are wanted. The node has accepted the numbers.
    fn measure(&self, call: &Call, position: &[u8]) -> Result<Option<Measure>, Stop> {
        if !self.distances {
            return Ok(None);
        }
        let from = match self.centre {
            Centre::Point(at) => {
                let degrees = |at| number(call.arg(at)).ok_or(Stop::Unexpected);
                Some(Point { longitude: degrees(at)?, latitude: degrees(at + 1)? })
            }
            Centre::Member(_) => {
                let list = Value::parse(position)?;
                list.as_array().and_then(|list| list.first()).and_then(point)
            }
            Centre::Nowhere => None,
        };
        // Without a source there is no such member, and nothing was found.
        let from = from.unwrap_or(Point { longitude: 0.0, latitude: 0.0 });
        let unit = metres(call.arg(self.unit)).ok_or(Stop::Unexpected)?;
        Ok(Some(Measure { from, unit }))
    }
}

/// Distances from a point, in a unit of so many metres.
#[derive(Clone, Copy)]
struct Measure {
    from: Point,
    unit: f64,
}

/// Pairs of a place's name and its hash or its coordinates.
fn entries<'a>(
    places: &Value<'a>,
    measure: Option<Measure>,
) -> Result<Vec<Scored<'a>>, MergeError> {
    let places = places.as_array().ok_or(MergeError::Unexpected)?;
    let entry = |place: &Value<'a>| {
        let [name, value] = place.as_array()? else { return None };
        let score = match measure {
            Some(measure) => measure.from.distance(point(value)?) / measure.unit,
            None => value.as_integer()? as f64,
        };
        Some(Scored { member: name.bytes()?, score })
    };
    places.iter().map(|place| entry(place).ok_or(MergeError::Unexpected)).collect()
}

fn point(value: &Value<'_>) -> Option<Point> {
    let [longitude, latitude] = value.as_array()? else { return None };
    let degrees = |value: &Value<'_>| number(value.bytes()?);
    Some(Point { longitude: degrees(longitude)?, latitude: degrees(latitude)? })
}
