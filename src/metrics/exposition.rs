//! The scrape: sums the workers' series and hands them to the registry.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::node::{NodeMetrics, NodeSeries};
use super::series::{Row, with_label};
use super::worker::{WorkerMetrics, WorkerSeries};

const NODE_LABEL: &str = "node";

/// Collects the series of all workers, and of the door as if it were one.
pub(super) struct WorkerCollector {
    workers: Arc<[Arc<WorkerMetrics>]>,
    descriptors: Vec<Desc>,
}

impl WorkerCollector {
    pub(super) fn new(workers: Arc<[Arc<WorkerMetrics>]>) -> Result<Self, prometheus::Error> {
        let mut descriptors = Vec::with_capacity(WorkerSeries::ROWS.len() + NodeSeries::ROWS.len());
        for row in WorkerSeries::ROWS {
            descriptors.push(descriptor(row.name, row.help, (row.labels)())?);
        }
        for row in NodeSeries::ROWS {
            let mut labels = (row.labels)();
            labels.insert(0, NODE_LABEL);
            descriptors.push(descriptor(row.name, row.help, labels)?);
        }
        Ok(Self { workers, descriptors })
    }

    /// Each node with what the workers counted for it.
    fn nodes(&self) -> BTreeMap<Box<str>, Vec<Arc<NodeMetrics>>> {
        let mut nodes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (address, node) in self.workers.iter().flat_map(|worker| worker.nodes().snapshot()) {
            nodes.entry(address).or_default().push(node);
        }
        nodes
    }
}

impl Collector for WorkerCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptors.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let workers: Vec<_> = self.workers.iter().map(|worker| worker.series()).collect();
        let of_workers = WorkerSeries::ROWS.iter().map(|row| {
            let Row { name, help, kind, samples, .. } = row;
            family(name, help, *kind, samples(&workers))
        });
        let nodes = self.nodes();
        let of_nodes = NodeSeries::ROWS.iter().map(|row| {
            let samples = nodes.iter().flat_map(|(address, counted)| {
                let counted: Vec<_> = counted.iter().map(|node| node.series()).collect();
                let samples = (row.samples)(&counted).into_iter();
                samples.map(|sample| with_label(sample, NODE_LABEL, address))
            });
            family(row.name, row.help, row.kind, samples.collect())
        });
        of_workers.chain(of_nodes).collect()
    }
}

pub(super) fn descriptor(
    name: &str,
    help: &str,
    labels: Vec<&'static str>,
) -> Result<Desc, prometheus::Error> {
    let labels = labels.into_iter().map(str::to_owned).collect();
    Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())
}

pub(super) fn family(
    name: &str,
    help: &str,
    kind: MetricType,
    samples: Vec<Metric>,
) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(samples);
    family
}
