//! Finding machines as people point at them.

use std::collections::BTreeSet;

use futures_util::FutureExt as _;
use kvm_core::text::printable_within;
use kvm_core::{
    Error, ErrorKind, Host, Resource, Result, Selector, Tag, View, VmFilter, VmId, VmNotes, VmRef, VmSummary,
};

use crate::parallel;

/// How many similar names an error offers.
const CANDIDATES: usize = 3;

/// Finds the machine that a text means: its name or its uuid.
///
/// `NotFound` when there is none, with similar names in the detail (`did you mean web-01?`). `InvalidInput` when the
/// text can be nobody's name, or is one machine's uuid and the name of another.
pub async fn resolve(host: &Host, text: &str) -> Result<VmSummary> {
    let mut found: Option<VmSummary> = None;
    for candidate in VmRef::candidates(text)? {
        match host.hypervisor.find(&candidate).await {
            Ok(vm) if found.as_ref().is_some_and(|other| other.id != vm.id) => return Err(ambiguous(text)),
            Ok(vm) => found = Some(vm),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    match found {
        Some(vm) => Ok(vm),
        None => Err(missing(host, text).await),
    }
}

/// The machines for which a selector holds, sorted by name. Tags are read only when it asks for them.
///
/// A machine whose tags cannot be read is an error: a selection that silently lacks one is worse than none.
pub async fn select(host: &Host, selector: &Selector) -> Result<Vec<VmSummary>> {
    let vms = host.hypervisor.list(&VmFilter::all()).await?;
    if !selector.needs_tags() {
        return Ok(vms.into_iter().filter(|vm| selector.matches(vm, &[])).collect());
    }
    let tags = parallel::for_each(&vms, |vm| tags(host, &vm.id).boxed()).await;
    let mut selected = Vec::new();
    for (vm, tags) in vms.iter().zip(tags) {
        match tags {
            Ok(tags) => {
                let tags: Vec<_> = tags.into_iter().collect();
                selected.extend(selector.matches(vm, &tags).then(|| vm.clone()));
            }
            // Gone while we looked.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(selected)
}

pub(crate) async fn tags(host: &Host, id: &VmId) -> Result<BTreeSet<Tag>> {
    let document = host.hypervisor.definition(id, View::CONFIG).await?;
    Ok(VmNotes::of(&document).tags)
}

fn ambiguous(text: &str) -> Error {
    Error::invalid("vm", format!("{} is the uuid of one VM and the name of another", printable_within(text, 48)))
        .with_detail("use the uuid of the second, or rename it")
}

async fn missing(host: &Host, text: &str) -> Error {
    let error = Error::new(ErrorKind::NotFound, format!("no VM named {}", printable_within(text, 48)))
        .on(Resource::Vm(text.to_owned()));
    // Without the list the error is still right, only less helpful.
    let Ok(vms) = host.hypervisor.list(&VmFilter::all()).await else { return error };
    let similar = similar(text, vms.iter().map(|vm| vm.name.as_str()));
    let names: Vec<_> = similar.iter().map(|name| printable_within(name, 48).to_string()).collect();
    match names.split_last() {
        None => error,
        Some((only, [])) => error.with_detail(format!("did you mean {only}?")),
        Some((last, first)) => error.with_detail(format!("did you mean {} or {last}?", first.join(", "))),
    }
}

/// The names that a person may have meant, likeliest first.
fn similar<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = text.to_lowercase();
    // A third of the letters may be wrong.
    let limit = wanted.chars().count().div_ceil(3);
    let mut close: Vec<_> = names
        .filter(|name| name.len().abs_diff(wanted.len()) <= limit * 4)
        .map(|name| (strsim::damerau_levenshtein(&wanted, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    close.sort_unstable();
    close.into_iter().take(CANDIDATES).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_are_those_with_few_wrong_letters() {
        let names = ["web-01", "web-02", "WEB01", "db.prod", "win11", "数据库"];
        assert_eq!(similar("web01", names.into_iter()), ["WEB01", "web-01", "web-02"]);
        assert_eq!(similar("db.prdo", names.into_iter()), ["db.prod"]);
        assert_eq!(similar("数据", names.into_iter()), ["数据库"]);
        assert!(similar("mail", names.into_iter()).is_empty());
    }
}
