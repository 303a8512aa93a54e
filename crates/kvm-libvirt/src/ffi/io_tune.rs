//! How fast the disks of a domain may be used.

use std::ffi::{CStr, c_char};

use virt::domain::Domain;
use virt::sys;

use super::check;
use crate::error::LibvirtError;

/// Sets limits by their names, in place of those that there are: `virDomainSetBlockIoTune`.
pub(crate) fn set(domain: &Domain, disk: &CStr, limits: &[(&str, u64)], flags: u32) -> Result<(), LibvirtError> {
    let mut parameters: Vec<_> = limits.iter().map(|(name, limit)| parameter(name, *limit)).collect();
    let count = i32::try_from(parameters.len()).unwrap_or_default();
    let first = parameters.as_mut_ptr();
    // SAFETY: the handle is valid, the string lives as long as the call, and there are as many parameters as it says.
    check(unsafe { sys::virDomainSetBlockIoTune(domain.as_ptr(), disk.as_ptr(), first, count, flags) }).map(drop)
}

fn parameter(name: &str, value: u64) -> sys::virTypedParameter {
    let mut parameter = sys::virTypedParameter {
        field: [0; 80],
        type_: sys::VIR_TYPED_PARAM_ULLONG as i32,
        value: sys::_virTypedParameterValue { ul: value },
    };
    // The last place stays the closing NUL.
    let room = parameter.field.len() - 1;
    for (place, byte) in parameter.field[..room].iter_mut().zip(name.bytes()) {
        *place = byte as c_char;
    }
    parameter
}
