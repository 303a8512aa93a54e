//! What the simulated host offers beyond the contract: time, faults, guests that act by themselves, state that is kept.
#![allow(missing_docs, reason = "tests")]

mod call;
mod demo;
mod guest;
mod kept;
mod scenario;

use std::sync::Arc;

use kvm_core::{Event, Existing, Host, HypervisorExt as _, PowerAction, VmChange, VmId, VmName, VmRef, VmState};
use kvm_mock::{ManualClock, TokioClock};
use kvm_xml::{Document as _, Domain};

const START: &str = "2030-01-01T00:00:00Z";

fn paused_clock() -> Arc<TokioClock> {
    Arc::new(TokioClock::starting_at(START.parse().unwrap()))
}

fn manual_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(START.parse().unwrap()))
}

fn document(name: &str) -> Domain {
    Domain::from_xml(&format!(
        "<domain type='kvm'><name>{name}</name><uuid>8fbf2b8e-3b3c-4b1e-9a51-000000000001</uuid>\
         <memory unit='MiB'>256</memory><vcpu>2</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os>\
         <devices><serial type='pty'/>\
         <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices></domain>"
    ))
    .unwrap()
}

async fn running(host: &Host) -> VmId {
    let id = host.hypervisor.define(&document("a"), Existing::Reject).await.unwrap();
    host.hypervisor.power(&id, PowerAction::Start).await.unwrap();
    id
}

async fn state(host: &Host, id: &VmId) -> VmState {
    host.hypervisor.find(&VmRef::Id(*id)).await.unwrap().state
}

async fn named(host: &Host, name: &str) -> kvm_core::VmSummary {
    host.hypervisor.find_by_name(&VmName::parse(name).unwrap()).await.unwrap()
}

fn what(event: Event) -> VmChange {
    match event {
        Event::Vm(event) => event.what,
        other => panic!("{other:?}"),
    }
}
