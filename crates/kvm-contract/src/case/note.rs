//! Title, description, tags and protection.

use kvm_core::{
    Description, Elsewhere, ErrorKind, Existing, ProofKind, ProofResult, ProofVersions, Protection, Receipt,
    Replication, Result, Tag, Title, View, VmId, VmNotes, VmState,
};

use crate::case::{cases, holds, refused, same};
use crate::cx::Cx;

cases! { CASES in "notes" on Cx;
    /// Notes are read as they were set, and each setting replaces the one before.
    async fn notes_replace_notes(cx) {
        let id = cx.defined("a").await?;
        same("at first", read(cx, &id, View::CONFIG).await?, VmNotes::default())?;
        let other = VmNotes { title: Some(Title::parse("Other")?), ..VmNotes::default() };
        for notes in [full(cx).await?, full(cx).await?, other, VmNotes::default()] {
            cx.hypervisor().set_notes(&id, &notes).await?;
            same("notes", read(cx, &id, View::CONFIG).await?, notes)?;
        }
        Ok(())
    }

    /// A running machine's notes change in both documents, and are there after it stopped.
    async fn notes_of_a_running_machine_change_in_both_documents(cx) {
        let id = cx.in_state("a", VmState::Running).await?;
        let notes = full(cx).await?;
        cx.hypervisor().set_notes(&id, &notes).await?;
        same("live", read(cx, &id, View::LIVE).await?, notes.clone())?;
        same("configured", read(cx, &id, View::CONFIG).await?, notes.clone())?;
        cx.power(&id, kvm_core::PowerAction::PowerOff).await?;
        same("afterwards", read(cx, &id, View::CONFIG).await?, notes)
    }

    /// Metadata of other programs stays as it is.
    async fn metadata_of_others_stays(cx) {
        let mut document = cx.document("a")?;
        let theirs = "<x:note xmlns:x='urn:example:contract' a='1'/>";
        document.metadata.get_or_insert_default().set("urn:example:contract", theirs)?;
        let id = cx.hypervisor().define(&document, Existing::Reject).await?;
        for notes in [full(cx).await?, VmNotes::default()] {
            cx.hypervisor().set_notes(&id, &notes).await?;
            let document = cx.hypervisor().definition(&id, View::CONFIG).await?;
            let kept = document.metadata.as_ref().and_then(|metadata| metadata.get("urn:example:contract"));
            holds("their element is there", kept.is_some())?;
        }
        Ok(())
    }

    /// A machine that is not there has no notes.
    async fn what_is_not_there_has_no_notes(cx) {
        refused(cx.hypervisor().set_notes(&cx.id("absent"), &full(cx).await?).await, ErrorKind::NotFound)
    }
}

async fn read(cx: &Cx, id: &VmId, view: View) -> Result<VmNotes> {
    Ok(VmNotes::of(&cx.hypervisor().definition(id, view).await?))
}

/// Notes with everything that markup could trip over.
async fn full(cx: &Cx) -> Result<VmNotes> {
    Ok(VmNotes {
        title: Some(Title::parse("Büro & <b>\"more\"</b>")?),
        description: Some(Description::parse("first line\nsecond: ]]> '&amp;'")?),
        tags: [Tag::parse("ci")?, Tag::parse("owner=o'brien & <co>")?].into(),
        protection: Protection::On,
        replication: Some(Replication::Source {
            replicas: vec![Elsewhere {
                target: "mock:///a<b>&\"c\"".to_owned(),
                host: cx.hypervisor().capabilities().await?.host_key(),
            }],
        }),
        moving: None,
        proof: Some(Receipt {
            result: ProofResult::NotProved,
            vm: cx.vm_name("a")?,
            id: cx.id("a"),
            host: cx.hypervisor().capabilities().await?.host_key(),
            at: cx.clock().now(),
            trial: cx.id("b").into(),
            by: ProofKind::Console,
            until: Some("<login> & \"more\":".to_owned()),
            after_seconds: 300,
            why: Some("it did not come".to_owned()),
            seen: None,
            versions: ProofVersions { qemu: Some("10.0.2".to_owned()), ..ProofVersions::default() },
            images: Vec::new(),
        }),
    })
}
