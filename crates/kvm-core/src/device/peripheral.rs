//! Devices that are neither disks, nor network devices, nor screens.

use std::fmt;
use std::str::FromStr;

use kvm_xml::Document as _;
use kvm_xml::domain::{
    Alias, Channel, Controller, Devices, Filesystem, Hostdev, MemoryDevice, Redirdev, Rng, Sound, Vsock, Watchdog,
};
use serde::{Deserialize, Serialize};

use crate::text::{hazards, printable, refused};
use crate::{Error, HostDeviceRef, Result};

const FIELD: &str = "device";
/// The longest name that tells a device apart.
const LONGEST: usize = 255;
/// What libvirt lets users' own aliases begin with; they are the same in both documents and stay.
const OWN_ALIAS: &str = "ua-";

/// Declares the kinds: their word, the element, where it stands among a machine's devices.
macro_rules! peripherals {
    ($($(#[$doc:meta])* $kind:ident = $word:literal, $element:ty, $list:ident;)+) => {
        /// What a [`Peripheral`] is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum PeripheralKind { $($(#[$doc])* $kind,)+ }

        impl PeripheralKind {
            /// All kinds, by their words.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// The word in keys, plans and JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $word),+ }
            }

            /// Reads the document of a device of this kind. `InvalidInput` when it is none.
            pub fn read(self, xml: &str) -> Result<Peripheral> {
                let wrong = |e| Error::invalid(FIELD, format!("this is no document of a {self}")).with_source(e);
                Ok(match self {
                    $(Self::$kind => Peripheral::$kind(Box::new(<$element>::from_xml(xml).map_err(wrong)?)),)+
                })
            }

            fn all(self, devices: &Devices) -> Vec<Peripheral> {
                match self {
                    $(Self::$kind => {
                        devices.$list.iter().map(|device| Peripheral::$kind(Box::new(device.clone()))).collect()
                    })+
                }
            }
        }

        /// A device that is neither a disk, nor a network device, nor a screen.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub enum Peripheral { $($(#[$doc])* $kind(Box<$element>),)+ }

        impl Peripheral {
            /// What it is.
            #[must_use]
            pub fn kind(&self) -> PeripheralKind {
                match self { $(Self::$kind(_) => PeripheralKind::$kind),+ }
            }

            /// The document as the hypervisor reads it.
            #[must_use]
            pub fn to_xml(&self) -> String {
                match self { $(Self::$kind(device) => device.to_xml()),+ }
            }

            fn name(&self) -> Option<PeripheralName> {
                let name = match self { $(Self::$kind(device) => device.name()),+ };
                name.and_then(|name| PeripheralName::parse(&name).ok())
            }

            pub(super) fn put_into(&self, devices: &mut Devices) {
                let key = self.key();
                let place = self.kind().all(devices).iter().position(|other| other.key() == key);
                match self { $(Self::$kind(device) => devices.$list.put_at(place, device)),+ }
            }
        }

        impl PeripheralRef {
            /// Takes the device out of a machine's devices. Whether it was there.
            pub(super) fn take_out(&self, devices: &mut Devices) -> bool {
                let place = self.kind.all(devices).iter().position(|device| device.key() == *self);
                let Some(place) = place else { return false };
                match self.kind { $(PeripheralKind::$kind => devices.$list.take_at(place)),+ }
                true
            }
        }
    };
}

peripherals! {
    /// A channel to a program in the guest, told apart by the name of its port; one of them shares the clipboard.
    Channel = "channel", Channel, channel;
    /// A controller, told apart by its bus and its number there, such as `scsi.0`.
    Controller = "controller", Controller, controller;
    /// A device of the host, told apart by where it is there: `hostdev:0000:01:00.0`, `hostdev:046d:c52b`.
    Hostdev = "hostdev", Hostdev, hostdev;
    /// A memory module.
    Memory = "memory", MemoryDevice, memory;
    /// A port to which a SPICE viewer can send a USB device.
    Redirect = "redirect", Redirdev, redirdev;
    /// A random number generator.
    Rng = "rng", Rng, rng;
    /// A directory of the host, told apart by the tag that the guest mounts it by.
    Share = "share", Filesystem, filesystem;
    /// A sound card.
    Sound = "sound", Sound, sound;
    /// The machine's one socket to the host.
    Vsock = "vsock", Vsock, vsock;
    /// A watchdog, told apart by its model.
    Watchdog = "watchdog", Watchdog, watchdog;
}

impl Peripheral {
    /// All that a machine has, kind by kind.
    pub fn of(devices: &Devices) -> impl Iterator<Item = Self> {
        PeripheralKind::ALL.iter().flat_map(|kind| kind.all(devices))
    }

    /// A device of the host that is given to the guest.
    #[must_use]
    pub fn of_host(device: HostDeviceRef) -> Self {
        Self::Hostdev(Box::new(device.element()))
    }

    /// What tells it apart from others of its machine.
    #[must_use]
    pub fn key(&self) -> PeripheralRef {
        PeripheralRef { kind: self.kind(), name: self.name() }
    }
}

/// Points at a [`Peripheral`]: `share:data`, `watchdog:itco`, `rng:ua-rng1`.
///
/// Some kinds have names of their own: the tag of a share, the port of a channel, the model of a watchdog, the number of a
/// controller. Of the others, a device is told apart by the alias that somebody gave it; it begins with `ua-`, and libvirt
/// keeps it in both documents. A device without either is the one of its kind that has no name (`vsock`, `rng`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeripheralRef {
    /// What it is.
    pub kind: PeripheralKind,
    /// What tells it apart from others of its kind; `None` for the one that nothing tells apart.
    pub name: Option<PeripheralName>,
}

impl PeripheralRef {
    /// The device with this name.
    #[must_use]
    pub fn named(kind: PeripheralKind, name: PeripheralName) -> Self {
        Self { kind, name: Some(name) }
    }

    /// Reads `KIND` or `KIND:NAME`.
    pub fn parse(text: &str) -> Result<Self> {
        let (kind, name) = match text.split_once(':') {
            Some((kind, name)) => (kind, Some(PeripheralName::parse(name)?)),
            None => (text, None),
        };
        let known = PeripheralKind::ALL.iter().copied().find(|known| known.as_str() == kind);
        let kind = known.ok_or_else(|| {
            let known: Vec<_> = PeripheralKind::ALL.iter().map(|kind| kind.as_str()).collect();
            refused(FIELD, "device", text, format_args!("is not KIND or KIND:NAME; kinds are {}", known.join(", ")))
        })?;
        Ok(Self { kind, name })
    }

    /// All that it could mean in a machine's devices: more than one when nothing tells them apart.
    #[must_use]
    pub fn candidates(&self, devices: &Devices) -> Vec<Peripheral> {
        let mut all = self.kind.all(devices);
        all.retain(|device| device.key() == *self);
        all
    }
}

impl fmt::Display for PeripheralRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}:{name}", self.kind),
            None => f.pad(self.kind.as_str()),
        }
    }
}

impl FromStr for PeripheralRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl From<PeripheralRef> for String {
    fn from(device: PeripheralRef) -> Self {
        match device.name {
            Some(name) => format!("{}:{}", device.kind.as_str(), name.as_str()),
            None => device.kind.as_str().to_owned(),
        }
    }
}

impl TryFrom<String> for PeripheralRef {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl fmt::Display for PeripheralKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What tells a [`Peripheral`] apart from others of its kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeripheralName(Box<str>);

impl PeripheralName {
    /// Takes 1 to 255 bytes of text without characters that hide or fake.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| Err(refused(FIELD, "device name", text, why));
        if text.is_empty() {
            return refuse("is empty");
        }
        if text.len() > LONGEST {
            return refuse("is longer than 255 bytes");
        }
        if hazards(text).any(|(_, _, hazard)| hazard.is_some()) {
            return refuse("contains a control, direction or invisible character");
        }
        Ok(Self(text.into()))
    }

    /// The first alias of the form `ua-KIND1` that none of these devices has.
    #[must_use]
    pub fn free_alias(kind: PeripheralKind, taken: &[&Devices]) -> Self {
        let names: Vec<_> = taken.iter().flat_map(|devices| kind.all(devices)).filter_map(|d| d.name()).collect();
        let mut numbered = (1_u32..).map(|n| Self(format!("{OWN_ALIAS}{}{n}", kind.as_str()).into()));
        numbered.find(|name| !names.contains(name)).unwrap_or_else(|| Self(OWN_ALIAS.into()))
    }

    /// The exact name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeripheralName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        printable(&self.0).fmt(f)
    }
}

/// What an element is called among others of its kind.
trait Named {
    fn name(&self) -> Option<String>;
}

impl Named for Channel {
    fn name(&self) -> Option<String> {
        self.target.as_ref()?.name.clone()
    }
}

impl Named for Controller {
    fn name(&self) -> Option<String> {
        Some(format!("{}.{}", self.r#type?.as_str(), self.index?))
    }
}

impl Named for Filesystem {
    fn name(&self) -> Option<String> {
        self.target.as_ref()?.dir.clone()
    }
}

impl Named for Hostdev {
    fn name(&self) -> Option<String> {
        HostDeviceRef::of(self).map(|device| device.to_string()).or_else(|| own_alias(self.alias.as_ref()))
    }
}

impl Named for MemoryDevice {
    fn name(&self) -> Option<String> {
        own_alias(self.alias.as_ref())
    }
}

impl Named for Redirdev {
    fn name(&self) -> Option<String> {
        own_alias(self.alias.as_ref())
    }
}

impl Named for Rng {
    fn name(&self) -> Option<String> {
        own_alias(self.alias.as_ref())
    }
}

impl Named for Sound {
    fn name(&self) -> Option<String> {
        own_alias(self.alias.as_ref())
    }
}

impl Named for Vsock {
    fn name(&self) -> Option<String> {
        None
    }
}

impl Named for Watchdog {
    fn name(&self) -> Option<String> {
        self.model.map(|model| model.as_str().to_owned())
    }
}

fn own_alias(alias: Option<&Alias>) -> Option<String> {
    alias?.name.clone().filter(|name| name.starts_with(OWN_ALIAS))
}

/// Where elements of a kind stand: many of them, or one at most.
trait Place<T> {
    fn put_at(&mut self, place: Option<usize>, item: &T);
    fn take_at(&mut self, place: usize);
}

impl<T: Clone> Place<T> for Vec<T> {
    fn put_at(&mut self, place: Option<usize>, item: &T) {
        match place.and_then(|place| self.get_mut(place)) {
            Some(present) => *present = item.clone(),
            None => self.push(item.clone()),
        }
    }

    fn take_at(&mut self, place: usize) {
        self.remove(place);
    }
}

impl<T: Clone> Place<T> for Option<T> {
    fn put_at(&mut self, _: Option<usize>, item: &T) {
        *self = Some(item.clone());
    }

    fn take_at(&mut self, _: usize) {
        *self = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, DeviceRef, ErrorKind};
    use kvm_xml::Domain;

    fn machine() -> Domain {
        let xml = "<domain><devices><filesystem><target dir='data'/></filesystem><rng><alias name='rng0'/></rng>\
                   <rng><alias name='ua-rng1'/></rng><vsock><cid address='5'/></vsock><watchdog model='itco'/>\
                   <controller type='scsi' index='0'/><channel><target name='a.b'/></channel>\
                   <hostdev type='pci'><source><address domain='0' bus='1' slot='0' function='0'/></source></hostdev>\
                   <hostdev type='usb'><source><vendor id='0x046d'/><product id='0xc52b'/></source></hostdev></devices></domain>";
        Domain::from_xml(xml).unwrap()
    }

    #[test]
    fn a_device_is_found_by_what_tells_it_apart_and_only_that_one_goes() {
        let others = ["hostdev:0000:01:00.0", "hostdev:046d:c52b"];
        let named = ["share:data", "rng", "rng:ua-rng1", "vsock", "watchdog:itco", "controller:scsi.0", "channel:a.b"];
        for key in named.into_iter().chain(others) {
            let (mut machine, key) = (machine(), DeviceRef::Peripheral(key.parse().unwrap()));
            let found = key.find(&machine).unwrap();
            assert_eq!(found.key().unwrap(), key);
            let before = Peripheral::of(machine.devices.as_ref().unwrap()).count();
            assert!(key.take_out(&mut machine) && !key.take_out(&mut machine));
            assert_eq!(Peripheral::of(machine.devices.as_ref().unwrap()).count(), before - 1);
            found.put_into(&mut machine).unwrap();
            assert!(key.find(&machine).is_some());
        }
        for key in ["share:other", "rng:ua-rng2", "watchdog:ib700", "sound", "controller:scsi.1"] {
            assert!(DeviceRef::Peripheral(key.parse().unwrap()).find(&machine()).is_none(), "{key}");
        }
    }

    #[test]
    fn a_device_takes_the_place_of_the_one_with_its_name() {
        let mut machine = machine();
        let other = PeripheralKind::Watchdog.read("<watchdog model='itco' action='pause'/>").unwrap();
        Device::Peripheral(other).put_into(&mut machine).unwrap();
        let watchdogs = machine.devices.unwrap().watchdog;
        assert_eq!((watchdogs.len(), watchdogs[0].action.map(|action| action.as_str())), (1, Some("pause")));
    }

    #[test]
    fn hostile_text_points_at_nothing() {
        for text in ["", "disk", "rng:", "rng:a\nb", "share:\u{202e}x", ":x", "RNG", "rng ", "share:\0"] {
            let e = text.parse::<PeripheralRef>().unwrap_err();
            assert_eq!(
                (e.kind(), e.resource()),
                (ErrorKind::InvalidInput, Some(&crate::Resource::Field(FIELD.into())))
            );
        }
        // What a guest's owner wrote into a document by hand stays a device without a name.
        let odd = PeripheralKind::Share.read("<filesystem><target dir='a&#x202e;b'/></filesystem>").unwrap();
        assert_eq!(odd.key(), PeripheralRef { kind: PeripheralKind::Share, name: None });
    }

    #[test]
    fn a_free_alias_is_one_that_no_document_has() {
        let machine = machine();
        let devices = machine.devices.as_ref().unwrap();
        assert_eq!(PeripheralName::free_alias(PeripheralKind::Rng, &[devices]).as_str(), "ua-rng2");
        assert_eq!(PeripheralName::free_alias(PeripheralKind::Sound, &[devices]).as_str(), "ua-sound1");
    }
}
