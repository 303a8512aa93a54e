//! libvirt's documents of all kinds as something to measure.

use std::io;
use std::path::{Path, PathBuf};

use kvm_xml::pool::PoolSources;
use kvm_xml::{
    Capabilities, Document as _, Domain, DomainBackup, DomainCapabilities, DomainCheckpoint, DomainSnapshot,
    HostInterface, Network, NetworkFilter, NetworkFilterBinding, NetworkPort, NodeDevice, Secret, StoragePool,
    StoragePoolCapabilities, StorageVolume, XmlError,
};

/// A domain as libvirt writes it, with all its addresses: a machine with a few disks and networks, a little over 8 KiB.
#[must_use]
pub fn typical_domain() -> String {
    let mut text = String::from(
        "<domain type='kvm' id='7'>\n  <name>web-1</name>\n  <uuid>6f1c1a40-5b0e-4c3c-9d3b-0d6f7d1f4b7a</uuid>\n  \
         <memory unit='KiB'>4194304</memory>\n  <currentMemory unit='KiB'>4194304</currentMemory>\n  \
         <vcpu placement='static'>4</vcpu>\n  <os>\n    <type arch='x86_64' machine='pc-q35-9.2'>hvm</type>\n    \
         <boot dev='hd'/>\n  </os>\n  <features>\n    <acpi/>\n    <apic/>\n  </features>\n  \
         <cpu mode='host-passthrough' check='none' migratable='on'/>\n  <clock offset='utc'>\n    \
         <timer name='rtc' tickpolicy='catchup'/>\n    <timer name='hpet' present='no'/>\n  </clock>\n  \
         <on_poweroff>destroy</on_poweroff>\n  <on_reboot>restart</on_reboot>\n  <on_crash>destroy</on_crash>\n  \
         <devices>\n    <emulator>/usr/bin/qemu-system-x86_64</emulator>\n",
    );
    for (index, letter) in (1..).zip('a'..='d') {
        text.push_str(&format!(
            "    <disk type='file' device='disk'>\n      <driver name='qemu' type='qcow2' discard='unmap'/>\n      \
             <source file='/var/lib/libvirt/images/web-1-{letter}.qcow2' index='{index}'/>\n      <backingStore/>\n      \
             <target dev='vd{letter}' bus='virtio'/>\n      <alias name='virtio-disk{index}'/>\n      \
             <address type='pci' domain='0x0000' bus='0x0{index}' slot='0x00' function='0x0'/>\n    </disk>\n"
        ));
    }
    for index in 1..=17 {
        let (slot, function) = (2 + index / 8, index % 8);
        text.push_str(&format!(
            "    <controller type='pci' index='{index}' model='pcie-root-port'>\n      <model name='pcie-root-port'/>\n      \
             <target chassis='{index}' port='0x{index:x}'/>\n      <alias name='pci.{index}'/>\n      \
             <address type='pci' domain='0x0000' bus='0x00' slot='0x0{slot}' function='0x{function}'/>\n    </controller>\n"
        ));
    }
    for index in 0..4 {
        text.push_str(&format!(
            "    <interface type='network'>\n      <mac address='52:54:00:12:34:0{index}'/>\n      \
             <source network='default'/>\n      <target dev='vnet{index}'/>\n      \
             <model type='virtio'/>\n      <alias name='net{index}'/>\n      \
             <address type='pci' domain='0x0000' bus='0x1{index}' slot='0x00' function='0x0'/>\n    </interface>\n"
        ));
    }
    text.push_str(
        "    <serial type='pty'>\n      <source path='/dev/pts/3'/>\n      <target type='isa-serial' port='0'>\n        \
         <model name='isa-serial'/>\n      </target>\n      <alias name='serial0'/>\n    </serial>\n    \
         <graphics type='vnc' port='5900' autoport='yes' listen='127.0.0.1'>\n      \
         <listen type='address' address='127.0.0.1'/>\n    </graphics>\n    <memballoon model='virtio'/>\n  \
         </devices>\n</domain>\n",
    );
    text
}

/// The documents of this repository.
#[must_use]
pub fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata")
}

/// Documents of a directory and the directories in it.
#[derive(Debug, Default)]
pub struct Corpus {
    /// Those of a kind that `kvm-xml` knows, by path.
    pub documents: Vec<Document>,
    /// How many files were of another kind, or no XML.
    pub left_out: usize,
}

/// A document and how it is read.
#[derive(Debug)]
pub struct Document {
    /// Its file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    parse: fn(&str) -> Result<Model, XmlError>,
}

macro_rules! kinds {
    ($($root:literal: $kind:ident),+ $(,)?) => {
        /// A document that has been read.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "a variant per kind of document")]
        pub enum Model { $($kind(Box<$kind>)),+ }

        impl Model {
            /// Writes it.
            #[must_use]
            pub fn to_xml(&self) -> String {
                match self { $(Self::$kind(document) => document.to_xml()),+ }
            }
        }

        fn parser(root: &str) -> Option<fn(&str) -> Result<Model, XmlError>> {
            match root {
                $($root => Some(|text| Ok(Model::$kind(Box::new($kind::from_xml(text)?)))),)+
                _ => None,
            }
        }
    };
}

kinds! {
    "domain": Domain,
    "capabilities": Capabilities,
    "domainCapabilities": DomainCapabilities,
    "pool": StoragePool,
    "volume": StorageVolume,
    "network": Network,
    "domainsnapshot": DomainSnapshot,
    "domaincheckpoint": DomainCheckpoint,
    "domainbackup": DomainBackup,
    "device": NodeDevice,
    "secret": Secret,
    "filter": NetworkFilter,
    "filterbinding": NetworkFilterBinding,
    "networkport": NetworkPort,
    "interface": HostInterface,
    "sources": PoolSources,
    "storagepoolCapabilities": StoragePoolCapabilities,
}

impl Corpus {
    /// Reads all `*.xml` below `directory`.
    ///
    /// # Errors
    /// When a directory or a file cannot be read.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let mut corpus = Self::default();
        corpus.add(directory)?;
        corpus.documents.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(corpus)
    }

    fn add(&mut self, directory: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                self.add(&path)?;
            } else if path.extension().is_some_and(|extension| extension == "xml") {
                let text = std::fs::read_to_string(&path)?;
                match root(&text).and_then(parser).filter(|parse| parse(&text).is_ok()) {
                    Some(parse) => self.documents.push(Document { path, text, parse }),
                    None => self.left_out += 1,
                }
            }
        }
        Ok(())
    }
}

impl Document {
    /// Reads it.
    ///
    /// # Errors
    /// Never: a document that cannot be read is not in the corpus.
    pub fn parse(&self) -> Result<Model, XmlError> {
        (self.parse)(&self.text)
    }
}

/// The name of the outermost element.
fn root(text: &str) -> Option<&str> {
    let start = text.match_indices('<').find(|(index, _)| {
        text.get(index + 1..).is_some_and(|rest| rest.starts_with(|character: char| character.is_ascii_alphabetic()))
    })?;
    text.get(start.0 + 1..)?.split(|character: char| !character.is_ascii_alphanumeric()).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_typical_domain_has_8_kib_and_comes_back_as_it_is() -> Result<(), Box<dyn std::error::Error>> {
        let text = typical_domain();
        assert_eq!(text.len() / 1024, 8);
        assert_eq!(Domain::from_xml_strict(&text)?.to_xml(), text);
        Ok(())
    }

    #[test]
    fn every_document_of_ours_is_measured() -> Result<(), Box<dyn std::error::Error>> {
        let corpus = Corpus::read(&testdata().join("xml"))?;
        assert_eq!((corpus.documents.is_empty(), corpus.left_out), (false, 0));
        Ok(())
    }
}
