//! Secrets, of which this host only remembers whether they have a value.

use async_trait::async_trait;
use kvm_core::{Error, ErrorKind, Passphrase, Resource, Result, SecretId, SecretInfo, SecretStore};
use kvm_xml::Secret as XmlSecret;
use kvm_xml::common::Encryption;
use serde::{Deserialize, Serialize};

use crate::document;
use crate::fault::Method;
use crate::mock::Mock;
use crate::world::World;

/// A secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Secret {
    #[serde(with = "document::text")]
    document: XmlSecret,
    has_value: bool,
}

#[async_trait]
impl SecretStore for Mock {
    async fn list(&self) -> Result<Vec<SecretInfo>> {
        self.read(Method::ListSecrets, "", |world, _| {
            Ok(world.secrets.values().filter_map(|secret| SecretInfo::of(&secret.document)).collect())
        })
        .await
    }

    async fn define(&self, doc: &XmlSecret) -> Result<()> {
        let wanted = SecretInfo::of(doc).ok_or_else(|| Error::invalid("uuid", "a secret needs a uuid"))?;
        self.change(Method::DefineSecret, wanted.id, |world, _| {
            let others = world.secrets.values().filter_map(|secret| SecretInfo::of(&secret.document));
            let is_same = |other: &SecretInfo| {
                other.id == wanted.id
                    || (other.usage.is_some() && (&other.kind, &other.usage) == (&wanted.kind, &wanted.usage))
            };
            if others.into_iter().any(|other| is_same(&other)) {
                let error = Error::new(ErrorKind::AlreadyExists, "there is a secret for the same use already");
                return Err(error.on(resource(&wanted.id)));
            }
            world.secrets.insert(wanted.id, Secret { document: doc.clone(), has_value: false });
            Ok(())
        })
        .await
    }

    async fn set_value(&self, secret: &SecretId, _: &Passphrase) -> Result<()> {
        self.change(Method::SetSecretValue, secret, |world, _| {
            let found = world.secrets.get_mut(secret).ok_or_else(|| no_such_secret(secret))?;
            found.has_value = true;
            Ok(())
        })
        .await
    }

    async fn undefine(&self, secret: &SecretId) -> Result<()> {
        self.change(Method::UndefineSecret, secret, |world, _| {
            world.secrets.remove(secret).map(drop).ok_or_else(|| no_such_secret(secret))
        })
        .await
    }
}

/// Refuses an image whose passphrase the host does not have.
pub(crate) fn check_encryption(world: &World, encryption: Option<&Encryption>) -> Result<()> {
    let ids = encryption.iter().flat_map(|encryption| &encryption.secret).filter_map(|secret| secret.uuid);
    match ids.map(SecretId::from).find_map(|id| world.secrets.get(&id)) {
        Some(secret) if secret.has_value => Ok(()),
        _ => Err(Error::invalid("encryption", "this host has no passphrase for the image")),
    }
}

fn no_such_secret(id: &SecretId) -> Error {
    Error::new(ErrorKind::NotFound, "no such secret").on(resource(id))
}

fn resource(id: &SecretId) -> Resource {
    Resource::Secret(id.to_string())
}
