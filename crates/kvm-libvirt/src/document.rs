//! Documents on their way from and to libvirt.

use kvm_core::ErrorKind;
use kvm_xml::{Document, ParseOptions};

use crate::error::LibvirtError;
use crate::task::{Failure, Task};

/// libvirt sends no longer string.
const LIMITS: ParseOptions = ParseOptions { max_bytes: 4 << 20, ..ParseOptions::LENIENT };

/// Reads a document that libvirt wrote.
pub(crate) fn read<D: Document>(task: &Task<'_>, xml: &str) -> Result<D, Failure> {
    D::from_xml_with(xml, &LIMITS).map_err(|e| {
        let message = format!("the document of {} cannot be read", task.resource());
        task.error(ErrorKind::Internal, message).with_source(e).into()
    })
}

/// The error for a document that libvirt did not take, after looking again found no other reason.
pub(crate) fn refused(task: &Task<'_>, e: LibvirtError) -> Failure {
    match e.kind() {
        // Not the document's fault.
        Some(
            ErrorKind::AlreadyExists
            | ErrorKind::Busy
            | ErrorKind::Cancelled
            | ErrorKind::Denied
            | ErrorKind::NoSpace
            | ErrorKind::NotFound
            | ErrorKind::Unavailable,
        ) => e.into(),
        _ if task.session().is_lost() => e.into(),
        _ => {
            let message = format!("libvirt refuses the document of {}", task.resource());
            task.error(ErrorKind::InvalidInput, message).with_source(e).into()
        }
    }
}

/// What an operation finds when it looks again, or else what libvirt said.
///
/// The error is taken before the look, which overwrites what the thread keeps of it.
pub(crate) fn looked_again(
    e: impl Into<LibvirtError>,
    look: impl FnOnce() -> Result<(), Failure>,
    otherwise: impl FnOnce(LibvirtError) -> Failure,
) -> Failure {
    let e = e.into();
    match look() {
        Err(Failure::Known(known)) => known.with_source(e).into(),
        _ => otherwise(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_again_does_not_change_what_went_wrong() {
        crate::ffi::event_loop::ensure_started().unwrap();
        let open = |socket: &str| {
            virt::connect::Connect::open(Some(&format!("qemu+unix:///system?socket=/nonexistent/{socket}"))).map(drop)
        };
        let e = open("sock").unwrap_err();
        let failure = looked_again(e, || open(&"x".repeat(500)).map_err(Failure::from), Failure::Libvirt);
        let Failure::Libvirt(e) = failure else { panic!("nothing was found") };
        assert_eq!(e.os_error(), Some(libc::ENOENT));
    }
}
