//! Documents from outside.

use kvm_core::{ErrorKind, Resource, Secrets, VmState};
use kvm_vm::{Identity, ImportOptions, Start, Trust, export, plan_import};
use kvm_xml::{Document as _, Domain};

use crate::support::{Bench, said};

/// A document as an installer writes it, with room for more.
fn document(head: &str, devices: &str) -> String {
    format!(
        "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>guest</name>
  <uuid>8fbf2b8e-3b3c-4b1e-9a51-000000000001</uuid>
  <metadata><libosinfo:libosinfo xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'>
    <libosinfo:os id='http://debian.org/debian/12'/></libosinfo:libosinfo></metadata>
  <memory unit='KiB'>2097152</memory>
  <currentMemory unit='KiB'>2097152</currentMemory>
  <vcpu placement='static'>2</vcpu>
  <os><type arch='x86_64' machine='pc-q35-10.0'>hvm</type><boot dev='hd'/></os>
  <features><acpi/><apic/></features>
  <cpu mode='host-passthrough' check='none' migratable='on'/>
  <clock offset='utc'><timer name='rtc' tickpolicy='catchup'/></clock>
  <on_poweroff>destroy</on_poweroff>
  {head}
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source file='/images/free.qcow2'/>
      <target dev='vda' bus='virtio'/>
      <address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>
    </disk>
    <controller type='pci' index='0' model='pcie-root'/>
    <interface type='network'>
      <mac address='52:54:00:aa:00:01'/><source network='default'/><target dev='vnet3'/><model type='virtio'/>
    </interface>
    <serial type='pty'><source path='/dev/pts/3'/><target type='isa-serial' port='0'/></serial>
    <console type='pty' tty='/dev/pts/3'><target type='serial' port='0'/></console>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <input type='tablet' bus='usb'/>
    <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'><listen type='address' address='127.0.0.1'/></graphics>
    <video><model type='virtio' heads='1' primary='yes'/></video>
    <memballoon model='virtio'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    {devices}
  </devices>
</domain>"
    )
}

async fn refused(bench: &Bench, xml: &str) -> String {
    let before = bench.picture().await;
    let e = plan_import(&bench.host, xml, &ImportOptions::default(), &bench.cx()).await.expect_err(xml);
    assert!(e.resource().is_some(), "{e:?}");
    assert_eq!(bench.picture().await, before);
    said(&e)
}

#[tokio::test(start_paused = true)]
async fn an_ordinary_document_is_taken_in() {
    let bench = Bench::new();
    let options = ImportOptions { start: Start::Yes, ..ImportOptions::default() };
    let import = plan_import(&bench.host, &document("", ""), &options, &bench.cx()).await.unwrap();
    let target = bench.host.hypervisor.capabilities().await.unwrap().target;
    assert_eq!(
        import.plan.to_string().replace(&target, "TARGET"),
        "import guest on TARGET\n  use      volume   default/free.qcow2\n  define   domain   guest               2 vCPUs, 2 GiB\n  \
         connect  network  default\n  start    domain   guest"
    );
    let xml = import.document.to_xml();
    assert!(!xml.contains("vnet3") && !xml.contains("/dev/pts"), "{xml}");
    bench.run(import.plan).await.unwrap();
    let vm = bench.vm("guest").await;
    assert_eq!((vm.state, vm.id.to_string().as_str()), (VmState::Running, "8fbf2b8e-3b3c-4b1e-9a51-000000000001"));
}

#[tokio::test(start_paused = true)]
async fn what_libvirt_makes_of_our_own_document_is_taken_in_again() {
    // As libvirt 11.3 gave it back, with all the addresses, controllers and firmware that it chose.
    let bench = Bench::new();
    let xml = include_str!("golden/libvirt.xml");
    let import = plan_import(&bench.host, xml, &ImportOptions::default(), &bench.cx()).await.unwrap();
    assert!(!import.document.to_xml().contains("nvram"), "the host has a place of its own for it");
    bench.run(import.plan).await.unwrap();
    assert_eq!(bench.vm("web01").await.state, VmState::Off);
}

#[tokio::test(start_paused = true)]
async fn what_strangers_may_not_ask_for_is_refused_with_its_place() {
    let bench = Bench::new();
    let disk = |attributes: &str, source: &str| {
        document("", &format!("<disk {attributes}><source {source}/><target dev='vdb' bus='virtio'/></disk>"))
    };
    for (what, xml, place) in [
        (
            "program",
            document("<qemu:commandline><qemu:arg value='-x'/></qemu:commandline>", ""),
            "domain/qemu:commandline",
        ),
        ("emulator", document("", "").replace("/usr/bin/qemu-system-x86_64", "/tmp/evil"), "domain/devices/emulator"),
        ("host file", disk("type='file'", "file='/etc/shadow'"), "domain/devices/disk/source/@file"),
        ("host device", disk("type='block'", "dev='/dev/sda'"), "domain/devices/disk/source/@dev"),
        ("network disk", disk("type='network'", "protocol='http' name='x'"), "domain/devices/disk/"),
        ("directory", disk("type='dir'", "dir='/etc'"), "domain/devices/disk/"),
        ("lun", disk("type='block' device='lun'", "dev='/dev/sda'"), "domain/devices/disk/@device"),
        (
            "backing file",
            document(
                "",
                "<disk type='file'><source file='/images/free.qcow2'/><backingStore type='file'><format type='raw'/>\
                 <source file='/etc/shadow'/></backingStore><target dev='vdb' bus='virtio'/></disk>",
            ),
            "domain/devices/disk/backingStore/source/@file",
        ),
        (
            "script",
            document("", "<interface type='ethernet'><script path='/tmp/x'/></interface>"),
            "domain/devices/interface",
        ),
        (
            "bridge name",
            document("", "<interface type='bridge'><source bridge='br/0'/></interface>"),
            "domain/devices/interface/source/@bridge",
        ),
        (
            "direct",
            document("", "<interface type='direct'><source dev='eth0'/></interface>"),
            "domain/devices/interface",
        ),
        (
            "serial file",
            document("", "<serial type='file'><source path='/etc/cron.d/x'/></serial>"),
            "domain/devices/serial",
        ),
        (
            "serial tcp",
            document("", "<serial type='tcp'><source mode='bind' host='0.0.0.0' service='22'/></serial>"),
            "domain/devices/serial",
        ),
        (
            "filesystem",
            document("", "<filesystem type='mount'><source dir='/'/><target dir='x'/></filesystem>"),
            "domain/devices/filesystem",
        ),
        ("kernel", document("", "").replace("<boot dev='hd'/>", "<kernel>/etc/shadow</kernel>"), "domain/os/kernel"),
        (
            "nvram",
            document("", "").replace("<boot dev='hd'/>", "<nvram template='/etc/shadow'>/etc/cron.d/y</nvram>"),
            "domain/os/nvram",
        ),
        (
            "loader",
            document("", "").replace("<boot dev='hd'/>", "<loader>/usr/share/../../etc/shadow</loader>"),
            "domain/os/loader",
        ),
        ("seclabel", document("<seclabel type='none'/>", ""), "domain/seclabel"),
        ("iothreads", document("<iothreads>1000</iothreads>", ""), "domain/iothreads"),
        (
            "hostdev",
            document(
                "",
                "<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='0' slot='2' function='0'/></source></hostdev>",
            ),
            "domain/devices/hostdev",
        ),
        (
            "libvirt's socket",
            document(
                "",
                "<channel type='unix'><source mode='connect' path='/run/libvirt/libvirt-sock'/>\
                 <target type='virtio' name='x'/></channel>",
            ),
            "domain/devices/channel/source/@path",
        ),
        ("open screen", document("", "").replace("127.0.0.1", "0.0.0.0"), "domain/devices/graphics/@listen"),
        ("rng", document("", "").replace("/dev/urandom", "/etc/shadow"), "domain/devices/rng/backend"),
        (
            "tpm",
            document("", "<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"),
            "domain/devices/tpm",
        ),
        ("smbios", document("", "").replace("<boot dev='hd'/>", "<smbios mode='host'/>"), "domain/os/smbios/@mode"),
        (
            "fw_cfg",
            document("<sysinfo type='fwcfg'><entry name='opt/x' file='/etc/shadow'/></sysinfo>", ""),
            "domain/sysinfo/entry",
        ),
        ("audio file", document("", "<audio id='1' type='file' path='/etc/cron.d/x'/>"), "domain/devices/audio"),
        (
            "shared memory",
            document("", "<shmem name='x'><model type='ivshmem-plain'/></shmem>"),
            "domain/devices/shmem",
        ),
        (
            "evdev",
            document("", "<input type='evdev'><source dev='/dev/input/event0'/></input>"),
            "domain/devices/input",
        ),
    ] {
        let said = refused(&bench, &xml).await;
        assert!(said.starts_with("invalid_input [field ") && said.contains(place), "{what}: wanted {place}\n{said}");
    }
    let cells: String = (0..2000).map(|i| format!("<cell id='{i}' cpus='{i}' memory='1'/>")).collect();
    let cpu = format!("<cpu><numa>{cells}</numa></cpu>");
    let xml = document("", "").replace("<cpu mode='host-passthrough' check='none' migratable='on'/>", &cpu);
    assert!(refused(&bench, &xml).await.contains("domain/cpu/numa/cell"));
}

#[tokio::test(start_paused = true)]
async fn what_no_reader_should_be_fed_is_refused() {
    let bench = Bench::new();
    let plain = document("", "");
    let deep = format!("{}{}", "<a>".repeat(300), "</a>".repeat(300));
    for (what, xml) in [
        ("entity", format!("<!DOCTYPE d [<!ENTITY x SYSTEM \"file:///etc/hostname\">]>{plain}")),
        ("depth", document(&deep, "")),
        ("size", document(&format!("<description>{}</description>", "x".repeat(3 << 20)), "")),
        ("long description", document(&format!("<description>{}</description>", "x".repeat(8193)), "")),
        ("title of two lines", document("<title>a\nb</title>", "")),
        ("two names", document("<name>other</name>", "")),
        ("something after the end", format!("{plain}\0")),
        ("unknown element", document("<unheard-of/>", "")),
        ("another document", "<network><name>x</name></network>".into()),
        ("no name", plain.replace("<name>guest</name>", "")),
        (
            "placeholder uuid",
            plain.replace("8fbf2b8e-3b3c-4b1e-9a51-000000000001", "00000000-0000-0000-0000-000000000000"),
        ),
        ("all CPUs", plain.replace(">2</vcpu>", ">-1</vcpu>")),
        ("many CPUs", plain.replace(">2</vcpu>", ">4000</vcpu>")),
        ("all memory", plain.replace("2097152", "9007199254740992")),
        ("hardly any memory", plain.replace("2097152", "1024")),
        ("another hypervisor", plain.replace("<domain type='kvm'", "<domain type='xen'")),
        ("multicast MAC", plain.replace("52:54:00:aa:00:01", "01:00:5e:00:00:01")),
    ] {
        let said = refused(&bench, &xml).await;
        assert!(said.starts_with("invalid_input"), "{what}: {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_or_missing_is_named() {
    let bench = Bench::new();
    for (from, to, wanted) in [
        ("<name>guest", "<name>db", "already_exists [VM db]"),
        ("52:54:00:aa:00:01", "52:54:00:00:00:02", "already_exists [field mac]"),
        ("network='default'", "network='lan'", "not_found [network lan]"),
        ("/images/free.qcow2", "/images/none.qcow2", "not_found [volume /images/none.qcow2]"),
    ] {
        let said = refused(&bench, &document("", "").replace(from, to)).await;
        assert!(said.starts_with(wanted), "{wanted}\n{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_that_contradicts_itself_is_refused_with_the_place() {
    let bench = Bench::new();
    let again = "<disk type='block'><source dev='/dev/null'/><target dev='vda' bus='virtio'/></disk>";
    let options = ImportOptions { trust: Trust::Full, ..ImportOptions::default() };
    // Who is trusted asks libvirt itself.
    plan_import(&bench.host, &document("", again), &options, &bench.cx()).await.unwrap();
    for (head, devices, wanted) in [
        ("", "<controller type='scsi' index='0'/><controller type='scsi' index='0'/>", "devices.controller["),
        ("<iothreads>1</iothreads><cputune><iothreadpin iothread='7' cpuset='0'/></cputune>", "", "cputune."),
    ] {
        let said = refused(&bench, &document(head, devices)).await;
        assert!(said.starts_with(&format!("invalid_input [field {wanted}")) && said.contains(" is wrong: "), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_image_is_no_two_disks() {
    let bench = Bench::new();
    let twice = "<disk type='file'><source file='/images//free.qcow2'/><target dev='vdb' bus='virtio'/></disk>";
    let options = ImportOptions { trust: Trust::Full, ..ImportOptions::default() };
    let e = plan_import(&bench.host, &document("", twice), &options, &bench.cx()).await.unwrap_err();
    assert_eq!(said(&e), "invalid_input [field disk_path]: two disks are /images//free.qcow2");
}

#[tokio::test(start_paused = true)]
async fn metadata_that_pretends_to_be_ours_is_written_anew() {
    let bench = Bench::new();
    let forged = "<title>📦 box</title><metadata><kvmm:notes xmlns:kvmm='urn:kvm-manager:metadata:1' \
                  tags='ci,kvmm.io/owner=admin' owner='admin' protection='on'><kvmm:admin/></kvmm:notes></metadata>";
    let xml = document("", "")
        .replace("<metadata>", "<!-- ")
        .replace("</metadata>", " -->")
        .replace("<memory unit", &format!("{forged}<memory unit"));
    let import = plan_import(&bench.host, &xml, &ImportOptions::default(), &bench.cx()).await.unwrap();
    let written = import.document.to_xml();
    assert!(written.contains("tags=\"ci\" protection=\"on\""), "{written}");
    assert!(!written.contains("admin"), "{written}");
}

#[tokio::test(start_paused = true)]
async fn who_is_trusted_may_ask_for_anything_but_names_and_numbers_that_harm() {
    let bench = Bench::new();
    let options = ImportOptions { trust: Trust::Full, ..ImportOptions::default() };
    let xml = document("<qemu:commandline><qemu:arg value='-x'/></qemu:commandline>", "<unheard-of/>");
    let import = plan_import(&bench.host, &xml, &options, &bench.cx()).await.unwrap();
    assert!(import.document.to_xml().contains("<qemu:arg value='-x'/>"));
    for hostile in [xml.replace("<name>guest", "<name>.."), xml.replace(">2</vcpu>", ">4294967295</vcpu>")] {
        let e = plan_import(&bench.host, &hostile, &options, &bench.cx()).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_gets_an_identity_of_its_own() {
    let bench = Bench::new();
    let db = bench.vm("db").await;
    let xml = export(&bench.host, &db.id, Secrets::Hide).await.unwrap();
    let name = Some("db-copy".parse().unwrap());
    let keep = ImportOptions { name: name.clone(), ..ImportOptions::default() };
    let e = plan_import(&bench.host, &xml, &keep, &bench.cx()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::AlreadyExists, "{}", said(&e));

    let fresh = ImportOptions { name, identity: Identity::Fresh, ..ImportOptions::default() };
    let import = plan_import(&bench.host, &xml, &fresh, &bench.cx()).await.unwrap();
    assert!(import.plan.to_string().contains("also used by"), "{}", import.plan);
    bench.run(import.plan).await.unwrap();
    let copy = bench.vm("db-copy").await;
    assert_ne!(copy.id, db.id);
    let copied = Domain::from_xml(&export(&bench.host, &copy.id, Secrets::Hide).await.unwrap()).unwrap();
    let mac = copied.devices.unwrap().interface[0].mac.clone().unwrap().address.unwrap();
    assert_ne!(mac.to_string(), "52:54:00:00:00:02");
}

#[tokio::test(start_paused = true)]
async fn the_error_names_the_first_thing_and_lists_the_others() {
    let bench = Bench::new();
    let xml = document("<seclabel type='none'/><iothreads>100</iothreads>", "");
    let e = plan_import(&bench.host, &xml, &ImportOptions::default(), &bench.cx()).await.unwrap_err();
    assert_eq!(e.resource(), Some(&Resource::Field("domain/iothreads".into())));
    assert!(e.detail().unwrap().contains("domain/seclabel"), "{}", said(&e));
}
