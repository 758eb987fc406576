//! One multi-key request into one part per slot.

use std::ops::Range;
use std::rc::Rc;

use crate::cluster::Slot;
use crate::command::{CommandError, CommandSpec, Companions};
use crate::merge::{Merge, ResponsePolicy};
use crate::resp::{Request, write};

use super::RouteError;

/// A request over several slots, cut into units: a key with the arguments that belong to it.
#[derive(Debug)]
pub struct Split {
    policy: ResponsePolicy,
    /// Unit numbers sorted by slot; those of one part next to each other.
    order: Rc<[u32]>,
    parts: Vec<SplitPart>,
    frame: Frame,
}

/// The units of one slot.
#[derive(Clone, Debug)]
pub struct SplitPart {
    /// The slot of its keys.
    pub slot: Slot,
    /// Its units: this range of the order.
    units: Range<u32>,
}

/// How the arguments of a splittable command are laid out.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// Arguments before the first unit; they go into every part.
    before: usize,
    /// Arguments of one unit.
    unit: usize,
    /// The argument that counts the units, among those before.
    count_at: Option<usize>,
    /// The first argument behind the last unit; these go into every part too.
    after: usize,
}

impl Frame {
    fn of(spec: &CommandSpec, request: &Request<'_>, keys: &[u32]) -> Result<Self, RouteError> {
        let Companions::Following(following) = spec.keys.companions() else {
            return Err(RouteError::CrossSlot);
        };
        let (Some(&first), Some(&last)) = (keys.first(), keys.last()) else {
            return Err(RouteError::CrossSlot);
        };
        let after = last as usize + following + 1;
        if after > request.len() {
            return Err(CommandError::Arity(spec.wire_name()).into());
        }
        Ok(Self {
            before: first as usize,
            unit: following + 1,
            count_at: spec.keys.count_at(),
            after,
        })
    }

    /// Appends a request for these units.
    fn write(&self, request: &Request<'_>, units: &[u32], out: &mut Vec<u8>) {
        let trailing = request.len() - self.after;
        write::array(out, self.before + units.len() * self.unit + trailing);
        for at in 0..self.before {
            if self.count_at == Some(at) {
                write::bulk(out, itoa::Buffer::new().format(units.len()));
            } else {
                copy(request, at, out);
            }
        }
        for &unit in units {
            let first = self.before + unit as usize * self.unit;
            for at in first..first + self.unit {
                copy(request, at, out);
            }
        }
        for at in self.after..request.len() {
            copy(request, at, out);
        }
    }
}

fn copy(request: &Request<'_>, at: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(request.encoded_arg(at).unwrap_or_default());
}

impl SplitPart {
    /// How many keys it has.
    pub fn keys(&self) -> usize {
        self.units.len()
    }
}

impl Split {
    /// Groups the units by slot; within a part they keep their order, so the last value of a repeated key wins.
    pub(super) fn new(
        spec: &CommandSpec,
        request: &Request<'_>,
        keys: &[u32],
    ) -> Result<Self, RouteError> {
        let frame = Frame::of(spec, request, keys)?;
        let slot_of = |&at: &u32| Slot::of(request.arg(at as usize).unwrap_or_default());
        let mut tagged: Vec<(Slot, u32)> = keys.iter().map(slot_of).zip(0..).collect();
        tagged.sort_unstable();
        let mut parts: Vec<SplitPart> = Vec::new();
        for (at, (slot, _)) in (0u32..).zip(&tagged) {
            match parts.last_mut() {
                Some(part) if part.slot == *slot => part.units.end = at + 1,
                _ => parts.push(SplitPart { slot: *slot, units: at..at + 1 }),
            }
        }
        let order = tagged.into_iter().map(|(_, unit)| unit).collect();
        Ok(Self { policy: spec.merge, order, parts, frame })
    }

    /// The same for a request that is sent in steps.
    ///
    /// # Errors
    /// Its keys do not stand in units that could be told apart.
    pub fn of(spec: &CommandSpec, request: &Request<'_>) -> Result<Self, RouteError> {
        let mut keys = Vec::new();
        if spec.keys.positions(request, &mut keys).is_err() {
            return Err(RouteError::CrossSlot);
        }
        Self::new(spec, request, &keys)
    }

    /// Which arguments are the keys of this part, in their order.
    pub fn keys_of(&self, part: &SplitPart) -> impl Iterator<Item = usize> {
        let units = self.order.get(part.units.start as usize..part.units.end as usize);
        let Frame { before, unit, .. } = self.frame;
        units.unwrap_or_default().iter().map(move |&number| before + number as usize * unit)
    }

    /// The first argument behind the last unit.
    pub fn after(&self) -> usize {
        self.frame.after
    }

    /// The parts, by ascending slot.
    pub fn parts(&self) -> &[SplitPart] {
        &self.parts
    }

    /// Appends the request that carries one part.
    pub fn write_part(&self, request: &Request<'_>, part: &SplitPart, out: &mut Vec<u8>) {
        let units = self.order.get(part.units.start as usize..part.units.end as usize);
        self.frame.write(request, units.unwrap_or_default(), out);
    }

    /// What collects the replies; part numbers are indexes of [`Self::parts`].
    pub fn merge(&self) -> Merge {
        let lengths = self.parts.iter().map(|part| part.units.end - part.units.start);
        Merge::new(self.policy, self.order.clone(), lengths)
    }
}

/// The keys of a request that a node answered with TRYAGAIN, one request per key: single keys never get it.
#[derive(Debug)]
pub struct KeyByKey {
    frame: Frame,
    units: u32,
}

impl KeyByKey {
    /// `None` when the request has one key, or cannot be split.
    pub fn of(spec: &CommandSpec, request: &Request<'_>) -> Option<Self> {
        let mut keys = Vec::new();
        spec.keys.positions(request, &mut keys).ok()?;
        let frame = Frame::of(spec, request, &keys).ok()?;
        (keys.len() > 1).then_some(Self { frame, units: keys.len() as u32 })
    }

    /// How many keys.
    pub fn units(&self) -> u32 {
        self.units
    }

    /// Appends the request that carries one key.
    pub fn write_unit(&self, request: &Request<'_>, unit: u32, out: &mut Vec<u8>) {
        self.frame.write(request, &[unit], out);
    }
}
