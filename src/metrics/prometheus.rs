//! OpenMetrics text, which Prometheus reads.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::names::Kind;
use super::{Metric, Number};

/// What the text is, for the `content-type` header.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Renders a list in any order. Of metrics with the same name and labels the first one counts: a
/// repeated series would make a scrape fail as a whole.
pub fn prometheus(mut metrics: Vec<Metric>) -> String {
    metrics.sort_by(|a, b| key(a).cmp(&key(b)));
    metrics.dedup_by(|later, first| key(later) == key(first));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Sorted(metrics)));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("writing to memory does not fail");
    text
}

fn key(metric: &Metric) -> (&'static str, &[(&'static str, String)]) {
    (metric.family.name, &metric.labels)
}

/// A family's metrics are neighbours: the format wants them under one head.
#[derive(Debug)]
struct Sorted(Vec<Metric>);

impl Collector for Sorted {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for metrics in self.0.chunk_by(|a, b| a.family.name == b.family.name) {
            let family = metrics[0].family;
            // The format's own word for a family is without the suffix, which is added to each line.
            let (name, kind) = match family.kind {
                Kind::Counter => (family.name.trim_end_matches("_total"), MetricType::Counter),
                Kind::Gauge => (family.name, MetricType::Gauge),
            };
            let mut head = encoder.encode_descriptor(name, family.help, None, kind)?;
            for metric in metrics {
                if metric.labels.is_empty() {
                    write(&mut head, metric)?;
                } else {
                    write(&mut head.encode_family(&metric.labels)?, metric)?;
                }
            }
        }
        Ok(())
    }
}

fn write(encoder: &mut MetricEncoder<'_>, metric: &Metric) -> fmt::Result {
    match (metric.family.kind, metric.value) {
        (Kind::Counter, Number::Whole(n)) => encoder.encode_counter::<NoLabelSet, _, f64>(&n, None),
        (Kind::Counter, Number::Real(x)) => encoder.encode_counter::<NoLabelSet, _, f64>(&x, None),
        (Kind::Gauge, Number::Whole(n)) => encoder.encode_gauge(&n),
        (Kind::Gauge, Number::Real(x)) => encoder.encode_gauge(&x),
    }
}
