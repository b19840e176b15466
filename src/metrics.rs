//! Baton's own metrics: their names, and what they look like to Prometheus and to Graphite.
//!
//! Who knows the numbers makes a list of [`Metric`]s; both renderings are made of that list.

mod graphite;
pub mod names;
mod prometheus;

pub use graphite::{expand_host, graphite};
pub use names::Family;
pub use prometheus::{CONTENT_TYPE, prometheus};

/// One number of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// What it is.
    pub family: &'static Family,
    /// Which one of the family: label names, each with its value. Values may be any text.
    pub labels: Vec<(&'static str, String)>,
    /// How much.
    pub value: Number,
}

/// Counters stay exact over 2^53.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Of things that are counted.
    Whole(u64),
    /// Of things that are measured.
    Real(f64),
}

impl Metric {
    /// Without labels.
    pub fn new(family: &'static Family, value: impl Into<Number>) -> Metric {
        let (labels, value) = (Vec::new(), value.into());
        Metric {
            family,
            labels,
            value,
        }
    }

    /// With one label more.
    pub fn with(mut self, label: &'static str, value: &str) -> Metric {
        self.labels.push((label, value.to_owned()));
        self
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Number {
        Number::Whole(value)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Number {
        Number::Real(value)
    }
}

impl From<bool> for Number {
    fn from(value: bool) -> Number {
        Number::Whole(value.into())
    }
}
