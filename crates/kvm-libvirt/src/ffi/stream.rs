//! Streams that never block: libvirt's event loop says when there is something to do.
//!
//! `virt` registers the address of a value that may move as the callback's data, so the registration is made here.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use kvm_core::Holes;
use virt::stream::Stream;
use virt::sys;

use super::{check, guarded};
use crate::error::LibvirtError;

/// What is told when a stream can be read or written, or has ended. It runs on the event loop's thread.
pub(crate) trait OnReady: Send + Sync {
    /// Handles these [`Events`].
    fn ready(&self, events: Events);
}

/// What is waited for, or has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Events {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// Only ever told, never asked for: the stream has ended or broken.
    pub(crate) ended: bool,
}

impl Events {
    fn from_bits(bits: c_int) -> Self {
        let bits = bits.cast_unsigned();
        Self {
            readable: bits & sys::VIR_STREAM_EVENT_READABLE != 0,
            writable: bits & sys::VIR_STREAM_EVENT_WRITABLE != 0,
            ended: bits & (sys::VIR_STREAM_EVENT_ERROR | sys::VIR_STREAM_EVENT_HANGUP) != 0,
        }
    }

    /// The bits to wait for; endings are always waited for.
    fn to_bits(self) -> c_int {
        let mut bits = sys::VIR_STREAM_EVENT_ERROR | sys::VIR_STREAM_EVENT_HANGUP;
        if self.readable {
            bits |= sys::VIR_STREAM_EVENT_READABLE;
        }
        if self.writable {
            bits |= sys::VIR_STREAM_EVENT_WRITABLE;
        }
        bits.cast_signed()
    }
}

/// How far a read or write got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// This many bytes; 0 at the end of a stream that is read.
    Bytes(usize),
    /// Nothing can be moved now.
    WouldBlock,
}

impl Moved {
    fn from_returned(returned: isize) -> Self {
        usize::try_from(returned).map_or(Self::WouldBlock, Self::Bytes)
    }
}

/// Reads what has arrived.
pub(crate) fn receive(stream: &Stream, buffer: &mut [u8]) -> Result<Moved, LibvirtError> {
    Ok(Moved::from_returned(stream.recv(buffer)?))
}

/// Writes as much as is taken now.
pub(crate) fn send(stream: &Stream, data: &[u8]) -> Result<Moved, LibvirtError> {
    Ok(Moved::from_returned(stream.send(data)?))
}

/// What a blocking stream that tells of holes gives next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// This many bytes; 0 at the end.
    Bytes(usize),
    /// A hole, of which [`receive_hole`] says how long it is.
    Hole,
}

/// Waits for bytes and puts them behind what the buffer holds, up to `most` in all; stops at a hole unless holes come as
/// zeros: `virStreamRecvFlags`.
pub(crate) fn receive_more(
    stream: &Stream,
    buffer: &mut Vec<u8>,
    most: usize,
    holes: Holes,
) -> Result<Arrived, LibvirtError> {
    let flags = if holes == Holes::Keep { sys::VIR_STREAM_RECV_STOP_AT_HOLE } else { 0 };
    let wanted = most.saturating_sub(buffer.len());
    buffer.reserve_exact(wanted);
    let room = buffer.spare_capacity_mut().as_mut_ptr().cast();
    // SAFETY: the handle is valid, libvirt writes at most as many bytes as are wanted, and there is room for them.
    let returned = unsafe { sys::virStreamRecvFlags(stream.as_ptr(), room, wanted, flags) };
    if returned == -3 {
        return Ok(Arrived::Hole);
    }
    let count = usize::try_from(check(returned)?).unwrap_or(0).min(wanted);
    // SAFETY: libvirt has written this many bytes behind those that were there.
    unsafe { buffer.set_len(buffer.len() + count) };
    Ok(Arrived::Bytes(count))
}

/// Takes the hole that the stream stands at: `virStreamRecvHole`.
pub(crate) fn receive_hole(stream: &Stream) -> Result<u64, LibvirtError> {
    let mut length = 0;
    // SAFETY: the handle is valid; libvirt writes one number.
    check(unsafe { sys::virStreamRecvHole(stream.as_ptr(), &raw mut length, 0) })?;
    Ok(u64::try_from(length).unwrap_or(0))
}

/// Sends a hole: `virStreamSendHole`.
pub(crate) fn send_hole(stream: &Stream, length: u64) -> Result<(), LibvirtError> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    // SAFETY: the handle is valid; the call takes plain numbers.
    check(unsafe { sys::virStreamSendHole(stream.as_ptr(), length, 0) }).map(drop)
}

/// A stream that is watched until this is dropped. Sends nothing to the host.
pub(crate) struct Watch {
    stream: Stream,
    number: usize,
}

/// Who is told of which watch.
///
/// libvirt's remote driver does not always call the function that frees a callback's data, so no data is given away:
/// the callback brings a number, and whoever it stood for is here as long as the watch is.
static WATCHERS: Mutex<BTreeMap<usize, Weak<dyn OnReady>>> = Mutex::new(BTreeMap::new());

fn watchers() -> MutexGuard<'static, BTreeMap<usize, Weak<dyn OnReady>>> {
    WATCHERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// Asks to be told when the stream is ready for these events.
    pub(crate) fn start(stream: Stream, events: Events, on_ready: Weak<dyn OnReady>) -> Result<Self, LibvirtError> {
        let number = {
            let mut watchers = watchers();
            let number = watchers.last_key_value().map_or(0, |(last, _)| last.wrapping_add(1));
            watchers.insert(number, on_ready);
            number
        };
        // From here on, dropping it takes everything back.
        let watch = Self { stream, number };
        let opaque = std::ptr::without_provenance_mut(number);
        // SAFETY: the handle is valid; the data is a number in the shape of a pointer, which nobody follows, and there
        // is nothing to free.
        let returned = unsafe {
            sys::virStreamEventAddCallback(watch.stream.as_ptr(), events.to_bits(), Some(ready), opaque, None)
        };
        check(returned).map(|_| watch)
    }

    /// Changes what is waited for.
    pub(crate) fn update(&self, events: Events) -> Result<(), LibvirtError> {
        // SAFETY: the handle is valid; the call takes plain numbers.
        check(unsafe { sys::virStreamEventUpdateCallback(self.stream.as_ptr(), events.to_bits()) }).map(drop)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        watchers().remove(&self.number);
        // SAFETY: the handle is valid. A callback that runs at this moment runs to its end.
        if let Err(e) = check(unsafe { sys::virStreamEventRemoveCallback(self.stream.as_ptr()) }) {
            tracing::trace!(error = %e, "no stream callback to take back");
        }
    }
}

unsafe extern "C" fn ready(_: sys::virStreamPtr, events: c_int, opaque: *mut c_void) {
    guarded("stream", || {
        let watcher = watchers().get(&opaque.addr()).and_then(Weak::upgrade);
        if let Some(watcher) = watcher {
            watcher.ready(Events::from_bits(events));
        }
    });
}
