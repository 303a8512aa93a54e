//! Devices of the host that the guest has.

use super::draft::Draft;
use super::facts::{HostDevice, Mapped};
use super::policy::HostDevices;
use super::told::{Reason, Refusal, RewriteError, Warning};
use crate::diff::{item_path, removal};
use crate::domain::{
    CharType, Devices, Disk, Hostdev, Input, InputType, Interface, InterfaceType, Redirdev, Tpm, TpmBackendType,
};
use crate::element::Element;

pub(super) fn host_devices(draft: &mut Draft<'_, '_>) -> Result<(), RewriteError> {
    if draft.policy.hostdev == HostDevices::Keep {
        return Ok(());
    }
    map::<Hostdev>(draft)?;
    map::<Interface>(draft)?;
    map::<Disk>(draft)?;
    map::<Tpm>(draft)?;
    map::<Input>(draft)?;
    map::<Redirdev>(draft)
}

/// Points the host's devices of one kind at the target's; takes out, or refuses, those that the facts know nothing for.
fn map<T: MaybeHosts>(draft: &mut Draft<'_, '_>) -> Result<(), RewriteError> {
    let mut unmapped = Vec::new();
    for (index, item) in draft.domain.devices.iter_mut().flat_map(T::all).enumerate() {
        if !item.is_hosts() || (draft.facts.host_device)(item.as_device()) == Mapped::Yes {
            continue;
        }
        let path = item_path(T::LIST, item, index);
        let device = removal(path.clone(), item).before.unwrap_or_default();
        if draft.policy.hostdev == HostDevices::Map {
            let problem = format!("the target has no device in the place of this one ({device})");
            let fix = "map it to a device of the target, or drop it";
            return Err(RewriteError::new(Refusal::HostDevice, path, problem, fix));
        }
        draft.warnings.push(Warning::HostDeviceDropped { path, device });
        unmapped.push(index);
    }
    draft.record(Reason::HostDevice);
    draft.take_out(T::LIST, T::all, &unmapped, Reason::HostDevice);
    Ok(())
}

/// A device that may be one of the host.
trait MaybeHosts: Element + Sized {
    /// What [`diff`](crate::diff()) calls the list of them.
    const LIST: &'static str;
    fn all(devices: &mut Devices) -> &mut Vec<Self>;
    fn is_hosts(&self) -> bool;
    fn as_device(&mut self) -> HostDevice<'_>;
}

macro_rules! maybe_hosts {
    ($($device:ident in $list:ident: $is_hosts:expr;)+) => {$(
        impl MaybeHosts for $device {
            const LIST: &'static str = concat!("devices.", stringify!($list));
            fn all(devices: &mut Devices) -> &mut Vec<Self> {
                &mut devices.$list
            }
            fn is_hosts(&self) -> bool {
                let is_hosts: fn(&Self) -> bool = $is_hosts;
                is_hosts(self)
            }
            fn as_device(&mut self) -> HostDevice<'_> {
                HostDevice::$device(self)
            }
        }
    )+};
}

maybe_hosts! {
    Hostdev in hostdev: |_| true;
    Interface in interface: |interface| matches!(interface.r#type, Some(InterfaceType::Hostdev | InterfaceType::Vdpa));
    Disk in disk: super::disks::is_host_device;
    Tpm in tpm: |tpm| {
        let kind = tpm.backend.as_ref().and_then(|backend| backend.r#type);
        matches!(kind, Some(TpmBackendType::Passthrough | TpmBackendType::External))
    };
    Input in input: |input| matches!(input.r#type, Some(InputType::Passthrough | InputType::Evdev));
    // A SPICE client brings its own USB devices; anything else has them on this host.
    Redirdev in redirdev: |redirdev| redirdev.r#type != Some(CharType::Spicevmc);
}
