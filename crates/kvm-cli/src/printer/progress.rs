//! Progress of operations: a moving line on a terminal, lines with `-v`, objects with `-o json`.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kvm_core::op::OpId;
use kvm_core::text::printable;
use kvm_core::{Bytes, Progress, Reporter, Silent, StepOutcome};

use super::look::Look;
use crate::args::Format;

/// How often the moving line moves.
const TICK: Duration = Duration::from_millis(120);

/// Shows progress, and knows which operation runs.
pub struct ProgressView {
    shown: Box<dyn Reporter>,
    bar: Option<ProgressBar>,
    running: Mutex<Option<OpId>>,
}

impl ProgressView {
    pub(super) fn new(format: Format, quiet: bool, verbose: bool, look: Look) -> Self {
        let mut bar = None;
        let shown: Box<dyn Reporter> = match format {
            Format::Json if quiet => Box::new(Silent),
            Format::Json => Box::new(Objects),
            _ if verbose => Box::new(Lines),
            _ if quiet || !io::stderr().is_terminal() => Box::new(Warnings),
            _ => {
                let moving = bar.insert(moving_line(look)).clone();
                Box::new(Moving(moving))
            }
        };
        Self { shown, bar, running: Mutex::new(None) }
    }

    /// Takes the moving line away: the operation is over.
    pub fn over(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The operation that runs.
    pub fn running(&self) -> Option<OpId> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for ProgressView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgressView").field("running", &self.running).finish_non_exhaustive()
    }
}

impl Reporter for ProgressView {
    fn report(&self, progress: &Progress) {
        if let Progress::Started { operation, .. } = progress {
            *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(operation.clone());
        }
        self.shown.report(progress);
    }
}

fn complain(line: &str) {
    // Where it cannot be written there is nobody to read it.
    let _unheard = writeln!(io::stderr(), "{line}");
}

/// One JSON object per event.
#[derive(Debug)]
struct Objects;

impl Reporter for Objects {
    fn report(&self, progress: &Progress) {
        if let Ok(line) = serde_json::to_string(progress) {
            complain(&line);
        }
    }
}

/// One line per step.
#[derive(Debug)]
struct Lines;

impl Reporter for Lines {
    fn report(&self, progress: &Progress) {
        match progress {
            Progress::Started { operation, title, steps } => {
                let steps = if *steps == 1 { "1 step".to_owned() } else { format!("{steps} steps") };
                complain(&format!("operation {operation}: {} ({steps})", printable(title)));
            }
            Progress::Step { outcome: StepOutcome::Started, .. } => {}
            Progress::Step { title, outcome, .. } => {
                complain(&format!("  {:12}  {}", outcome_word(*outcome), printable(title)));
            }
            other => Warnings.report(other),
        }
    }
}

fn outcome_word(outcome: StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Started => "begun",
        StepOutcome::Done => "done",
        StepOutcome::AlreadyDone => "already done",
        StepOutcome::Failed => "failed",
        StepOutcome::Undone => "undone",
    }
}

/// What the user should know, and nothing else.
#[derive(Debug)]
struct Warnings;

impl Reporter for Warnings {
    fn report(&self, progress: &Progress) {
        if let Progress::Warning { message } = progress {
            complain(&format!("warning: {}", printable(message)));
        }
    }
}

fn moving_line(look: Look) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let frames = if look.done().is_ascii() { "-\\|/ " } else { "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ " };
    let style = ProgressStyle::with_template("{spinner} {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()).tick_chars(frames));
    bar
}

/// One line that says what happens now.
#[derive(Debug)]
struct Moving(ProgressBar);

impl Reporter for Moving {
    fn report(&self, progress: &Progress) {
        match progress {
            Progress::Started { title, .. } => {
                self.0.reset();
                self.0.set_message(printable(title).to_string());
                self.0.enable_steady_tick(TICK);
            }
            Progress::Step { title, outcome: StepOutcome::Started, .. } => {
                self.0.set_message(printable(title).to_string());
            }
            Progress::Step { title, outcome: StepOutcome::Undone, .. } => {
                self.0.set_message(format!("undone: {}", printable(title)));
            }
            Progress::Moved { title, done, total } => {
                let percent = u128::from(done.get()) * 100 / u128::from(total.get().max(1));
                let per_second = (done.get() as f64 / self.0.elapsed().as_secs_f64().max(0.001)) as u64;
                let speed = Bytes::new(per_second);
                self.0.set_message(format!("{}  {percent}% of {total}, {speed}/s", printable(title)));
            }
            Progress::Warning { .. } => self.0.suspend(|| Warnings.report(progress)),
            _ => {}
        }
    }
}
