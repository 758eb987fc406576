//! What a seed decides: the cluster, what its clients ask for, and what happens to it meanwhile.

use std::fmt;

use fastrand::Rng;

/// Milliseconds of simulated time.
pub(super) type Millis = u64;

/// Hash tags, each in a slot of its own; clients ask for few keys, so that they meet.
pub(super) const TAGS: usize = 4;
/// Keys of each tag.
const KEYS: u8 = 2;

/// One run. Equal schedules give equal runs.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    pub(super) shards: usize,
    /// Replicas of each shard.
    pub(super) replicas: usize,
    /// Clients' reads may go to replicas.
    pub(super) spreads_reads: bool,
    /// What each client sends.
    pub(super) clients: Vec<Vec<Batch>>,
    /// What happens to the cluster, and when it begins.
    pub(super) events: Vec<(Millis, Event)>,
}

/// Requests that leave in one piece, after a pause.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) pause: Millis,
    pub(super) requests: Vec<Request>,
}

/// A key: its tag, and which of the tag's it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Key {
    pub(super) tag: usize,
    pub(super) name: u8,
}

/// What a client asks for. Every write leaves its number behind, every read returns all numbers left so far.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Append(Key),
    Set(Key),
    Get(Key),
    GetMany(Vec<Key>),
    SetMany(Vec<Key>),
    /// Two keys of one slot, and so never split.
    SetNew(Key, Key),
    /// A transaction; the keys are of one slot, and true ones are written.
    Block(Vec<(Key, bool)>),
}

/// What happens to the cluster. The numbers of shards and nodes wrap.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A slot moves to another shard, one key at a time.
    Migrate { tag: usize, to: usize, each: Millis },
    /// A replica takes over from a primary that lives on as its replica; at first it only refuses writes.
    Failover { shard: usize, readonly: Millis },
    /// A primary is killed. A replica takes over, if the shard has one; the node comes back later, and loads its data.
    Crash { shard: usize, takeover: Millis, back: Millis, loading: Millis },
    /// A primary stands still, and may be replaced meanwhile.
    Freeze { shard: usize, time: Millis, takeover: Option<Millis> },
    /// All connections to a primary break. What it has received it may still run.
    Reset { shard: usize, runs_on: bool },
    /// A primary refuses everything for a while.
    Refuse { shard: usize, time: Millis, loading: bool },
    /// A replica stands still for a while, or is away.
    Absent { shard: usize, time: Millis, frozen: bool },
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{t{}}}{}", self.tag, self.name)
    }
}

impl Key {
    /// Reads what `Display` writes.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (tag, name) = std::str::from_utf8(bytes).ok()?.strip_prefix("{t")?.split_once('}')?;
        Some(Self { tag: tag.parse().ok()?, name: name.parse().ok()? })
    }

    fn any(rng: &mut Rng) -> Self {
        Self { tag: rng.usize(..TAGS), name: rng.u8(..KEYS) }
    }
}

impl Schedule {
    pub(super) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let shards = rng.usize(2..=4);
        let clients = (0..rng.usize(1..=3)).map(|_| conversation(&mut rng)).collect();
        let span = rng.u64(50..800);
        let events = (0..rng.usize(0..=4))
            .map(|_| (rng.u64(..span), Event::any(&mut rng, shards)))
            .collect();
        let replicas = rng.usize(0..=2).min(1);
        let mut schedule = Self { seed, shards, replicas, spreads_reads: false, clients, events };
        match rng.u8(..6) {
            0 | 1 if replicas > 0 => schedule.spread_reads(&mut rng, span),
            2 => schedule.split_requests(&mut rng),
            _ => {}
        }
        schedule
    }

    /// Reads go to replicas, and to replicas things happen, too.
    fn spread_reads(&mut self, rng: &mut Rng, span: Millis) {
        self.spreads_reads = true;
        for _ in 0..rng.usize(0..=2) {
            let (shard, time) = (rng.usize(..self.shards), rng.u64(5..2000));
            let event = Event::Absent { shard, time, frozen: rng.bool() };
            self.events.push((rng.u64(..span), event));
        }
    }

    /// Most requests have keys of several slots, so that their parts are redirected and held one by one.
    fn split_requests(&mut self, rng: &mut Rng) {
        let requests = self.clients.iter_mut().flatten().flat_map(|batch| &mut batch.requests);
        for request in requests {
            match rng.u8(..8) {
                0..3 => *request = Request::SetMany(distinct(rng)),
                3 | 4 => *request = Request::GetMany(distinct(rng)),
                _ => {}
            }
        }
    }

    /// Schedules that are a little shorter, the much shorter ones first.
    pub(super) fn shorter(&self) -> Vec<Self> {
        let mut shorter = Vec::new();
        for at in 0..self.clients.len() {
            let mut next = self.clone();
            next.clients.remove(at);
            shorter.push(next);
        }
        for at in 0..self.events.len() {
            let mut next = self.clone();
            next.events.remove(at);
            shorter.push(next);
        }
        for (client, batches) in self.clients.iter().enumerate() {
            for (at, batch) in batches.iter().enumerate() {
                let mut next = self.clone();
                next.clients[client].remove(at);
                shorter.push(next);
                for request in 0..batch.requests.len() {
                    let mut next = self.clone();
                    next.clients[client][at].requests.remove(request);
                    shorter.push(next);
                }
            }
        }
        shorter
    }
}

fn conversation(rng: &mut Rng) -> Vec<Batch> {
    let batches = rng.usize(2..=10);
    let longest = rng.u64(1..=120);
    (0..batches)
        .map(|_| {
            let requests = (0..rng.usize(1..=6)).map(|_| Request::any(rng)).collect();
            Batch { pause: rng.u64(..=longest), requests }
        })
        .collect()
}

impl Request {
    /// Keys, and whether they are written. Those of a block may be there twice.
    pub(super) fn keys(&self) -> Vec<(Key, bool)> {
        let all = |keys: &[Key], written: bool| keys.iter().map(|key| (*key, written)).collect();
        match self {
            Self::Append(key) | Self::Set(key) => vec![(*key, true)],
            Self::Get(key) => vec![(*key, false)],
            Self::GetMany(keys) => all(keys, false),
            Self::SetMany(keys) => all(keys, true),
            Self::SetNew(one, two) => vec![(*one, true), (*two, true)],
            Self::Block(keys) => keys.clone(),
        }
    }

    pub(super) fn writes(&self) -> bool {
        self.keys().iter().any(|(_, written)| *written)
    }

    /// Whether a node can tell by its bytes which request it is.
    pub(super) fn is_numbered(&self) -> bool {
        !matches!(self, Self::GetMany(_))
    }

    /// Whether it may be refused for good while its slot moves.
    pub(super) fn may_be_refused(&self) -> bool {
        matches!(self, Self::SetNew(..) | Self::Block(_) | Self::SetMany(_) | Self::GetMany(_))
    }

    fn any(rng: &mut Rng) -> Self {
        let key = Key::any(rng);
        match rng.u8(..100) {
            0..38 => Self::Append(key),
            38..72 => Self::Get(key),
            72..78 => Self::Set(key),
            78..86 => Self::GetMany((0..rng.usize(2..=4)).map(|_| Key::any(rng)).collect()),
            86..92 => Self::SetMany(distinct(rng)),
            92..96 => Self::SetNew(Key { name: 0, ..key }, Key { name: 1, ..key }),
            _ => {
                let first = rng.u8(..KEYS);
                let names = [first, (first + 1) % KEYS];
                let keys = names.map(|name| (Key { name, ..key }, name == first || rng.bool()));
                Self::Block(keys.into_iter().take(rng.usize(1..=2)).collect())
            }
        }
    }
}

fn distinct(rng: &mut Rng) -> Vec<Key> {
    let mut keys: Vec<Key> = (0..rng.usize(2..=4)).map(|_| Key::any(rng)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

impl Event {
    fn any(rng: &mut Rng, shards: usize) -> Self {
        let shard = rng.usize(..shards);
        match rng.u8(..10) {
            0..4 => Self::Migrate {
                tag: rng.usize(..TAGS),
                to: rng.usize(..shards),
                each: rng.u64(1..60),
            },
            4 => Self::Failover { shard, readonly: rng.u64(..30) },
            5 => Self::Crash {
                shard,
                takeover: rng.u64(5..400),
                back: rng.u64(5..600),
                loading: rng.u64(..100),
            },
            6 => {
                let time = rng.u64(10..3000);
                Self::Freeze { shard, time, takeover: rng.bool().then(|| rng.u64(..time)) }
            }
            7 | 8 => Self::Reset { shard, runs_on: rng.bool() },
            _ => Self::Refuse { shard, time: rng.u64(5..300), loading: rng.bool() },
        }
    }
}
