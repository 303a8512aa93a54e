//! Reading definitions.

use kvm_core::{ErrorKind, Existing, PowerAction, View, VmId};
use kvm_xml::Domain;
use kvm_xml::domain::{Devices, DomainMemory, Graphics, GraphicsType};

use crate::case::{cases, holds, refused, same};
use crate::cx::Cx;

cases! { CASES in "definition" on Cx;
    /// A definition gives what was defined.
    async fn a_definition_is_what_was_defined(cx) {
        let mut document = cx.document("a")?;
        document.title = Some("a <title> & more".into());
        let id = cx.hypervisor().define(&document, Existing::Reject).await?;
        let read = cx.hypervisor().definition(&id, View::CONFIG).await?;
        same("name", read.name, document.name)?;
        same("uuid", read.uuid, document.uuid)?;
        same("title", read.title, document.title)?;
        same("memory", read.memory.and_then(|m| m.bytes()), document.memory.and_then(|m| m.bytes()))?;
        same("virtual CPUs", read.vcpu.and_then(|v| v.value), document.vcpu.and_then(|v| v.value))
    }

    /// A machine that is not there has no definition.
    async fn what_is_not_there_has_no_definition(cx) {
        refused(cx.hypervisor().definition(&cx.id("absent"), View::CONFIG).await, ErrorKind::NotFound)?;
        refused(cx.hypervisor().definition(&cx.id("absent"), View::LIVE).await, ErrorKind::NotFound)
    }

    /// Of a machine that is off, both views give the same.
    async fn when_off_both_views_are_the_same(cx) {
        let id = cx.defined("a").await?;
        let live = cx.hypervisor().definition(&id, View::LIVE).await?;
        same("live view", live, cx.hypervisor().definition(&id, View::CONFIG).await?)
    }

    /// What is redefined while the machine runs is in its configuration at once, and live after the next start.
    async fn a_running_machine_changes_at_its_next_start(cx) {
        let id = cx.running("a").await?;
        let before = memory(cx, &id, View::LIVE).await?;
        let mut document = cx.document("a")?;
        let smaller = before.map(|bytes| bytes / 2);
        document.memory = smaller.map(DomainMemory::from_bytes);
        document.current_memory = None;
        cx.hypervisor().define(&document, Existing::Replace).await?;
        same("live", memory(cx, &id, View::LIVE).await?, before)?;
        same("configured", memory(cx, &id, View::CONFIG).await?, smaller)?;
        cx.power(&id, PowerAction::PowerOff).await?;
        cx.power(&id, PowerAction::Start).await?;
        same("live after the next start", memory(cx, &id, View::LIVE).await?, smaller)
    }

    /// Metadata of other programs is given back as it was defined.
    async fn metadata_of_others_is_kept(cx) {
        let mut document = cx.document("a")?;
        let theirs = "<x:note xmlns:x='urn:example:contract' a='1'><x:deep>text</x:deep></x:note>";
        document.metadata.get_or_insert_default().set("urn:example:contract", theirs)?;
        let id = cx.hypervisor().define(&document, Existing::Reject).await?;
        let read = cx.hypervisor().definition(&id, View::CONFIG).await?;
        let found = read.metadata.as_ref().and_then(|metadata| metadata.get("urn:example:contract"));
        holds("the element is there", found.is_some_and(|element| element.attribute("a").as_deref() == Some("1")))?;
        holds("and what is in it", found.is_some_and(|element| element.as_str().contains("text")))
    }

    /// Secrets are left out unless the view asks for them.
    async fn secrets_are_shown_only_when_asked_for(cx) {
        let mut document = cx.document("a")?;
        let screen = Graphics {
            r#type: Some(GraphicsType::Vnc),
            passwd: Some("s3cret".into()),
            ..Graphics::default()
        };
        document.devices.get_or_insert_with(Devices::default).graphics = vec![screen];
        let id = cx.hypervisor().define(&document, Existing::Reject).await?;
        let password = |document: Domain| document.devices.and_then(|d| d.graphics.into_iter().find_map(|g| g.passwd));
        same("hidden", password(cx.hypervisor().definition(&id, View::CONFIG).await?), None)?;
        let shown = cx.hypervisor().definition(&id, View::CONFIG.with_secrets()).await?;
        same("shown", password(shown), Some("s3cret".to_owned()))
    }
}

async fn memory(cx: &Cx, id: &VmId, view: View) -> kvm_core::Result<Option<u64>> {
    Ok(cx.hypervisor().definition(id, view).await?.memory.and_then(|memory| memory.bytes()))
}
