//! Traces: a request whose turn it is leaves a trail, from its place in the order to its answer.
//!
//! Most requests cost one count and one comparison. A traced one has an entry among its session's places, and its
//! tickets are marked, so that the pool tells of each part.

use std::cell::{Cell, OnceCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::backend::{Micros, Noticed, Ticket, micros};
use crate::config::{Live, Settings};
use crate::metrics::Outcome;
use crate::observe::traces::{Kind, Span, Traces, Value};
use crate::resp::{Limits, Parsed, RequestParser};

use super::super::client::Client;
use super::super::worker::Gateway;

/// Parts of one request that are told of.
const PARTS: u32 = 128;
/// The longest name of a command that is shown: whatever is longer is none.
const NAME_BYTES: usize = 32;
/// Whoever read the request has bounded it.
const ANY: Limits =
    Limits { arguments: 1 << 32, bulk_bytes: 1 << 40, line_bytes: 1 << 40, request_bytes: 1 << 40 };

/// Which of a worker's requests are traced.
pub(in crate::session) struct Tracing {
    live: Arc<Live>,
    traces: Arc<Traces>,
    /// The settings name a collector.
    is_on: bool,
    /// Requests until the next one that is traced.
    until: Cell<i64>,
}

impl Tracing {
    pub(in crate::session) fn new(gateway: &Gateway) -> Self {
        let (live, traces) = (gateway.live.clone(), gateway.traces.clone());
        let is_on = !live.now().traces.endpoint.is_empty();
        let tracing = Self { live, traces, is_on, until: Cell::new(i64::MAX) };
        tracing.aim();
        tracing
    }

    /// Looks at the settings, and chooses the next request. What was chosen before does not matter: chance has no
    /// memory.
    pub(in crate::session) fn aim(&self) {
        let ratio = self.live.now().traces.ratio;
        let skipped = (1.0 - fastrand::f64()).ln() / (1.0 - ratio).ln();
        let until = if ratio > 0.0 && self.is_on { skipped as i64 + 1 } else { i64::MAX };
        self.until.set(until);
    }

    /// A request of the client gets its place now.
    #[inline]
    pub(in crate::session) fn begin(
        &self,
        client: &OnceCell<Weak<Client>>,
        ticket: Ticket,
        now: Micros,
    ) -> Trail {
        let left = self.until.get() - 1;
        self.until.set(left);
        if left > 0 {
            return Trail(None);
        }
        self.aim();
        let client = client.get().and_then(Weak::upgrade);
        Trail(client.map(|client| Root::new(&self.traces, &client, ticket, (now, now))))
    }

    /// A request of the client, or a part of it, was answered. One that was slow is told of even if it left no trail.
    pub(in crate::session) fn noticed(&self, client: &Client, noticed: &Noticed, trail: &Trail) {
        let settings = self.live.now();
        if trail.0.is_some() {
            trail.noticed(noticed);
        } else if is_slow(&settings, noticed) && self.is_on {
            let began = noticed.at.saturating_sub(noticed.total);
            let times = (began, noticed.at);
            let mut root = Root::new(&self.traces, client, noticed.ticket, times);
            if let Some(root) = Rc::get_mut(&mut root) {
                root.name = command(&noticed.request);
            }
            root.part(noticed);
            root.end(if noticed.failed { Outcome::Error } else { Outcome::Ok }, noticed.at);
        }
    }
}

fn is_slow(settings: &Settings, noticed: &Noticed) -> bool {
    let from = settings.observe.slow_time;
    settings.traces.slow && !from.is_zero() && noticed.total >= micros(from)
}

/// Leads from a request's parts to the request, if it is traced.
#[derive(Clone, Default)]
pub(in crate::session) struct Trail(Option<Rc<Root>>);

impl Trail {
    /// A ticket of the request or of a part of it.
    #[inline]
    pub(in crate::session) fn mark(&self, ticket: Ticket) -> Ticket {
        if self.0.is_some() { ticket.traced() } else { ticket }
    }

    /// A node has answered a part.
    pub(in crate::session) fn noticed(&self, noticed: &Noticed) {
        if let Some(root) = &self.0 {
            root.part(noticed);
        }
    }

    /// A node has answered a part that went down a connection of the session's own, between these times.
    pub(in crate::session) fn leased(
        &self,
        node: &Rc<str>,
        request: &[u8],
        (began, at): (Micros, Micros),
        reply: &[u8],
    ) {
        if let Some(root) = &self.0 {
            let total = at.saturating_sub(began);
            root.part(&Noticed {
                request: Bytes::copy_from_slice(request),
                total,
                node: Some((node.clone(), total)),
                reply: reply.len(),
                ticket: Ticket::new(0, 0),
                failed: reply.first() == Some(&b'-'),
                at,
            });
        }
    }
}

/// The traced requests of a session that are under way, by their places.
#[derive(Default)]
pub(in crate::session) struct Traced(Vec<(u32, Trail)>);

impl Traced {
    #[inline]
    pub(in crate::session) fn add(&mut self, ticket: Ticket, trail: Trail) {
        if trail.0.is_some() {
            self.0.push((ticket.place, trail));
        }
    }

    pub(in crate::session) fn trail(&self, ticket: Ticket) -> Trail {
        let found = self.0.iter().find(|(place, _)| *place == ticket.place);
        found.map(|(_, trail)| trail.clone()).unwrap_or_default()
    }

    /// That of a request which runs alone.
    pub(in crate::session) fn latest(&self) -> Trail {
        self.0.last().map(|(_, trail)| trail.clone()).unwrap_or_default()
    }

    /// The request at this place has its answer.
    #[inline]
    pub(in crate::session) fn settled(&mut self, place: u32, outcome: Outcome, now: Micros) {
        if self.0.is_empty() {
            return;
        }
        for (_, trail) in self.0.extract_if(.., |(of, _)| *of == place) {
            if let Some(root) = trail.0 {
                root.end(outcome, now);
            }
        }
    }
}

/// A traced request.
struct Root {
    traces: Arc<Traces>,
    trace: u128,
    id: u64,
    name: String,
    began: Micros,
    /// What the wall clock showed when the worker's began, in nanoseconds since 1970.
    origin: u64,
    client: String,
    user: String,
    request: String,
    parts: Cell<u32>,
}

impl Root {
    fn new(
        traces: &Arc<Traces>,
        client: &Client,
        ticket: Ticket,
        (began, now): (Micros, Micros),
    ) -> Rc<Self> {
        let who = client.who();
        Rc::new(Self {
            traces: traces.clone(),
            trace: fastrand::u128(1..),
            id: fastrand::u64(1..),
            name: client.command(),
            began,
            origin: wall_clock().saturating_sub(nanos(now)),
            client: who.client,
            user: who.user,
            request: client.request_id(ticket.place),
            parts: Cell::new(0),
        })
    }

    /// A time of the worker's clock, in nanoseconds since 1970.
    fn at(&self, time: Micros) -> u64 {
        self.origin.saturating_add(nanos(time))
    }

    fn part(&self, noticed: &Noticed) {
        let Some((address, took)) = &noticed.node else { return };
        if self.parts.replace(self.parts.get() + 1) >= PARTS {
            return;
        }
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let name = command(&noticed.request);
        self.traces.hand_over(Span {
            trace: self.trace,
            id: fastrand::u64(1..),
            parent: Some(self.id),
            kind: Kind::Node,
            start: self.at(noticed.at.saturating_sub(*took)),
            end: self.at(noticed.at),
            attributes: vec![
                ("db.system.name", Value::Text("redis".to_owned())),
                ("db.operation.name", Value::Text(name.clone())),
                ("server.address", Value::Text(host.to_owned())),
                ("server.port", Value::Number(port.parse().unwrap_or(0))),
                ("slotway.part", Value::Number(noticed.ticket.part.into())),
                ("slotway.request_bytes", Value::Number(noticed.request.len() as i64)),
                ("slotway.reply_bytes", Value::Number(noticed.reply as i64)),
            ],
            name,
            failed: noticed.failed,
        });
    }

    fn end(&self, outcome: Outcome, now: Micros) {
        self.traces.hand_over(Span {
            trace: self.trace,
            id: self.id,
            parent: None,
            name: self.name.clone(),
            kind: Kind::Request,
            start: self.at(self.began),
            end: self.at(now),
            attributes: vec![
                ("db.system.name", Value::Text("redis".to_owned())),
                ("db.operation.name", Value::Text(self.name.clone())),
                ("client.address", Value::Text(self.client.clone())),
                ("slotway.user", Value::Text(self.user.clone())),
                ("slotway.request", Value::Text(self.request.clone())),
                ("slotway.parts", Value::Number(self.parts.get().into())),
            ],
            failed: outcome != Outcome::Ok,
        });
    }
}

/// The command of a request as it was sent. Arguments are nobody's business.
fn command(request: &[u8]) -> String {
    let mut parser = RequestParser::new();
    let Ok(Parsed::Request(_)) = parser.parse(request, &ANY, true) else { return String::new() };
    let parsed = parser.request(request);
    let name = parsed.arg(0).filter(|name| name.len() <= NAME_BYTES).unwrap_or_default();
    String::from_utf8_lossy(name).to_ascii_uppercase()
}

fn nanos(micros: Micros) -> u64 {
    micros.saturating_mul(1000)
}

/// Nanoseconds since 1970.
fn wall_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
