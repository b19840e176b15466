//! `baton top`: what flows, live in the terminal.

mod draw;
mod keys;
mod model;
mod screen;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::ValueEnum;

use super::api::{self, Api, Failed, Request};
use super::columns::{columns, say, say_json};
use model::{Model, Seen};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// By what destinations are sorted; s changes it
    #[arg(long, value_name = "WHAT", default_value = "rate")]
    sort: Sort,
    /// Only destinations and listeners whose name, route or address has this in it; / changes it
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// How often it looks: seconds, or 500ms, 1m
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Look for one interval, and print what is seen
    #[arg(long)]
    once: bool,
    /// As JSON, once
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: api::Args,
}

/// By what destinations are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sort {
    /// Lines a second, the busiest first
    Rate,
    /// Lines in the queue, the fullest first
    Queue,
    /// Lines in the spool, the fullest first
    Spool,
    /// Lines dropped, the most first
    Dropped,
    /// Time to drain, the longest first
    Drain,
    /// Those that are down first
    State,
    /// Name
    Name,
}

fn interval(text: &str) -> Result<Duration, String> {
    // Seconds need no unit, as elsewhere.
    let time = match text.parse::<u32>() {
        Ok(seconds) => Duration::from_secs(seconds.into()),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string())?,
    };
    match (Duration::from_millis(100)..=Duration::from_secs(60)).contains(&time) {
        true => Ok(time),
        false => Err("expected 100ms to 60s".to_owned()),
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let api = args.api.find()?;
    if args.once || args.json {
        return once(args, &api);
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        bail!("top needs a terminal; --once prints what is seen as text, --json as JSON");
    }
    // The first answer says whether there is anything to see, while errors can still be read.
    let first = look(&api)?;
    let ends = screen::ends()?;
    let (send, answers) = sync_channel(1);
    let every = args.interval;
    std::thread::spawn(move || keep_looking(&api, every, &send));
    let mut model = Model::new(args.sort, args.filter.clone());
    model.take(Ok(first));
    screen::show(model, &answers, &ends)?;
    Ok(ExitCode::SUCCESS)
}

/// What was seen, and when.
type Answer = Result<(Instant, Seen), Failed>;
/// Where answers come from.
type Answers = Receiver<Answer>;

fn look(api: &Api) -> Result<(Instant, Seen), Failed> {
    let bytes = api.ask(&Request::get("status"))?;
    let seen = serde_json::from_slice(&bytes).map_err(|error| Failed::Broken {
        address: api.first(),
        error: error.into(),
    })?;
    Ok((Instant::now(), seen))
}

/// Ends with who hears.
fn keep_looking(api: &Api, every: Duration, send: &SyncSender<Answer>) {
    let mut next = Instant::now();
    loop {
        next = (next + every).max(Instant::now());
        std::thread::sleep(next - Instant::now());
        if send.send(look(api)).is_err() {
            return;
        }
    }
}

fn once(args: &Args, api: &Api) -> anyhow::Result<ExitCode> {
    let mut model = Model::new(args.sort, args.filter.clone());
    model.take(Ok(look(api)?));
    std::thread::sleep(args.interval);
    model.take(Ok(look(api)?));
    if args.json {
        say_json(&model.document())?;
        return Ok(ExitCode::SUCCESS);
    }
    let page = model.page();
    let mut lines = vec![page.head, page.totals, String::new()];
    lines.extend(columns(&model::INPUTS, page.inputs));
    lines.push(String::new());
    lines.extend(page.reasons);
    lines.push(String::new());
    let destinations = page.destinations.into_iter().map(|row| row.cells);
    lines.extend(columns(&model::DESTINATIONS, destinations));
    say(&(lines.join("\n") + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
