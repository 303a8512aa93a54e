//! Passphrases of encrypted volumes: each is a private secret of the host, which belongs to one volume.

use kvm_core::op::{PlanLine, Step};
use kvm_core::{
    DiskPath, Entropy, Error, ErrorKind, Host, Passphrase, Resource, Result, SecretId, SecretInfo, SecretStore,
    VolumeInfo,
};
use kvm_xml::Document as _;
use kvm_xml::common::{Encryption, EncryptionFormat, EncryptionSecret, EncryptionSecretType};
use kvm_xml::domain::Disk;
use kvm_xml::secret::{Secret, SecretUsage, SecretUsageType};
use kvm_xml::value::YesNo;

use crate::spec::VolumeRef;
use crate::step::{DefineSecret, DeleteSecret, SetSecret};
use crate::volume::content;

mod needs;

pub(crate) use needs::needed;
pub use needs::{SecretUse, plan_secret_delete, secrets};

/// How the descriptions of secrets end that belong to a volume and go with it.
const OURS: &str = "(KVM Manager)";

/// The host's secrets. `Unsupported` when it keeps none.
pub(crate) fn facet(host: &Host) -> Result<&dyn SecretStore> {
    let missing = || Error::new(ErrorKind::Unsupported, "this host keeps no secrets, so it encrypts no volumes");
    host.storage.secrets().ok_or_else(missing)
}

/// The secret of a volume that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewSecret {
    pub(crate) id: SecretId,
    volume: VolumeRef,
    path: DiskPath,
    passphrase: Passphrase,
}

impl NewSecret {
    /// `AlreadyExists` when the host has a secret for a volume at this path.
    pub(crate) async fn new(
        host: &Host,
        volume: &VolumeRef,
        path: &DiskPath,
        passphrase: Option<Passphrase>,
        entropy: &dyn Entropy,
    ) -> Result<Self> {
        if let Some(other) = at_path(host, path).await? {
            let message = format!("there is a secret for a volume at {path} already");
            return Err(Error::new(ErrorKind::AlreadyExists, message)
                .on(Resource::Secret(other.id.to_string()))
                .with_detail("it is of a volume that was there before; delete it, or choose another name"));
        }
        let passphrase = passphrase.unwrap_or_else(|| Passphrase::generate(entropy));
        Ok(Self { id: entropy.uuid().into(), volume: volume.clone(), path: path.clone(), passphrase })
    }

    /// How the plan tells of it.
    pub(crate) fn line(&self) -> PlanLine {
        PlanLine::new("define", "secret", self.id.to_string()).note(format!("passphrase of {}", self.volume))
    }

    /// The steps that come before the volume.
    pub(crate) fn steps(&self) -> [Box<dyn Step>; 2] {
        let document = Secret {
            ephemeral: Some(YesNo::No),
            private: Some(YesNo::Yes),
            uuid: Some(self.id.into()),
            description: Some(format!("passphrase of volume {} {OURS}", self.volume.as_text())),
            usage: Some(SecretUsage {
                r#type: Some(SecretUsageType::Volume),
                volume: Some(self.path.as_str().to_owned()),
                ..SecretUsage::default()
            }),
            ..Secret::default()
        };
        let (id, volume) = (self.id, self.volume.clone());
        [
            Box::new(DefineSecret { id, volume: volume.clone(), document: document.to_xml() }),
            Box::new(SetSecret { id, volume, passphrase: Some(self.passphrase.clone()) }),
        ]
    }
}

/// What stands in documents of an encrypted image.
pub(crate) fn encryption(secret: Option<SecretId>) -> Encryption {
    let secret = secret.map(|id| EncryptionSecret {
        r#type: Some(EncryptionSecretType::Passphrase),
        uuid: Some(id.into()),
        ..EncryptionSecret::default()
    });
    Encryption { format: Some(EncryptionFormat::Luks), secret: secret.into_iter().collect(), ..Encryption::default() }
}

/// The secret of a volume. Hosts know it by the volume's path, so one that is reached over the network has none.
pub(crate) async fn at(host: &Host, volume: &VolumeInfo) -> Result<Option<SecretInfo>> {
    match &volume.path {
        Some(path) => at_path(host, path).await,
        None => Ok(None),
    }
}

/// The path of the volume that a secret is for; `None` for one of another kind.
pub(crate) fn volume_path(secret: &SecretInfo) -> Option<DiskPath> {
    let path = secret.usage.as_deref().filter(|_| secret.kind.as_deref() == Some("volume"))?;
    DiskPath::adopt(path).ok()
}

async fn at_path(host: &Host, path: &DiskPath) -> Result<Option<SecretInfo>> {
    let Some(store) = host.storage.secrets() else { return Ok(None) };
    let all = match store.list().await {
        // A family that this host does not have after all has no secrets.
        Err(e) if e.kind() == ErrorKind::Unsupported => return Ok(None),
        all => all?,
    };
    Ok(all.into_iter().find(|secret| volume_path(secret).as_ref() == Some(path)))
}

/// Whether a volume is encrypted, as far as its host says.
pub(crate) async fn is_encrypted(host: &Host, volume: &VolumeInfo) -> Result<bool> {
    let Ok(content) = content(host) else { return Ok(false) };
    let document = match content.definition(&volume.pool, &volume.name).await {
        Err(e) if e.kind() == ErrorKind::Unsupported => return Ok(false),
        document => document?,
    };
    Ok(document.target.is_some_and(|target| target.encryption.is_some()))
}

/// Refuses what would need the passphrase of an encrypted volume, or would leave its content in the clear. `verb` completes
/// "cannot".
pub(crate) async fn refuse_encrypted(host: &Host, volume: &VolumeInfo, verb: &'static str, why: &str) -> Result<()> {
    if !is_encrypted(host, volume).await? {
        return Ok(());
    }
    let name = crate::place::volume_name(volume);
    Err(Error::new(ErrorKind::Unsupported, format!("cannot {verb} volume {name}, which is encrypted"))
        .on(Resource::Volume(name))
        .with_detail(why.to_owned()))
}

/// The secret that opens a volume; `None` for one that is not encrypted, or for which the host has none.
pub(crate) async fn of_volume(host: &Host, volume: &VolumeInfo) -> Result<Option<SecretId>> {
    if !is_encrypted(host, volume).await? {
        return Ok(None);
    }
    Ok(at(host, volume).await?.map(|secret| secret.id))
}

/// The step that forgets the passphrase of a volume after the volume is deleted, with its line; `None` when there is no
/// secret that was made for it.
pub(crate) async fn forget(host: &Host, volume: &VolumeInfo) -> Result<Option<(PlanLine, DeleteSecret)>> {
    let made_for_it = |secret: &SecretInfo| secret.description.as_deref().is_some_and(|text| text.ends_with(OURS));
    let Some(path) = &volume.path else { return Ok(None) };
    let Some(secret) = at_path(host, path).await?.filter(made_for_it) else { return Ok(None) };
    let line = PlanLine::new("remove", "secret", secret.id.to_string())
        .note(format!("passphrase of {}", crate::place::volume_name(volume)));
    Ok(Some((line, DeleteSecret { id: secret.id })))
}

/// Whether the content of a disk is encrypted.
pub(crate) fn is_encrypted_disk(disk: &Disk) -> bool {
    disk.encryption.is_some() || disk.source.as_ref().is_some_and(|source| source.encryption.is_some())
}
