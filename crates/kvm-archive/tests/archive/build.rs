//! Archives as no honest program makes them.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use kvm_archive::{Package, unwatched};
use kvm_core::Result;
use tar::{EntryType, Header};

/// The header of a member; its name goes in as it is.
pub(crate) fn header(name: &[u8], length: u64) -> Header {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_size(length);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

/// A tar archive under construction.
#[derive(Default)]
pub(crate) struct Archive(pub(crate) Vec<u8>);

impl Archive {
    pub(crate) fn raw(mut self, mut header: Header, data: &[u8]) -> Self {
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.raw(header(name.as_bytes(), data.len() as u64), data)
    }

    pub(crate) fn special(self, name: &str, kind: EntryType, target: &str) -> Self {
        let mut header = header(name.as_bytes(), 0);
        header.set_entry_type(kind);
        header.set_link_name_literal(target).unwrap();
        self.raw(header, b"")
    }

    /// With its end.
    pub(crate) fn bytes(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }

    pub(crate) fn compressed(self) -> Vec<u8> {
        zstd::encode_all(self.bytes().as_slice(), 1).unwrap()
    }
}

/// A directory with a file in it, and one to unpack into.
pub(crate) struct Desk {
    pub(crate) dir: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("staging")).unwrap();
        Self { dir }
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.dir.path().join("staging")
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        path
    }

    pub(crate) fn open(&self, path: &Path) -> Result<Package> {
        let package = Package::open(path, &self.staging(), &mut unwatched);
        assert_eq!(std::fs::read_dir(self.staging()).unwrap().count(), 0, "nothing that is unpacked has a name");
        package
    }

    /// Opens bytes as a package.
    pub(crate) fn open_bytes(&self, bytes: &[u8]) -> Result<Package> {
        let path = self.put("package", bytes);
        self.open(&path)
    }
}

/// The smallest document that describes a machine, with these elements in its references, disks and hardware.
pub(crate) fn ovf(references: &str, disks: &str, items: &str) -> String {
    format!(
        "<Envelope xmlns='http://schemas.dmtf.org/ovf/envelope/1' xmlns:ovf='http://schemas.dmtf.org/ovf/envelope/1' \
         xmlns:rasd='http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData'>\
         <References>{references}</References><DiskSection><Info/>{disks}</DiskSection>\
         <VirtualSystem ovf:id='web'><Info/><VirtualHardwareSection><Info/>\
         <Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>\
         <rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>\
         <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:InstanceID>2</rasd:InstanceID>\
         <rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>512</rasd:VirtualQuantity></Item>\
         {items}</VirtualHardwareSection></VirtualSystem></Envelope>"
    )
}

/// A machine with one disk in `d.vmdk`.
pub(crate) fn one_disk() -> String {
    ovf(
        "<File ovf:id='f' ovf:href='d.vmdk'/>",
        "<Disk ovf:diskId='d' ovf:fileRef='f' ovf:capacity='1' ovf:capacityAllocationUnits='byte * 2^20' \
         ovf:format='http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized'/>",
        "<Item><rasd:HostResource>ovf:/disk/d</rasd:HostResource><rasd:InstanceID>3</rasd:InstanceID>\
         <rasd:ResourceType>17</rasd:ResourceType></Item>",
    )
}
