//! Whether anybody else is hurt when images of a machine are written or deleted, which the graph of the whole host decides.
//!
//! All plans about snapshots ask here. What the machine's own snapshots would lose is for [`super::rule`], which knows how a
//! hypervisor deletes them: it lets other images of the machine lie upon another one while it merges.

use std::collections::BTreeSet;

use kvm_core::{DiskPath, Result};
use kvm_image::graph::{Name, Operation, Reason, User, Verdict};

use super::Subject;
use crate::chain::{DiskGraph, disk_graph, normal};

/// All images of a host, and which of them are one machine's own.
pub(super) struct Proof {
    graph: DiskGraph,
    partners: BTreeSet<User>,
    own: BTreeSet<usize>,
}

impl Proof {
    pub(super) async fn read(subject: &Subject<'_>) -> Result<Self> {
        let graph = disk_graph(subject.host).await?;
        let partners = graph.users_of(&subject.vm.id);
        let own = subject.own().iter().filter_map(|path| graph.graph().find(&name(path))).collect();
        Ok(Self { graph, partners, own })
    }

    /// Why an operation hurts somebody else, or cannot be shown not to.
    pub(super) fn against(&self, operation: &Operation) -> Option<String> {
        let Verdict::Refused { reasons } = self.graph.graph().may(operation, &self.partners) else { return None };
        let reasons: Vec<_> = reasons.iter().filter(|reason| !self.is_own(reason)).map(ToString::to_string).collect();
        (!reasons.is_empty()).then(|| reasons.join("\n"))
    }

    /// Whether it is about another image of the machine that nobody else uses.
    fn is_own(&self, reason: &Reason) -> bool {
        let Reason::Overlaid { overlay, users, .. } = reason else { return false };
        let overlay = self.graph.graph().find(overlay);
        overlay.is_some_and(|overlay| self.own.contains(&overlay)) && users.is_subset(&self.partners)
    }
}

/// How the graph calls an image.
pub(super) fn name(path: &DiskPath) -> Name {
    Name::path(normal(path.as_str()))
}
