//! What must never reach a hypervisor, whoever asks.
//!
//! A hypervisor may be harmed by a document that it merely parses: libvirt 11.3 deletes other machines' files when a
//! domain is named `..`, and aborts on 4294967295 virtual CPUs. Every backend passes every document through here
//! first. What is unwise but harmless is for the engines to refuse.

use crate::{Bytes, Error, NetworkName, PoolName, Result, VcpuCount, VmId, VmName, VolumeName};

/// The most memory or storage that a document may name; libvirt's own arithmetic is safe below it.
const MOST: Bytes = Bytes::new(1 << 60);

/// The most I/O threads that a document may ask for.
const MOST_IOTHREADS: u32 = 1024;

/// Refuses a machine's document that could harm the hypervisor which reads it. `InvalidInput` names the element.
pub fn check_definition(doc: &kvm_xml::Domain) -> Result<()> {
    VmName::adopt(required("name", doc.name.as_deref())?)?;
    let uuid = doc.uuid.ok_or_else(|| Error::invalid("uuid", "the document has no uuid"))?;
    VmId::adopt(&uuid.hyphenated().to_string())?;
    if let Some(vcpu) = &doc.vcpu {
        // A number that does not fit its type is no number here, but would be written back as it was read.
        let most = VcpuCount::new(vcpu.value.ok_or_else(|| unreadable("vcpu"))?.into())?;
        if vcpu.current.is_some_and(|current| u32::from(current) > most.get()) {
            return Err(Error::invalid("vcpu.current", format!("more than the {most} virtual CPUs there are")));
        }
    }
    if doc.iothreads.is_some_and(|n| n > MOST_IOTHREADS) {
        return Err(Error::invalid("iothreads", format!("more than {MOST_IOTHREADS} I/O threads")));
    }
    let memory = doc.memory.as_ref().map(|m| ("memory", m.bytes()));
    let current = doc.current_memory.as_ref().map(|m| ("currentMemory", m.bytes()));
    let most = doc.max_memory.as_ref().map(|m| ("maxMemory", m.bytes()));
    for (field, bytes) in [memory, current, most].into_iter().flatten() {
        bounded(field, bytes)?;
    }
    Ok(())
}

/// Refuses a pool's document that could harm the host which reads it. `InvalidInput` names the element.
pub fn check_pool(doc: &kvm_xml::StoragePool) -> Result<PoolName> {
    PoolName::adopt(required("name", doc.name.as_deref())?)
}

/// Refuses a volume's document that could harm the host which reads it. `InvalidInput` names the element.
pub fn check_volume(doc: &kvm_xml::StorageVolume) -> Result<VolumeName> {
    let capacity = doc.capacity.as_ref().ok_or_else(|| Error::invalid("capacity", "the document has no capacity"))?;
    bounded("capacity", capacity.bytes())?;
    if let Some(allocation) = &doc.allocation {
        bounded("allocation", allocation.bytes())?;
    }
    VolumeName::adopt(required("name", doc.name.as_deref())?)
}

/// Refuses a network's document that could harm the host which reads it. `InvalidInput` names the element.
pub fn check_network(doc: &kvm_xml::Network) -> Result<NetworkName> {
    NetworkName::adopt(required("name", doc.name.as_deref())?)
}

fn required<'a>(field: &str, value: Option<&'a str>) -> Result<&'a str> {
    value.ok_or_else(|| Error::invalid(field, format!("the document has no {field}")))
}

fn unreadable(field: &str) -> Error {
    Error::invalid(field, format!("the document's {field} is not a number within its range"))
}

fn bounded(field: &str, bytes: Option<u64>) -> Result<()> {
    match bytes {
        Some(bytes) if Bytes::new(bytes) <= MOST => Ok(()),
        Some(_) => Err(Error::invalid(field, format!("more than {MOST}"))),
        None => Err(unreadable(field)),
    }
}

#[cfg(test)]
mod tests {
    use kvm_xml::{Document, Domain, StorageVolume};

    use super::*;
    use crate::ErrorKind;

    fn domain(inner: &str) -> Domain {
        Domain::from_xml(&format!(
            "<domain type='test'><uuid>8fbf2b8e-3b3c-4b1e-9a51-000000000001</uuid>{inner}</domain>"
        ))
        .unwrap()
    }

    #[test]
    fn an_ordinary_document_passes() {
        check_definition(&domain("<name>web</name><memory unit='GiB'>2</memory><vcpu current='1'>2</vcpu>")).unwrap();
    }

    #[test]
    fn what_harms_a_hypervisor_is_refused_by_field() {
        for (inner, field) in [
            ("", "name"),
            ("<name>..</name>", "vm"),
            ("<name>.</name>", "vm"),
            ("<name>a/b</name>", "vm"),
            ("<name>a</name><vcpu>-1</vcpu>", "vcpu"),
            ("<name>a</name><vcpu>4294967295</vcpu>", "vcpu"),
            ("<name>a</name><vcpu>16777216</vcpu>", "vcpu"),
            ("<name>a</name><vcpu>0</vcpu>", "vcpu"),
            ("<name>a</name><vcpu current='3'>2</vcpu>", "vcpu"),
            ("<name>a</name><iothreads>1000000</iothreads>", "iothreads"),
            ("<name>a</name><memory unit='EiB'>8</memory>", "memory"),
            ("<name>a</name><memory unit='TiB'>18446744073709551615</memory>", "memory"),
            ("<name>a</name><memory>-1</memory>", "memory"),
        ] {
            let e = check_definition(&domain(inner)).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidInput, "{inner}");
            assert!(e.resource().unwrap().to_string().contains(field), "{inner}: {e:?}");
        }
        let nameless = Domain::from_xml("<domain><name>a</name></domain>").unwrap();
        assert_eq!(check_definition(&nameless).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_volume_needs_a_capacity_in_range() {
        for (xml, ok) in [
            ("<volume><name>a</name><capacity>1048576</capacity></volume>", true),
            ("<volume><name>a</name></volume>", false),
            ("<volume><name>a</name><capacity>9223372036854775807</capacity></volume>", false),
            ("<volume><name>a</name><capacity>-5</capacity></volume>", false),
            ("<volume><name>..</name><capacity>1048576</capacity></volume>", false),
        ] {
            assert_eq!(check_volume(&StorageVolume::from_xml(xml).unwrap()).is_ok(), ok, "{xml}");
        }
    }
}
