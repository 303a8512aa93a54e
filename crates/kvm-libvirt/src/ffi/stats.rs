//! Statistics of many domains in one call.

use std::collections::HashMap;
use std::ffi::{c_int, c_uint};
use std::time::Instant;

use uuid::Uuid;
use virt::connect::Connect;
use virt::sys;

use super::{check, copy_text};
use crate::error::LibvirtError;

/// What one domain's record says, by libvirt's own field names (`cpu.time`, `block.0.rd.bytes`…).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record {
    pub(crate) uuid: Uuid,
    pub(crate) name: String,
    pub(crate) fields: HashMap<String, Value>,
}

/// A typed parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Signed(i64),
    Unsigned(u64),
    Double(f64),
    Text(String),
}

impl Record {
    /// A count; `None` when the field is missing, negative or no integer.
    pub(crate) fn unsigned(&self, field: &str) -> Option<u64> {
        match self.fields.get(field)? {
            Value::Unsigned(n) => Some(*n),
            Value::Signed(n) => u64::try_from(*n).ok(),
            Value::Double(_) | Value::Text(_) => None,
        }
    }

    /// A string; `None` when the field is missing or no string.
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        match self.fields.get(field)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Asks for these groups of statistics (`VIR_DOMAIN_STATS_*`) of the domains that the flags
/// (`VIR_CONNECT_GET_ALL_DOMAINS_STATS_*`) choose: `virConnectGetAllDomainStats`.
pub(crate) fn all_domains(
    connection: &Connect,
    groups: sys::virDomainStatsTypes,
    flags: sys::virConnectGetAllDomainStatsFlags,
) -> Result<Vec<Record>, LibvirtError> {
    let mut records = std::ptr::null_mut();
    let begin = Instant::now();
    // SAFETY: the handle is valid; libvirt stores an array that ends in null, or leaves the null there.
    let returned = unsafe {
        sys::virConnectGetAllDomainStats(connection.as_ptr(), groups as c_uint, &raw mut records, flags as c_uint)
    };
    let bulk_call_nanos = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let count = usize::try_from(check(returned)?).unwrap_or(0);
    tracing::trace!(count, bulk_call_nanos, "virConnectGetAllDomainStats");
    // SAFETY: the call gave `count` valid pointers to records.
    let decoded = (0..count).map(|i| unsafe { decode(&**records.add(i)) }).collect();
    // SAFETY: the array came from libvirt, is freed once, and nothing refers into it any more.
    unsafe { sys::virDomainStatsRecordListFree(records) };
    Ok(decoded)
}

/// Copies a record.
///
/// # Safety
///
/// `record` came from libvirt and has not been freed.
unsafe fn decode(record: &sys::virDomainStatsRecord) -> Record {
    let mut uuid = [0u8; sys::VIR_UUID_BUFLEN as usize];
    // SAFETY: the record holds a valid domain; the buffer has the length that libvirt writes.
    let name = unsafe {
        sys::virDomainGetUUID(record.dom, uuid.as_mut_ptr());
        copy_text(sys::virDomainGetName(record.dom))
    };
    // SAFETY: the record holds `nparams` parameters.
    let fields = unsafe { decode_params(record.params, record.nparams) };
    Record { uuid: Uuid::from_bytes(uuid), name: name.unwrap_or_default(), fields }
}

/// Copies an array of typed parameters.
///
/// # Safety
///
/// `first` is null or points to `len` parameters of libvirt's own.
pub(super) unsafe fn decode_params(first: sys::virTypedParameterPtr, len: c_int) -> HashMap<String, Value> {
    let count = if first.is_null() { 0 } else { usize::try_from(len).unwrap_or(0) };
    let mut fields = HashMap::with_capacity(count);
    for i in 0..count {
        // SAFETY: the caller says that there are so many.
        let param = unsafe { &*first.add(i) };
        // SAFETY: the parameter is one of libvirt's own: its type says which member of the union is set.
        if let Some((field, value)) = unsafe { decode_param(param) } {
            fields.insert(field, value);
        }
    }
    fields
}

/// Copies a typed parameter; `None` for a type that this version does not know.
///
/// # Safety
///
/// The type of `param` says which member of its value is set, and its field name ends in NUL.
unsafe fn decode_param(param: &sys::virTypedParameter) -> Option<(String, Value)> {
    // SAFETY: the name is an array inside the parameter that ends in NUL.
    let field = unsafe { copy_text(param.field.as_ptr()) }?;
    // SAFETY: each arm reads the member that this type stands for.
    let value = unsafe {
        match sys::virTypedParameterType::try_from(param.type_).ok()? {
            sys::VIR_TYPED_PARAM_INT => Value::Signed(param.value.i.into()),
            sys::VIR_TYPED_PARAM_UINT => Value::Unsigned(param.value.ui.into()),
            sys::VIR_TYPED_PARAM_LLONG => Value::Signed(param.value.l),
            sys::VIR_TYPED_PARAM_ULLONG => Value::Unsigned(param.value.ul),
            sys::VIR_TYPED_PARAM_DOUBLE => Value::Double(param.value.d),
            sys::VIR_TYPED_PARAM_BOOLEAN => Value::Unsigned(u64::from(param.value.b != 0)),
            sys::VIR_TYPED_PARAM_STRING => Value::Text(copy_text(param.value.s)?),
            _ => return None,
        }
    };
    Some((field, value))
}

#[cfg(test)]
mod tests {
    use std::ffi::{c_char, c_int};

    use super::*;

    fn param(
        name: &str,
        kind: sys::virTypedParameterType,
        set: impl FnOnce(&mut sys::virTypedParameter),
    ) -> Option<(String, Value)> {
        let mut param = sys::virTypedParameter {
            field: [0; 80],
            type_: kind as c_int,
            value: sys::_virTypedParameterValue { ul: 0 },
        };
        for (to, from) in param.field.iter_mut().zip(name.bytes()) {
            *to = from as c_char;
        }
        set(&mut param);
        // SAFETY: the tests set the member that belongs to the type, and the rest of the name is zero.
        unsafe { decode_param(&param) }
    }

    #[test]
    fn every_type_of_parameter_keeps_its_value() {
        let text = c"vda".as_ptr().cast_mut();
        for (got, wanted) in [
            (param("a", sys::VIR_TYPED_PARAM_INT, |p| p.value.i = -1), Value::Signed(-1)),
            (param("a", sys::VIR_TYPED_PARAM_UINT, |p| p.value.ui = u32::MAX), Value::Unsigned(u32::MAX.into())),
            (param("a", sys::VIR_TYPED_PARAM_LLONG, |p| p.value.l = i64::MIN), Value::Signed(i64::MIN)),
            (param("a", sys::VIR_TYPED_PARAM_ULLONG, |p| p.value.ul = u64::MAX), Value::Unsigned(u64::MAX)),
            (param("a", sys::VIR_TYPED_PARAM_DOUBLE, |p| p.value.d = 0.5), Value::Double(0.5)),
            (param("a", sys::VIR_TYPED_PARAM_BOOLEAN, |p| p.value.b = 1), Value::Unsigned(1)),
            (param("a", sys::VIR_TYPED_PARAM_STRING, |p| p.value.s = text), Value::Text("vda".into())),
        ] {
            assert_eq!(got, Some(("a".into(), wanted)));
        }
    }

    #[test]
    fn a_parameter_of_an_unknown_type_is_left_out() {
        assert_eq!(param("a", 99, |_| ()), None);
    }

    #[test]
    fn a_negative_number_is_no_count() {
        let record = Record { fields: [("a".into(), Value::Signed(-1))].into(), ..Record::default() };
        assert_eq!(record.unsigned("a"), None);
    }
}
