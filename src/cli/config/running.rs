//! `baton config diff`, `export` and `reset`: the rules in force beside those of the file.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::admin::desk::TableView;
use crate::amend::Difference;
use crate::cli::api::{self, Api, Request};
use crate::cli::change::{self, Terms, Wanted};
use crate::cli::columns::{say, say_json, shown};
use crate::cli::{diff, rules};
use crate::config::RuleKind;

/// Which rules are reset.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// blocklist, rewriter, aggregation or route; without it: all
    kind: Option<RuleKind>,
    /// What the rule is known by; without it: all of the kind
    key: Option<String>,
}

pub(super) fn show_diff(api: &Api, json: bool) -> anyhow::Result<ExitCode> {
    let table = rules::table(api)?;
    let differences = match differs(&table) {
        true => differences(api)?,
        false => Vec::new(),
    };
    if json {
        let TableView {
            version, left_out, ..
        } = &table;
        say_json(&json!({"version": version, "differences": differences, "left_out": left_out}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    if !differences.is_empty() {
        text.push_str("--- the config file\n+++ in force\n");
        text.push_str(&diff::show(&differences, diff::has_colour()));
    }
    for one in &table.left_out {
        let (kind, key, reason) = (one.kind, shown(&one.key), shown(&one.reason));
        text.push_str(&format!("# {kind} {key} is left out: {reason}\n"));
    }
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn differs(table: &TableView) -> bool {
    let changed = |rule: &crate::admin::desk::TableRule| rule.origin != crate::amend::Origin::File;
    table.rules.iter().any(changed) || !table.removed.is_empty()
}

/// From the file to what is in force: what a reset would do, the other way round.
fn differences(api: &Api) -> anyhow::Result<Vec<Difference>> {
    let outcome = change::preview(api, &reset_of(None, None), &Terms::default())?;
    let turned = outcome
        .preview
        .differences
        .into_iter()
        .map(|one| Difference {
            before: one.after,
            after: one.before,
            ..one
        });
    Ok(turned.collect())
}

pub(super) fn export(api: &Api, json: bool) -> anyhow::Result<ExitCode> {
    let toml = api.ask(&Request::get("v1/config"))?;
    let toml = String::from_utf8(toml)?;
    match json {
        true => say_json(&toml::from_str::<Value>(&toml)?)?,
        false => say(&toml)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// To a file that has its name only when it is whole: it may be the one that a daemon is started with.
pub(super) fn export_to(api: &Api, path: &Path, force: bool) -> anyhow::Result<ExitCode> {
    let toml = api.ask(&Request::get("v1/config"))?;
    let context = || format!("exporting the config to {}", path.display());
    write_whole(&toml, path, force).with_context(context)?;
    eprintln!(
        "{} has the rules in force; as the daemon's config it is loaded by baton reload, and only then baton config \
         reset forgets the run-time changes",
        path.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn write_whole(text: &[u8], path: &Path, force: bool) -> anyhow::Result<()> {
    // A symlink stays one.
    #[expect(
        clippy::disallowed_methods,
        reason = "what is replaced is the file behind a symlink, not the symlink"
    )]
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let there = fs::metadata(&real).ok();
    match &there {
        Some(about) if !about.is_file() => bail!("it is no file"),
        Some(_) if !force => bail!("it is there already (--force replaces it)"),
        _ => {}
    }
    let part = real.with_added_extension(format!("{}.part", std::process::id()));
    let write = || -> anyhow::Result<()> {
        let mut file = fs::File::create_new(&part)?;
        file.write_all(text)?;
        if let Some(about) = &there {
            let own = file.metadata()?;
            if (own.uid(), own.gid()) != (about.uid(), about.gid()) {
                std::os::unix::fs::fchown(&file, Some(about.uid()), Some(about.gid()))
                    .context("its owner can't stay")?;
            }
            file.set_permissions(about.permissions())?;
        }
        file.sync_all()?;
        Ok(fs::rename(&part, &real)?)
    };
    write().inspect_err(|_| {
        let _it_says_what_is_wrong = fs::remove_file(&part);
    })
}

pub(super) fn reset(args: &api::Args, which: &Which, terms: &Terms) -> anyhow::Result<ExitCode> {
    change::make(args, &reset_of(which.kind, which.key.as_deref()), terms)
}

fn reset_of(kind: Option<RuleKind>, key: Option<&str>) -> Wanted {
    Wanted {
        method: "POST",
        path: "v1/reset".to_owned(),
        place: None,
        body: Some(json!({"kind": kind, "key": key})),
    }
}
