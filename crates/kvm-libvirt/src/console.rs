//! Consoles and screenshots.

use async_trait::async_trait;
use kvm_core::{ByteStream, Console, ConsoleAccess, ErrorKind, Result, Screenshot, ScreenshotFormat, VmId};
use virt::stream::Stream;
use virt::sys;

use crate::document;
use crate::error::LibvirtError;
use crate::libvirt::{Libvirt, vm_resource};
use crate::machine::Machine;
use crate::serial::Serial;
use crate::task::{Failure, Subject, Task};

/// The largest picture that is taken; 8K in plain pixels has half of it.
const SCREENSHOT_MAX: usize = 256 << 20;

#[async_trait]
impl Console for Libvirt {
    async fn open_serial(&self, id: &VmId, access: ConsoleAccess) -> Result<Box<dyn ByteStream>> {
        let id = *id;
        let subject = Subject::new("open the console of", vm_resource(&id));
        let serial =
            self.jobs.call(subject, self.config.call_deadline, move |task| open_serial(task, &id, access)).await?;
        Ok(Box::new(serial))
    }

    async fn screenshot(&self, id: &VmId, screen: u32) -> Result<Screenshot> {
        let id = *id;
        let subject = Subject::new("take a picture of", vm_resource(&id));
        self.jobs.call(subject, self.config.call_deadline, move |task| screenshot(task, &id, screen)).await
    }
}

fn open_serial(task: &Task<'_>, id: &VmId, access: ConsoleAccess) -> Result<Serial, Failure> {
    let machine = task.active_machine(id)?;
    let stream = Stream::new(task.connection(), sys::VIR_STREAM_NONBLOCK)?;
    let flags = match access {
        ConsoleAccess::Exclusive => 0,
        ConsoleAccess::TakeOver => sys::VIR_DOMAIN_CONSOLE_FORCE,
    };
    // The first console, which libvirt makes of the first serial line where there is no other.
    machine.domain.open_console(None, &stream, flags).map_err(|e| console_refused(task, &machine, e.into()))?;
    Ok(Serial::watch(stream, task.session().clone())?)
}

/// libvirt has no number for "no console" nor for "somebody else has it": look at the machine.
fn console_refused(task: &Task<'_>, machine: &Machine, e: LibvirtError) -> Failure {
    if e.kind().is_some() {
        return e.into();
    }
    let is_busy = e.is(sys::VIR_ERR_OPERATION_FAILED);
    match (task.unless_off(machine, e), has_console(task, machine)) {
        (Failure::Libvirt(e), Ok(false)) => {
            let message = format!("{} has no serial console", task.resource());
            task.error(ErrorKind::NotFound, message).with_source(e).into()
        }
        (Failure::Libvirt(e), Ok(true)) if is_busy => {
            let message = format!("the console of {} is in use", task.resource());
            task.error(ErrorKind::Busy, message).with_source(e).into()
        }
        (failure, _) => failure,
    }
}

fn has_console(task: &Task<'_>, machine: &Machine) -> Result<bool, Failure> {
    let doc: kvm_xml::Domain = document::read(task, &machine.domain.xml_desc(0)?)?;
    Ok(doc.devices.is_some_and(|devices| !devices.console.is_empty() || !devices.serial.is_empty()))
}

fn screenshot(task: &Task<'_>, id: &VmId, screen: u32) -> Result<Screenshot, Failure> {
    let machine = task.active_machine(id)?;
    let stream = Stream::new(task.connection(), 0)?;
    let kind =
        machine.domain.screenshot(&stream, screen, 0).map_err(|e| screen_refused(task, &machine, screen, e.into()))?;
    let format = match kind.as_str() {
        "image/x-portable-pixmap" => ScreenshotFormat::Ppm,
        "image/png" => ScreenshotFormat::Png,
        _ => {
            let message = "the host gives pictures in a form that this version does not know";
            return Err(task.error(ErrorKind::Unsupported, message).into());
        }
    };
    let data = receive_all(&stream).map_err(|e| task.unless_off(&machine, e))?;
    let Some(data) = data else {
        return Err(task.error(ErrorKind::Unsupported, "the picture is larger than 256 MiB").into());
    };
    stream.finish()?;
    Ok(Screenshot { format, data })
}

/// A running machine without that screen: libvirt calls the argument, or the operation, invalid.
fn screen_refused(task: &Task<'_>, machine: &Machine, screen: u32, e: LibvirtError) -> Failure {
    let is_missing = e.is(sys::VIR_ERR_INVALID_ARG) || e.is(sys::VIR_ERR_OPERATION_INVALID);
    match task.unless_off(machine, e) {
        Failure::Libvirt(e) if is_missing => {
            let message = format!("{} has no screen {screen}", task.resource());
            task.error(ErrorKind::NotFound, message).with_source(e).into()
        }
        failure => failure,
    }
}

/// Reads a stream to its end; `None` when it is too long. A stream that is dropped before its end is aborted.
fn receive_all(stream: &Stream) -> Result<Option<Vec<u8>>, LibvirtError> {
    let mut data = Vec::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = usize::try_from(stream.recv(&mut buffer)?).unwrap_or(0);
        if count == 0 {
            return Ok(Some(data));
        }
        data.extend(buffer.iter().take(count));
        if data.len() > SCREENSHOT_MAX {
            return Ok(None);
        }
    }
}
