//! A rule in an editor: what would change is shown, and asked about.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, anyhow, bail};
use serde_json::{Map, Value};

use super::{Wanted, collection, find, table};
use crate::cli::api::{self, Failed, escaped};
use crate::cli::change::{self, Terms};
use crate::cli::columns::say;
use crate::cli::diff;
use crate::config::RuleKind;

pub(super) fn edit(
    args: &api::Args,
    kind: RuleKind,
    key: &str,
    yes: bool,
    terms: &Terms,
) -> anyhow::Result<ExitCode> {
    if !yes && !terms.dry_run && !io::stdin().is_terminal() {
        bail!("an editor needs a terminal: say --set KEY=VALUE or --unset KEY, or --yes");
    }
    let api = args.find()?;
    let table = table(&api)?;
    let rule = find(&table, kind, key)?;
    // What is in the editor is of this version: nobody else's change is overwritten.
    let terms = Terms {
        if_version: terms.if_version.clone().or(Some(table.version.clone())),
        ..terms.clone()
    };
    let sheet = Sheet::new(&rule.toml)?;
    let mut text = rule.toml.clone();
    loop {
        text = sheet.edited(&text)?;
        if text.trim().is_empty() || text == rule.toml {
            bail!("nothing was changed");
        }
        let path = format!("{}/{}", collection(kind), escaped(&rule.key));
        let wanted = keys(kind, &text).map(|keys| super::wanted("PUT", path, Some(keys.into())));
        let problem = match wanted {
            Ok(wanted) => match change::preview(&api, &wanted, &terms) {
                Ok(outcome) => {
                    // With --json the answer alone is on standard output.
                    if !terms.json && !yes {
                        say(&change::would(&outcome, diff::has_colour()))?;
                    }
                    return settle(args, &wanted, yes, &terms);
                }
                Err(error) if !is_about_the_rule(&error) => return Err(error),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if !io::stdin().is_terminal() || !asked(&format!("{problem:#}\nEdit it again?"), true)? {
            return Err(problem);
        }
        text = with_remarks(&text, &format!("{problem:#}"));
    }
}

fn settle(args: &api::Args, wanted: &Wanted, yes: bool, terms: &Terms) -> anyhow::Result<ExitCode> {
    if terms.dry_run {
        return match terms.json || yes {
            true => change::make(args, wanted, terms),
            false => Ok(ExitCode::SUCCESS),
        };
    }
    if !yes && !asked("Make this change?", false)? {
        bail!("nothing was changed");
    }
    change::make(args, wanted, terms)
}

/// Whether another text may do.
fn is_about_the_rule(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<Failed>() {
        Some(Failed::Refused(problem)) => matches!(problem.status, 400 | 409 | 422),
        _ => false,
    }
}

/// Asks on the terminal; an empty answer is `usual`.
fn asked(question: &str, usual: bool) -> anyhow::Result<bool> {
    let choice = if usual { "[Y/n]" } else { "[y/N]" };
    eprint!("{question} {choice} ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(match answer.trim().to_ascii_lowercase().as_str() {
        // The end of input is no answer.
        "" => usual && answer.ends_with('\n'),
        "y" | "yes" => true,
        _ => false,
    })
}

const REMARK: &str = "#! ";

/// What is wrong, as comments before the text.
fn with_remarks(text: &str, wrong: &str) -> String {
    let remarks: String = wrong
        .lines()
        .map(|line| format!("{REMARK}{line}\n"))
        .collect();
    remarks + text
}

/// The keys of the one rule that a text has.
fn keys(kind: RuleKind, text: &str) -> anyhow::Result<Map<String, Value>> {
    let table: Map<String, Value> = toml::from_str(text).map_err(|error| anyhow!("{error}"))?;
    let expected = || match kind {
        RuleKind::Blocklist => {
            anyhow!("expected blocklist = [\"RULE\"] with one rule, and nothing else")
        }
        kind => anyhow!("expected one table [[{kind}]], and nothing else"),
    };
    let mut all = table.into_iter();
    match (all.next(), all.next()) {
        (Some((name, Value::Array(rules))), None) if name == kind.as_str() => {
            let [rule] = <[Value; 1]>::try_from(rules).map_err(|_| expected())?;
            match rule {
                Value::Object(keys) => Ok(keys),
                rule => Ok(Map::from_iter([("rule".to_owned(), rule)])),
            }
        }
        _ => Err(expected()),
    }
}

/// A file for an editor, in a folder of its own that goes with it.
struct Sheet {
    folder: PathBuf,
}

impl Drop for Sheet {
    fn drop(&mut self) {
        let _gone_already = fs::remove_dir_all(&self.folder);
    }
}

impl Sheet {
    fn new(text: &str) -> anyhow::Result<Sheet> {
        let pattern = std::env::temp_dir().join("baton-edit-XXXXXX");
        let folder = nix::unistd::mkdtemp(&pattern)
            .with_context(|| format!("a folder in {}", std::env::temp_dir().display()))?;
        let sheet = Sheet { folder };
        sheet.write(text)?;
        Ok(sheet)
    }

    fn path(&self) -> PathBuf {
        self.folder.join("rule.toml")
    }

    fn write(&self, text: &str) -> anyhow::Result<()> {
        let path = self.path();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.with_context(|| path.display().to_string())
    }

    /// What the editor makes of a text, without our remarks.
    fn edited(&self, text: &str) -> anyhow::Result<String> {
        self.write(text)?;
        let named = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let editor = named("VISUAL").or_else(|| named("EDITOR"));
        run(&editor.unwrap_or_else(|| "vi".to_owned()), &self.path())?;
        let text = fs::read_to_string(self.path()).context("what the editor wrote")?;
        let own = text.split_inclusive('\n');
        Ok(own.filter(|line| !line.starts_with(REMARK)).collect())
    }
}

/// An editor may have arguments, as the shell reads them.
fn run(editor: &str, path: &Path) -> anyhow::Result<()> {
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg(editor)
        .arg(path)
        .status()
        .with_context(|| format!("the editor {editor}"))?;
    match status.success() {
        true => Ok(()),
        false => bail!("the editor {editor} failed ({status}): nothing was changed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_text_has_one_rule() {
        let of = |kind, text: &str| keys(kind, text).map(Value::from);
        let route = "[[route]]\nkey = \"a\"\n[[route.destination]]\naddress = \"h:1\"\n";
        let expected = json!({"key": "a", "destination": [{"address": "h:1"}]});
        assert_eq!(of(RuleKind::Route, route).unwrap(), expected);
        let block = of(RuleKind::Blocklist, "blocklist = [\"sub a\"]").unwrap();
        assert_eq!(block, json!({"rule": "sub a"}));
        for text in [
            "",
            "x",
            "a = 1",
            "blocklist = []",
            "[[route]]\n[[route]]\n",
            "first_only = true\n[[route]]\n",
        ] {
            assert!(of(RuleKind::Route, text).is_err(), "{text}");
        }
    }
}
