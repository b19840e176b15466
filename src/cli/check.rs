//! `baton check`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{absolute, exit_code};
use crate::config::Config;
use crate::ruleset;
use crate::spec::{ByteSize, Destination};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The config
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// EX_CONFIG, sysexits.h.
pub(super) const BAD_CONFIG: i32 = 78;

#[expect(clippy::print_stdout, reason = "what was asked for")]
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match Config::load(&absolute(&args.config)) {
        Ok(config) => {
            for warning in &config.warnings {
                eprintln!("warning: {}", warning.in_file(&config.path));
            }
            if let Some(warning) = no_folder(&config) {
                eprintln!("warning: {}: {warning}", config.path.display());
            }
            // As a worker does when it starts.
            if let Err(error) = ruleset::compile(&config) {
                eprintln!("{}: {error}", config.path.display());
                return Ok(exit_code(BAD_CONFIG));
            }
            let destinations = config.routes.iter().flat_map(|r| &r.destinations);
            let memory = destinations.clone().map(Destination::memory);
            let memory = memory.fold(0, u64::saturating_add);
            println!(
                "{}: fine. {} listeners, {} routes, {} destinations; their queues take up to {} MiB; \
                 state in {}, up to {}",
                args.config.display(),
                config.listen.len(),
                config.routes.len(),
                destinations.count(),
                memory.div_ceil(1 << 20),
                config.state.path.display(),
                ByteSize(config.state.max_size),
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            eprintln!("{problems}");
            Ok(exit_code(BAD_CONFIG))
        }
    }
}

/// What isn't there now may be when Baton runs, so that it is no error.
fn no_folder(config: &Config) -> Option<String> {
    let folder = config.state.path.parent()?;
    (!folder.is_dir()).then(|| {
        format!(
            "state.path: there is no folder {}: without it nothing is spooled",
            folder.display()
        )
    })
}
