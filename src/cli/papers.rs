//! `baton completions` and `baton man`: what a package installs beside the binary.

mod config_page;
mod facts;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;
use clap_mangen::roff::{Roff, bold, roman};

use super::columns::say;

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// The folder; without one baton.1 goes to standard output
    folder: Option<PathBuf>,
}

pub(super) fn completions(args: &Completions) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut shown(), "baton", &mut script);
    say(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The program without what nobody types.
fn shown() -> Command {
    let all = super::command();
    let shown = all.get_subcommands().filter(|sub| !sub.is_hide_set());
    Command::new("baton")
        .version(super::VERSION)
        .subcommands(shown.cloned().collect::<Vec<_>>())
}

pub(super) fn man(args: &Man) -> anyhow::Result<ExitCode> {
    let mut root = super::command().disable_help_subcommand(true);
    root.build();
    let Some(folder) = &args.folder else {
        say(&String::from_utf8(page(&root, "baton")?)?)?;
        return Ok(ExitCode::SUCCESS);
    };
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut pages = Vec::new();
    collect(&root, "baton".to_owned(), &mut pages)?;
    pages.push(("baton.toml.5".to_owned(), config()?));
    for (name, text) in &pages {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    say(&format!("{} pages in {}\n", pages.len(), folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// A page for a command, and one for each below it that is shown.
fn collect(command: &Command, name: String, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        collect(sub, format!("{name}-{}", sub.get_name()), pages)?;
    }
    let text = page(command, &name)?;
    pages.push((format!("{name}.1"), text));
    Ok(())
}

fn page(command: &Command, name: &str) -> io::Result<Vec<u8>> {
    // As its help has it: with what must be there, and values.
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    let examples = command.get_after_help().map(ToString::to_string);
    let plain = command.clone().override_usage(usage);
    // What follows has names of its own for these.
    let plain = plain.after_help(None::<&str>).version(None::<&str>);
    let man = clap_mangen::Man::new(plain)
        .title(name.to_uppercase())
        .source(format!("baton {}", super::VERSION))
        .manual("Baton");
    let mut text = Vec::new();
    man.render(&mut text)?;
    let mut rest = Roff::default();
    if name == "baton" {
        let statuses = facts::EXIT_STATUS.iter();
        let statuses: Vec<_> = statuses.map(|(n, said)| (n.to_string(), *said)).collect();
        let statuses = statuses.iter().map(|(n, said)| (&**n, *said));
        described(&mut rest, "SIGNALS", facts::SIGNALS.iter().copied());
        described(&mut rest, "EXIT STATUS", statuses);
        described(&mut rest, "ENVIRONMENT", facts::ENVIRONMENT.iter().copied());
        described(&mut rest, "FILES", facts::FILES.iter().copied());
    }
    if let Some(examples) = examples {
        rest.control("SH", ["EXAMPLES"]);
        rest.control("EX", []);
        for line in examples.lines().skip(1) {
            rest.text([roman(line.trim())]);
        }
        rest.control("EE", []);
    }
    let also = match name {
        "baton" => facts::SEE_ALSO,
        _ => "baton(1), baton.toml(5)",
    };
    rest.control("SH", ["SEE ALSO"]);
    rest.text([roman(also)]);
    rest.to_writer(&mut text)?;
    Ok(text)
}

fn described<'a>(page: &mut Roff, heading: &str, all: impl Iterator<Item = (&'a str, &'a str)>) {
    page.control("SH", [heading]);
    for (one, said) in all {
        page.control("TP", []);
        page.text([bold(one)]);
        page.text([roman(said)]);
    }
}

/// The page of the config.
fn config() -> io::Result<Vec<u8>> {
    let mut page = Roff::default();
    let source = format!("baton {}", super::VERSION);
    page.control("TH", ["BATON.TOML", "5", "", &source, "Baton"]);
    page.control("SH", ["NAME"]);
    page.text([roman(
        "baton.toml - what the relay baton listens on, where lines go, and how",
    )]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "TOML. A key that isn't known is an error. Relative paths are beside the file. baton check --config FILE says all that is \
         wrong with it; baton reload brings it into force, but for supervisor.control, and for what [log] says of the \
         supervisor: they take a full restart.",
    )]);
    page.control("PP", []);
    page.text([roman(
        "Sizes are written as 4096, 64KiB, 16MiB, 1GiB (powers of 1024) or 2MB (of 1000), durations as 500ms, 10s, 1m30s or 1h.",
    )]);
    page.control("SH", ["KEYS"]);
    page.text([roman(
        "Each with its default, or with an example where there is none.",
    )]);
    config_page::keys(&mut page);
    described(&mut page, "FILES", facts::FILES.iter().copied());
    page.control("SH", ["SEE ALSO"]);
    page.text([roman("baton(1), baton-check(1), baton-reload(1)")]);
    let mut text = Vec::new();
    page.to_writer(&mut text)?;
    Ok(text)
}
