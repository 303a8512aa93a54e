//! Waiting for a guest to show that it is up.

use std::time::Duration;

use kvm_core::op::StepContext;
use kvm_core::{
    ByteStream, ConsoleAccess, Error, ErrorKind, Host, PowerAction, Progress, Receipt, Result, VmId, VmRef, VmState,
};
use tokio::io::AsyncReadExt as _;

/// How often the machine and its agent are asked.
const ASK: Duration = Duration::from_secs(1);
/// So much of what was said last is kept.
const KEPT: usize = 4096;
/// So much of that is told.
const TOLD: usize = 300;

/// How a trial went.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) after_seconds: u64,
    /// Why it was not proved; `None` when it was.
    pub(crate) why: Option<String>,
    /// What the guest said last.
    pub(crate) seen: Option<String>,
}

/// What a look at the machine has shown.
enum Look {
    Up,
    Quiet,
    /// Nothing more will come, for this reason.
    Over(String),
}

/// Lets a machine run that is paused, until it says what is waited for, or its agent answers where that is nothing.
///
/// `Cancelled`; errors of the host.
pub(crate) async fn watch(
    host: &Host,
    id: &VmId,
    until: Option<&str>,
    timeout: Duration,
    cx: &StepContext<'_>,
) -> Result<Watched> {
    let mut console = open(host, id, until, cx).await?;
    let mut heard = Heard::new(until);
    host.hypervisor.power(id, PowerAction::Resume).await?;
    let began = cx.clock.now();
    let mut late = cx.clock.sleep(timeout);
    let mut asked = Box::pin(look(host, id, until.is_none(), cx));
    let mut piece = [0; 1024];
    let why = loop {
        tokio::select! {
            biased;
            () = cx.cancel.cancelled() => {
                return Err(Error::new(ErrorKind::Cancelled, "the trial was cancelled"));
            }
            read = read(&mut console, &mut piece) => match read {
                Some(said) if heard.hears(&piece[..said]) => break None,
                Some(_) => {}
                // The machine has ended, or somebody has taken the console over: the next look tells.
                None => console = None,
            },
            found = &mut asked => match found? {
                Look::Up => break None,
                Look::Over(why) => break Some(why),
                Look::Quiet => asked = Box::pin(look(host, id, until.is_none(), cx)),
            },
            () = &mut late => {
                let awaited = match until {
                    Some(text) => format!("the guest did not say \"{text}\""),
                    None => "no agent answered".to_owned(),
                };
                break Some(format!("{awaited} within {} s", timeout.as_secs()));
            }
        }
    };
    let took = cx.clock.now().duration_since(began).as_secs();
    let seen = why.as_ref().and_then(|_| heard.last());
    Ok(Watched { after_seconds: u64::try_from(took).unwrap_or_default(), why, seen })
}

/// The console, without which only an agent proves anything.
async fn open(
    host: &Host,
    id: &VmId,
    until: Option<&str>,
    cx: &StepContext<'_>,
) -> Result<Option<Box<dyn ByteStream>>> {
    let missing = || Error::new(ErrorKind::Unsupported, "this host has no serial consoles");
    let opened = match host.hypervisor.console() {
        Some(console) => console.open_serial(id, ConsoleAccess::Exclusive).await,
        None => Err(missing()),
    };
    match opened {
        Ok(stream) => Ok(Some(stream)),
        Err(e) if until.is_some() => Err(e),
        Err(e) => {
            let message = format!("what the guest says on its console is not heard: {e}");
            cx.reporter.report(&Progress::Warning { message });
            Ok(None)
        }
    }
}

/// How many bytes came; `None` when no more come.
async fn read(console: &mut Option<Box<dyn ByteStream>>, piece: &mut [u8]) -> Option<usize> {
    match console {
        Some(stream) => stream.read(piece).await.ok().filter(|read| *read > 0),
        None => std::future::pending().await,
    }
}

/// Waits a moment, then asks the agent and looks at the machine.
async fn look(host: &Host, id: &VmId, asks_agent: bool, cx: &StepContext<'_>) -> Result<Look> {
    cx.clock.sleep(ASK).await;
    if asks_agent
        && let Some(guest) = host.hypervisor.guest()
        && guest.ping_agent(id).await.is_ok()
    {
        return Ok(Look::Up);
    }
    Ok(match host.hypervisor.find(&VmRef::Id(*id)).await {
        Ok(vm) => match vm.state {
            VmState::Running | VmState::ShuttingDown | VmState::Unknown => Look::Quiet,
            state => Look::Over(format!("the guest is {state}")),
        },
        Err(e) if e.kind() == ErrorKind::NotFound => Look::Over("the guest stopped".to_owned()),
        Err(e) => return Err(e),
    })
}

/// What a guest has said on its console.
struct Heard<'a> {
    until: Option<&'a [u8]>,
    said: Vec<u8>,
}

impl<'a> Heard<'a> {
    fn new(until: Option<&'a str>) -> Self {
        Self { until: until.map(str::as_bytes), said: Vec::new() }
    }

    /// Whether what is waited for is there with this piece.
    fn hears(&mut self, piece: &[u8]) -> bool {
        let wanted = self.until.unwrap_or_default();
        let from = self.said.len().saturating_sub(wanted.len());
        self.said.extend_from_slice(piece);
        let is_there = !wanted.is_empty() && self.said[from..].windows(wanted.len()).any(|window| window == wanted);
        let surplus = self.said.len().saturating_sub(KEPT);
        self.said.drain(..surplus);
        is_there
    }

    /// The end of it, in one line; `None` when it was nothing.
    fn last(&self) -> Option<String> {
        let text = without_escapes(&String::from_utf8_lossy(&self.said));
        let lines = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
        let line = lines.collect::<Vec<_>>().join(" / ");
        let surplus = line.chars().count().saturating_sub(TOLD);
        let line: String = line.chars().skip(surplus).collect();
        (!line.is_empty()).then(|| Receipt::bounded(&line))
    }
}

/// Without what moves a terminal's cursor and colours it, of which firmware says a lot.
fn without_escapes(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            shown.push(c);
        } else if rest.next_if_eq(&'[').is_some() {
            while rest.next().is_some_and(|c| !c.is_ascii_alphabetic()) {}
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_heard_over_the_edge_of_two_pieces() {
        let mut heard = Heard::new(Some("login:"));
        assert!(!heard.hears(b"Debian log"));
        assert!(!heard.hears(b"i"));
        assert!(heard.hears(b"n: "));
        let mut anything = Heard::new(None);
        assert!(!anything.hears(b"anything"));
        let mut late = Heard::new(Some("login:"));
        assert!(!late.hears(&[b'x'; 3 * KEPT]) && late.said.len() == KEPT && late.hears(b"login:"));
    }

    #[test]
    fn what_was_said_last_is_one_printable_line() {
        let mut heard = Heard::new(None);
        heard.hears(b"\x1b[2J\x1b[01;01HBdsDxe: no\r\n\r\nUEFI Shell \x07\n");
        assert_eq!(heard.last().as_deref(), Some("BdsDxe: no / UEFI Shell \\u{7}"));
        assert_eq!(Heard::new(None).last(), None);
        heard.hears(&[b'y'; 3 * TOLD]);
        assert_eq!(heard.last().unwrap().chars().count(), TOLD);
    }
}
