use kvm_xml::Document as _;

use super::*;

const HEAD: &str = "<domain type='kvm'><name>web</name><uuid>6f1c1a40-5b0e-4c3c-9d3b-0d6f7d1f4b7a</uuid>";
const TRIAL: &str = "0a4e7c52-9f1d-4d0e-8c35-51b0c9d1a1c4";

fn try_trial(body: &str) -> Result<TrialDocument> {
    let overlay = DiskPath::adopt("/images/web-proof-vda.qcow2").unwrap();
    let overlays = BTreeMap::from([("vda".to_owned(), overlay)]);
    let variables = DiskPath::adopt("/nvram/web-proof_VARS.fd").unwrap();
    let instead = Instead {
        name: &"web-proof-0a4e7c52".parse().unwrap(),
        id: VmId::adopt(TRIAL).unwrap(),
        purpose: "a trial start of",
        written: Written::Overlays(&overlays),
        variables: Some(&variables),
        media: &["/iso/there.iso".to_owned()],
    };
    trial(&Domain::from_xml(&format!("{HEAD}{body}</domain>")).unwrap(), &instead)
}

/// The trial's document, and what it has not.
fn tried(body: &str) -> (String, Vec<String>) {
    let TrialDocument { domain, left_out } = try_trial(body).unwrap();
    (domain.to_xml(), left_out)
}

fn devices(body: &str) -> (String, Vec<String>) {
    tried(&format!("<devices>{body}</devices>"))
}

#[test]
fn it_is_another_machine_that_says_what_it_is() {
    let (xml, _) = tried(
        "<title>t</title><description>d</description><metadata><k:notes xmlns:k='urn:kvm-manager:metadata:1' tags='ci'/>\
         <x:y xmlns:x='urn:x'/></metadata><sysinfo type='smbios'><system><entry name='uuid'>\
         6f1c1a40-5b0e-4c3c-9d3b-0d6f7d1f4b7a</entry></system></sysinfo>",
    );
    assert!(xml.contains("<name>web-proof-0a4e7c52</name>") && xml.contains(&format!("<uuid>{TRIAL}</uuid>")), "{xml}");
    assert!(xml.contains("a trial start of web") && !xml.contains("description") && !xml.contains("metadata"), "{xml}");
    assert!(!xml.contains("6f1c1a40"), "{xml}");
}

#[test]
fn it_ends_when_the_guest_does_and_libvirt_labels_it() {
    let (xml, _) =
        tried("<on_poweroff>preserve</on_poweroff><on_crash>preserve</on_crash><seclabel type='static' model='dac'/>");
    assert!(
        xml.contains("<on_poweroff>destroy</on_poweroff>") && xml.contains("<on_crash>destroy</on_crash>"),
        "{xml}"
    );
    assert!(xml.contains("<on_reboot>restart</on_reboot>") && !xml.contains("seclabel"), "{xml}");
}

#[test]
fn arguments_for_qemu_could_name_any_file_and_go() {
    let (xml, left_out) = tried(
        "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:arg value='-drive'/>\
         </qemu:commandline>",
    );
    assert!(!xml.contains("-drive"), "{xml}");
    assert_eq!(left_out, ["arguments of its own for QEMU"]);
}

#[test]
fn what_is_written_goes_into_the_overlay() {
    let (xml, left_out) = devices(
        "<disk type='block' device='lun' rawio='yes'><driver name='qemu' type='raw' cache='none'/><source dev='/dev/vg/web'/>\
         <backingStore type='file'><format type='raw'/><source file='/below'/></backingStore>\
         <target dev='vda' bus='scsi'/><transient/></disk>",
    );
    assert!(
        xml.contains("<source file='/images/web-proof-vda.qcow2'/>")
            || xml.contains("<source file=\"/images/web-proof-vda.qcow2\"/>"),
        "{xml}"
    );
    for gone in ["/dev/vg/web", "/below", "lun", "rawio", "transient", "raw"] {
        assert!(!xml.contains(gone), "{gone}: {xml}");
    }
    assert!(xml.contains("qcow2") && xml.contains("none"), "{xml}");
    assert_eq!(left_out, [""; 0]);
}

#[test]
fn a_disk_without_an_overlay_is_refused() {
    let body = "<devices><disk type='network'><source protocol='rbd' name='p/i'/><target dev='vdb'/></disk></devices>";
    let refused = try_trial(body).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.message().contains("disk vdb can have no overlay"), "{refused}");
}

#[test]
fn what_others_write_to_goes_and_what_nobody_writes_to_stays() {
    let (xml, left_out) = devices(
        "<disk type='file'><source file='/shared'/><target dev='vdb'/><shareable/></disk>\
         <disk type='file'><source file='/golden'/><target dev='vdc'/><readonly/></disk>\
         <disk type='file' device='floppy'><source file='/floppy.img'/><target dev='fda'/></disk>",
    );
    assert!(xml.contains("/golden") && !xml.contains("/shared") && !xml.contains("/floppy.img"), "{xml}");
    assert_eq!(left_out, ["disk vdb, to which others write", "the floppy in fda"]);
}

#[test]
fn a_medium_stays_where_the_host_has_it() {
    let (xml, left_out) = devices(
        "<disk type='file' device='cdrom'><source file='/iso/there.iso'/><target dev='sda'/><readonly/></disk>\
         <disk type='file' device='cdrom'><source file='/iso/gone.iso'/><target dev='sdb'/><readonly/></disk>\
         <disk type='block' device='cdrom'><source dev='/dev/sr0'/><target dev='sdc'/><readonly/></disk>",
    );
    assert!(xml.contains("/iso/there.iso") && !xml.contains("/iso/gone.iso") && !xml.contains("/dev/sr0"), "{xml}");
    assert!(xml.contains("sdb") && xml.contains("sdc"), "{xml}");
    assert_eq!(left_out, ["the medium in sdb", "the medium in sdc"]);
}

#[test]
fn no_card_has_a_link_and_each_keeps_its_address() {
    let (xml, left_out) = devices(
        "<interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/><target dev='vnet7'/>\
         <link state='up'/></interface>\
         <interface type='bridge'><mac address='52:54:00:00:00:02'/><source bridge='br0'/></interface>\
         <interface type='user'><mac address='52:54:00:00:00:03'/><portForward proto='tcp'><range start='80'/></portForward></interface>\
         <interface type='hostdev'><mac address='52:54:00:00:00:04'/></interface>\
         <interface type='direct'><mac address='52:54:00:00:00:05'/><source dev='eth0' mode='passthrough'/></interface>\
         <interface type='ethernet'><mac address='52:54:00:00:00:06'/><script path='/bin/x'/></interface>",
    );
    let document = Domain::from_xml(&xml).unwrap();
    let cards = document.devices.unwrap().interface;
    assert_eq!(cards.len(), 3, "{xml}");
    assert!(cards.iter().all(|card| card.link.as_ref().unwrap().state == Some(Link::Down)), "{xml}");
    for (there, is_there) in
        [("00:01", true), ("00:03", true), ("vnet7", false), ("portForward", false), ("/bin/x", false)]
    {
        assert_eq!(xml.contains(there), is_there, "{there}: {xml}");
    }
    let gone: Vec<_> = (4..=6).map(|n| format!("network device 52:54:00:00:00:0{n}")).collect();
    assert_eq!(left_out, gone);
}

#[test]
fn nothing_of_the_host_goes_along() {
    let (xml, left_out) = devices(
        "<hostdev mode='subsystem' type='pci'/><redirdev bus='usb' type='tcp'/><tpm model='tpm-crb'><backend type='emulator'/></tpm>\
         <filesystem type='mount'><source dir='/srv'/><target dir='srv'/></filesystem><shmem name='s'/>\
         <memory model='nvdimm'><source><path>/nvdimm</path></source></memory><memory model='dimm'/>\
         <input type='evdev'><source dev='/dev/input/event1'/></input><input type='tablet' bus='usb'/>\
         <rng model='virtio'><backend model='egd' type='tcp'/></rng><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\
         <watchdog model='i6300esb' action='dump'/><vsock><cid auto='no' address='7'/></vsock><novelty path='/anywhere'/>",
    );
    for gone in ["hostdev", "redirdev", "tpm", "filesystem", "shmem", "nvdimm", "evdev", "egd", "dump", "novelty"] {
        assert!(
            !xml.contains(&format!("<{gone}"))
                && !xml.contains(&format!("'{gone}'"))
                && !xml.contains(&format!("\"{gone}\"")),
            "{gone}: {xml}"
        );
    }
    for kept in ["dimm", "tablet", "/dev/urandom", "poweroff"] {
        assert!(xml.contains(kept), "{kept}: {xml}");
    }
    assert!(!xml.contains("address=\"7\"") && !xml.contains("address='7'"), "{xml}");
    assert_eq!(left_out.len(), 6, "{left_out:?}");
}

#[test]
fn screens_listen_nowhere_and_have_no_password() {
    let (xml, _) = devices(
        "<graphics type='vnc' port='5901' websocket='5701' listen='0.0.0.0' passwd='geheim'><listen type='address' address='0.0.0.0'/></graphics>\
         <graphics type='sdl' display=':0'/><audio id='1' type='file' /><sound model='ich9'/>",
    );
    for gone in ["5901", "5701", "0.0.0.0", "geheim", "sdl", "file"] {
        assert!(!xml.contains(gone), "{gone}: {xml}");
    }
    let document = Domain::from_xml(&xml).unwrap();
    let screen = &document.devices.unwrap().graphics[0];
    assert_eq!(screen.listen_el[0].r#type, Some(ListenType::None));
    assert!(xml.contains("ich9"), "{xml}");
}

#[test]
fn the_agent_has_libvirts_own_line_and_the_console_is_a_terminal() {
    let (xml, left_out) = devices(
        "<serial type='file'><source path='/var/log/web'/><log file='/var/log/l'/><target port='0'/></serial>\
         <channel type='unix'><source mode='bind' path='/run/a.sock'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>\
         <channel type='unix'><source mode='bind' path='/run/b.sock'/><target type='virtio' name='com.example.b'/></channel>\
         <channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>",
    );
    for gone in ["/var/log", "/run/", "com.example.b", "spicevmc"] {
        assert!(!xml.contains(gone), "{gone}: {xml}");
    }
    assert!(xml.contains("org.qemu.guest_agent.0") && xml.contains("pty"), "{xml}");
    assert_eq!(left_out, ["channel com.example.b", "channel com.redhat.spice.0"]);
    // One that has none gets one.
    let (xml, _) = devices("");
    assert!(xml.contains("<console type=\"pty\"") || xml.contains("<console type='pty'"), "{xml}");
}

#[test]
fn the_firmware_writes_into_a_copy_of_its_variables() {
    let (xml, _) = tried(
        "<os><loader readonly='yes' type='pflash'>/c.fd</loader><nvram template='/t.fd'>/nvram/web_VARS.fd</nvram></os>",
    );
    assert!(
        xml.contains("/nvram/web-proof_VARS.fd") && xml.contains("/t.fd") && !xml.contains("/nvram/web_VARS.fd"),
        "{xml}"
    );
    let refused = try_trial("<os><loader readonly='no' type='pflash'>/all.fd</loader></os>").unwrap_err();
    assert!(refused.message().contains("writes to the file that it is in"), "{refused}");
    let document = |os: &str| Domain::from_xml(&format!("{HEAD}<os>{os}</os></domain>")).unwrap();
    let found = |os: &str| variables(&document(os)).map(|path| path.map(|path| path.as_str().to_owned()));
    assert_eq!(found("<nvram>/a.fd</nvram>").unwrap().as_deref(), Some("/a.fd"));
    assert_eq!(found("<nvram type='file'><source file='/b.fd'/></nvram>").unwrap().as_deref(), Some("/b.fd"));
    assert_eq!(found("").unwrap(), None);
    assert_eq!(
        found("<nvram type='network'><source protocol='iscsi' name='x'/></nvram>").unwrap_err().kind(),
        ErrorKind::Unsupported
    );
}

#[test]
fn an_agents_line_is_seen() {
    let document = |body: &str| Domain::from_xml(&format!("{HEAD}<devices>{body}</devices></domain>")).unwrap();
    assert!(has_agent(&document(
        "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
    )));
    assert!(!has_agent(&document("<channel type='unix'><target type='virtio' name='other'/></channel>")));
}
