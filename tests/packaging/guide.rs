//! A migration guide, carried out: its example files are written out, its commands run.
//!
//! A block behind "`NAME`:" is a file, `$ ` in a `console` block a command with what it prints.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the config of a service is, and in the guides.
const THERE: &str = "/etc/baton";

/// What a shell makes of a line, as a terminal would show it.
fn shell(line: &str, folder: &Path) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_baton"));
    let path = format!(
        "{}:{}",
        binary.parent().unwrap().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {line}")])
        .current_dir(folder)
        .env("PATH", path)
        .env_remove("STATE_DIRECTORY")
        .env_remove("RUNTIME_DIRECTORY")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{line}: {said}");
    #[expect(
        clippy::disallowed_methods,
        reason = "it is compared with what a shell says"
    )]
    let folder = folder.canonicalize().unwrap();
    said.replace(folder.to_str().unwrap(), THERE)
}

/// Does in that folder what the guide says; returns the guide as it is, if each command prints what it says there, and
/// how many there are.
pub fn carried_out(guide: &str, folder: &Path) -> (String, usize) {
    let mut out = String::new();
    let mut before = "";
    let mut commands = 0;
    let mut lines = guide.split_inclusive('\n');
    while let Some(line) = lines.next() {
        out += line;
        let Some(kind) = line.strip_prefix("```") else {
            if !line.trim().is_empty() {
                before = line.trim();
            }
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```\n").collect();
        if kind.trim() == "console" {
            for command in block.iter().filter_map(|line| line.strip_prefix("$ ")) {
                out += &format!("$ {command}{}", shell(command.trim(), folder));
                commands += 1;
            }
        } else {
            out.extend(block.iter().copied());
            let words = before.strip_suffix("`:");
            if let Some((_, name)) = words.and_then(|words| words.rsplit_once('`')) {
                fs::write(folder.join(name), block.concat()).unwrap();
            }
        }
        out += "```\n";
    }
    (out, commands)
}
