//! The images that a machine's document names.

use kvm_image::Format;
use kvm_image::graph::{Access, Name};
use kvm_xml::Domain;
use kvm_xml::domain::{BackingStore, Disk, DiskDevice, DiskSource};

use super::{address, normal};

/// What the documents of one machine say of images.
#[derive(Debug, Default)]
pub(super) struct Images {
    pub(super) uses: Vec<Use>,
    pub(super) links: Vec<Link>,
    pub(super) opened: Vec<Opened>,
}

/// A disk, or a job on it, uses an image.
#[derive(Debug)]
pub(super) struct Use {
    pub(super) disk: String,
    pub(super) is_mirror: bool,
    pub(super) access: Access,
    pub(super) image: Name,
}

/// One image lies upon another.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) overlay: Name,
    pub(super) base: Name,
}

/// How an image is opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) image: Name,
    pub(super) format: Option<Format>,
    /// Whether the document says what it lies upon.
    pub(super) is_told: bool,
}

impl Images {
    pub(super) fn read(&mut self, document: &Domain) {
        document.devices.iter().flat_map(|devices| &devices.disk).for_each(|disk| self.disk(disk));
    }

    /// All images.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.opened.iter().map(|opened| &opened.image)
    }

    fn disk(&mut self, disk: &Disk) {
        let target = disk.target.as_ref().and_then(|target| target.dev.as_ref()).map(ToString::to_string);
        let target = target.unwrap_or_default();
        // The hypervisor opens what has no format as raw.
        let format = disk.driver.as_ref().and_then(|driver| driver.r#type).map_or("raw".to_owned(), |f| f.to_string());
        let images = self.chain(disk.source.as_ref(), Some(&format), disk.backing_store.as_deref());
        let access = access(disk);
        let uses = images.into_iter().map(|image| Use { disk: target.clone(), is_mirror: false, access, image });
        self.uses.extend(uses);
        if let Some(mirror) = &disk.mirror {
            let format = mirror.format_el.as_ref().and_then(|format| format.r#type).or(mirror.format);
            let format = format.map(|format| format.to_string());
            let mut images = self.chain(mirror.source.as_ref(), format.as_deref(), mirror.backing_store.as_deref());
            images.extend(mirror.file.iter().map(|path| Name::path(normal(path))));
            let copy = |image| Use { disk: target.clone(), is_mirror: true, access: Access::Write, image };
            self.uses.extend(images.into_iter().map(copy));
        }
    }

    /// Follows a chain down from its uppermost image, and gives the names of that.
    fn chain(&mut self, top: Option<&DiskSource>, format: Option<&str>, below: Option<&BackingStore>) -> Vec<Name> {
        let uppermost = top.map(names).unwrap_or_default();
        let (mut above, mut source, mut format, mut below) = (uppermost.clone(), top, format.map(str::to_owned), below);
        loop {
            let known = format.as_deref().and_then(Format::named);
            let data = source.and_then(|source| source.data_store.as_ref()?.source.as_deref()).map(names);
            for image in &above {
                self.opened.push(Opened { image: image.clone(), format: known, is_told: below.is_some() });
                let data = data.iter().flatten();
                self.links.extend(data.map(|base| Link { overlay: image.clone(), base: base.clone() }));
            }
            // An element without a source ends the chain.
            let Some((store, next)) = below.and_then(|store| Some((store, store.source.as_ref()?))) else {
                return uppermost;
            };
            let bases = names(next);
            let link = |(overlay, base): (&Name, &Name)| Link { overlay: overlay.clone(), base: base.clone() };
            self.links.extend(above.iter().flat_map(|a| bases.iter().map(move |b| (a, b))).map(link));
            format = store.format.as_ref().and_then(|format| format.r#type).map(|format| format.to_string());
            (above, source, below) = (bases, Some(next), store.backing_store.as_deref());
        }
    }
}

fn access(disk: &Disk) -> Access {
    let is_medium = matches!(disk.device, Some(DiskDevice::Cdrom));
    match (disk.readonly || is_medium, disk.shareable) {
        (true, _) => Access::Read,
        (false, true) => Access::Shared,
        (false, false) => Access::Write,
    }
}

/// What a source names; none for an empty drive. More than one only when it contradicts itself.
fn names(source: &DiskSource) -> Vec<Name> {
    let paths = [&source.file, &source.dev].into_iter().flatten().filter(|path| path.starts_with('/'));
    let mut names: Vec<_> = paths.map(|path| Name::path(normal(path))).collect();
    if let (Some(pool), Some(volume)) = (&source.pool, &source.volume) {
        names.push(Name::volume(pool.as_str(), volume.as_str()));
    }
    names.extend(address::of_source(source));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_xml::Document as _;

    #[test]
    fn a_live_chain_is_read_down_to_its_end() {
        let xml = "<domain><devices><disk type='file'><driver type='qcow2'/><source file='//p/top'/>\
                   <backingStore type='file'><format type='qcow2'/><source file='/p/mid'/>\
                   <backingStore type='file'><format type='raw'/><source file='/p/base'/><backingStore/></backingStore>\
                   </backingStore><mirror type='file'><source file='/q/copy'/></mirror><target dev='vda'/></disk>\
                   <disk device='cdrom'><target dev='sda'/></disk>\
                   <disk type='network'><source protocol='rbd' name='p/i'><host name='a' port='1'/></source>\
                   <target dev='vdb'/></disk></devices></domain>";
        let mut images = Images::default();
        images.read(&Domain::from_xml(xml).unwrap());
        let links: Vec<_> = images.links.iter().map(|link| format!("{} {}", link.overlay, link.base)).collect();
        assert_eq!(links, ["/p/top /p/mid", "/p/mid /p/base"]);
        let uses: Vec<_> = images.uses.iter().map(|u| format!("{} {} {}", u.disk, u.image, u.is_mirror)).collect();
        assert_eq!(uses, ["vda /p/top false", "vda /q/copy true", "vdb rbd:p/i false"]);
        let raw: Vec<_> = images.opened.iter().filter(|o| o.format == Some(Format::Raw)).map(|o| &o.image).collect();
        assert_eq!(raw, [&Name::path("/p/base"), &Name::Network { address: "rbd:p/i".into() }]);
        assert!(images.opened.iter().filter(|o| o.is_told).count() == 3);
    }
}
