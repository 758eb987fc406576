//! Traces: spans of requests, on their way to a collector.
//!
//! Which requests are traced is up to the workers. They hand spans over and never wait: when too many are on their
//! way, some are left out and counted. No span has room for a key or a value.

mod export;
mod otlp;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::mpsc;

use crate::metrics::Metrics;

pub use export::export;

/// Spans that may wait to be sent.
const WAITING: usize = 8192;

/// Where spans are handed over. It leads nowhere until somebody opens it.
#[derive(Debug)]
pub struct Traces {
    way: ArcSwapOption<mpsc::Sender<Span>>,
    metrics: Arc<Metrics>,
}

impl Traces {
    /// Nobody takes spans yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { way: ArcSwapOption::empty(), metrics }
    }

    /// From now on spans come out here.
    pub fn open(&self) -> mpsc::Receiver<Span> {
        let (way, spans) = mpsc::channel(WAITING);
        self.way.store(Some(Arc::new(way)));
        spans
    }

    /// Hands a span over, or leaves it out.
    pub fn hand_over(&self, span: Span) {
        if let Some(way) = &*self.way.load()
            && way.try_send(span).is_err()
        {
            self.metrics.spans_left_out(1);
        }
    }
}

/// What a span tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A client's request, from its arrival to its answer.
    Request,
    /// What one node did for it.
    Node,
}

/// Something that took time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace that it belongs to; not 0.
    pub trace: u128,
    /// Its own number; not 0.
    pub id: u64,
    /// The span that it is a part of.
    pub parent: Option<u64>,
    /// The command.
    pub name: String,
    /// What it tells of.
    pub kind: Kind,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// The same.
    pub end: u64,
    /// What else is known.
    pub attributes: Vec<(&'static str, Value)>,
    /// It failed.
    pub failed: bool,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}
