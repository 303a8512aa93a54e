//! The callback that says that a connection is gone.

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use virt::connect::Connect;
use virt::sys;

use super::{check, guarded, lend, release};
use crate::error::LibvirtError;

/// What is told when a connection is gone. It runs on the event loop's thread and must not call libvirt.
pub(crate) type OnClose = Arc<dyn Fn(Reason) + Send + Sync>;

/// Why a connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// An input or output error.
    Error,
    /// The other side closed it.
    Eof,
    /// The other side did not answer keepalive messages.
    Keepalive,
    /// This side closed it.
    Client,
    /// Something that this version does not know.
    Other(c_int),
}

/// Asks to be told once when this connection is gone. Undo it with [`unregister`] before the last handle is dropped:
/// until then the registration holds the connection open.
pub(crate) fn register(connection: &Connect, on_close: OnClose) -> Result<(), LibvirtError> {
    let opaque = lend(on_close);
    // SAFETY: the handle is valid; the callback and its free function match the type behind `opaque`.
    let returned = unsafe {
        sys::virConnectRegisterCloseCallback(connection.as_ptr(), Some(closed), opaque, Some(release::<OnClose>))
    };
    check(returned).map(drop).inspect_err(|_| {
        // SAFETY: libvirt did not take it, so it is still ours, and used no more.
        unsafe { release::<OnClose>(opaque) };
    })
}

/// Takes [`register`] back. After the callback has run there is nothing to take back, which is fine.
pub(crate) fn unregister(connection: &Connect) {
    // SAFETY: the handle is valid; libvirt compares the function with the registered one.
    let returned = unsafe { sys::virConnectUnregisterCloseCallback(connection.as_ptr(), Some(closed)) };
    if let Err(e) = check(returned) {
        tracing::trace!(error = %e, "no close callback to take back");
    }
}

unsafe extern "C" fn closed(_: sys::virConnectPtr, reason: c_int, opaque: *mut c_void) {
    guarded("connection closed", || {
        // SAFETY: `register` lent an `OnClose`, which libvirt frees only after this callback.
        let on_close = unsafe { &*opaque.cast::<OnClose>() };
        on_close(match sys::virConnectCloseReason::try_from(reason) {
            Ok(sys::VIR_CONNECT_CLOSE_REASON_ERROR) => Reason::Error,
            Ok(sys::VIR_CONNECT_CLOSE_REASON_EOF) => Reason::Eof,
            Ok(sys::VIR_CONNECT_CLOSE_REASON_KEEPALIVE) => Reason::Keepalive,
            Ok(sys::VIR_CONNECT_CLOSE_REASON_CLIENT) => Reason::Client,
            _ => Reason::Other(reason),
        });
    });
}
