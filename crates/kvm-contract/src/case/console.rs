//! Consoles and screenshots.

use std::time::Duration;

use kvm_core::{ByteStream, ConsoleAccess, ErrorKind, Existing, PowerAction, ScreenshotFormat};
use tokio::io::AsyncReadExt as _;

use crate::case::{Failure, cases, holds, refused};
use crate::cx::Cx;

/// More screens than any machine has.
const NO_SUCH_SCREEN: u32 = 99;

cases! { CASES in "console" on Cx;
    /// What the guest writes while the console is open is read.
    async fn the_guest_is_heard(cx) {
        let console = cx.family("console", cx.hypervisor().console())?;
        let id = cx.running("a").await?;
        let mut line = console.open_serial(&id, ConsoleAccess::Exclusive).await?;
        let count = match read_within(cx, &mut line, cx.patience() / 3).await {
            Some(count) => count,
            None => {
                // A guest that was faster than we is made to speak again. Not in its first moments: QEMU's firmware now and
                // then does not survive a reset while it starts.
                cx.power(&id, PowerAction::Reset).await?;
                read(cx, &mut line).await?
            }
        };
        holds("it said something", count > 0)
    }

    /// A machine that is off has no open console.
    async fn what_is_off_has_no_console(cx) {
        let console = cx.family("console", cx.hypervisor().console())?;
        let id = cx.defined("a").await?;
        refused(console.open_serial(&id, ConsoleAccess::Exclusive).await.map(drop), ErrorKind::InvalidState)
    }

    /// A machine without a serial line has no console to open.
    async fn without_a_serial_line_there_is_none(cx) {
        let console = cx.family("console", cx.hypervisor().console())?;
        let mut document = cx.document("a")?;
        if let Some(devices) = &mut document.devices {
            devices.serial.clear();
            devices.console.clear();
        }
        let id = cx.hypervisor().define(&document, Existing::Reject).await?;
        cx.power(&id, PowerAction::Start).await?;
        refused(console.open_serial(&id, ConsoleAccess::Exclusive).await.map(drop), ErrorKind::NotFound)
    }

    /// A console that is open is busy; closing it by dropping makes it free.
    async fn an_open_console_is_busy_until_it_is_dropped(cx) {
        let console = cx.family("console", cx.hypervisor().console())?;
        let id = cx.running("a").await?;
        let first = console.open_serial(&id, ConsoleAccess::Exclusive).await?;
        refused(console.open_serial(&id, ConsoleAccess::Exclusive).await.map(drop), ErrorKind::Busy)?;
        drop(first);
        console.open_serial(&id, ConsoleAccess::Exclusive).await?;
        Ok(())
    }

    /// Taking a console over disconnects the one who had it.
    async fn taking_over_disconnects_the_other(cx) {
        let console = cx.family("console", cx.hypervisor().console())?;
        let id = cx.running("a").await?;
        let mut first = console.open_serial(&id, ConsoleAccess::Exclusive).await?;
        let _second = console.open_serial(&id, ConsoleAccess::TakeOver).await?;
        while read(cx, &mut first).await? > 0 {}
        Ok(())
    }

    /// A console ends when its machine does.
    async fn a_console_ends_with_its_machine(cx) {
        let console = cx.family("console", cx.hypervisor().console())?;
        let id = cx.running("a").await?;
        let mut line = console.open_serial(&id, ConsoleAccess::Exclusive).await?;
        cx.power(&id, PowerAction::PowerOff).await?;
        while read(cx, &mut line).await? > 0 {}
        Ok(())
    }

    /// No console finds a machine that is not there.
    async fn what_is_not_there_is_not_found(cx) {
        let console = cx.family("console", cx.hypervisor().console())?;
        let serial = console.open_serial(&cx.id("absent"), ConsoleAccess::Exclusive).await.map(drop);
        refused(serial, ErrorKind::NotFound)?;
        refused(console.screenshot(&cx.id("absent"), 0).await, ErrorKind::NotFound)
    }

    /// A screenshot of a running machine is a picture of the form that it says.
    async fn a_screenshot_is_a_picture(cx) {
        let console = cx.family("console", cx.hypervisor().console())?;
        let id = cx.running("a").await?;
        let picture = console.screenshot(&id, 0).await?;
        let mark: &[u8] = match picture.format {
            ScreenshotFormat::Ppm => b"P6",
            ScreenshotFormat::Png => b"\x89PNG",
            other => return Err(Failure::new(format_args!("the suite does not know {other:?}"))),
        };
        holds("it begins as such pictures do", picture.data.starts_with(mark))
    }

    /// A machine that is off has no picture.
    async fn what_is_off_has_no_picture(cx) {
        let console = cx.family("console", cx.hypervisor().console())?;
        let id = cx.defined("a").await?;
        refused(console.screenshot(&id, 0).await, ErrorKind::InvalidState)
    }

    /// A screen that the machine does not have has no picture.
    async fn a_screen_that_is_not_there_is_not_found(cx) {
        let console = cx.family("console", cx.hypervisor().console())?;
        let id = cx.running("a").await?;
        console.screenshot(&id, 0).await?;
        refused(console.screenshot(&id, NO_SUCH_SCREEN).await, ErrorKind::NotFound)
    }
}

/// How many bytes came; 0 at the end.
async fn read(cx: &Cx, line: &mut Box<dyn ByteStream>) -> Result<usize, Failure> {
    read_within(cx, line, cx.patience()).await.ok_or_else(|| Failure::new("nothing came in time"))
}

/// The same; `None` when nothing came in time.
async fn read_within(cx: &Cx, line: &mut Box<dyn ByteStream>, time: Duration) -> Option<usize> {
    let mut bytes = [0; 4096];
    tokio::select! {
        biased;
        // Some backends tell an end as an error.
        count = line.read(&mut bytes) => Some(count.unwrap_or(0)),
        () = cx.clock().sleep(time) => None,
    }
}
