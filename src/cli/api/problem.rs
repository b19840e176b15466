//! Why there is no answer, or a no.

use std::io;

use serde::Deserialize;
use serde_json::Value;

use super::Address;
use crate::admin::desk::BacklogOf;
use crate::amend::Refused;

/// EX_UNAVAILABLE, sysexits.h: no daemon answers.
pub const NO_DAEMON: u8 = 69;
/// EX_TEMPFAIL, sysexits.h: it may be asked again.
pub const LATER: u8 = 75;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Nobody listens there.
    #[error("no baton answers on {address}: {error}{hint}")]
    NoDaemon {
        /// There.
        address: Address,
        /// Why not.
        error: io::Error,
        /// What could be tried.
        hint: &'static str,
    },
    /// It was asked, and the answer didn't come, or is none.
    #[error("{address}: {error}")]
    Broken {
        /// Who was asked.
        address: Address,
        /// What is wrong.
        error: io::Error,
    },
    /// It says no.
    #[error("{}", .0.in_words())]
    Refused(Box<Problem>),
}

impl Failed {
    /// The exit status: 1 is a no, 69 no daemon, 75 that it may be asked again.
    pub fn exit_status(&self) -> u8 {
        match self {
            Failed::NoDaemon { .. } => NO_DAEMON,
            Failed::Broken { .. } => LATER,
            Failed::Refused(problem) if problem.status == 503 => LATER,
            Failed::Refused(_) => 1,
        }
    }
}

/// A problem as RFC 9457 has it. Other pages have but an `error`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// Of HTTP.
    pub status: u16,
    title: String,
    detail: String,
    error: String,
    errors: Vec<KeyError>,
    backlog: Vec<BacklogOf>,
    /// All of it, as it came.
    #[serde(skip)]
    pub document: Value,
}

#[derive(Debug, Deserialize)]
struct KeyError {
    key: String,
    message: String,
}

impl Problem {
    /// What a daemon that says no has to say about it.
    pub fn of(status: u16, body: &[u8]) -> Problem {
        let document: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let read = serde_json::from_value(document.clone());
        Problem {
            status,
            document,
            ..read.unwrap_or_default()
        }
    }

    /// Whether what was asked for is so already.
    pub fn is_so_already(&self) -> bool {
        self.status == 409 && self.detail == Refused::Nothing.to_string()
    }

    /// For people: a line for each thing that is wrong.
    fn in_words(&self) -> String {
        if !self.backlog.is_empty() {
            let mut text = "destinations that would go have lines:\n".to_owned();
            for one in &self.backlog {
                let BacklogOf {
                    destination,
                    queued,
                    spooled,
                } = one;
                text.push_str(&format!(
                    "  {destination}: {queued} queued, {spooled} spooled\n"
                ));
            }
            text.push_str(
                "say what is to become of them: --backlog drain (delivered), discard (dropped) or keep (left in the spool)",
            );
            return text;
        }
        let lines: Vec<String> = self
            .errors
            .iter()
            .map(|one| match &one.key[..] {
                "" => one.message.clone(),
                key => format!("{key}: {}", one.message),
            })
            .collect();
        match (&lines[..], self.status) {
            ([], 401) => format!("{}; say --token-file FILE", self.said()),
            ([], _) => self.said(),
            ([one], _) => one.clone(),
            (several, _) => format!(
                "{} things are wrong:\n  {}",
                several.len(),
                several.join("\n  ")
            ),
        }
    }

    fn said(&self) -> String {
        let texts = [&self.detail, &self.error, &self.title];
        match texts.into_iter().find(|text| !text.is_empty()) {
            Some(text) => text.clone(),
            None => format!("the daemon answers with status {}", self.status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_a_line_for_each_thing_that_is_wrong() {
        let words = |status, text: &str| Problem::of(status, text.as_bytes()).in_words();
        let several = r#"{"detail": "x", "errors": [{"key": "a", "message": "b"}, {"key": "", "message": "c"}]}"#;
        assert_eq!(words(422, several), "2 things are wrong:\n  a: b\n  c");
        assert_eq!(words(404, r#"{"error": "no such page"}"#), "no such page");
        assert_eq!(words(502, "<html>"), "the daemon answers with status 502");
        assert_eq!(
            words(401, r#"{"title": "Unauthorized"}"#),
            "Unauthorized; say --token-file FILE"
        );
        let backlog = r#"{"backlog": [{"destination": "d", "queued": 1, "spooled": 2}]}"#;
        let said = words(409, backlog);
        assert!(
            said.contains("d: 1 queued, 2 spooled") && said.contains("--backlog drain"),
            "{said}"
        );
    }
}
