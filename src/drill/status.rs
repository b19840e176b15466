//! The status document, read leniently: what is absent is `None`.

use serde_json::Value;

/// An instance's answer to `status`.
#[derive(Clone, Debug)]
pub struct Status(Value);

impl Status {
    /// What was answered.
    pub fn new(document: Value) -> Self {
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

    /// A destination, by its id.
    pub fn destination(&self, id: &str) -> Option<&Value> {
        let all = self.0.pointer("/worker/destinations")?.as_array()?;
        all.iter().find(|one| one["id"] == id)
    }

    /// A number of a destination, as `queued`; of those divided by reason, their sum.
    pub fn of_destination(&self, id: &str, name: &str) -> Option<u64> {
        sum(self.destination(id)?.get(name)?)
    }

    /// Whether both books balance, each listener, the totals and each destination.
    ///
    /// # Errors
    /// The equations that don't hold, with their figures. Between two lines' commits that may be the document's
    /// own doing: it isn't made at one moment.
    pub fn check_books(&self) -> Result<(), String> {
        let part = |of: &Value, name: &str| of.get(name).and_then(sum).unwrap_or(0);
        let all = |name: &str| {
            let all = self
                .0
                .pointer("/worker")
                .and_then(|w| w.get(name)?.as_array());
            all.into_iter().flatten()
        };
        let mut wrong = Vec::new();
        let worker = self.0.get("worker").ok_or("no worker")?;
        let totals = worker.get("totals").ok_or("no totals")?;
        for input in all("listeners").chain([totals]) {
            let out = ["rejected", "blocked", "consumed", "unrouted", "routed"]
                .map(|name| part(input, name));
            if part(input, "in") != out.iter().sum::<u64>() {
                wrong.push(format!(
                    "in = rejected + blocked + consumed + unrouted + routed: {input}"
                ));
            }
        }
        let mut given = 0;
        for destination in all("destinations") {
            given += part(destination, "given");
            let out = ["acknowledged", "queued", "spooled", "moved", "dropped"];
            let out: u64 = out.map(|name| part(destination, name)).iter().sum();
            if part(destination, "given") + part(destination, "imported") != out {
                wrong.push(format!(
                    "given + imported = acknowledged + queued + spooled + moved + dropped: {destination}"
                ));
            }
        }
        let mut booked = 0;
        for aggregation in all("aggregations") {
            let came = ["points", "restored"].map(|name| part(aggregation, name));
            let went = ["flushed", "lost_points", "open_points"];
            let went: u64 = went.map(|name| part(aggregation, name)).iter().sum();
            if came.iter().sum::<u64>() != went {
                wrong.push(format!(
                    "points + restored = flushed + lost + open: {aggregation}"
                ));
            }
            booked += part(aggregation, "open_points");
        }
        if let Some(windows) = worker.get("windows")
            && part(windows, "points") != booked
        {
            wrong.push(format!(
                "points in windows: {booked} by the books, {windows}"
            ));
        }
        if given != part(totals, "copies") {
            wrong.push(format!("given = copies: {given} and {totals}"));
        }
        match wrong.as_slice() {
            [] => Ok(()),
            wrong => Err(wrong.join("\n")),
        }
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

    #[test]
    fn books_that_do_not_balance_are_seen() {
        let with = |routed: u64, queued: u64, copies: u64| {
            let input = json!({
                "in": 10, "rejected": {"name": 1, "value": 2}, "blocked": 1, "unrouted": 1,
                "routed": routed, "copies": copies,
            });
            Status::new(json!({"worker": {
                "listeners": [input], "totals": input,
                "destinations": [
                    {"given": 4, "acknowledged": 1, "queued": queued, "dropped": {"full": 1}},
                    {"given": 1, "acknowledged": 1},
                ],
            }}))
        };
        assert_eq!(with(5, 2, 5).check_books(), Ok(()));
        assert!(with(4, 2, 5).check_books().is_err());
        assert!(with(5, 1, 5).check_books().is_err());
        assert!(with(5, 2, 4).check_books().is_err());
        assert!(Status::new(json!({})).check_books().is_err());
    }
}
