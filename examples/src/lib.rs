//! What the examples share: from a target to a host. Only here a backend is named.

#![forbid(unsafe_code)]

use std::sync::Arc;

use kvm_core::{ConnectOptions, Host, Result, SystemClock, Target};
use kvm_libvirt::{Config, Libvirt};
use kvm_mock::Mock;
use kvm_ssh::LocalTransport;

/// Opens the host that a target names: a simulated one (which is gone with the program), or one on libvirt.
pub async fn open(target: &str) -> Result<Host> {
    match Target::parse(target)? {
        Target::Mock(world) => Ok(Mock::open(&world, None, Arc::new(SystemClock))?.host()),
        target => {
            let libvirt = Libvirt::connect(&target, &ConnectOptions::default(), Config::default()).await?;
            Ok(Host {
                hypervisor: libvirt.clone(),
                storage: libvirt.clone(),
                networks: libvirt,
                transport: Arc::new(LocalTransport::new()),
            })
        }
    }
}
