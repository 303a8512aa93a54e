//! The passwords of screens.

use kvm_core::{Device, DeviceRef, Error, ErrorKind, Existing, Impact, PowerAction, View, VmId};
use kvm_xml::Domain;
use kvm_xml::domain::{Graphics, GraphicsType};
use kvm_xml::value::YesNo;

use super::{document, facet};
use crate::case::{cases, refused, same};
use crate::cx::Cx;

cases! { CASES in "devices" on Cx;
    /// The password of a screen is set in the configuration, where only who asks for secrets sees it.
    async fn the_password_of_a_screen_is_configured(cx) {
        let id = with_screen(cx, None).await?;
        facet(cx)?.update(&id, &screen(cx, &id, View::CONFIG, "n3w").await?, Impact::Config).await?;
        same("hidden", password(&document(cx, &id, View::CONFIG).await?), None)?;
        same("shown", password(&document(cx, &id, View::CONFIG.with_secrets()).await?), Some("n3w".to_owned()))
    }

    /// A running screen that was started with a password takes another one.
    async fn the_password_of_a_running_screen_changes(cx) {
        let id = with_screen(cx, Some("0ld")).await?;
        cx.power(&id, PowerAction::Start).await?;
        facet(cx)?.update(&id, &screen(cx, &id, View::LIVE, "n3w").await?, Impact::Live).await?;
        same("live", password(&document(cx, &id, View::LIVE.with_secrets()).await?), Some("n3w".to_owned()))?;
        same("stored", password(&document(cx, &id, View::CONFIG.with_secrets()).await?), Some("0ld".to_owned()))
    }

    /// A running screen that was started without a password gets none.
    async fn a_running_screen_without_a_password_gets_none(cx) {
        let id = with_screen(cx, None).await?;
        cx.power(&id, PowerAction::Start).await?;
        let wanted = screen(cx, &id, View::LIVE, "n3w").await?;
        refused(facet(cx)?.update(&id, &wanted, Impact::Live).await, ErrorKind::InvalidState)?;
        same("live", password(&document(cx, &id, View::LIVE.with_secrets()).await?), None)
    }
}

/// A machine that is off, with a screen.
async fn with_screen(cx: &Cx, passwd: Option<&str>) -> kvm_core::Result<VmId> {
    let mut document = cx.document("a")?;
    let screen = Graphics {
        r#type: Some(GraphicsType::Vnc),
        autoport: Some(YesNo::Yes),
        passwd: passwd.map(ToOwned::to_owned),
        ..Graphics::default()
    };
    document.devices.get_or_insert_default().graphics = vec![screen];
    cx.hypervisor().define(&document, Existing::Reject).await
}

/// The screen of a document, with another password.
async fn screen(cx: &Cx, id: &VmId, view: View, passwd: &str) -> kvm_core::Result<Device> {
    match DeviceRef::Graphics(GraphicsType::Vnc).find(&document(cx, id, view).await?) {
        Some(Device::Graphics(mut screen)) => {
            screen.passwd = Some(passwd.to_owned());
            Ok(Device::Graphics(screen))
        }
        _ => Err(Error::internal("there is no screen")),
    }
}

fn password(document: &Domain) -> Option<String> {
    document.devices.as_ref()?.graphics.iter().find_map(|screen| screen.passwd.clone())
}
