//! The program on a terminal: questions, colours, the console.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

#[path = "support/program.rs"]
mod program;

/// How long a test waits for something to be shown.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// The program, and the other end of its terminal.
struct Terminal {
    child: Child,
    keyboard: File,
    /// Held so that the terminal's settings can be looked at after the program.
    screen: File,
    /// What was shown and not yet waited for.
    shown: Vec<u8>,
}

impl Terminal {
    fn start(home: &Path, variables: &[(&str, &str)], args: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let screen = File::from(rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap());
        let end = || Stdio::from(screen.try_clone().unwrap());
        let child = program::kvmctl(home)
            .args(args)
            .env("TERM", "xterm")
            .env("KVM_CONNECT", "mock:///demo")
            .envs(variables.iter().copied())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        Self { child, keyboard: File::from(master), screen, shown: Vec::new() }
    }

    /// Waits until the program shows this, and gives all that it showed up to there.
    fn wait_for(&mut self, text: &str) -> String {
        let mut piece = [0; 1024];
        loop {
            let at = self.shown.windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(at) = at {
                let shown = self.shown.drain(..at + text.len()).collect();
                return String::from_utf8(shown).unwrap();
            }
            let mut news = [PollFd::new(&self.keyboard, PollFlags::IN)];
            let heard = poll(&mut news, Some(&PATIENCE)).unwrap();
            assert!(heard > 0, "the program did not show {text}: {}", String::from_utf8_lossy(&self.shown));
            let read = self.keyboard.read(&mut piece).unwrap();
            self.shown.extend_from_slice(&piece[..read]);
        }
    }

    fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Waits for the end and gives the exit code.
    fn end(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.screen).unwrap().local_modes.contains(LocalModes::ICANON)
    }
}

#[test]
fn the_name_has_to_be_typed_to_delete() {
    let home = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(home.path(), &[], &["vm", "delete", "router-test"]);
    let plan = terminal.wait_for("Type the name to delete it: ");
    assert!(plan.contains("default/router-test.qcow2"), "{plan}");
    terminal.type_in("router\n");
    terminal.wait_for("nothing was done");
    assert_eq!(terminal.end(), Some(130));

    let mut terminal = Terminal::start(home.path(), &[], &["vm", "delete", "router-test"]);
    terminal.wait_for("Type the name to delete it: ");
    terminal.type_in("router-test\n");
    terminal.wait_for("router-test deleted");
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn several_are_deleted_by_typing_how_many() {
    let home = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(home.path(), &[], &["vm", "delete", "web-03", "router-test"]);
    let plans = terminal.wait_for("to delete all 2: ");
    assert!(plans.contains("web-03.qcow2") && plans.contains("router-test.qcow2"), "{plans}");
    terminal.type_in("2\n");
    terminal.wait_for("router-test deleted");
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn ctrl_c_at_a_question_ends_it() {
    let home = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(home.path(), &[], &["vm", "power-off", "--all"]);
    terminal.wait_for("[y/N] ");
    kill_process(Pid::from_raw(terminal.child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    assert_eq!(terminal.end(), Some(130));
}

#[test]
fn the_console_hands_on_every_key_and_gives_the_terminal_back() {
    let home = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(home.path(), &[], &["vm", "console", "build-01", "--timeout", "60s"]);
    assert!(!terminal.is_raw());
    terminal.wait_for("connected to build-01; Ctrl-] leaves");
    terminal.type_in("hostname\r");
    terminal.wait_for("build-01:~#");
    assert!(terminal.is_raw());
    terminal.type_in("\u{1d}");
    terminal.wait_for("left the console");
    assert_eq!(terminal.end(), Some(0));
    assert!(!terminal.is_raw());
}

#[test]
fn states_have_colours_unless_nobody_wants_them() {
    let home = tempfile::tempdir().unwrap();
    let args = ["vm", "list", "--select", "name=gateway", "--columns", "state,name"];
    let mut terminal = Terminal::start(home.path(), &[], &args);
    assert!(terminal.wait_for("gateway").contains("\u{1b}[32mrunning"));
    for plain in [("NO_COLOR", "1"), ("TERM", "dumb"), ("LANG", "C")] {
        let mut terminal = Terminal::start(home.path(), &[plain], &args);
        assert!(!terminal.wait_for("gateway").contains('\u{1b}'), "{plain:?}");
    }
}

#[test]
fn a_refused_edit_can_be_done_again_and_is_never_lost() {
    let home = tempfile::tempdir().unwrap();
    let editor = [("EDITOR", "sed -i s/<name>/<nam>/")];
    let mut terminal = Terminal::start(home.path(), &editor, &["vm", "edit", "web-03"]);
    terminal.wait_for("Edit it again? [Y/n] ");
    terminal.type_in("\n");
    terminal.wait_for("Edit it again? [Y/n] ");
    terminal.type_in("n\n");
    let said = terminal.wait_for(".xml");
    assert_eq!(terminal.end(), Some(2));
    let path = said.split("the text is kept in ").nth(1).unwrap();
    assert!(std::fs::read_to_string(path).unwrap().contains("<nam>web-03"));
}

#[test]
fn an_edit_shows_what_it_means_and_asks() {
    let home = tempfile::tempdir().unwrap();
    let editor = [("VISUAL", "sed -i s/>2</>3</")];
    let mut terminal = Terminal::start(home.path(), &editor, &["vm", "edit", "web-03"]);
    assert!(terminal.wait_for("Define it so? [y/N] ").contains("vcpu"));
    terminal.type_in("y\n");
    terminal.wait_for("web-03 changed");
    assert_eq!(terminal.end(), Some(0));
}
