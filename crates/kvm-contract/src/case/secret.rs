//! Secrets, and volumes that are encrypted with them.

use kvm_core::{ErrorKind, Passphrase, PoolName, PowerAction, Result, SecretId, SecretInfo, SecretStore, VmState};
use kvm_xml::common::{Encryption, EncryptionFormat, EncryptionSecret, EncryptionSecretType};
use kvm_xml::secret::{Secret, SecretUsage, SecretUsageType};
use kvm_xml::value::YesNo;
use kvm_xml::volume::VolumeFormatType;
use kvm_xml::{Document as _, StorageVolume};
use uuid::Uuid;

use crate::case::{cases, holds, refused, same, sorted};
use crate::cx::{Cx, qcow2_disk, volume, volume_name};

const MIB: u64 = 1 << 20;
const WORD: &str = "correct horse battery staple";

cases! { CASES in "secrets" on Cx;
    /// A secret that was defined is listed with what it is for, and gone when it is undefined.
    async fn a_defined_secret_is_listed(cx) {
        let secret = document(cx, "a");
        facet(cx)?.define(&secret).await?;
        let info = info(&secret)?;
        let all = facet(cx)?.list().await?;
        sorted("ids", &all, |secret| secret.id)?;
        same("the secret", all.iter().find(|other| other.id == info.id), Some(&info))?;
        facet(cx)?.undefine(&info.id).await?;
        holds("it is gone", facet(cx)?.list().await?.iter().all(|other| other.id != info.id))
    }

    /// A uuid that is taken is refused, and so is a second secret for the same use.
    async fn a_second_secret_for_the_same_is_refused(cx) {
        let secret = document(cx, "a");
        facet(cx)?.define(&secret).await?;
        let other_use = Secret { uuid: secret.uuid, ..document(cx, "b") };
        let other_id = Secret { uuid: Some(cx.id("other").into()), ..secret.clone() };
        for taken in [&secret, &other_use, &other_id] {
            refused(facet(cx)?.define(taken).await, ErrorKind::AlreadyExists)?;
        }
        facet(cx)?.undefine(&info(&secret)?.id).await?;
        Ok(())
    }

    /// A secret without a uuid is invalid.
    async fn a_secret_without_a_uuid_is_invalid(cx) {
        let nameless = Secret { uuid: None, ..document(cx, "a") };
        refused(facet(cx)?.define(&nameless).await, ErrorKind::InvalidInput)
    }

    /// A secret that is not there has no value, and cannot be undefined.
    async fn a_secret_that_is_not_there_is_not_found(cx) {
        let id = SecretId::from(Uuid::from(cx.id("absent")));
        refused(facet(cx)?.set_value(&id, &Passphrase::parse(WORD)?).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.undefine(&id).await, ErrorKind::NotFound)
    }

    /// An encrypted volume needs the value of its secret; without one there is no volume.
    async fn an_encrypted_volume_needs_its_passphrase(cx) {
        let secret = document(cx, "a");
        facet(cx)?.define(&secret).await?;
        let pool = cx.active_pool("a").await?;
        let made = cx.storage().create_volume(&pool, &encrypted(&secret)).await;
        holds("it is refused", made.is_err())?;
        same("volumes", cx.storage().volumes(&pool).await?, vec![])?;
        facet(cx)?.undefine(&info(&secret)?.id).await?;
        Ok(())
    }

    /// An encrypted volume says that it is one, and no document of the host says its passphrase.
    async fn an_encrypted_volume_says_that_it_is_one(cx) {
        let (secret, pool) = with_volume(cx).await?;
        let content = cx.family("content of volumes", cx.storage().content())?;
        let name = volume_name("disk.qcow2")?;
        cx.storage().refresh_pool(&pool).await?;
        let found = content.definition(&pool, &name).await?;
        let format = found.target.as_ref().and_then(|target| target.encryption.as_ref()?.format);
        same("encryption", format, Some(EncryptionFormat::Luks))?;
        let listed = format!("{:?}", facet(cx)?.list().await?);
        holds("the passphrase is nowhere", !found.to_xml().contains(WORD) && !listed.contains(WORD))?;
        cx.storage().delete_volume(&pool, &name).await?;
        facet(cx)?.undefine(&info(&secret)?.id).await?;
        Ok(())
    }

    /// A machine starts on an encrypted volume when its document names the secret, and not without.
    async fn a_machine_opens_its_encrypted_disk(cx) {
        let (secret, pool) = with_volume(cx).await?;
        let about = cx.storage().find_volume(&pool, &volume_name("disk.qcow2")?).await?;
        let mut disk = qcow2_disk(about.host_path()?.as_str(), "vdz")?;
        let mut machine = cx.document("vm")?;
        machine.devices.get_or_insert_default().disk.push(disk.clone());
        let id = cx.hypervisor().define(&machine, kvm_core::Existing::Reject).await?;
        holds("it does not start without", cx.power(&id, PowerAction::Start).await.is_err())?;
        if let Some(source) = &mut disk.source {
            source.encryption = encryption(&secret).into();
        }
        let devices = machine.devices.get_or_insert_default();
        devices.disk.pop();
        devices.disk.push(disk);
        cx.hypervisor().define(&machine, kvm_core::Existing::Replace).await?;
        cx.power(&id, PowerAction::Start).await?;
        same("state", cx.state(&id).await?, VmState::Running)?;
        cx.power(&id, PowerAction::PowerOff).await?;
        facet(cx)?.undefine(&info(&secret)?.id).await?;
        Ok(())
    }
}

fn facet(cx: &Cx) -> Result<&dyn SecretStore> {
    cx.family("secrets", cx.storage().secrets())
}

/// A private secret for a volume that is nowhere.
fn document(cx: &Cx, word: &str) -> Secret {
    let uuid = Uuid::from(cx.id(word));
    let usage = SecretUsage {
        r#type: Some(SecretUsageType::Volume),
        volume: Some(format!("/var/lib/contract-absent/{uuid}")),
        ..SecretUsage::default()
    };
    Secret {
        ephemeral: Some(YesNo::No),
        private: Some(YesNo::Yes),
        uuid: Some(uuid),
        description: Some("of a contract case".into()),
        usage: Some(usage),
        ..Secret::default()
    }
}

fn info(secret: &Secret) -> Result<SecretInfo> {
    SecretInfo::of(secret).ok_or_else(|| kvm_core::Error::internal("no uuid"))
}

fn encryption(secret: &Secret) -> Encryption {
    let secret = EncryptionSecret {
        r#type: Some(EncryptionSecretType::Passphrase),
        uuid: secret.uuid,
        ..EncryptionSecret::default()
    };
    Encryption { format: Some(EncryptionFormat::Luks), secret: vec![secret], ..Encryption::default() }
}

fn encrypted(secret: &Secret) -> StorageVolume {
    let mut document = volume("disk.qcow2", VolumeFormatType::Qcow2, 8 * MIB, Some(0));
    if let Some(target) = &mut document.target {
        target.encryption = Some(encryption(secret));
    }
    document
}

/// A secret with a value, and an encrypted volume in a pool of this case.
async fn with_volume(cx: &Cx) -> Result<(Secret, PoolName)> {
    let secret = document(cx, "a");
    let store = facet(cx)?;
    store.define(&secret).await?;
    store.set_value(&info(&secret)?.id, &Passphrase::parse(WORD)?).await?;
    let pool = cx.active_pool("a").await?;
    cx.storage().create_volume(&pool, &encrypted(&secret)).await?;
    Ok((secret, pool))
}
