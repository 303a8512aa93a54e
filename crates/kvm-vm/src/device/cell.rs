//! NUMA cells of machines that are there already.

use kvm_core::{Bytes, Error, ErrorKind, Existing, Host, Impact, Resource, Result, VcpuCount, View, VmSummary, Which};
use kvm_xml::Domain;
use kvm_xml::domain as xml;
use kvm_xml::value::Unit;

use crate::spec::{NumaCell, check_cells};

/// Gives a machine these cells from its next start. `InvalidState` when more than its configuration is to change,
/// `InvalidInput` for cells that do not fit what it has.
pub(super) async fn set(host: &Host, vm: &VmSummary, cells: &[NumaCell], impact: Impact) -> Result<()> {
    if impact.reaches(Which::Live) {
        let message = "the NUMA cells of a running VM stay as they are";
        let on = Resource::Vm(vm.name.as_str().to_owned());
        return Err(Error::new(ErrorKind::InvalidState, message).on(on).during("plug-live"));
    }
    let mut document = host.hypervisor.definition(&vm.id, View::CONFIG.with_secrets()).await?;
    put_into(&mut document, cells)?;
    host.hypervisor.define(&document, Existing::Replace).await.map(drop)
}

fn put_into(document: &mut Domain, cells: &[NumaCell]) -> Result<()> {
    let vcpus = document.vcpu.as_ref().and_then(|vcpu| vcpu.value).map_or(1, u32::from);
    check_cells(cells, VcpuCount::new(vcpus)?, base_memory(document))?;
    let numa = document.cpu.get_or_insert_default().numa.get_or_insert_default();
    let same_count = numa.cell.len() == cells.len();
    numa.cell.resize_with(cells.len(), xml::NumaCell::default);
    for ((number, cell), wanted) in (0..).zip(&mut numa.cell).zip(cells) {
        cell.id = Some(number);
        cell.cpus = Some(wanted.cpus.clone());
        cell.memory = Some(wanted.memory.kib());
        cell.unit = Some(Unit::KiB);
        // How far it is to cells that come or go is not known.
        cell.distances = cell.distances.take().filter(|_| same_count);
    }
    Ok(())
}

/// The memory without that of modules, which libvirt counts in.
fn base_memory(document: &Domain) -> Bytes {
    let bytes = |memory: Option<u64>| memory.map_or(Bytes::ZERO, Bytes::new);
    let modules = document.devices.iter().flat_map(|devices| &devices.memory);
    let sizes = modules.filter_map(|module| module.target.as_ref()?.size.as_ref()?.bytes());
    let all = bytes(document.memory.as_ref().and_then(|memory| memory.bytes()));
    sizes.fold(all, |left, size| Bytes::new(left.get().saturating_sub(size)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_xml::Document as _;

    fn celled(xml: &str, cells: &[&str]) -> Result<Domain> {
        let mut document = Domain::from_xml(&format!("<domain>{xml}</domain>")).unwrap();
        let cells: Vec<_> = cells.iter().map(|text| text.parse().unwrap()).collect();
        put_into(&mut document, &cells).map(|()| document)
    }

    #[test]
    fn cells_have_every_virtual_cpu_and_what_memory_is_not_in_modules() {
        let module = "<devices><memory model='dimm'><target><size unit='MiB'>512</size><node>0</node></target></memory></devices>";
        let machine = format!("<memory unit='MiB'>1536</memory><vcpu current='1'>2</vcpu>{module}");
        let document = celled(&machine, &["cpus=0,memory=256M", "cpus=1,memory=768M"]).unwrap();
        let cells = document.cpu.unwrap().numa.unwrap().cell;
        let seen: Vec<_> = cells.iter().map(|c| (c.id, c.cpus.as_ref().unwrap().as_str(), c.memory)).collect();
        assert_eq!(seen, [(Some(0), "0", Some(256 << 10)), (Some(1), "1", Some(768 << 10))]);
        for wrong in [&["cpus=0,memory=1G"][..], &["cpus=0-1,memory=1536M"], &["cpus=0-2,memory=1G"]] {
            assert_eq!(celled(&machine, wrong).unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong:?}");
        }
    }

    #[test]
    fn what_cells_have_beside_stays_where_there_are_as_many() {
        let cell = |n: u8| {
            format!(
                "<cell id='{n}' cpus='{n}' memory='512' unit='MiB' memAccess='shared'><distances><sibling id='0' value='10'/>\
                 </distances></cell>"
            )
        };
        let machine =
            format!("<memory unit='GiB'>1</memory><vcpu>2</vcpu><cpu><numa>{}{}</numa></cpu>", cell(0), cell(1));
        let cells = |wanted: &[&str]| celled(&machine, wanted).unwrap().cpu.unwrap().numa.unwrap().cell;
        let same = cells(&["cpus=1,memory=256M", "cpus=0,memory=768M"]);
        assert!(same.iter().all(|cell| cell.distances.is_some() && cell.mem_access.is_some()));
        let fewer = cells(&["cpus=0-1,memory=1G"]);
        assert!(fewer[0].distances.is_none() && fewer[0].mem_access.is_some());
    }
}
