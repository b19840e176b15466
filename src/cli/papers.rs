//! `baton completions` and `baton man`: what a package installs beside the binary.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

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
    clap_complete::generate(args.shell, &mut super::command(), "baton", &mut script);
    say(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
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
    for (name, text) in &pages {
        let path = folder.join(format!("{name}.1"));
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
    pages.push((name, text));
    Ok(())
}

fn page(command: &Command, name: &str) -> io::Result<Vec<u8>> {
    let man = clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .source(format!("baton {}", super::VERSION))
        .manual("Baton");
    let mut text = Vec::new();
    man.render(&mut text)?;
    Ok(text)
}
