//! Event callbacks of domains.

use std::ffi::{c_char, c_int, c_ulonglong, c_void};
use std::sync::Arc;

use uuid::Uuid;
use virt::connect::Connect;
use virt::sys;

use super::{check, copy_text, guarded, lend, release};
use crate::error::LibvirtError;

/// What takes events. It runs on the event loop's thread: it must be quick and must not call libvirt.
pub(crate) type Sink = Arc<dyn Fn(DomainEvent) + Send + Sync>;

/// One event, copied out of libvirt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DomainEvent {
    pub(crate) uuid: Uuid,
    pub(crate) name: String,
    pub(crate) kind: EventKind,
}

/// What a callback said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// `virDomainEventType` and the detail that belongs to it.
    Lifecycle {
        event: c_int,
        detail: c_int,
    },
    Reboot,
    /// `virConnectDomainEventAgentLifecycleState`.
    Agent {
        state: c_int,
    },
    DeviceAdded,
    DeviceRemoved,
    Balloon,
    Metadata,
}

/// The registered callbacks of one connection.
///
/// Each registration holds the connection open, so this must be given back with [`Registrations::cancel`].
#[derive(Debug, Default)]
pub(crate) struct Registrations(Vec<c_int>);

impl Registrations {
    /// Whether nothing is registered.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Registers every callback. Lifecycle events must be there; a driver that lacks another family goes without it.
    pub(crate) fn register(connection: &Connect, sink: &Sink) -> Result<Self, LibvirtError> {
        let mut registered = Self::default();
        for (id, callback) in callbacks() {
            match register_one(connection, id, callback, sink) {
                Ok(number) => registered.0.push(number),
                Err(e) if id == sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE => {
                    registered.cancel(connection);
                    return Err(e);
                }
                Err(e) => tracing::debug!(event = id, error = %e, "this host has no such events"),
            }
        }
        Ok(registered)
    }

    /// Takes all of them back. On a connection that is gone this only frees what the client holds.
    pub(crate) fn cancel(&mut self, connection: &Connect) {
        for number in self.0.drain(..) {
            // SAFETY: the handle is valid and the number came from a registration on it.
            let returned = unsafe { sys::virConnectDomainEventDeregisterAny(connection.as_ptr(), number) };
            if let Err(e) = check(returned) {
                tracing::trace!(error = %e, "an event callback could not be taken back at the host");
            }
        }
    }
}

/// A callback in the form in which libvirt takes all of them.
type Generic = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void);

type Lifecycle = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_int, c_int, *mut c_void) -> c_int;
type Agent = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_int, c_int, *mut c_void);
type Device = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *const c_char, *mut c_void);
type Balloon = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_ulonglong, *mut c_void);
type Metadata = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_int, *const c_char, *mut c_void);

fn callbacks() -> [(sys::virDomainEventID, Generic); 7] {
    // SAFETY: libvirt wants every callback as the generic type (its `VIR_DOMAIN_EVENT_CALLBACK`) and calls it as the
    // type that belongs to the id beside it, which is the type of the function here.
    unsafe {
        use std::mem::transmute;
        [
            (sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE, transmute::<Lifecycle, Generic>(on_lifecycle)),
            (sys::VIR_DOMAIN_EVENT_ID_REBOOT, on_reboot),
            (sys::VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, transmute::<Agent, Generic>(on_agent)),
            (sys::VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, transmute::<Device, Generic>(on_device_added)),
            (sys::VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, transmute::<Device, Generic>(on_device_removed)),
            (sys::VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, transmute::<Balloon, Generic>(on_balloon)),
            (sys::VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, transmute::<Metadata, Generic>(on_metadata)),
        ]
    }
}

fn register_one(
    connection: &Connect,
    id: sys::virDomainEventID,
    callback: Generic,
    sink: &Sink,
) -> Result<c_int, LibvirtError> {
    let opaque = lend(Arc::clone(sink));
    // SAFETY: the handle is valid, a null domain means all of them, the callback fits the id, and the free function
    // fits what `opaque` holds.
    let returned = unsafe {
        sys::virConnectDomainEventRegisterAny(
            connection.as_ptr(),
            std::ptr::null_mut(),
            id as c_int,
            Some(callback),
            opaque,
            Some(release::<Sink>),
        )
    };
    check(returned).inspect_err(|_| {
        // SAFETY: libvirt did not take it, so it is still ours, and used no more.
        unsafe { release::<Sink>(opaque) };
    })
}

/// Copies what every callback needs and hands it on.
///
/// # Safety
///
/// `domain` is the domain that libvirt gave to a callback; `opaque` is a lent [`Sink`].
unsafe fn deliver(domain: sys::virDomainPtr, opaque: *mut c_void, kind: EventKind) {
    guarded("domain event", || {
        let mut uuid = [0u8; sys::VIR_UUID_BUFLEN as usize];
        // SAFETY: the domain is valid during the callback; the buffer has the length that libvirt writes. Both calls
        // only read the handle, they send nothing to the host.
        let (returned, name) =
            unsafe { (sys::virDomainGetUUID(domain, uuid.as_mut_ptr()), copy_text(sys::virDomainGetName(domain))) };
        let (0, Some(name)) = (returned, name) else { return };
        // SAFETY: `register_one` lent a `Sink`, which libvirt frees only after its last callback.
        let sink = unsafe { &*opaque.cast::<Sink>() };
        sink(DomainEvent { uuid: Uuid::from_bytes(uuid), name, kind });
    });
}

unsafe extern "C" fn on_lifecycle(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    event: c_int,
    detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: libvirt calls this with the domain of the event and with what was registered.
    unsafe { deliver(domain, opaque, EventKind::Lifecycle { event, detail }) };
    0
}

unsafe extern "C" fn on_reboot(_: sys::virConnectPtr, domain: sys::virDomainPtr, opaque: *mut c_void) {
    // SAFETY: as in `on_lifecycle`.
    unsafe { deliver(domain, opaque, EventKind::Reboot) };
}

unsafe extern "C" fn on_agent(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    state: c_int,
    _: c_int,
    opaque: *mut c_void,
) {
    // SAFETY: as in `on_lifecycle`.
    unsafe { deliver(domain, opaque, EventKind::Agent { state }) };
}

unsafe extern "C" fn on_device_added(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: as in `on_lifecycle`.
    unsafe { deliver(domain, opaque, EventKind::DeviceAdded) };
}

unsafe extern "C" fn on_device_removed(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: as in `on_lifecycle`.
    unsafe { deliver(domain, opaque, EventKind::DeviceRemoved) };
}

unsafe extern "C" fn on_balloon(_: sys::virConnectPtr, domain: sys::virDomainPtr, _: c_ulonglong, opaque: *mut c_void) {
    // SAFETY: as in `on_lifecycle`.
    unsafe { deliver(domain, opaque, EventKind::Balloon) };
}

unsafe extern "C" fn on_metadata(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _: c_int,
    _: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: as in `on_lifecycle`.
    unsafe { deliver(domain, opaque, EventKind::Metadata) };
}
