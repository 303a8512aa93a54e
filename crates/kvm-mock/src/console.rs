//! Consoles: a serial line with the guest's shell behind it, and pictures of its screen.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::{
    ByteStream, Clock, Console, ConsoleAccess, Error, ErrorKind, Resource, Result, Screenshot, ScreenshotFormat, VmId,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use crate::clock::elapsed;
use crate::document;
use crate::fault::Method;
use crate::machine::{GuestAction, Machine};
use crate::mock::{Inner, Mock};
use crate::picture;
use crate::shell::{self, Wish};

/// A guest's shell takes no longer line.
const LONGEST_LINE: usize = 4096;

/// Which consoles are open: of each machine, the number of the one that has it.
#[derive(Debug, Default)]
pub(crate) struct Consoles(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    latest: u64,
    holder: BTreeMap<VmId, u64>,
}

impl Consoles {
    fn open(&self, id: &VmId, access: ConsoleAccess) -> Result<u64> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if access == ConsoleAccess::Exclusive && open.holder.contains_key(id) {
            return Err(
                Error::new(ErrorKind::Busy, "another program has this console open").on(Resource::Vm(id.to_string()))
            );
        }
        open.latest += 1;
        let number = open.latest;
        open.holder.insert(*id, number);
        Ok(number)
    }

    fn is_held(&self, id: &VmId, number: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).holder.get(id) == Some(&number)
    }

    fn close(&self, id: &VmId, number: u64) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.holder.get(id) == Some(&number) {
            open.holder.remove(id);
        }
    }
}

#[async_trait]
impl Console for Mock {
    async fn open_serial(&self, id: &VmId, access: ConsoleAccess) -> Result<Box<dyn ByteStream>> {
        let (number, said, guest) = self
            .read(Method::OpenSerial, id, |world, now| {
                let machine = world.machine(id)?;
                let live = machine.running()?;
                if !document::has_serial(&live.document) {
                    return Err(nothing("serial console", id));
                }
                let number = self.0.consoles.open(id, access)?;
                let guest = machine.name.to_string();
                Ok((number, machine.boot_progress(now).unwrap_or_default(), guest))
            })
            .await?;
        // The one that was disconnected reads its end.
        self.0.wake();
        Ok(Box::new(Serial {
            world: Arc::downgrade(&self.0),
            clock: self.0.clock(),
            changed: self.0.changes(),
            id: *id,
            number,
            guest,
            said,
            line: Vec::new(),
            output: VecDeque::new(),
            reader: None,
            wait: None,
        }))
    }

    async fn screenshot(&self, id: &VmId, screen: u32) -> Result<Screenshot> {
        self.read(Method::Screenshot, id, |world, now| {
            let machine = world.machine(id)?;
            let live = machine.running()?;
            if screen >= document::screens(&live.document) {
                return Err(nothing("screen", id));
            }
            let data = picture::ppm(id, screen, machine.ran(now).unwrap_or_default());
            Ok(Screenshot { format: ScreenshotFormat::Ppm, data })
        })
        .await
    }
}

fn nothing(what: &str, id: &VmId) -> Error {
    Error::new(ErrorKind::NotFound, format!("VM has no such {what}")).on(Resource::Vm(id.to_string()))
}

/// One end of a serial line. The guest at the other end lives in the world: it says what is due when somebody reads.
struct Serial {
    world: Weak<Inner>,
    clock: Arc<dyn Clock>,
    changed: watch::Receiver<u64>,
    id: VmId,
    number: u64,
    guest: String,
    /// How far into its boot the guest has spoken.
    said: Duration,
    /// What was typed since the last end of line.
    line: Vec<u8>,
    output: VecDeque<u8>,
    reader: Option<Waker>,
    wait: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// What the guest's side of the line looks like at a moment.
enum Line {
    /// The machine is off, gone, or another program has the console.
    Closed,
    /// Nothing more will be said before this much time has passed, or something happens; `None`: only then.
    Quiet(Option<Duration>),
}

impl Serial {
    /// Fetches what the guest has said by now.
    fn listen(&mut self) -> Line {
        let Some(inner) = self.world.upgrade() else { return Line::Closed };
        if !inner.consoles.is_held(&self.id, self.number) {
            return Line::Closed;
        }
        let (id, said) = (self.id, self.said);
        let heard = inner.peek(|world, now| {
            let machine = world.machines.get(&id)?;
            let progress = machine.boot_progress(now)?;
            let due = [next_line(machine, &self.guest, progress), world.next_due()].into_iter().flatten().min();
            // Less than before: it boots anew.
            let from = if progress < said { None } else { Some(said) };
            let new = shell::boot_log(&self.guest, machine.guest.boots_in)
                .into_iter()
                .filter(|(at, _)| *at <= progress && from.is_none_or(|from| *at > from));
            let text: String = new.map(|(_, line)| line).collect();
            Some((progress, text, due.map(|due| elapsed(now, due))))
        });
        let Some((progress, text, wait)) = heard else { return Line::Closed };
        self.said = progress;
        self.output.extend(text.bytes());
        Line::Quiet(wait)
    }

    /// Takes one typed byte as a terminal's line discipline does: echoes it, and runs whole lines.
    fn typed(&mut self, byte: u8) {
        match byte {
            b'\r' | b'\n' => {
                self.output.extend(b"\r\n");
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
                self.run(&line);
            }
            0x7f | 0x08 if self.line.pop().is_some() => self.output.extend(b"\x08 \x08"),
            0x20..=0xff if byte != 0x7f && self.line.len() < LONGEST_LINE => {
                self.line.push(byte);
                self.output.push_back(byte);
            }
            _ => {}
        }
    }

    fn run(&mut self, line: &str) {
        let Some(inner) = self.world.upgrade() else { return };
        let up = inner.peek(|world, now| {
            let machine = world.machines.get(&self.id).filter(|machine| machine.has_booted(now))?;
            machine.ran(now)
        });
        // Before the boot is over nobody reads what is typed.
        let Some(up) = up else { return };
        let (reply, wish) = shell::answer(&self.guest, line, up);
        self.output.extend(reply.bytes());
        let action = match wish {
            Some(Wish::ShutDown) => GuestAction::ShutDown,
            Some(Wish::Reboot) => GuestAction::Reboot,
            None => return,
        };
        // A machine that was stopped at the same moment has nothing left to do.
        let _ = inner.guest_acts(&self.id, action);
    }
}

/// When the next line of the boot log appears.
fn next_line(machine: &Machine, guest: &str, progress: Duration) -> Option<jiff::Timestamp> {
    let mut log = shell::boot_log(guest, machine.guest.boots_in).into_iter();
    log.find(|(at, _)| *at > progress).and_then(|(at, _)| machine.boot_reaches(at))
}

impl AsyncRead for Serial {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        loop {
            // Marked as seen before listening: what changes after that wakes the wait.
            this.changed.mark_unchanged();
            let line = this.listen();
            if !this.output.is_empty() {
                let take = this.output.len().min(buf.remaining());
                buf.put_slice(&this.output.drain(..take).collect::<Vec<u8>>());
                return Poll::Ready(Ok(()));
            }
            let Line::Quiet(wait) = line else { return Poll::Ready(Ok(())) };
            this.reader = Some(cx.waker().clone());
            let (clock, mut changed) = (this.clock.clone(), this.changed.clone());
            let wait = this.wait.insert(Box::pin(async move {
                let due = async {
                    match wait {
                        Some(wait) => clock.sleep(wait).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    _ = changed.changed() => {}
                    () = due => {}
                }
            }));
            std::task::ready!(wait.as_mut().poll(cx));
        }
    }
}

impl AsyncWrite for Serial {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<std::io::Result<usize>> {
        let this = self.get_mut();
        if matches!(this.listen(), Line::Closed) {
            return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
        }
        data.iter().for_each(|&byte| this.typed(byte));
        if let Some(reader) = this.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Serial {
    fn drop(&mut self) {
        if let Some(inner) = self.world.upgrade() {
            inner.consoles.close(&self.id, self.number);
        }
    }
}
