//! Block jobs of a domain's disks.

use std::ffi::{CStr, CString, c_char, c_ulong};

use virt::domain::Domain;
use virt::sys;

use super::check;
use crate::error::LibvirtError;

/// What libvirt says of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    /// `virDomainBlockJobType`.
    pub(crate) kind: u32,
    pub(crate) done: u64,
    pub(crate) total: u64,
}

/// The job of a disk; `None` when nothing is under way: `virDomainGetBlockJobInfo`.
pub(crate) fn info(domain: &Domain, disk: &CStr) -> Result<Option<Info>, LibvirtError> {
    let mut info = sys::virDomainBlockJobInfo { type_: 0, bandwidth: 0, cur: 0, end: 0 };
    // SAFETY: the handle is valid, and libvirt writes no more than this structure.
    let found = check(unsafe { sys::virDomainGetBlockJobInfo(domain.as_ptr(), disk.as_ptr(), &raw mut info, 0) })?;
    let kind = u32::try_from(info.type_).unwrap_or_default();
    Ok((found > 0).then_some(Info { kind, done: info.cur, total: info.end }))
}

/// Begins a commit of the active image: `virDomainBlockCommit`. The speed is in bytes per second, 0 for no limit.
pub(crate) fn commit(domain: &Domain, disk: &CStr, base: &CStr, speed: u64) -> Result<(), LibvirtError> {
    let flags = sys::VIR_DOMAIN_BLOCK_COMMIT_ACTIVE | sys::VIR_DOMAIN_BLOCK_COMMIT_BANDWIDTH_BYTES;
    let (base, speed, top) = (base.as_ptr(), c_ulong::from(speed), std::ptr::null());
    // SAFETY: the handle is valid and the strings live as long as the call; without a top it is the active image.
    let begun = unsafe { sys::virDomainBlockCommit(domain.as_ptr(), disk.as_ptr(), base, top, speed, flags) };
    check(begun).map(drop)
}

/// Begins a pull: `virDomainBlockRebase`, which without a base pulls everything.
pub(crate) fn pull(domain: &Domain, disk: &CStr, base: Option<&CStr>, speed: u64) -> Result<(), LibvirtError> {
    let base = base.map_or(std::ptr::null(), CStr::as_ptr);
    let flags = sys::VIR_DOMAIN_BLOCK_REBASE_BANDWIDTH_BYTES;
    // SAFETY: the handle is valid and the strings live as long as the call.
    let begun = unsafe { sys::virDomainBlockRebase(domain.as_ptr(), disk.as_ptr(), base, c_ulong::from(speed), flags) };
    check(begun).map(drop)
}

/// Begins a copy into an image that is there: `virDomainBlockCopy`.
pub(crate) fn copy(domain: &Domain, disk: &CStr, to: &CStr, speed: u64) -> Result<(), LibvirtError> {
    // A persistent domain takes copies only with the word that they end with its process.
    let flags = sys::VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | sys::VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB;
    let mut bandwidth = sys::virTypedParameter {
        field: [0; 80],
        type_: sys::VIR_TYPED_PARAM_ULLONG as i32,
        value: sys::_virTypedParameterValue { ul: speed },
    };
    let name = sys::VIR_DOMAIN_BLOCK_COPY_BANDWIDTH.to_bytes();
    for (place, byte) in bandwidth.field.iter_mut().zip(name) {
        *place = *byte as c_char;
    }
    let count = i32::from(speed > 0);
    // SAFETY: the handle is valid, the strings live as long as the call, and there are as many parameters as it says.
    let begun = unsafe {
        sys::virDomainBlockCopy(domain.as_ptr(), disk.as_ptr(), to.as_ptr(), &raw mut bandwidth, count, flags)
    };
    check(begun).map(drop)
}

/// Ends a job, with or without going over to its image, and waits until it has ended: `virDomainBlockJobAbort`.
pub(crate) fn end(domain: &Domain, disk: &CStr, pivot: bool) -> Result<(), LibvirtError> {
    let flags = if pivot { sys::VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT } else { 0 };
    // SAFETY: the handle is valid and the string lives as long as the call.
    check(unsafe { sys::virDomainBlockJobAbort(domain.as_ptr(), disk.as_ptr(), flags) }).map(drop)
}

/// Text for libvirt. Names and paths are parsed and have no NUL; one that has is cut off there.
pub(crate) fn text(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}
