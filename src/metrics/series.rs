//! Counters, gauges and histograms that one thread writes and any thread may read.
//!
//! With a single writer a load and a store suffice: no locked instruction, no shared cache line.
//! A second writer would lose counts, nothing worse.

use std::array;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use prometheus::proto::{self, LabelPair, Metric, MetricType};

use super::label::{Family, Label, Limit, Outcome, Redirect, Rejection};

/// Storage that knows how several writers' values become samples.
pub(super) trait Series: Default {
    const KIND: MetricType;

    /// The names of the labels, in the order of a sample's labels.
    fn labels() -> Vec<&'static str> {
        Vec::new()
    }

    /// The samples of one metric, summed over its writers.
    fn samples(writers: &[&Self]) -> Vec<Metric>;
}

/// One metric of `T`: what it is called, and where in a `T` it stands.
#[derive(Debug)]
pub(super) struct Row<T> {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: MetricType,
    pub(super) labels: fn() -> Vec<&'static str>,
    pub(super) samples: fn(&[&T]) -> Vec<Metric>,
}

/// Declares a struct of series in which each field stands beside its metric's name and help.
macro_rules! series {
    (
        $(#[$about:meta])*
        struct $owner:ident {
            $($field:ident: $series:ty = $name:literal, $help:literal;)*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Default)]
        pub(super) struct $owner {
            $(pub(in crate::metrics) $field: $series,)*
        }

        impl $owner {
            pub(super) const ROWS: &[$crate::metrics::series::Row<Self>] = &[$(
                $crate::metrics::series::Row {
                    name: $name,
                    help: $help,
                    kind: <$series as $crate::metrics::series::Series>::KIND,
                    labels: <$series as $crate::metrics::series::Series>::labels,
                    samples: |writers| {
                        let fields: Vec<_> = writers.iter().map(|w| &w.$field).collect();
                        <$series as $crate::metrics::series::Series>::samples(&fields)
                    },
                },
            )*];
        }
    };
}
pub(super) use series;

/// A number of events, or of bytes.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(super) fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Series for Counter {
    const KIND: MetricType = MetricType::COUNTER;

    fn samples(writers: &[&Self]) -> Vec<Metric> {
        vec![counter_sample(writers.iter().map(|w| w.get()).sum::<u64>() as f64)]
    }
}

/// Time spent, added in microseconds and shown in seconds.
#[derive(Debug, Default)]
pub(super) struct Elapsed(Counter);

impl Elapsed {
    #[inline]
    pub(super) fn add(&self, micros: u32) {
        self.0.add(u64::from(micros));
    }

    pub(super) fn micros(&self) -> u64 {
        self.0.get()
    }
}

impl Series for Elapsed {
    const KIND: MetricType = MetricType::COUNTER;

    fn samples(writers: &[&Self]) -> Vec<Metric> {
        let micros: u64 = writers.iter().map(|w| w.0.get()).sum();
        vec![counter_sample(micros as f64 / 1e6)]
    }
}

/// A number of things that exist now.
#[derive(Debug, Default)]
pub(super) struct Gauge(AtomicI64);

impl Gauge {
    #[inline]
    pub(super) fn add(&self, delta: i64) {
        self.set(self.get().wrapping_add(delta));
    }

    #[inline]
    pub(super) fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    #[inline]
    pub(super) fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

impl Series for Gauge {
    const KIND: MetricType = MetricType::GAUGE;

    fn samples(writers: &[&Self]) -> Vec<Metric> {
        vec![gauge_sample(writers.iter().map(|w| w.get()).sum::<i64>() as f64)]
    }
}

/// A fact that holds (1) when it holds for at least one writer, else 0.
#[derive(Debug, Default)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    #[inline]
    pub(super) fn set(&self, value: bool) {
        self.0.store(value, Relaxed);
    }

    pub(super) fn holds(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl Series for Flag {
    const KIND: MetricType = MetricType::GAUGE;

    fn samples(writers: &[&Self]) -> Vec<Metric> {
        let holds = writers.iter().any(|w| w.holds());
        vec![gauge_sample(f64::from(u8::from(holds)))]
    }
}

/// A histogram whose bounds are the powers of two from `2^FIRST` up, `SLOTS - 1` of them; the
/// last slot takes what is larger. `UNIT` recorded units make one unit shown.
#[derive(Debug)]
pub(super) struct Histogram<const FIRST: u32, const SLOTS: usize, const UNIT: u32> {
    sum: Counter,
    slots: [Counter; SLOTS],
}

/// Recorded in microseconds, shown in seconds: from 16 microseconds to 17 seconds.
pub(super) type Seconds = Histogram<4, 22, 1_000_000>;

/// Small numbers: from 2 to 256.
pub(super) type Few = Histogram<1, 9, 1>;

impl<const FIRST: u32, const SLOTS: usize, const UNIT: u32> Histogram<FIRST, SLOTS, UNIT> {
    #[inline]
    pub(super) fn record(&self, value: u32) {
        self.sum.add(u64::from(value));
        // Bounds include their value, so 2^n must fall below the bit that 2^n + 1 sets.
        let bits = u32::BITS - value.saturating_sub(1).leading_zeros();
        let slot = (bits.saturating_sub(FIRST) as usize).min(SLOTS - 1);
        if let Some(slot) = self.slots.get(slot) {
            slot.add(1);
        }
    }

    pub(super) fn sum(&self) -> u64 {
        self.sum.get()
    }

    /// How many of its slots there are.
    pub(super) const SLOTS: usize = SLOTS;

    /// What was recorded in each slot.
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        self.slots.iter().map(Counter::get)
    }

    /// Between which recorded values each slot lies.
    pub(super) fn bounds() -> impl Iterator<Item = (f64, f64)> {
        let bound = |slot: usize| f64::from(2_u32.pow(FIRST + slot as u32));
        (0..SLOTS).map(move |slot| (if slot == 0 { 0.0 } else { bound(slot - 1) }, bound(slot)))
    }
}

impl<const FIRST: u32, const SLOTS: usize, const UNIT: u32> Default
    for Histogram<FIRST, SLOTS, UNIT>
{
    fn default() -> Self {
        Self { sum: Counter::default(), slots: array::from_fn(|_| Counter::default()) }
    }
}

impl<const FIRST: u32, const SLOTS: usize, const UNIT: u32> Series
    for Histogram<FIRST, SLOTS, UNIT>
{
    const KIND: MetricType = MetricType::HISTOGRAM;

    fn samples(writers: &[&Self]) -> Vec<Metric> {
        let mut cumulative = 0;
        let mut buckets = Vec::with_capacity(SLOTS);
        for slot in 0..SLOTS {
            let in_slot = writers.iter().filter_map(|w| w.slots.get(slot)).map(Counter::get);
            cumulative += in_slot.sum::<u64>();
            let bound = f64::from(2_u32.pow(FIRST + slot as u32)) / f64::from(UNIT);
            let mut bucket = proto::Bucket::default();
            bucket.set_cumulative_count(cumulative);
            bucket.set_upper_bound(bound);
            buckets.push(bucket);
        }
        // The last slot has no bound of its own: the encoder writes +Inf from the count.
        buckets.pop();
        let mut histogram = proto::Histogram::default();
        // The count is taken from the buckets, so the two agree even while a worker writes.
        histogram.set_sample_count(cumulative);
        let sum: u64 = writers.iter().map(|w| w.sum()).sum();
        histogram.set_sample_sum(sum as f64 / f64::from(UNIT));
        histogram.set_bucket(buckets);
        let mut sample = Metric::default();
        sample.set_histogram(histogram);
        vec![sample]
    }
}

/// One series for each value of label `L`.
#[derive(Debug)]
pub(super) struct Labelled<L, S, const N: usize> {
    series: [S; N],
    label: PhantomData<L>,
}

pub(super) type PerFamily<S> = Labelled<Family, S, { Family::COUNT }>;
pub(super) type PerOutcome<S> = Labelled<Outcome, S, { Outcome::COUNT }>;
pub(super) type PerRejection<S> = Labelled<Rejection, S, { Rejection::COUNT }>;
pub(super) type PerLimit<S> = Labelled<Limit, S, { Limit::COUNT }>;
pub(super) type PerRedirect<S> = Labelled<Redirect, S, { Redirect::COUNT }>;

impl<L: Label, S, const N: usize> Labelled<L, S, N> {
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "N is the number of L's values, as asserted")]
    pub(super) fn at(&self, label: L) -> &S {
        const { assert!(N == L::VALUES.len()) };
        &self.series[label.index()]
    }
}

impl<L, S: Default, const N: usize> Default for Labelled<L, S, N> {
    fn default() -> Self {
        Self { series: array::from_fn(|_| S::default()), label: PhantomData }
    }
}

impl<L: Label, S: Series, const N: usize> Series for Labelled<L, S, N> {
    const KIND: MetricType = S::KIND;

    fn labels() -> Vec<&'static str> {
        let mut labels = S::labels();
        labels.insert(0, L::NAME);
        labels
    }

    fn samples(writers: &[&Self]) -> Vec<Metric> {
        let mut all = Vec::new();
        for (index, value) in L::VALUES.iter().enumerate() {
            let series: Vec<_> = writers.iter().filter_map(|w| w.series.get(index)).collect();
            let samples = S::samples(&series);
            all.extend(samples.into_iter().map(|sample| with_label(sample, L::NAME, value)));
        }
        all
    }
}

/// The sample with one more label before those it has.
pub(super) fn with_label(mut sample: Metric, name: &str, value: &str) -> Metric {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    let mut labels = sample.take_label();
    labels.insert(0, pair);
    sample.set_label(labels);
    sample
}

pub(super) fn counter_sample(value: f64) -> Metric {
    let mut counter = proto::Counter::default();
    counter.set_value(value);
    let mut sample = Metric::default();
    sample.set_counter(counter);
    sample
}

pub(super) fn gauge_sample(value: f64) -> Metric {
    let mut gauge = proto::Gauge::default();
    gauge.set_value(value);
    Metric::from_gauge(gauge)
}
