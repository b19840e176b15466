//! The terminal: taken, shown on, and given back, whatever happens.

use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use ratatui::backend::Backend;
use ratatui::crossterm::event::{self, Event};

use super::Answers;
use super::draw::draw;
use super::keys::{Place, press};
use super::model::Model;
use crate::cli::diff::has_colour;

/// How soon an answer is shown.
const LOOK: Duration = Duration::from_millis(100);

/// Who ends this by a signal gets the terminal back, too. To be called before there is another thread: one that doesn't
/// block a signal dies of it.
///
/// # Errors
/// There are no descriptors left.
pub fn ends() -> nix::Result<SignalFd> {
    let mut ends = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        ends.add(signal);
    }
    ends.thread_block()?;
    SignalFd::with_flags(&ends, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// Shows what comes until someone quits. The terminal is as it was when this returns, and after a panic.
///
/// # Errors
/// The terminal can't be used.
pub fn show(mut model: Model, answers: &Answers, ends: &SignalFd) -> anyhow::Result<()> {
    let colour = has_colour();
    let mut terminal = ratatui::try_init().context("the terminal")?;
    let shown = (|| -> anyhow::Result<()> {
        let mut place = Place::default();
        loop {
            if std::mem::take(&mut place.redraw) {
                // Terminal::clear asks where the cursor is, and not every terminal says so.
                terminal.backend_mut().clear()?;
                terminal.swap_buffers();
            }
            terminal.draw(|frame| draw(frame, &model, &mut place, colour))?;
            if event::poll(LOOK)?
                && let Event::Key(key) = event::read()?
                && !press(key, &mut model, &mut place)
            {
                return Ok(());
            }
            if ends.read_signal()?.is_some() {
                return Ok(());
            }
            match answers.try_recv() {
                Ok(answer) => model.take(answer),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => anyhow::bail!("nobody asks any more"),
            }
        }
    })();
    ratatui::restore();
    shown
}
