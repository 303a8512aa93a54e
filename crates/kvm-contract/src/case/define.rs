//! Defining machines.

use kvm_core::{ErrorKind, Existing, View, VmRef, VmState};
use kvm_xml::domain::{OsTypeName, Vcpu};

use crate::case::{cases, refused, same};
use crate::cx::Cx;

cases! { CASES in "define" on Cx;
    /// A machine that was defined is off, and is found under the uuid of its document.
    async fn what_is_defined_is_found_and_off(cx) {
        let id = cx.defined("a").await?;
        same("id", id, cx.id("a"))?;
        same("state", cx.state(&id).await?, VmState::Off)
    }

    /// A document without a name or without a uuid is invalid, and defines nothing.
    async fn a_document_needs_a_name_and_a_uuid(cx) {
        let mut nameless = cx.document("a")?;
        nameless.name = None;
        let mut anonymous = cx.document("b")?;
        anonymous.uuid = None;
        for document in [nameless, anonymous] {
            refused(cx.hypervisor().define(&document, Existing::Reject).await, ErrorKind::InvalidInput)?;
        }
        refused(cx.find(&cx.id("a")).await, ErrorKind::NotFound)?;
        refused(cx.hypervisor().find(&VmRef::Name(cx.vm_name("b")?)).await, ErrorKind::NotFound)
    }

    /// Names and numbers that harm a hypervisor never reach it: they are invalid, and define nothing.
    async fn harmful_documents_are_refused(cx) {
        for name in ["..", ".", "", "a/b", "a\nb"] {
            let mut document = cx.document("a")?;
            document.name = Some(name.to_owned());
            refused(cx.hypervisor().define(&document, Existing::Reject).await, ErrorKind::InvalidInput)?;
        }
        let mut document = cx.document("a")?;
        document.vcpu = Some(Vcpu { value: Some(u16::MAX), ..Vcpu::default() });
        refused(cx.hypervisor().define(&document, Existing::Reject).await, ErrorKind::InvalidInput)?;
        refused(cx.find(&cx.id("a")).await, ErrorKind::NotFound)
    }

    /// A document that the hypervisor refuses is invalid, and defines nothing.
    async fn what_the_host_cannot_run_is_invalid(cx) {
        let mut document = cx.document("a")?;
        let os = document.os.get_or_insert_default().r#type.get_or_insert_default();
        os.value = Some(OsTypeName::Exe);
        refused(cx.hypervisor().define(&document, Existing::Reject).await, ErrorKind::InvalidInput)?;
        refused(cx.find(&cx.id("a")).await, ErrorKind::NotFound)
    }

    /// A name that is taken is refused, and the machine that has it stays as it is.
    async fn a_taken_name_is_refused(cx) {
        let id = cx.defined("a").await?;
        let document = cx.bench().machine(&cx.vm_name("a")?, &cx.id("b"));
        refused(cx.hypervisor().define(&document, Existing::Reject).await, ErrorKind::AlreadyExists)?;
        same("who has the name", cx.hypervisor().find(&VmRef::Name(cx.vm_name("a")?)).await?.id, id)?;
        refused(cx.find(&cx.id("b")).await, ErrorKind::NotFound)
    }

    /// A uuid that is taken is refused, also when the name is the same, and the machine stays as it is.
    async fn a_taken_uuid_is_refused(cx) {
        let id = cx.defined("a").await?;
        for word in ["a", "b"] {
            let mut document = cx.bench().machine(&cx.vm_name(word)?, &id);
            document.title = Some("another".into());
            refused(cx.hypervisor().define(&document, Existing::Reject).await, ErrorKind::AlreadyExists)?;
        }
        let stays = cx.hypervisor().definition(&id, View::CONFIG).await?;
        same("name", stays.name, cx.document("a")?.name)?;
        same("title", stays.title, None)
    }

    /// Replacing redefines the machine with that uuid; doing it twice is as doing it once.
    async fn replacing_redefines(cx) {
        let id = cx.defined("a").await?;
        let mut document = cx.document("a")?;
        document.title = Some("second".into());
        for _ in 0..2 {
            same("id", cx.hypervisor().define(&document, Existing::Replace).await?, id)?;
            let read = cx.hypervisor().definition(&id, View::CONFIG).await?;
            same("title", read.title, Some("second".to_owned()))?;
        }
        Ok(())
    }

    /// What is not there cannot be replaced.
    async fn what_is_not_there_is_not_replaced(cx) {
        refused(cx.hypervisor().define(&cx.document("a")?, Existing::Replace).await, ErrorKind::NotFound)?;
        refused(cx.find(&cx.id("a")).await, ErrorKind::NotFound)
    }

    /// Replacing refuses a name that another machine has.
    async fn replacing_refuses_a_name_of_another(cx) {
        let id = cx.defined("a").await?;
        cx.defined("b").await?;
        let document = cx.bench().machine(&cx.vm_name("b")?, &id);
        refused(cx.hypervisor().define(&document, Existing::Replace).await, ErrorKind::AlreadyExists)?;
        same("name", cx.find(&id).await?.name, cx.vm_name("a")?)
    }

    /// Replacing does not rename: another name is invalid, even a free one.
    async fn replacing_does_not_rename(cx) {
        let id = cx.defined("a").await?;
        let document = cx.bench().machine(&cx.vm_name("c")?, &id);
        refused(cx.hypervisor().define(&document, Existing::Replace).await, ErrorKind::InvalidInput)?;
        same("name", cx.find(&id).await?.name, cx.vm_name("a")?)
    }

    /// A running machine can be redefined, and goes on running.
    async fn a_running_machine_can_be_redefined(cx) {
        let id = cx.running("a").await?;
        cx.hypervisor().define(&cx.document("a")?, Existing::Replace).await?;
        same("state", cx.state(&id).await?, VmState::Running)
    }
}
