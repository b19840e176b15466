use std::fmt;
use std::path::{Path, PathBuf};

/// What problems of syntax begin with.
pub(super) const NOT_TOML: &str = "not TOML: ";

/// Something that a config has and shouldn't, or lacks and should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1; `None` when it lies in no line.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    /// The key, with its tables: `route.destinations.queue`. Empty when it lies in none.
    pub key: String,
    /// What was expected, and what was found; one line.
    pub message: String,
    /// Who should look.
    pub weight: Weight,
}

/// How much a problem matters to who runs the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The config can't be run, or is most likely not meant.
    Problem,
    /// A key does nothing, and nothing is missing.
    Note,
    /// A problem, unless systemd passes sockets.
    UnlessPassed,
}

/// Every problem of a config, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The config.
    pub path: PathBuf,
    /// At least one.
    pub problems: Vec<Problem>,
}

impl Problem {
    /// One that is in no file.
    pub fn without_line(key: &str, message: String) -> Problem {
        Problem {
            line: None,
            column: None,
            key: key.to_owned(),
            message,
            weight: Weight::Problem,
        }
    }

    /// `path:line: key: message`, without what it lacks.
    pub fn in_file(&self, path: &Path) -> String {
        let mut text = path.display().to_string();
        if let Some(line) = self.line {
            text.push_str(&format!(":{line}"));
        }
        if !self.key.is_empty() {
            text.push_str(&format!(": {}", self.key));
        }
        format!("{text}: {}", self.message)
    }
}

impl Problems {
    pub(super) fn of(path: &Path, mut problems: Vec<Problem>) -> Problems {
        problems.sort_by_key(|problem| (problem.line, problem.column));
        let path = path.to_path_buf();
        Problems { path, problems }
    }

    /// Whether the file isn't TOML, or not all of it.
    pub fn are_of_no_toml(&self) -> bool {
        let mut problems = self.problems.iter();
        problems.any(|problem| problem.message.starts_with(NOT_TOML))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{}", problem.in_file(&self.path))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_each_in_order_of_the_file() {
        let problem = |line, key: &str, message: &str| Problem {
            line,
            column: line,
            key: key.to_owned(),
            message: message.to_owned(),
            weight: Weight::Problem,
        };
        let list = vec![
            problem(Some(12), "log.level", "expected info"),
            problem(Some(3), "", "unclosed string"),
            problem(None, "", "too much"),
        ];
        let said = Problems::of(Path::new("/etc/baton.toml"), list).to_string();
        let expected = "/etc/baton.toml: too much\n\
                        /etc/baton.toml:3: unclosed string\n\
                        /etc/baton.toml:12: log.level: expected info";
        assert_eq!(said, expected);
    }
}
