//! The contract on real QEMU: the third rung, after the simulated host and libvirt's test driver.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use kvm_contract::{Arguments, Bench, Rig, Setup, SharedHost, Time, on_shared};
use kvm_core::{Error, ErrorKind, Host, PowerAction, Result, VmId, VmName};
use kvm_lab::{Lab, LabHost};
use kvm_xml::{Document as _, Domain};

/// A file system of its own on each host, made by the first case and gone with the lab.
const POOLS: &str = "/var/lib/libvirt/contract";
/// How long a guest may take to be up, or to shut down, under TCG on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a case may take; less than what the test runner allows.
const LIMIT: Duration = Duration::from_secs(420);

fn main() {
    let conclusion = kvm_contract::run(LabRig, include_str!("contract-skips.txt"), &Arguments::from_args());
    // As every program before it ends. One that hangs has failed its case already.
    kvm_libvirt::settle(Duration::from_secs(10));
    conclusion.exit();
}

/// Gives each case a host for itself: one of them kills libvirtd.
struct LabRig;

#[async_trait]
impl Rig for LabRig {
    fn time(&self) -> Time {
        Time::Real
    }

    fn limit(&self) -> Duration {
        LIMIT
    }

    async fn bench(&self, setup: &Setup) -> Result<Box<dyn Bench>> {
        // Both at once: two cases that have one each would wait for each other.
        let mut hosts = Lab::open().take_hosts(if setup.group == "migration" { 2 } else { 1 }).await;
        for host in &hosts {
            // Room that only the case takes and gives.
            if host.exec(&["mountpoint", "-q", POOLS]).await.code != Some(0) {
                host.fault(&["smalldisk", "512", POOLS]).await;
            }
        }
        let host = hosts.remove(0);
        on_shared(Qemu { host, peer: hosts.pop() }).bench(setup).await
    }
}

/// A host of the lab, and another one for machines that move.
struct Qemu {
    host: LabHost,
    peer: Option<LabHost>,
}

#[async_trait]
impl SharedHost for Qemu {
    async fn connect(&self) -> Result<Host> {
        Ok(self.host.open().await)
    }

    /// A guest that boots in seconds, from the kernel alone.
    fn machine(&self, name: &VmName, id: &VmId) -> Domain {
        let guest = self.host.lab().dir().join("guest");
        // Each with an address of its own, on which the network's leases depend.
        let [.., a, b, c] = *id.as_bytes();
        let document = format!(
            "<domain type='qemu'><memory unit='MiB'>160</memory><vcpu>1</vcpu>\
             <os><type arch='x86_64' machine='q35'>hvm</type><kernel>{guest}/vmlinuz</kernel>\
             <initrd>{guest}/initrd</initrd><cmdline>console=ttyS0 panic=1 quiet</cmdline></os><features><acpi/></features>\
             <cpu mode='maximum'/><devices><interface type='network'><mac address='52:54:00:{a:02x}:{b:02x}:{c:02x}'/>\
             <source network='default'/><model type='virtio'/></interface><serial type='pty'/>\
             <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>\
             <graphics type='vnc' autoport='yes'/><video><model type='vga'/></video></devices></domain>",
            guest = guest.display()
        );
        let document = Domain::from_xml(&document).unwrap_or_else(|e| panic!("{e}: {document}"));
        Domain { name: Some(name.as_str().to_owned()), uuid: Some((*id).into()), ..document }
    }

    fn pools(&self) -> &Path {
        Path::new(POOLS)
    }

    fn actions(&self) -> Vec<PowerAction> {
        use PowerAction as A;
        // Guests that shut down have to boot first, which takes too long for random sequences.
        vec![A::Start, A::StartPaused, A::PowerOff, A::Reset, A::Suspend, A::Resume, A::Save, A::DiscardSaved]
    }

    fn sequences(&self) -> u32 {
        4
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    async fn plant(&self, _: &Host, document: &Domain) -> Result<()> {
        self.host.define_by_hand(&document.to_xml()).await;
        Ok(())
    }

    async fn peer(&self) -> Result<Host> {
        match &self.peer {
            Some(peer) => Ok(peer.open().await),
            None => Err(Error::new(ErrorKind::Unsupported, "one host was taken")),
        }
    }

    async fn interrupt(&self, _: &Host) -> Result<()> {
        self.host.fault(&["kill", "libvirtd"]).await;
        self.host.fault(&["start", "libvirtd"]).await;
        Ok(())
    }
}
