//! The document of a copy: of a clone, a replica, a template, of a machine that has moved or was restored.
//!
//! [`rewrite`] decides for each part of a machine what becomes of it: what is its identity and must be another one,
//! what belongs to one host, what can be kept. A [`Policy`] holds the decisions, [`Facts`] what must be known for them
//! from outside; the answer is the new document together with every single change and its reason, what somebody should
//! know, and which files have to be brought to which place. The function itself does nothing and invents nothing: the
//! same arguments give the same answer.
//!
//! ```
//! use kvm_xml::rewrite::{Facts, Policy, rewrite};
//! use kvm_xml::{Document, Domain, value::MacAddr};
//!
//! let domain = Domain::from_xml(
//!     "<domain><name>web</name><uuid>6f1c1a40-5b0e-4c3c-9d3b-0d6f7d1f4b7a</uuid><devices>
//!        <disk type='file'><source file='/vm/web.qcow2'/><target dev='vda'/></disk>
//!        <interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/></interface>
//!      </devices></domain>")?;
//! let mut facts = Facts {
//!     uuid: Some("0a4e7c52-9f1d-4d0e-8c35-51b0c9d1a1c4".parse()?),
//!     mac: Box::new(|| Some(MacAddr([0x52, 0x54, 0, 0, 0, 2]))),
//!     ..Facts::default()
//! };
//! let clone = rewrite(&domain, &Policy::CLONE, &mut facts)?;
//! let changes: Vec<String> = clone.changes.iter().map(|edit| edit.change.to_string()).collect();
//! assert_eq!(changes, [
//!     "name: web -> web-clone",
//!     "uuid: 6f1c1a40-5b0e-4c3c-9d3b-0d6f7d1f4b7a -> 0a4e7c52-9f1d-4d0e-8c35-51b0c9d1a1c4",
//!     "devices.disk[vda].source.file: /vm/web.qcow2 -> /vm/web-clone.qcow2",
//!     "devices.interface[52:54:00:00:00:01].mac.address: 52:54:00:00:00:01 -> 52:54:00:00:00:02",
//! ]);
//! assert_eq!(clone.copies.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Take the document that libvirt keeps for the next start (`VIR_DOMAIN_XML_INACTIVE`). That of a running machine will
//! do, but what libvirt has worked out for it, a host's CPU model say, cannot be told from what somebody wrote.

mod devices;
mod disks;
mod draft;
mod facts;
mod firmware;
mod hosts;
mod identity;
mod live;
mod names;
mod network;
mod paths;
mod placement;
pub mod policy;
mod remarks;
mod told;

pub use facts::{Attached, Content, Facts, HostDevice, Location, Mapped, Place, Request, Uplink};
pub use names::{clone_name, copy_name};
pub use policy::Policy;
pub use told::{Copy, Edit, How, Reason, Refusal, RewriteError, Warning};

use crate::domain::Domain;
use draft::Draft;

/// A document of a copy, and what came of making it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewritten {
    /// The new document.
    pub domain: Domain,
    /// What differs from the old one, and why. Nothing differs that is not here.
    pub changes: Vec<Edit>,
    /// What somebody should know before the copy is made.
    pub warnings: Vec<Warning>,
    /// What has to be brought to where the new document expects it.
    pub copies: Vec<Copy>,
}

/// Makes the document of a copy.
///
/// # Errors
/// When a fact is missing that the policy needs, or when the copy would not be one that can run beside the original or
/// on the target; the error says which field and what would help.
pub fn rewrite(domain: &Domain, policy: &Policy, facts: &mut Facts<'_>) -> Result<Rewritten, RewriteError> {
    let draft = &mut Draft::new(domain, policy, facts);
    identity::name(draft)?;
    identity::uuid(draft)?;
    identity::genid(draft)?;
    identity::lineage(draft)?;
    identity::seclabel(draft);
    live::live(draft);
    // Before devices are taken out, as long as they can be found by their places in the list.
    disks::disks(draft)?;
    disks::serials(draft)?;
    disks::media(draft);
    firmware::nvram(draft)?;
    firmware::tpm(draft)?;
    devices::ports(draft);
    devices::listen(draft);
    devices::passwords(draft);
    devices::vsock(draft);
    hosts::host_devices(draft)?;
    paths::paths(draft);
    placement::placement(draft)?;
    network::uplinks(draft)?;
    network::macs(draft)?;
    remarks::remarks(draft);
    Ok(draft.finish())
}
