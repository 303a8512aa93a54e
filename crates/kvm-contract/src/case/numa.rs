//! The NUMA nodes of a host, and where the memory of its machines comes from.

use std::collections::BTreeSet;

use kvm_core::{ErrorKind, Impact, MemoryPlacement, PowerAction, View};
use kvm_xml::Domain;
use kvm_xml::domain::NumatuneMode;
use kvm_xml::value::CpuSet;

use super::device::{cpus, document, facet, with_two_vcpus};
use crate::case::{Failure, cases, holds, refused, same};
use crate::cx::Cx;

cases! { CASES in "numa" on Cx;
    /// NUMA nodes have numbers of their own, in rising order, and share no CPU.
    async fn numa_nodes_are_told_apart(cx) {
        let nodes = cx.hypervisor().capabilities().await?.numa;
        holds("the numbers rise", nodes.is_sorted_by(|one, next| one.number < next.number))?;
        let mut seen = BTreeSet::new();
        for cpu in nodes.iter().flat_map(|node| node.cpus.ranges()).flatten() {
            holds("a CPU is in one node", seen.insert(cpu))?;
        }
        for node in nodes.iter().filter(|node| !node.distances.is_empty()) {
            same("the distance to itself", node.distances.get(&node.number), Some(&10))?;
        }
        Ok(())
    }

    /// Memory is placed on a node of the host in the documents that are meant; how strictly, a running machine does not change.
    async fn memory_is_placed_where_it_is_meant(cx) {
        let (id, node) = (with_two_vcpus(cx).await?, cpus(&a_node(cx).await?)?);
        let here = MemoryPlacement { nodes: Some(node), mode: None };
        facet(cx)?.place_memory(&id, &here, Impact::Config).await?;
        let kept = |mode| Some((mode, here.nodes.clone()));
        same("stored placement", placed(&document(cx, &id, View::CONFIG).await?), kept(NumatuneMode::Strict))?;
        let movable = MemoryPlacement { nodes: None, mode: Some(NumatuneMode::Restrictive) };
        facet(cx)?.place_memory(&id, &movable, Impact::Config).await?;
        cx.power(&id, PowerAction::Start).await?;
        facet(cx)?.place_memory(&id, &here, Impact::Live).await?;
        let interleaved = MemoryPlacement { nodes: None, mode: Some(NumatuneMode::Interleave) };
        refused(facet(cx)?.place_memory(&id, &interleaved, Impact::Both).await, ErrorKind::InvalidState)?;
        for view in [View::LIVE, View::CONFIG] {
            same("placement", placed(&document(cx, &id, view).await?), kept(NumatuneMode::Restrictive))?;
        }
        facet(cx)?.place_memory(&id, &interleaved, Impact::Config).await?;
        same("stored placement", placed(&document(cx, &id, View::CONFIG).await?), kept(NumatuneMode::Interleave))
    }

    /// Nodes that the host does not have, none at all, and a mode without nodes are refused, and nothing changes.
    async fn memory_that_cannot_be_placed_is_refused(cx) {
        let (id, node) = (with_two_vcpus(cx).await?, a_node(cx).await?);
        let mut wrong = vec![Some("0,^0".to_owned()), None];
        // A host that does not say which it has finds out when the machine starts.
        if !cx.hypervisor().capabilities().await?.numa.is_empty() {
            wrong.extend([Some("4095".into()), Some(format!("{node},4095"))]);
        }
        for nodes in wrong {
            let nodes = nodes.map(|nodes| cpus(&nodes)).transpose()?;
            let wanted = MemoryPlacement { nodes, mode: Some(NumatuneMode::Strict) };
            refused(facet(cx)?.place_memory(&id, &wanted, Impact::Config).await, ErrorKind::InvalidInput)?;
        }
        same("stored placement", placed(&document(cx, &id, View::CONFIG).await?), None)?;
        let here = MemoryPlacement { nodes: Some(cpus(&node)?), mode: None };
        refused(facet(cx)?.place_memory(&cx.id("absent"), &here, Impact::Config).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.place_memory(&id, &here, Impact::Live).await, ErrorKind::InvalidState)
    }
}

/// A NUMA node of the host. Every host has one, even where it says nothing of them.
async fn a_node(cx: &Cx) -> Result<String, Failure> {
    let host = cx.hypervisor().capabilities().await?;
    Ok(host.numa.first().map_or(0, |node| node.number).to_string())
}

/// How strictly memory comes from which nodes.
fn placed(document: &Domain) -> Option<(NumatuneMode, Option<CpuSet>)> {
    let memory = document.numatune.as_ref()?.memory.as_ref()?;
    Some((memory.mode?, memory.nodeset.clone()))
}
