//! The status document, read leniently: what is absent is `None`.

use serde_json::Value;

/// An instance's answer to `status`.
#[derive(Clone, Debug)]
pub struct Status(Value);

impl Status {
    pub(super) fn new(document: Value) -> Self {
        Self(document)
    }

    /// The whole document.
    pub fn document(&self) -> &Value {
        &self.0
    }

    /// Whether a worker relays.
    pub fn is_serving(&self) -> bool {
        self.text("/supervisor/state") == Some("serving") && self.worker_pid().is_some()
    }

    /// The process that relays.
    pub fn worker_pid(&self) -> Option<i32> {
        self.number("/worker/pid")?.try_into().ok()
    }

    /// The generation that relays.
    pub fn generation(&self) -> Option<u64> {
        self.number("/worker/generation")
    }

    /// One of the worker's totals, as `in` or `routed`; of those divided by reason, their sum.
    pub fn total(&self, name: &str) -> Option<u64> {
        sum(self.0.get("worker")?.get("totals")?.get(name)?)
    }

    /// Datagrams that the kernel dropped in front of the listeners.
    pub fn kernel_dropped(&self) -> Option<u64> {
        let listeners = self.0.pointer("/worker/listeners")?.as_array()?;
        let counts = listeners
            .iter()
            .filter_map(|l| l.get("kernel_dropped")?.as_u64());
        Some(counts.sum())
    }

    /// The number or the sum of the numbers that a JSON pointer leads to.
    pub fn number(&self, pointer: &str) -> Option<u64> {
        sum(self.0.pointer(pointer)?)
    }

    /// The text that a JSON pointer leads to.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.0.pointer(pointer)?.as_str()
    }
}

fn sum(value: &Value) -> Option<u64> {
    match value {
        Value::Object(parts) => parts.values().map(sum).sum(),
        other => other.as_u64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_what_is_there_and_misses_what_is_not() {
        let status = Status::new(json!({
            "supervisor": {"pid": 1, "state": "serving"},
            "worker": {
                "generation": 3, "pid": 77,
                "listeners": [{"kernel_dropped": 2}, {"address": "x"}, {"kernel_dropped": 5}],
                "totals": {"in": 10, "rejected": {"name": 1, "value": 2}},
            },
        }));
        assert!(status.is_serving());
        assert_eq!(status.worker_pid(), Some(77));
        assert_eq!(status.kernel_dropped(), Some(7));
        assert_eq!(status.total("rejected"), Some(3));
        assert_eq!(status.total("absent"), None);
        assert!(!Status::new(json!({})).is_serving());
    }
}
