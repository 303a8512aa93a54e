//! The program on the host that puts rules into its packet filter.

use std::path::Path;
use std::time::Duration;

use kvm_core::{Bytes, Error, ErrorKind, Host, NetworkName, Output, Resource, Result};
use kvm_xml::{Document as _, Network};

use crate::step::unless_gone;

/// The program, the same for every host and network.
const PROGRAM: &str = include_str!("hook.sh");
const DIRECTORY: &str = "/etc/libvirt/hooks/network.d";
const PATH: &str = "/etc/libvirt/hooks/network.d/kvm-manager";
/// What a program of the host may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// No hook is larger.
const LARGEST: Bytes = Bytes::from_mib(1);
/// The daemons that run hooks of networks, with where they keep their process number.
const DAEMONS: [(&str, &str); 2] = [("libvirtd", "/run/libvirtd.pid"), ("virtnetworkd", "/run/virtnetworkd.pid")];

/// The hook of a host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hook;

impl Hook {
    /// Where it stands.
    pub(crate) const PATH: &'static str = PATH;

    /// What stands there now.
    pub(crate) async fn read(host: &Host) -> Result<Option<String>> {
        match host.transport.read_file(Path::new(PATH), LARGEST).await {
            Ok(content) => Ok(Some(String::from_utf8_lossy(&content).into_owned())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether this is the hook of this version.
    pub(crate) fn is_current(content: Option<&str>) -> bool {
        content == Some(PROGRAM)
    }

    /// Writes it, and has libvirt look for hooks again: it runs only those that it found.
    pub(crate) async fn install(host: &Host) -> Result<()> {
        run(host, &["mkdir", "-p", "--", DIRECTORY]).await?;
        Self::write(host, PROGRAM).await?;
        for (name, file) in DAEMONS {
            if let Some(process) = daemon(host, name, file).await? {
                run(host, &["kill", "-HUP", &process.to_string()]).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn write(host: &Host, program: &str) -> Result<()> {
        host.transport.write_file(Path::new(PATH), program.as_bytes(), 0o755).await
    }
}

/// The process number of a daemon that runs. A file that it left behind may name another process by now.
async fn daemon(host: &Host, name: &str, file: &str) -> Result<Option<u32>> {
    let Ok(process) = line(host, file).await?.parse::<u32>() else { return Ok(None) };
    let is_it = line(host, &format!("/proc/{process}/comm")).await? == name;
    Ok(is_it.then_some(process))
}

/// What a short file says; nothing when it is not there.
async fn line(host: &Host, path: &str) -> Result<String> {
    match host.transport.read_file(Path::new(path), Bytes::from_kib(4)).await {
        Ok(content) => Ok(String::from_utf8_lossy(&content).trim().to_owned()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(e),
    }
}

/// Has the hook put the rules of a document into the packet filter, in place of those that the network had.
pub(crate) async fn apply(host: &Host, network: &NetworkName, document: &Network) -> Result<()> {
    let uuid = document.uuid.ok_or_else(|| Error::internal("a network has a uuid"))?;
    let file = format!("/run/kvm-manager-{uuid}.xml");
    host.transport.write_file(Path::new(&file), document.to_xml().as_bytes(), 0o600).await?;
    let applied = run(host, &[PATH, network.as_str(), "apply", &file]).await;
    remove_file(host, &file).await?;
    applied.map(drop)
}

/// Removes a file of the host; one that is not there is gone already.
pub(crate) async fn remove_file(host: &Host, path: &str) -> Result<()> {
    unless_gone(host.transport.remove_file(Path::new(path)).await)
}

/// Runs a program that has to succeed.
pub(crate) async fn run(host: &Host, argv: &[&str]) -> Result<Output> {
    let output = host.transport.run(argv, PATIENCE).await?;
    if output.success() {
        return Ok(output);
    }
    let program = argv.first().copied().unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(ErrorKind::InvalidState, format!("{program} does not work on the host"))
        .on(Resource::File(program.to_owned()))
        .with_detail(kvm_core::text::printable_within(said.trim(), 200).to_string()))
}
