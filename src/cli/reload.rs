//! `baton reload`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;

use serde_json::json;

use super::columns::{say, say_json};
use super::status::{self, overruled};
use super::{ControlArgs, exit_code};
use crate::handover::{Answer, Request};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    control: ControlArgs,
    /// What came of it as JSON, also if it is a no
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let daemon = args.control.connect()?;
    let mut answer = daemon.ask(Request::Reload { watched: true }, None)?;
    if let Answer::Watching {
        generation,
        probation_ms,
    } = answer
    {
        let probation = humantime::format_duration(Duration::from_millis(probation_ms));
        eprintln!("generation {generation} serves; watching it for {probation}");
        answer = daemon.hear()?;
    }
    match answer {
        Answer::Reloaded {
            generation,
            pause_us,
        } => {
            // That it serves is known; what is said of its rules is beside that.
            let rules = status::document(&args.control).map_or(0, |status| overruled(&status));
            if args.json {
                say_json(
                    &json!({"generation": generation, "pause_us": pause_us, "overruled": rules}),
                )?;
                return Ok(ExitCode::SUCCESS);
            }
            let pause = pause_us.map_or(String::new(), |us| {
                format!(", after a pause of {:.1} ms", us as f64 / 1000.0)
            });
            say(&format!("generation {generation} serves{pause}\n"))?;
            if let Some(note) = status::overruled_in_words(rules) {
                eprintln!("{note}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Answer::Refused { reason } if args.json => {
            say_json(&json!({"refused": reason}))?;
            Ok(exit_code(1))
        }
        Answer::Refused { reason } => bail!("refused, nothing changed:\n{reason}"),
        other => bail!("an answer that isn't one to a reload: {other:?}"),
    }
}
