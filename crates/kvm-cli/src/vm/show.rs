//! `kvmctl vm show`.

use kvm_core::{Bytes, GuestAddress, Protection, Result, View, VmFilter, VmNotes, VmStats, VmSummary};
use serde::Serialize;

use super::show_devices::{Disk, Graphics, Nic, Other};
use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `vm show`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm show web\n  kvmctl vm show lab1/web\n  kvmctl vm show web -o json | jq .disks",
    after_long_help = "Library: kvm_core::Hypervisor::definition, ::stats, kvm_vm::addresses"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
}

/// All that is known of a VM.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    summary: VmSummary,
    host: String,
    #[serde(flatten)]
    notes: VmNotes,
    machine: Option<String>,
    firmware: Option<String>,
    addresses: Vec<GuestAddress>,
    disks: Vec<Disk>,
    nics: Vec<Nic>,
    graphics: Vec<Graphics>,
    devices: Vec<Other>,
    /// Only of a VM that is active.
    stats: Option<VmStats>,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Shown> {
    let (connection, vm) = args.vm.find(session).await?;
    let host = &connection.host;
    let document = host.hypervisor.definition(&vm.id, View::LIVE).await?;
    let (mut addresses, mut stats) = (Vec::new(), None);
    if vm.state.is_active() {
        // Neither is worth failing for: the guest may be silent, the machine may go off in this moment.
        addresses = kvm_vm::addresses(host, &vm.id, &*session.clock).await.unwrap_or_default();
        let all = host.hypervisor.stats(&VmFilter { states: vec![vm.state] }).await.unwrap_or_default();
        stats = all.into_iter().find(|s| s.id == vm.id);
    }
    let os = document.os.as_ref();
    Ok(Shown {
        host: connection.label(),
        notes: VmNotes::of(&document),
        machine: os.and_then(|os| os.r#type.as_ref()).and_then(|t| t.machine.clone()),
        firmware: os.map(|os| match (&os.firmware, &os.loader) {
            (Some(firmware), _) => firmware.to_string(),
            (None, Some(loader)) => loader.value.clone().unwrap_or_else(|| "own loader".to_owned()),
            (None, None) => "bios".to_owned(),
        }),
        addresses,
        disks: Disk::of(host, &document).await,
        nics: Nic::of(&document),
        graphics: Graphics::of(&document),
        devices: Other::of(&document),
        stats,
        summary: vm,
    })
}

impl Outcome for Shown {
    fn text(&self, page: &mut Page<'_>) {
        let vm = &self.summary;
        let yes_no = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let memory = |bytes: Option<Bytes>| bytes.map(|b| b.to_string());
        let state = match vm.has_saved_state && vm.state != kvm_core::VmState::Saved {
            true => format!("{}, with a saved state", vm.state),
            false => vm.state.to_string(),
        };
        let mut fields = vec![
            ("name", Some(vm.name.as_str().to_owned())),
            ("id", Some(vm.id.to_string())),
            ("host", Some(self.host.clone())),
            ("state", Some(state)),
        ];
        if let Some(title) = self.notes.title.as_ref().filter(|t| !t.is_empty()) {
            fields.push(("title", Some(title.as_str().to_owned())));
        }
        if let Some(text) = self.notes.description.as_ref().filter(|d| !d.is_empty()) {
            fields.push(("description", Some(text.as_str().to_owned())));
        }
        if !self.notes.tags.is_empty() {
            let tags: Vec<_> = self.notes.tags.iter().map(|tag| tag.as_str()).collect();
            fields.push(("tags", Some(tags.join(", "))));
        }
        fields.push(("cpus", vm.vcpus.map(|n| n.to_string())));
        fields.push(("memory", memory(vm.memory)));
        if vm.max_memory != vm.memory {
            fields.push(("max memory", memory(vm.max_memory)));
        }
        fields.push(("machine", self.machine.clone()));
        fields.push(("firmware", self.firmware.clone()));
        fields.push(("autostart", vm.autostart.map(yes_no)));
        fields.push(("protected", Some(yes_no(self.notes.protection == Protection::On))));
        if !vm.persistent {
            fields.push(("persistent", Some("no: it is gone when it stops".to_owned())));
        }
        if let Some(stats) = &self.stats {
            fields.push(("cpu time", stats.cpu_time.map(crate::text::duration)));
            fields.push(("resident", memory(stats.resident)));
        }
        let lines = |lines: Vec<String>| (!lines.is_empty()).then(|| lines.join("\n"));
        if vm.state.is_active() {
            fields.push(("address", lines(self.addresses.iter().map(address).collect())));
        }
        fields.push(("disks", lines(self.disks.iter().map(ToString::to_string).collect())));
        fields.push(("nics", lines(self.nics.iter().map(ToString::to_string).collect())));
        fields.push(("graphics", lines(self.graphics.iter().map(ToString::to_string).collect())));
        fields.push(("devices", lines(self.devices.iter().map(ToString::to_string).collect())));
        page.fields(&fields);
    }
}

fn address(address: &GuestAddress) -> String {
    let prefix = address.prefix.map(|p| format!("/{p}")).unwrap_or_default();
    format!("{}{prefix}  ({})", address.address, address.source.as_str())
}
