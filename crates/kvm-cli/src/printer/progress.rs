//! Progress of operations: a moving line on a terminal, lines with `-v`, objects with `-o json`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kvm_core::op::OpId;
use kvm_core::text::printable;
use kvm_core::{Bytes, Progress, Reporter, Silent, StepOutcome};

use super::look::Look;
use crate::args::Format;

/// How often the moving line moves.
const TICK: Duration = Duration::from_millis(120);
/// Between two lines about one long step.
const BETWEEN_LINES: Duration = Duration::from_secs(5);
/// How long a bar is.
const BAR: u64 = 10;

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
            _ if verbose => Box::new(Lines::default()),
            _ if quiet || !io::stderr().is_terminal() => Box::new(Warnings),
            _ => {
                let moving = bar.insert(moving_line(look)).clone();
                Box::new(Moving { line: moving, look, parts: Mutex::default() })
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

/// One line per step, and now and then one that says how far a long one is.
#[derive(Debug, Default)]
struct Lines {
    told: Mutex<BTreeMap<String, Instant>>,
}

impl Lines {
    /// Whether it is time to tell again how far this is.
    fn is_due(&self, what: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = told.get(what).is_none_or(|last| last.elapsed() >= BETWEEN_LINES);
        if is_due {
            told.insert(what.to_owned(), Instant::now());
        }
        is_due
    }
}

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
            Progress::Moved { title, done, total } => {
                if self.is_due(title) {
                    complain(&format!("  {}: {done} of {total}", printable(title)));
                }
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

/// One line that says what happens now, and how far it is.
#[derive(Debug)]
struct Moving {
    line: ProgressBar,
    look: Look,
    parts: Mutex<Parts>,
}

/// What happens now, and how much of what has moved.
#[derive(Debug, Default)]
struct Parts {
    title: String,
    moved: BTreeMap<String, String>,
}

impl Moving {
    fn begin(&self, title: &str) {
        let title = printable(title).to_string();
        self.line.set_message(title.clone());
        *self.parts.lock().unwrap_or_else(PoisonError::into_inner) = Parts { title, moved: BTreeMap::new() };
    }

    fn moved(&self, what: &str, done: Bytes, total: Bytes) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bar(done, total, self.look.done().is_ascii());
        let speed = Bytes::new((done.get() as f64 / self.line.elapsed().as_secs_f64().max(0.001)) as u64);
        let what = printable(what).to_string();
        // A step that moves one thing is called like it.
        let name = if what == parts.title { String::new() } else { format!("{what} ") };
        parts.moved.insert(what, format!("{name}{bar} {done} of {total}, {speed}/s"));
        let moved: Vec<_> = parts.moved.values().rev().map(String::as_str).collect();
        self.line.set_message(format!("{}   {}", parts.title, moved.join("   ")));
    }
}

/// How much of it, as a bar.
fn bar(done: Bytes, total: Bytes, ascii: bool) -> String {
    let (full, empty) = if ascii { ("#", "-") } else { ("█", "░") };
    let filled = (BAR * done.get().min(total.get())).checked_div(total.get()).unwrap_or(BAR);
    (0..BAR).map(|i| if i < filled { full } else { empty }).collect()
}

impl Reporter for Moving {
    fn report(&self, progress: &Progress) {
        match progress {
            Progress::Started { title, .. } => {
                self.line.reset();
                self.begin(title);
                self.line.enable_steady_tick(TICK);
            }
            Progress::Step { title, outcome: StepOutcome::Started, .. } => self.begin(title),
            Progress::Step { title, outcome: StepOutcome::Undone, .. } => {
                self.line.set_message(format!("undone: {}", printable(title)));
            }
            Progress::Moved { title, done, total } => self.moved(title, *done, *total),
            Progress::Warning { .. } => self.line.suspend(|| Warnings.report(progress)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_what_has_moved() {
        let bar = |done, total| bar(Bytes::new(done), Bytes::new(total), true);
        assert_eq!(bar(0, 100), "----------");
        assert_eq!(bar(55, 100), "#####-----");
        assert_eq!(bar(200, 100), "##########");
        assert_eq!(bar(0, 0), "##########");
    }
}
