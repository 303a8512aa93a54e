//! Graphics and the vsock device.

use super::draft::Draft;
use super::policy::{Graphics, Listen, Password, Vsock};
use super::told::{Reason, Warning};
use crate::diff::item_path;
use crate::domain::ListenType;
use crate::value::YesNo;

pub(super) fn ports(draft: &mut Draft<'_, '_>) {
    if draft.policy.graphics == Graphics::Keep {
        return;
    }
    for graphics in draft.domain.devices.iter_mut().flat_map(|devices| &mut devices.graphics) {
        let fixed = |port: &Option<i32>| port.is_some_and(|port| port != -1);
        if fixed(&graphics.port) || fixed(&graphics.tls_port) || graphics.autoport == Some(YesNo::No) {
            graphics.port = Some(-1);
            graphics.tls_port = graphics.tls_port.map(|_| -1);
            graphics.autoport = Some(YesNo::Yes);
        }
        // Not part of autoport; without the attribute there is no websocket at all.
        graphics.websocket = graphics.websocket.map(|_| -1);
    }
    draft.record(Reason::Chosen);
}

pub(super) fn listen(draft: &mut Draft<'_, '_>) {
    if draft.policy.listen == Listen::Keep {
        return;
    }
    let devices = draft.domain.devices.iter_mut();
    for (index, graphics) in devices.flat_map(|devices| &mut devices.graphics).enumerate() {
        let path = item_path("devices.graphics", graphics, index);
        let mut dropped = None;
        let listens = graphics.listen_el.iter_mut().filter(|listen| listen.r#type == Some(ListenType::Address));
        let addresses = listens.map(|listen| &mut listen.address).chain(std::iter::once(&mut graphics.listen));
        for address in addresses {
            let Some(old) = address.take() else { continue };
            *address = (draft.facts.listen)(&old);
            if address.is_none() {
                dropped = Some(old);
            }
        }
        draft.warnings.extend(dropped.map(|address| Warning::ListenDropped { path, address }));
    }
    draft.record(Reason::Listen);
}

pub(super) fn passwords(draft: &mut Draft<'_, '_>) {
    if draft.policy.password == Password::Keep {
        return;
    }
    let devices = draft.domain.devices.iter_mut();
    for (index, graphics) in devices.flat_map(|devices| &mut devices.graphics).enumerate() {
        if graphics.passwd.take().is_some() {
            draft.warnings.push(Warning::PasswordDropped { path: item_path("devices.graphics", graphics, index) });
        }
        graphics.passwd_valid_to = None;
    }
    draft.record(Reason::Secret);
}

pub(super) fn vsock(draft: &mut Draft<'_, '_>) {
    let vsock = draft.domain.devices.as_mut().and_then(|devices| devices.vsock.as_mut());
    if let (Vsock::Auto, Some(vsock)) = (draft.policy.vsock, vsock) {
        let cid = vsock.cid.get_or_insert_default();
        (cid.auto, cid.address) = (Some(YesNo::Yes), None);
        draft.record(Reason::Chosen);
    }
}
