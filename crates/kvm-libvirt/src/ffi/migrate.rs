//! Migration of a domain, and what its job says.

use std::ffi::{CStr, CString, c_int, c_uint};
use std::ptr;

use virt::connect::Connect;
use virt::domain::Domain;
use virt::sys;

use super::stats::{Record, decode_params};
use super::{check, error};
use crate::error::LibvirtError;

/// Typed parameters that libvirt built, and frees.
pub(crate) struct Params {
    first: sys::virTypedParameterPtr,
    len: c_int,
    room: c_int,
}

impl Params {
    pub(crate) fn new() -> Self {
        Self { first: ptr::null_mut(), len: 0, room: 0 }
    }

    /// Adds a text. A field may stand there several times, as a list.
    pub(crate) fn text(&mut self, field: &CStr, value: &str) -> Result<(), LibvirtError> {
        let value = c_string(value)?;
        // SAFETY: the three describe an array that libvirt allocated, or none; both strings are copied by the call.
        check(unsafe {
            sys::virTypedParamsAddString(
                &raw mut self.first,
                &raw mut self.len,
                &raw mut self.room,
                field.as_ptr(),
                value.as_ptr(),
            )
        })
        .map(drop)
    }

    /// Adds a large count.
    pub(crate) fn count(&mut self, field: &CStr, value: u64) -> Result<(), LibvirtError> {
        // SAFETY: as in `text`.
        check(unsafe {
            sys::virTypedParamsAddULLong(
                &raw mut self.first,
                &raw mut self.len,
                &raw mut self.room,
                field.as_ptr(),
                value,
            )
        })
        .map(drop)
    }

    /// Adds a small number.
    pub(crate) fn number(&mut self, field: &CStr, value: c_int) -> Result<(), LibvirtError> {
        // SAFETY: as in `text`.
        check(unsafe {
            sys::virTypedParamsAddInt(&raw mut self.first, &raw mut self.len, &raw mut self.room, field.as_ptr(), value)
        })
        .map(drop)
    }
}

impl Drop for Params {
    fn drop(&mut self) {
        // SAFETY: the array came from libvirt, with `len` parameters in it, and nothing refers to it any more. Null is
        // fine.
        unsafe { sys::virTypedParamsFree(self.first, self.len) };
    }
}

/// Migrates with both connections in this process: `virDomainMigrate3`.
pub(crate) fn by_client(
    domain: &Domain,
    to: &Connect,
    params: &Params,
    flags: sys::virDomainMigrateFlags,
) -> Result<(), LibvirtError> {
    // SAFETY: both handles are valid, and the parameters are only read.
    let there = unsafe {
        sys::virDomainMigrate3(domain.as_ptr(), to.as_ptr(), params.first, params.len as c_uint, flags as c_uint)
    };
    if there.is_null() {
        return Err(error::last());
    }
    // SAFETY: a handle of our own, which nobody else has.
    unsafe { sys::virDomainFree(there) };
    Ok(())
}

/// Has the source migrate by itself: `virDomainMigrateToURI3`.
pub(crate) fn by_source(
    domain: &Domain,
    to: &str,
    params: &Params,
    flags: sys::virDomainMigrateFlags,
) -> Result<(), LibvirtError> {
    let to = c_string(to)?;
    // SAFETY: the handle is valid, and text and parameters are only read.
    check(unsafe {
        sys::virDomainMigrateToURI3(domain.as_ptr(), to.as_ptr(), params.first, params.len as c_uint, flags as c_uint)
    })
    .map(drop)
}

/// Lets a migration that allows it go on with post-copy: `virDomainMigrateStartPostCopy`.
pub(crate) fn start_post_copy(domain: &Domain) -> Result<(), LibvirtError> {
    // SAFETY: the handle is valid.
    check(unsafe { sys::virDomainMigrateStartPostCopy(domain.as_ptr(), 0) }).map(drop)
}

/// Ends the job that a domain has: `virDomainAbortJob`.
pub(crate) fn abort(domain: &Domain) -> Result<(), LibvirtError> {
    // SAFETY: the handle is valid.
    check(unsafe { sys::virDomainAbortJob(domain.as_ptr()) }).map(drop)
}

/// What a domain's job says: `virDomainGetJobStats`. The first is its `virDomainJobType`.
pub(crate) fn job(
    domain: &Domain,
    flags: sys::virDomainGetJobStatsFlags,
) -> Result<(sys::virDomainJobType, Record), LibvirtError> {
    let (mut kind, mut first, mut len) = (0, ptr::null_mut(), 0);
    // SAFETY: the handle is valid; libvirt stores a type, an array and its length, or leaves null and zero there.
    check(unsafe {
        sys::virDomainGetJobStats(domain.as_ptr(), &raw mut kind, &raw mut first, &raw mut len, flags as c_uint)
    })?;
    let params = Params { first, len, room: len };
    // SAFETY: the call gave `len` parameters, each of libvirt's own types.
    let fields = unsafe { decode_params(params.first, params.len) };
    Ok((kind as sys::virDomainJobType, Record { fields, ..Record::default() }))
}

/// Compares a CPU with what the hypervisor of a host can give: `virConnectCompareHypervisorCPU`.
pub(crate) fn compare_cpu(
    connection: &Connect,
    arch: Option<&str>,
    machine: Option<&str>,
    virt_type: Option<&str>,
    cpu: &str,
) -> Result<sys::virCPUCompareResult, LibvirtError> {
    let optional = |text: Option<&str>| text.map(c_string).transpose();
    let (arch, machine, virt_type) = (optional(arch)?, optional(machine)?, optional(virt_type)?);
    let pointer = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
    let cpu = c_string(cpu)?;
    // SAFETY: the handle is valid; each text is null, which means the host's default, or lives until the call returns.
    check(unsafe {
        sys::virConnectCompareHypervisorCPU(
            connection.as_ptr(),
            ptr::null(),
            pointer(&arch),
            pointer(&machine),
            pointer(&virt_type),
            cpu.as_ptr(),
            0,
        )
    })
}

fn c_string(text: &str) -> Result<CString, LibvirtError> {
    CString::new(text).map_err(|_| {
        LibvirtError::new(sys::VIR_ERR_INVALID_ARG, sys::VIR_FROM_NONE, "a text contains a NUL character", None)
    })
}
