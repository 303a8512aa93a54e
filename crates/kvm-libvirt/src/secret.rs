//! Secrets that libvirt keeps.

use async_trait::async_trait;
use kvm_core::{Error, ErrorKind, Passphrase, Resource, Result, SecretId, SecretInfo, SecretStore};
use kvm_xml::{Document as _, Secret as XmlSecret};
use virt::secret::Secret;

use crate::document::{self, looked_again, refused};
use crate::error::optional;
use crate::libvirt::Libvirt;
use crate::task::{Failure, Task};

#[async_trait]
impl SecretStore for Libvirt {
    async fn list(&self) -> Result<Vec<SecretInfo>> {
        self.ask("list the secrets of", self.host(), list).await
    }

    async fn define(&self, doc: &XmlSecret) -> Result<()> {
        let wanted = SecretInfo::of(doc).ok_or_else(|| Error::invalid("uuid", "a secret needs a uuid"))?;
        let doc = doc.clone();
        self.ask("define", resource(&wanted.id), move |task| {
            // libvirt replaces a secret of the same uuid and use.
            let check = || {
                let is_same = |other: &SecretInfo| {
                    other.id == wanted.id
                        || (other.usage.is_some() && (&other.kind, &other.usage) == (&wanted.kind, &wanted.usage))
                };
                match list(task)?.iter().find(|other| is_same(other)) {
                    None => Ok(()),
                    Some(other) => {
                        let message = format!("secret {} is there already for the same use", other.id);
                        Err(task.error(ErrorKind::AlreadyExists, message).into())
                    }
                }
            };
            check()?;
            let defined = task.connection().define_secret_xml(&doc.to_xml(), 0);
            defined.map(drop).map_err(|e| looked_again(e, check, |e| refused(task, e)))
        })
        .await
    }

    async fn set_value(&self, secret: &SecretId, value: &Passphrase) -> Result<()> {
        let value = value.clone();
        self.on_secret("set the value of", secret, move |_, secret| Ok(secret.set_value(value.expose().as_bytes(), 0)?))
            .await
    }

    async fn undefine(&self, secret: &SecretId) -> Result<()> {
        self.on_secret("undefine", secret, |_, secret| Ok(secret.undefine()?)).await
    }
}

fn list(task: &Task<'_>) -> Result<Vec<SecretInfo>, Failure> {
    let mut all = Vec::new();
    for secret in task.connection().list_all_secrets(0)? {
        // It may have gone in the meantime.
        let Some(xml) = optional(secret.xml_desc(0))? else { continue };
        all.extend(SecretInfo::of(&document::read(task, &xml)?));
    }
    all.sort_unstable_by_key(|secret| secret.id);
    Ok(all)
}

impl Libvirt {
    /// Looks a secret up and does something with it.
    async fn on_secret<T: Send + 'static>(
        &self,
        verb: &'static str,
        id: &SecretId,
        work: impl FnOnce(&Task<'_>, &Secret) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let id = *id;
        self.ask(verb, resource(&id), move |task| {
            let secret = optional(task.connection().lookup_secret_by_uuid(id.into()))?;
            work(task, &secret.ok_or_else(|| -> Error { task.not_found() })?)
        })
        .await
    }
}

fn resource(id: &SecretId) -> Resource {
    Resource::Secret(id.to_string())
}
