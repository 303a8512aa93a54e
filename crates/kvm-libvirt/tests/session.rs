//! Temporary: the suite on qemu:///session.
use async_trait::async_trait;
use kvm_contract::{Arguments, SharedHost, on_shared};
use kvm_core::*;
use kvm_libvirt::{Config, Libvirt};
use kvm_xml::{Document as _, Domain};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

fn main() {
    let home = std::env::var("HOME").unwrap();
    let host = Session { pools: PathBuf::from(home).join("pools") };
    std::fs::create_dir_all(&host.pools).unwrap();
    kvm_contract::run(on_shared(host), "", &Arguments::from_args()).exit();
}
struct Session {
    pools: PathBuf,
}
#[async_trait]
impl SharedHost for Session {
    async fn connect(&self) -> Result<Host> {
        let l =
            Libvirt::connect(&Target::parse("qemu:///session")?, &ConnectOptions::default(), Config::default()).await?;
        Ok(Host { hypervisor: l.clone(), storage: l.clone(), networks: l, transport: Arc::new(No) })
    }
    fn machine(&self, name: &VmName, id: &VmId) -> Domain {
        let d = Domain::from_xml(&"<domain type='qemu'><memory unit='MiB'>128</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type><kernel>KK/vmlinuz</kernel><initrd>KK/initrd</initrd><cmdline>console=ttyS0 panic=1 quiet</cmdline></os>\
          <features><acpi/></features><devices><channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel><serial type='pty'/><video><model type='vga'/></video><graphics type='vnc'/><interface type='user'><mac address='52:54:00:00:00:01'/></interface></devices></domain>".replace("KK", &format!("{}/files", std::env::var("KVM_SESSION").unwrap()))).unwrap();
        Domain { name: Some(name.as_str().into()), uuid: Some((*id).into()), ..d }
    }
    fn pools(&self) -> &Path {
        &self.pools
    }
    fn actions(&self) -> Vec<PowerAction> {
        use PowerAction as A;
        vec![A::Start, A::StartPaused, A::PowerOff, A::Reset, A::Suspend, A::Resume, A::Save, A::DiscardSaved]
    }
    fn sequences(&self) -> u32 {
        4
    }
    fn patience(&self) -> Duration {
        Duration::from_secs(90)
    }
    async fn plant(&self, host: &Host, document: &Domain) -> Result<()> {
        host.hypervisor.define(document, Existing::Reject).await.map(drop)
    }
    async fn interrupt(&self, _: &Host) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "not here"))
    }
}
#[derive(Debug)]
struct No;
#[async_trait]
impl Transport for No {
    fn endpoint(&self) -> &Endpoint {
        &Endpoint::Local
    }
    async fn run(&self, _: &[&str], _: Duration) -> Result<Output> {
        Err(Error::internal("no"))
    }
    async fn dial(&self, _: &Dial) -> Result<Box<dyn ByteStream>> {
        Err(Error::internal("no"))
    }
    async fn read_file(&self, _: &Path, _: Bytes) -> Result<Vec<u8>> {
        Err(Error::internal("no"))
    }
    async fn write_file(&self, _: &Path, _: &[u8], _: u32) -> Result<()> {
        Err(Error::internal("no"))
    }
}
