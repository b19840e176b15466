//! `baton tail`: what flows, live.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::json;

use super::api::{self, Api, Failed, Request, escaped};
use crate::route::Patterns;
use crate::tap::{At, Wanted};

/// How soon it is connected again, and how long that is tried: a restart takes less than a second, a reboot more.
const TRY_AGAIN: Duration = Duration::from_millis(200);
const TRY_FOR: Duration = Duration::from_secs(60);
/// No line of the stream is longer: the daemon's are a mebibyte at most, and each byte of one may become ten.
const MAX_LINE: u64 = 16 << 20;

/// What is to be seen, of which daemon.
#[derive(Debug, clap::Args)]
// The arguments that say which daemon have a group of that name.
#[group(skip)]
pub struct Args {
    /// Where: as lines came in, as they are sent, or as they were rejected, with the reason
    #[arg(long, value_name = "in|routed|rejected", default_value = "routed")]
    at: At,
    /// Only names that begin with this
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Only names that don't
    #[arg(long, value_name = "TEXT")]
    not_prefix: Option<String>,
    /// Only names that contain this
    #[arg(long, value_name = "TEXT")]
    sub: Option<String>,
    /// Only names that don't
    #[arg(long, value_name = "TEXT")]
    not_sub: Option<String>,
    /// Only names that this expression matches somewhere
    #[arg(long, value_name = "REGEX")]
    regex: Option<String>,
    /// Only names that it doesn't
    #[arg(long, value_name = "REGEX")]
    not_regex: Option<String>,
    /// Only names that this matches from end to end: * within a node, ** across, ?, [a-z], {a,b}
    #[arg(long, value_name = "GLOB")]
    glob: Option<String>,
    /// Look at one line of N, picked at random
    #[arg(long, value_name = "N")]
    sample: Option<std::num::NonZeroU32>,
    /// A JSON object for each line
    #[arg(long)]
    json: bool,
    /// End after N lines
    #[arg(long, value_name = "N")]
    count: Option<std::num::NonZeroU64>,
    #[command(flatten)]
    daemon: api::Args,
}

impl Args {
    fn wanted(&self) -> Wanted {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Wanted {
            at: self.at,
            patterns: Patterns {
                prefix: text(&self.prefix),
                not_prefix: text(&self.not_prefix),
                sub: text(&self.sub),
                not_sub: text(&self.not_sub),
                regex: text(&self.regex),
                not_regex: text(&self.not_regex),
            },
            glob: text(&self.glob),
            sample: self.sample.map(Into::into),
        }
    }
}

/// Runs until the daemon is gone for good, standard output is closed, or there were lines enough.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let wanted = args.wanted();
    wanted.check().map_err(|wrong| anyhow!(wrong))?;
    let query: Vec<String> = wanted
        .pairs()
        .iter()
        .map(|(key, value)| format!("{key}={}", escaped(value)))
        .collect();
    let request = Request::get(format!("v1/subscribe?{}", query.join("&")));
    let api = args.daemon.find()?;
    let mut screen = Screen {
        json: args.json,
        reasons: wanted.at == At::Rejected,
        left: args.count.map_or(u64::MAX, Into::into),
    };
    let mut connected = api.open(&request)?.1;
    loop {
        match follow(&mut BufReader::new(connected.body), &mut screen) {
            Ok(End::Enough) => return Ok(ExitCode::SUCCESS),
            // The daemon, or the way to it, has gone: perhaps for a moment.
            Ok(End::Over) => {}
            Err(error) => return Err(error.into()),
        }
        eprintln!("(the daemon ended the stream: connecting again)");
        connected = connect_again(&api, &request)?;
        eprintln!("(connected again: what flowed meanwhile was not seen)");
    }
}

fn connect_again(api: &Api, request: &Request) -> Result<api::Response, Failed> {
    let began = Instant::now();
    loop {
        match api.open(request) {
            Ok((_, response)) => return Ok(response),
            Err(Failed::Refused(problem)) if problem.status != 503 => {
                return Err(Failed::Refused(problem));
            }
            Err(error) if began.elapsed() > TRY_FOR => return Err(error),
            Err(_for_now) => sleep(TRY_AGAIN),
        }
    }
}

/// Why nothing more is read.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// There were lines enough, or nobody reads them any more.
    Enough,
    /// The stream has ended.
    Over,
}

/// Shows server-sent events until they end.
///
/// # Errors
/// Standard output can't be written to.
fn follow(stream: &mut impl BufRead, screen: &mut Screen) -> io::Result<End> {
    let (mut event, mut data) = (String::new(), Vec::new());
    let mut line = Vec::new();
    loop {
        line.clear();
        // Whether it was ended well or not, it has ended.
        match stream.take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(1..) if line.ends_with(b"\n") => {}
            _ended => return Ok(End::Over),
        }
        let text = String::from_utf8_lossy(&line[..line.len() - 1]);
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => event = value.to_owned(),
            "data" => data.push(value.to_owned()),
            _ if !text.is_empty() => {}
            _blank => {
                let shown = screen.show(&event, &data);
                match shown {
                    Ok(()) if screen.left == 0 => return Ok(End::Enough),
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(End::Enough),
                    Err(error) => return Err(error),
                }
                event.clear();
                data.clear();
            }
        }
    }
}

/// What is shown.
#[derive(Debug)]
struct Screen {
    json: bool,
    /// Lines begin with a reason.
    reasons: bool,
    /// So many lines more.
    left: u64,
}

impl Screen {
    fn show(&mut self, event: &str, data: &[String]) -> io::Result<()> {
        let mut text = String::new();
        match event {
            "line" => {
                let most = usize::try_from(self.left).unwrap_or(usize::MAX);
                for line in data.iter().take(most) {
                    self.left -= 1;
                    match self.json {
                        true => text.push_str(&self.object(line)),
                        false => text.push_str(line),
                    }
                    text.push('\n');
                }
            }
            "lost" => {
                let lines = data.concat();
                eprintln!("(lost {lines} lines)");
                if self.json {
                    let lines: u64 = lines.parse().unwrap_or_default();
                    text = format!("{}\n", json!({ "lost": lines }));
                }
            }
            _ => return Ok(()),
        }
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    fn object(&self, line: &str) -> String {
        match line.split_once(": ").filter(|_| self.reasons) {
            Some((reason, line)) => json!({ "reason": reason, "line": line }).to_string(),
            None => json!({ "line": line }).to_string(),
        }
    }
}
