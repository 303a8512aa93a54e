//! What the `virt` crate does not wrap, or wraps wrongly, straight from libvirt's C interface.
//!
//! This module alone contains `unsafe`. Its functions take `virt`'s own handles, which keep the objects behind them
//! alive, and give plain data: nothing that libvirt allocated leaves a function, and no callback keeps a borrow.
//! Only functions that libvirt 9.0 has are named here, so that the program starts on every supported host.

pub(crate) mod address;
pub(crate) mod agent;
pub(crate) mod block_job;
pub(crate) mod checkpoint;
pub(crate) mod close;
pub(crate) mod domain_event;
pub(crate) mod error;
pub(crate) mod event_loop;
pub(crate) mod io_tune;
pub(crate) mod lease;
pub(crate) mod migrate;
pub(crate) mod pin;
pub(crate) mod pool_source;
pub(crate) mod stats;
pub(crate) mod stream;

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::LibvirtError;

/// Copies a C string; `None` for a null pointer. What is not UTF-8 is replaced.
///
/// # Safety
///
/// `text` is null or points to a string that ends in NUL and lives as long as this call.
unsafe fn copy_text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, and the caller says that it is a string that outlives this call.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// Reads libvirt's usual result: a negative number says that the reason stands in this thread's last error.
fn check(returned: c_int) -> Result<c_int, LibvirtError> {
    if returned < 0 { Err(error::last()) } else { Ok(returned) }
}

/// Turns libvirt's array of pointers into values and frees each element and the array.
///
/// # Safety
///
/// `array` is null or an array from `malloc` of `len` valid elements that this call may consume with `read`.
unsafe fn drain_array<P: Copy, T>(array: *mut P, len: c_int, mut read: impl FnMut(P) -> T) -> Vec<T> {
    let len = if array.is_null() { 0 } else { usize::try_from(len).unwrap_or(0) };
    // SAFETY: the caller says that there are `len` elements.
    let values = (0..len).map(|i| read(unsafe { *array.add(i) })).collect();
    // SAFETY: the array itself came from `malloc`, and nothing refers to it any more. Null is fine.
    unsafe { libc::free(array.cast::<c_void>()) };
    values
}

/// Runs the body of a callback so that a panic never unwinds into C.
fn guarded(what: &'static str, body: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(body)).is_err() {
        tracing::error!(callback = what, "a callback panicked; what it should have told is lost");
    }
}

/// Gives a value to C as the opaque pointer of a callback; [`release`] takes it back.
fn lend<T>(value: T) -> *mut c_void {
    Box::into_raw(Box::new(value)).cast()
}

/// Frees what [`lend`] gave: the free function of every callback.
///
/// # Safety
///
/// `opaque` came from `lend::<T>` and is not used again.
unsafe extern "C" fn release<T>(opaque: *mut c_void) {
    // SAFETY: as the caller says. Freed once: libvirt calls this exactly once for each registration.
    guarded("release", || drop(unsafe { Box::from_raw(opaque.cast::<T>()) }));
}
