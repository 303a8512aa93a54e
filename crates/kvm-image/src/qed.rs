//! QED, QEMU's enhanced disk, by QEMU's specification of it (`docs/interop/qed_spec.txt`).

use kvm_core::Bytes;
use serde::Serialize;

use crate::inspect::{Ends, Facts, Header as AnyHeader};
use crate::read::{Fault, Fields, Source, file_name, malformed};
use crate::{Format, Reference, Risk};

const BACKING: u64 = 1;
const NEED_CHECK: u64 = 1 << 1;
const BACKING_IS_RAW: u64 = 1 << 2;
const KNOWN: u64 = BACKING | NEED_CHECK | BACKING_IS_RAW;

/// The header of a QED image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Header {
    /// The size of the guest's disk.
    pub virtual_size: Bytes,
    /// Bytes in a cluster.
    pub cluster_size: u32,
    /// Features that a reader must know.
    pub features: u64,
    /// The image below.
    pub backing: Option<Reference>,
}

pub(crate) fn matches(ends: &Ends<'_>) -> bool {
    ends.head.has(0, b"QED\0")
}

pub(crate) fn read(source: &mut Source<'_>) -> Result<(AnyHeader, Facts), Fault> {
    let bytes = source.bytes(0, 64, "the header")?;
    let fields = Fields(&bytes);
    let (cluster_size, features) = (fields.le32(4), fields.le64(16));
    if !cluster_size.is_power_of_two() || !(1 << 12..=1 << 26).contains(&cluster_size) {
        return Err(malformed(format!("clusters of {cluster_size} bytes")));
    }
    let backing = if features & BACKING == 0 {
        None
    } else {
        let (offset, length) = (fields.le32(56), fields.le32(60));
        if length > 1023 {
            return Err(malformed(format!("the name of its backing file has {length} bytes")));
        }
        let name = source.bytes(offset.into(), length.into(), "the name of its backing file")?;
        let format = (features & BACKING_IS_RAW != 0).then(|| Format::Raw.as_str().to_owned());
        Some(Reference::new(file_name(name, "backing file")?, format))
    };
    let header = Header { virtual_size: Bytes::new(fields.le64(48)), cluster_size, features, backing };
    let (format, unknown) = (Format::Qed, features & !KNOWN);
    let mut risks = Vec::new();
    if unknown != 0 {
        risks.push(Risk::UnknownFeatures { format, what: format!("the incompatible features {unknown:#x}") });
    }
    if features & NEED_CHECK != 0 {
        risks.push(Risk::NeedsRepair { format, what: "was not closed properly".into() });
    }
    let (virtual_size, backing) = (Some(header.virtual_size), header.backing.clone());
    Ok((AnyHeader::Qed(header), Facts { virtual_size, backing, risks, ..Facts::default() }))
}
