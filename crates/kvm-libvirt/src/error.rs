//! libvirt's errors, and what kind of thing went wrong.

use kvm_core::ErrorKind;
use virt::sys;

use crate::ffi;

/// An error as libvirt tells it. It is the source of this crate's errors, for logs and for people: its text may be
/// translated or reworded by any version, so no program should look at it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LibvirtError {
    code: u32,
    domain: u32,
    message: String,
    os_error: Option<i32>,
}

impl LibvirtError {
    pub(crate) fn new(
        code: sys::virErrorNumber,
        domain: sys::virErrorDomain,
        message: impl Into<String>,
        os_error: Option<i32>,
    ) -> Self {
        Self { code, domain, message: message.into(), os_error }
    }

    /// The number of the error (`virErrorNumber`).
    #[must_use]
    pub fn code(&self) -> u32 {
        self.code
    }

    /// The part of libvirt that it comes from (`virErrorDomain`).
    #[must_use]
    pub fn domain(&self) -> u32 {
        self.domain
    }

    /// libvirt's words.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The system's error number, where a system call went wrong.
    #[must_use]
    pub fn os_error(&self) -> Option<i32> {
        self.os_error
    }

    /// Whether the number is this one.
    pub(crate) fn is(&self, code: sys::virErrorNumber) -> bool {
        self.code == code
    }

    /// What kind of error the number alone proves; `None` for numbers that libvirt uses for many things
    /// (`INTERNAL_ERROR`, `OPERATION_FAILED`, `OPERATION_INVALID`, most of `SYSTEM_ERROR`): whoever asked has to look
    /// again at what is true now.
    pub(crate) fn kind(&self) -> Option<ErrorKind> {
        match self.code {
            sys::VIR_ERR_SYSTEM_ERROR => self.os_error.and_then(kind_of_os_error),

            sys::VIR_ERR_NO_DOMAIN
            | sys::VIR_ERR_NO_NETWORK
            | sys::VIR_ERR_NO_STORAGE_POOL
            | sys::VIR_ERR_NO_STORAGE_VOL
            | sys::VIR_ERR_NO_DOMAIN_SNAPSHOT
            | sys::VIR_ERR_NO_DOMAIN_CHECKPOINT
            | sys::VIR_ERR_NO_NWFILTER
            | sys::VIR_ERR_NO_NODE_DEVICE
            | sys::VIR_ERR_NO_SECRET
            | sys::VIR_ERR_NO_DOMAIN_METADATA => Some(ErrorKind::NotFound),

            sys::VIR_ERR_DOM_EXIST | sys::VIR_ERR_NETWORK_EXIST | sys::VIR_ERR_STORAGE_VOL_EXIST => {
                Some(ErrorKind::AlreadyExists)
            }

            sys::VIR_ERR_OPERATION_DENIED
            | sys::VIR_ERR_ACCESS_DENIED
            | sys::VIR_ERR_AUTH_FAILED
            | sys::VIR_ERR_AUTH_CANCELLED
            | sys::VIR_ERR_AUTH_UNAVAILABLE => Some(ErrorKind::Denied),

            sys::VIR_ERR_INVALID_ARG
            | sys::VIR_ERR_OS_TYPE
            | sys::VIR_ERR_XML_ERROR
            | sys::VIR_ERR_XML_DETAIL
            | sys::VIR_ERR_XML_INVALID_SCHEMA
            | sys::VIR_ERR_INVALID_MAC
            | sys::VIR_ERR_OVERFLOW => Some(ErrorKind::InvalidInput),

            sys::VIR_ERR_NO_SUPPORT
            | sys::VIR_ERR_CONFIG_UNSUPPORTED
            | sys::VIR_ERR_ARGUMENT_UNSUPPORTED
            | sys::VIR_ERR_OPERATION_UNSUPPORTED
            | sys::VIR_ERR_CPU_INCOMPATIBLE => Some(ErrorKind::Unsupported),

            // The lock on a machine's state could not be had in time, or a device is somebody else's.
            sys::VIR_ERR_OPERATION_TIMEOUT | sys::VIR_ERR_RESOURCE_BUSY | sys::VIR_ERR_BLOCK_COPY_ACTIVE => {
                Some(ErrorKind::Busy)
            }

            sys::VIR_ERR_OPERATION_ABORTED => Some(ErrorKind::Cancelled),

            sys::VIR_ERR_NO_CONNECT
            | sys::VIR_ERR_UNKNOWN_HOST
            | sys::VIR_ERR_RPC
            | sys::VIR_ERR_AGENT_UNRESPONSIVE
            | sys::VIR_ERR_AGENT_UNSYNCED
            | sys::VIR_ERR_AGENT_COMMAND_TIMEOUT
            | sys::VIR_ERR_NO_MEMORY => Some(ErrorKind::Unavailable),

            _ => None,
        }
    }

    /// The kind when looking again explained nothing.
    pub(crate) fn kind_unexplained(&self) -> ErrorKind {
        self.kind().unwrap_or(match self.code {
            // libvirt's own description: not applicable at this time.
            sys::VIR_ERR_OPERATION_INVALID => ErrorKind::InvalidState,
            _ => ErrorKind::Internal,
        })
    }
}

fn kind_of_os_error(number: i32) -> Option<ErrorKind> {
    match number {
        libc::EACCES | libc::EPERM => Some(ErrorKind::Denied),
        libc::ENOSPC | libc::EDQUOT => Some(ErrorKind::NoSpace),
        libc::EBUSY | libc::ETXTBSY => Some(ErrorKind::Busy),
        libc::ECONNREFUSED
        | libc::ECONNRESET
        | libc::ECONNABORTED
        | libc::EPIPE
        | libc::ETIMEDOUT
        | libc::EHOSTUNREACH
        | libc::EHOSTDOWN
        | libc::ENETUNREACH
        | libc::ENETDOWN => Some(ErrorKind::Unavailable),
        _ => None,
    }
}

/// Turns "there is none" into `None`.
pub(crate) fn optional<T, E: Into<LibvirtError>>(found: Result<T, E>) -> Result<Option<T>, LibvirtError> {
    match found.map_err(Into::into) {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == Some(ErrorKind::NotFound) => Ok(None),
        Err(e) => Err(e),
    }
}

impl From<virt::error::Error> for LibvirtError {
    /// Must run on the thread, and before the next libvirt call on it: `virt` drops the system's error number, which
    /// libvirt still holds until then.
    fn from(e: virt::error::Error) -> Self {
        let last = ffi::error::last();
        if last.code == e.code().to_raw() && last.message == e.message() {
            return last;
        }
        Self::new(e.code().to_raw(), e.domain().to_raw(), e.message(), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: sys::virErrorNumber, os_error: Option<i32>) -> LibvirtError {
        LibvirtError::new(code, sys::VIR_FROM_NONE, "any text", os_error)
    }

    #[test]
    fn numbers_that_say_one_thing_have_a_kind() {
        for (code, kind) in [
            (sys::VIR_ERR_NO_DOMAIN, ErrorKind::NotFound),
            (sys::VIR_ERR_NO_STORAGE_VOL, ErrorKind::NotFound),
            (sys::VIR_ERR_STORAGE_VOL_EXIST, ErrorKind::AlreadyExists),
            (sys::VIR_ERR_AUTH_FAILED, ErrorKind::Denied),
            (sys::VIR_ERR_XML_ERROR, ErrorKind::InvalidInput),
            (sys::VIR_ERR_NO_SUPPORT, ErrorKind::Unsupported),
            (sys::VIR_ERR_OPERATION_TIMEOUT, ErrorKind::Busy),
            (sys::VIR_ERR_AGENT_UNRESPONSIVE, ErrorKind::Unavailable),
        ] {
            assert_eq!(error(code, None).kind(), Some(kind), "{code}");
        }
    }

    #[test]
    fn numbers_that_say_many_things_have_none() {
        for code in [
            sys::VIR_ERR_INTERNAL_ERROR,
            sys::VIR_ERR_OPERATION_FAILED,
            sys::VIR_ERR_OPERATION_INVALID,
            sys::VIR_ERR_SYSTEM_ERROR,
        ] {
            assert_eq!(error(code, None).kind(), None, "{code}");
        }
        assert_eq!(error(sys::VIR_ERR_OPERATION_INVALID, None).kind_unexplained(), ErrorKind::InvalidState);
        assert_eq!(error(sys::VIR_ERR_INTERNAL_ERROR, None).kind_unexplained(), ErrorKind::Internal);
    }

    #[test]
    fn a_system_error_is_what_the_system_says() {
        for (number, kind) in [
            (libc::EACCES, Some(ErrorKind::Denied)),
            (libc::ENOSPC, Some(ErrorKind::NoSpace)),
            (libc::ECONNREFUSED, Some(ErrorKind::Unavailable)),
            (libc::ENOENT, None),
        ] {
            assert_eq!(error(sys::VIR_ERR_SYSTEM_ERROR, Some(number)).kind(), kind, "{number}");
        }
    }

    #[test]
    fn the_number_of_a_system_error_survives_the_wrapper() {
        ffi::event_loop::ensure_started().unwrap();
        let missing = "qemu+unix:///system?socket=/nonexistent/libvirt-sock";
        let e: LibvirtError = virt::connect::Connect::open(Some(missing)).unwrap_err().into();
        assert_eq!(e.code(), sys::VIR_ERR_SYSTEM_ERROR);
        assert_eq!(e.os_error(), Some(libc::ENOENT));
    }
}
