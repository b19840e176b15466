//! `baton check`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{absolute, exit_code};
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The config
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// EX_CONFIG, sysexits.h.
const BAD_CONFIG: i32 = 78;

#[expect(clippy::print_stdout, reason = "what was asked for")]
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match Config::load(&absolute(&args.config)) {
        Ok(config) => {
            for warning in &config.warnings {
                eprintln!("warning: {}", warning.in_file(&config.path));
            }
            let destinations = config.routes.iter().flat_map(|r| &r.destinations);
            let queues: u64 = destinations.clone().map(|d| d.queue).sum();
            println!(
                "{}: fine. {} listeners, {} routes, {} destinations; their queues take up to {} MiB",
                args.config.display(),
                config.listen.len(),
                config.routes.len(),
                destinations.count(),
                queues.div_ceil(1 << 20),
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            eprintln!("{problems}");
            Ok(exit_code(BAD_CONFIG))
        }
    }
}
