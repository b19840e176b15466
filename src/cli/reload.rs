//! `baton reload`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;

use super::ControlArgs;
use crate::handover::{Answer, Request};

#[expect(clippy::print_stdout, reason = "what was asked for")]
pub(super) fn run(args: &ControlArgs) -> anyhow::Result<ExitCode> {
    let daemon = args.connect()?;
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
            let pause = pause_us.map_or(String::new(), |us| {
                format!(", after a pause of {:.1} ms", us as f64 / 1000.0)
            });
            println!("generation {generation} serves{pause}");
            Ok(ExitCode::SUCCESS)
        }
        Answer::Refused { reason } => bail!("refused, nothing changed:\n{reason}"),
        other => bail!("an answer that isn't one to a reload: {other:?}"),
    }
}
