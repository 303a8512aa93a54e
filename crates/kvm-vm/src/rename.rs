//! Renaming a machine.

use kvm_core::{Error, Host, Result, View, VmId, VmName};

use crate::socket;

/// Gives a machine that is off another name.
///
/// `InvalidInput` for a name with which it could not be started any more, because the paths of its sockets have no room
/// for it. Otherwise as [`Hypervisor::rename`](kvm_core::Hypervisor::rename).
pub async fn rename(host: &Host, id: &VmId, name: &VmName) -> Result<()> {
    let host_info = host.hypervisor.capabilities().await?;
    socket::check_name(name, &host_info)?;
    let mut document = host.hypervisor.definition(id, View::CONFIG).await?;
    if let Some(channel) = socket::leave_out_channels(&mut document, name, &host_info).first() {
        return Err(Error::invalid(
            "name",
            format!(
                "VM name \"{name}\" is too long for a machine with the channel {}; use a shorter one",
                channel.name
            ),
        ));
    }
    host.hypervisor.rename(id, name).await
}
