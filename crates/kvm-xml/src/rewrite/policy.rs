//! What happens to each part of a machine when it is copied.

/// What happens to each part of a machine, one field per part.
///
/// The constants are the defaults of the five operations; what differs is written over one of them:
///
/// ```
/// use kvm_xml::rewrite::{Policy, policy};
///
/// let with_its_addresses = Policy { mac: policy::Mac::Keep, ..Policy::CLONE };
/// # assert_ne!(with_its_addresses, Policy::CLONE);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The name.
    pub name: Name,
    /// The uuid, here and in the SMBIOS strings.
    pub uuid: Identity,
    /// The generation id, if there is one.
    pub genid: Genid,
    /// MAC addresses, and the ports of virtual switches that go with them.
    pub mac: Mac,
    /// What only a running machine has: its number, devices on the host, aliases, ports, labels.
    pub live: Live,
    /// Networks, bridges and host interfaces that network interfaces are connected to.
    pub network: Network,
    /// Disks that the guest writes to, and NVDIMMs.
    pub disks: Files,
    /// The images below a disk, where disks are copied.
    pub chain: Chain,
    /// Serial numbers and world wide names of disks.
    pub serial: Serial,
    /// Media in CD-ROM and floppy drives.
    pub media: Media,
    /// The file with the firmware's variables.
    pub nvram: Files,
    /// The state of an emulated TPM.
    pub tpm: Tpm,
    /// Ports and websockets of graphics.
    pub graphics: Graphics,
    /// Addresses and networks that graphics listen on.
    pub listen: Listen,
    /// Passwords of graphics.
    pub password: Password,
    /// Sockets, pipes and files behind character devices; log files.
    pub paths: Paths,
    /// The context id of the socket between host and guest.
    pub vsock: Vsock,
    /// Devices of the host that are given to the guest.
    pub hostdev: HostDevices,
    /// CPU, machine type, firmware and emulator against what the target can do.
    pub placement: Placement,
    /// Security labels that someone has chosen.
    pub seclabel: Seclabel,
    /// What this product noted about where the machine comes from. Other metadata is kept in any case.
    pub lineage: Lineage,
    /// Metadata of snapshots and checkpoints; not in the document, the choice is only told.
    pub snapshots: Beside,
    /// Whether the machine starts with its host; not in the document, the choice is only told.
    pub autostart: Beside,
    /// Schedules and alerts of the machine; not in the document, the choice is only told.
    pub schedules: Beside,
}

impl Policy {
    /// Nothing changes.
    pub const KEEP: Self = Self {
        name: Name::Keep,
        uuid: Identity::Keep,
        genid: Genid::Keep,
        mac: Mac::Keep,
        live: Live::Keep,
        network: Network::Keep,
        disks: Files::Keep,
        chain: Chain::Keep,
        serial: Serial::Keep,
        media: Media::Keep,
        nvram: Files::Keep,
        tpm: Tpm::Keep,
        graphics: Graphics::Keep,
        listen: Listen::Keep,
        password: Password::Keep,
        paths: Paths::Keep,
        vsock: Vsock::Keep,
        hostdev: HostDevices::Keep,
        placement: Placement::Trust,
        seclabel: Seclabel::Keep,
        lineage: Lineage::Keep,
        snapshots: Beside::Carry,
        autostart: Beside::Carry,
        schedules: Beside::Carry,
    };

    /// Another machine that starts as this one is now: it shares no identity with it and no file that one of them writes.
    pub const CLONE: Self = Self {
        name: Name::New,
        uuid: Identity::New,
        genid: Genid::New,
        mac: Mac::New,
        live: Live::Drop,
        network: Network::Map,
        disks: Files::Rename,
        chain: Chain::Flatten,
        serial: Serial::New,
        media: Media::Check,
        nvram: Files::Rename,
        tpm: Tpm::Fresh,
        graphics: Graphics::Auto,
        listen: Listen::Check,
        password: Password::Drop,
        paths: Paths::Rename,
        vsock: Vsock::Auto,
        hostdev: HostDevices::Map,
        placement: Placement::Check,
        seclabel: Seclabel::Drop,
        lineage: Lineage::Replace,
        snapshots: Beside::Leave,
        autostart: Beside::Leave,
        schedules: Beside::Leave,
    };

    /// The same machine, kept cold on another host until it is promoted there.
    pub const REPLICA: Self = Self {
        name: Name::Keep,
        uuid: Identity::Keep,
        genid: Genid::AtPromotion,
        mac: Mac::Keep,
        disks: Files::Place,
        nvram: Files::Place,
        serial: Serial::Keep,
        password: Password::Keep,
        paths: Paths::Drop,
        hostdev: HostDevices::Drop,
        ..Self::CLONE
    };

    /// The same machine in the same place, as it was before.
    pub const RESTORE: Self = Self { genid: Genid::New, live: Live::Drop, ..Self::KEEP };

    /// The same machine on another host; here it goes away.
    pub const MOVE: Self = Self {
        genid: Genid::Keep,
        chain: Chain::Keep,
        tpm: Tpm::Copy,
        hostdev: HostDevices::Map,
        lineage: Lineage::Keep,
        autostart: Beside::Carry,
        schedules: Beside::Carry,
        ..Self::REPLICA
    };

    /// What machines are made from: without identity, without anything of one host.
    pub const TEMPLATE: Self = Self {
        uuid: Identity::Drop,
        mac: Mac::Drop,
        serial: Serial::Drop,
        media: Media::Eject,
        paths: Paths::Drop,
        hostdev: HostDevices::Drop,
        placement: Placement::Trust,
        ..Self::CLONE
    };

    /// Whether the copy and the original are two machines, which may run at the same time.
    #[must_use]
    pub fn makes_another_machine(&self) -> bool {
        self.uuid != Identity::Keep
    }
}

macro_rules! choices {
    ($($(#[$meta:meta])* $name:ident { $($(#[$about:meta])* $choice:ident,)+ })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$about])* $choice,)+ }
    )+};
}

choices! {
    /// The name.
    Name {
        /// The same, unless the facts give another.
        Keep,
        /// The one of the facts, else one derived from the old; refused when a machine has it.
        New,
        /// The one of the facts, which must give one; a machine that has it is going to be replaced.
        Replace,
    }
    /// The uuid.
    Identity {
        /// The same.
        Keep,
        /// The one of the facts.
        New,
        /// None: libvirt makes one.
        Drop,
    }
    /// The generation id, by which a guest notices that it was copied or set back.
    Genid {
        /// The same.
        Keep,
        /// The one of the facts.
        New,
        /// The same now, another when the copy is promoted: told as a warning.
        AtPromotion,
    }
    /// MAC addresses.
    Mac {
        /// The same.
        Keep,
        /// From the facts' allocator.
        New,
        /// None: libvirt makes them.
        Drop,
    }
    /// What only a running machine has.
    Live {
        /// It stays.
        Keep,
        /// It is taken out. Addresses in the guest (PCI and the like) stay: the guest knows its devices by them.
        Drop,
    }
    /// Names of networks, bridges and host interfaces.
    Network {
        /// The same.
        Keep,
        /// As the facts say; refused when the target has none.
        Map,
    }
    /// Files and block devices with the machine's own data.
    Files {
        /// The same, not copied.
        Keep,
        /// Copied to where the facts say, else to the same place on the other host.
        Place,
        /// Copied to where the facts say, else renamed after the new machine.
        Rename,
    }
    /// The images below a disk.
    Chain {
        /// Copied as a chain.
        Keep,
        /// None: the copy holds everything.
        Flatten,
        /// The old disk stays below, protected, and the new one holds only what differs.
        Overlay,
    }
    /// Serial numbers and world wide names of disks.
    Serial {
        /// The same.
        Keep,
        /// Derived from the new uuid and the disk's name in the guest, where there was one.
        New,
        /// None.
        Drop,
    }
    /// Removable media.
    Media {
        /// They stay.
        Keep,
        /// They stay where the target has them, else they are ejected.
        Check,
        /// They are ejected.
        Eject,
    }
    /// The state of an emulated TPM.
    Tpm {
        /// The same.
        Keep,
        /// An empty one.
        Fresh,
        /// Copied; refused when it is encrypted and the target has not the secret.
        Copy,
    }
    /// Ports of graphics.
    Graphics {
        /// The same.
        Keep,
        /// libvirt chooses.
        Auto,
    }
    /// Where graphics listen.
    Listen {
        /// The same.
        Keep,
        /// As the facts say; libvirt's default where the target has no such address.
        Check,
    }
    /// Passwords of graphics.
    Password {
        /// The same.
        Keep,
        /// None.
        Drop,
    }
    /// Host paths behind character devices.
    Paths {
        /// The same.
        Keep,
        /// None: the device stays, its output goes to a pseudo terminal, its log nowhere.
        Drop,
        /// Renamed after the new machine.
        Rename,
    }
    /// The context id of a vsock device.
    Vsock {
        /// The same.
        Keep,
        /// libvirt chooses.
        Auto,
    }
    /// Devices of the host.
    HostDevices {
        /// The same.
        Keep,
        /// As the facts say; refused when they know none.
        Map,
        /// As the facts say; dropped, with a warning, when they know none.
        Drop,
    }
    /// Whether the target can run the machine.
    Placement {
        /// Not asked.
        Trust,
        /// Asked of the capabilities in the facts.
        Check,
    }
    /// Static security labels.
    Seclabel {
        /// The same.
        Keep,
        /// None: libvirt labels anew.
        Drop,
    }
    /// Where the machine comes from.
    Lineage {
        /// The same.
        Keep,
        /// What the facts say, or nothing.
        Replace,
    }
    /// What belongs to a machine and is not in its document.
    Beside {
        /// It goes with the machine.
        Carry,
        /// It does not; told as a warning where there is any.
        Leave,
    }
}
