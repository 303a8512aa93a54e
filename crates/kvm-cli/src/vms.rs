//! Which VMs a verb works on: names, `host/name`, a selector, or all; and what became of each.

use std::str::FromStr;
use std::sync::Arc;

use clap_complete::engine::ArgValueCandidates;
use futures_util::StreamExt as _;
use kvm_core::{Error, Result, Selector, Target, VmFilter, VmRef, VmSummary};
use serde::Serialize;

use crate::args::selector;
use crate::completion;
use crate::printer::{Failure, Outcome, Page};
use crate::session::{Connection, Session};

/// How many VMs are worked on at a time.
const AT_A_TIME: usize = 8;

/// A VM as the user points at it: `name`, `uuid`, or `host/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VmArg {
    /// The alias of its host.
    pub(crate) host: Option<String>,
    /// Its name or uuid.
    pub(crate) vm: String,
}

impl FromStr for VmArg {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (host, vm) = match text.split_once('/') {
            Some((host, vm)) if Target::looks_like_alias(host) => (Some(host.to_owned()), vm),
            _ => (None, text),
        };
        VmRef::candidates(vm)?;
        Ok(Self { host, vm: vm.to_owned() })
    }
}

impl VmArg {
    /// As the user wrote it.
    #[must_use]
    pub(crate) fn label(&self) -> String {
        match &self.host {
            Some(host) => format!("{host}/{}", self.vm),
            None => self.vm.clone(),
        }
    }
}

/// One VM.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct One {
    /// Name or uuid; HOST/NAME for a VM of another host.
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(completion::vm_names))]
    pub(crate) vm: VmArg,
}

impl One {
    /// Finds it.
    pub(crate) async fn find(&self, session: &Session) -> Result<(Arc<Connection>, VmSummary)> {
        let found = find(session, &self.vm).await?;
        session.is_about(&self.vm.label());
        Ok(found)
    }
}

/// Several VMs.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Several {
    /// Names or uuids; HOST/NAME for a VM of another host.
    #[arg(
        value_name = "NAME",
        required_unless_present_any = ["select", "all"],
        add = ArgValueCandidates::new(completion::vm_names)
    )]
    names: Vec<VmArg>,
    /// Those for which this holds, such as state=running,tag=web (see `kvmctl help selectors`).
    #[arg(long, value_name = "SELECTOR", value_parser = selector, conflicts_with = "names")]
    select: Option<Selector>,
    /// All VMs of the host.
    #[arg(long, conflicts_with_all = ["names", "select"])]
    all: bool,
    /// Show which VMs it would be, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// One of several VMs, found or not.
#[derive(Debug)]
pub(crate) struct Picked {
    /// How the user calls it.
    pub(crate) label: String,
    /// What was found.
    pub(crate) found: Result<(Arc<Connection>, VmSummary)>,
}

impl Several {
    /// Whether the user named each VM, rather than described them.
    pub(crate) fn is_by_name(&self) -> bool {
        !self.names.is_empty()
    }

    /// Finds them all. One that is not there is an answer about that one, not an error about all.
    pub(crate) async fn find(&self, session: &Session) -> Result<Vec<Picked>> {
        if self.is_by_name() {
            let found = futures_util::stream::iter(&self.names)
                .map(|arg| async move { Picked { label: arg.label(), found: find(session, arg).await } });
            return Ok(once_each(found.buffered(AT_A_TIME).collect().await));
        }
        let connection = session.host().await?;
        let vms = match &self.select {
            Some(selector) => kvm_vm::select(&connection.host, selector).await?,
            None => connection.host.hypervisor.list(&VmFilter::all()).await?,
        };
        Ok(vms
            .into_iter()
            .map(|vm| Picked { label: vm.name.as_str().to_owned(), found: Ok((Arc::clone(&connection), vm)) })
            .collect())
    }

    /// Does something to each of them, some at a time, and gives the results in their order.
    pub(crate) async fn each<T, F>(&self, session: &Session, act: F) -> Result<Batch<T>>
    where
        F: AsyncFn(Arc<Connection>, VmSummary) -> Result<T>,
    {
        let picked = self.find(session).await?;
        let act = &act;
        let results = futures_util::stream::iter(picked)
            .map(|picked| async move {
                let Picked { label, found } = picked;
                match found {
                    Err(error) => Item { name: label, id: None, result: Err(error) },
                    Ok((connection, vm)) => {
                        let id = Some(vm.id.to_string());
                        let result = act(connection, vm).await;
                        Item { name: label, id, result }
                    }
                }
            })
            .buffered(AT_A_TIME)
            .collect()
            .await;
        Ok(Batch { results })
    }
}

/// The same VM named twice is worked on once.
fn once_each(picked: Vec<Picked>) -> Vec<Picked> {
    let mut seen = Vec::new();
    picked
        .into_iter()
        .filter(|picked| match &picked.found {
            Ok((connection, vm)) => {
                let key = (connection.target.to_string(), vm.id);
                let new = !seen.contains(&key);
                seen.push(key);
                new
            }
            Err(_) => true,
        })
        .collect()
}

/// Finds one VM on its host.
pub(crate) async fn find(session: &Session, arg: &VmArg) -> Result<(Arc<Connection>, VmSummary)> {
    let connection = session.at(arg.host.as_deref()).await?;
    let vm = kvm_vm::resolve(&connection.host, &arg.vm).await?;
    Ok((connection, vm))
}

/// What became of each of several VMs.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    results: Vec<Item<T>>,
}

#[derive(Debug)]
struct Item<T> {
    name: String,
    id: Option<String>,
    result: Result<T>,
}

/// What happened to one VM, in words: `started`.
pub(crate) trait Deed: Serialize {
    /// After the VM's name.
    fn words(&self) -> String;
}

#[derive(Serialize)]
struct ItemForm<'a, T> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    ok: bool,
    #[serde(flatten)]
    deed: Option<&'a T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorForm<'a>>,
}

#[derive(Serialize)]
struct ErrorForm<'a> {
    kind: &'static str,
    message: &'a str,
}

impl<T: Serialize> Serialize for Batch<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.results.iter().map(|item| ItemForm {
            name: &item.name,
            id: item.id.as_deref(),
            ok: item.result.is_ok(),
            deed: item.result.as_ref().ok(),
            error: item.result.as_ref().err().map(|e| ErrorForm { kind: e.kind().as_str(), message: e.message() }),
        }))
    }
}

impl<T: Deed> Outcome for Batch<T> {
    fn text(&self, page: &mut Page<'_>) {
        for item in &self.results {
            if let Ok(deed) = &item.result {
                page.done(format_args!("{} {}", item.name, deed.words()));
            }
        }
        if self.results.is_empty() {
            page.line("no VM matches");
        }
    }

    fn failures<'a>(&'a self) -> Vec<Failure<'a>> {
        let failed =
            |item: &'a Item<T>| item.result.as_ref().err().map(|error| Failure { subject: Some(&item.name), error });
        self.results.iter().filter_map(failed).collect()
    }
}

/// The VMs that a verb would work on.
#[derive(Debug, Serialize)]
pub(crate) struct Would {
    dry_run: bool,
    action: &'static str,
    vms: Vec<WouldItem>,
    #[serde(skip)]
    missing: Vec<(String, Error)>,
}

#[derive(Debug, Serialize)]
struct WouldItem {
    name: String,
    id: String,
    state: kvm_core::VmState,
}

impl Would {
    /// What `action` would work on.
    pub(crate) fn new(action: &'static str, picked: Vec<Picked>) -> Self {
        let mut would = Self { dry_run: true, action, vms: vec![], missing: vec![] };
        for Picked { label, found } in picked {
            match found {
                Ok((_, vm)) => would.vms.push(WouldItem { name: label, id: vm.id.to_string(), state: vm.state }),
                Err(e) => would.missing.push((label, e)),
            }
        }
        would
    }
}

impl Outcome for Would {
    fn text(&self, page: &mut Page<'_>) {
        for vm in &self.vms {
            page.line(format_args!("would {} {} ({})", self.action, vm.name, vm.state));
        }
        if self.vms.is_empty() && self.missing.is_empty() {
            page.line("no VM matches");
        }
    }

    fn failures(&self) -> Vec<Failure<'_>> {
        self.missing.iter().map(|(name, error)| Failure { subject: Some(name), error }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_stands_before_the_slash() {
        let arg: VmArg = "lab/web".parse().unwrap();
        assert_eq!((arg.host.as_deref(), arg.vm.as_str()), (Some("lab"), "web"));
        let arg: VmArg = "web".parse().unwrap();
        assert_eq!((arg.host, arg.vm.as_str()), (None, "web"));
        for bad in ["", "a/b/c", "..", "lab/.."] {
            assert!(bad.parse::<VmArg>().is_err(), "{bad:?}");
        }
    }
}
