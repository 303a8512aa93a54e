//! Machines that are in other images than libvirt knows: libvirtd died after QEMU had gone over to overlays, or out of
//! them, and before it wrote that down. At the next power cycle what the guest wrote since would be lost.

use std::borrow::Cow;

use kvm_core::text::printable_within;
use kvm_core::{BlockJob, BlockJobKind, Bytes, DiskPath, ErrorKind, OpenImages, VmId};
use kvm_xml::Domain;
use kvm_xml::domain::DiskSource;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::document;
use crate::monitor::Monitor;
use crate::task::{Failure, Task};

/// What the names of our jobs begin with. libvirt lets jobs alone that it did not begin.
const JOB: &str = "kvm-leave-";
/// So much of what QEMU says is repeated in an error.
const SHOWN: usize = 300;

/// A node of QEMU's block layer: `query-named-block-nodes`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Node {
    #[serde(rename = "node-name")]
    name: String,
    #[serde(rename = "drv")]
    driver: String,
    /// A path, or `json:` with how it is opened where that is not what its header says.
    file: String,
}

impl Node {
    /// The file that an image is in.
    fn path(&self) -> Cow<'_, str> {
        let Some(json) = self.file.strip_prefix("json:") else { return Cow::Borrowed(&self.file) };
        let how: Value = serde_json::from_str(json).unwrap_or_default();
        let file =
            std::iter::successors(Some(&how), |how| how.get("file")).find_map(|how| how.get("filename")?.as_str());
        file.map_or(Cow::Borrowed(&self.file), |file| Cow::Owned(file.to_owned()))
    }
}

/// What a device of the guest is on: `query-blockstats`, which gives the nodes of a whole chain.
#[derive(Debug, Deserialize)]
struct Opened {
    /// Missing in a drive without a medium.
    #[serde(rename = "node-name")]
    node: Option<String>,
    backing: Option<Box<Self>>,
}

/// `query-jobs`.
#[derive(Debug, Deserialize)]
struct Job {
    id: String,
    status: String,
    #[serde(rename = "current-progress", default)]
    done: u64,
    #[serde(rename = "total-progress", default)]
    total: u64,
    /// Why it ended, when that was not well.
    error: Option<String>,
}

/// How an overlay and the guest's devices stand to each other.
#[derive(Debug, PartialEq, Eq)]
enum Found<'a> {
    /// The process does not have it open.
    Nowhere,
    /// It has, but no device is on it: these nodes can be closed, in this order.
    Idle(Vec<&'a Node>),
    /// A device writes to it; this is below.
    Top { overlay: &'a Node, base: &'a Node },
    /// Something lies upon it, or nothing that is known below it.
    Tangled,
}

pub(super) fn open_images(task: &Task<'_>, vm: &VmId) -> Result<OpenImages, Failure> {
    let machine = task.active_machine(vm)?;
    let monitor = Monitor::open(task, &machine)?;
    let nodes = nodes(&monitor)?;
    let devices: Vec<Opened> = monitor.ask("query-blockstats")?;
    // What is reached in another way than through a file has no path.
    let path = |node: &Node| DiskPath::adopt(&node.path()).ok();
    let used = nodes.iter().filter(|node| devices.iter().any(|device| device.node.as_ref() == Some(&node.name)));
    Ok(OpenImages { all: nodes.iter().filter_map(path).collect(), used: used.filter_map(path).collect() })
}

pub(super) fn leave(task: &Task<'_>, vm: &VmId, overlay: &DiskPath) -> Result<Option<BlockJob>, Failure> {
    let machine = task.active_machine(vm)?;
    let monitor = Monitor::open(task, &machine)?;
    // Only now: what libvirt was at work on is in the document.
    let live: Domain = document::read(task, &machine.domain.xml_desc(0)?)?;
    let nodes = nodes(&monitor)?;
    let jobs: Vec<Job> = monitor.ask("query-jobs")?;
    if let Some(job) = ours(&jobs, &nodes, overlay) {
        return go_on(task, &monitor, job).map(Some);
    }
    let devices: Vec<Opened> = monitor.ask("query-blockstats")?;
    match find(&devices, &nodes, overlay) {
        Found::Nowhere => Ok(None),
        Found::Tangled => Err(task.invalid_state(format!("has {overlay} open in a way that is not known")).into()),
        Found::Top { .. } if named(&live).contains(&overlay.as_str()) => {
            Err(task.invalid_state(format!("has {overlay} in its document")).into())
        }
        Found::Top { overlay, base } => {
            if !sources(&live).any(|source| source == base.path()) {
                let file = base.path();
                let base = printable_within(&file, SHOWN);
                return Err(task.invalid_state(format!("has a document that does not name {base} either")).into());
            }
            let id = format!("{JOB}{}", overlay.name);
            // It stays until it is dismissed, so that nobody misses how it ended.
            let how = json!({ "job-id": id, "device": overlay.name, "base-node": base.name, "auto-dismiss": false });
            monitor.order("block-commit", &how)?;
            Ok(Some(merge(Bytes::ZERO, Bytes::ZERO)))
        }
        Found::Idle(nodes) => {
            // libvirt will want these names again, and those of jobs of which it has not seen the end.
            for job in jobs.iter().filter(|job| job.status == "concluded" && made(job, &nodes)) {
                monitor.order("job-dismiss", &json!({ "id": job.id }))?;
            }
            for node in nodes {
                monitor.order("blockdev-del", &json!({ "node-name": node.name }))?;
            }
            Ok(None)
        }
    }
}

/// Brings a merge of ours to its end, as far as that can be done now.
fn go_on(task: &Task<'_>, monitor: &Monitor<'_>, job: &Job) -> Result<BlockJob, Failure> {
    let which = json!({ "id": job.id });
    match job.status.as_str() {
        "ready" => monitor.order("job-complete", &which)?,
        "concluded" => monitor.order("job-dismiss", &which)?,
        _ => {}
    }
    match &job.error {
        None => Ok(merge(Bytes::new(job.done), Bytes::new(job.total))),
        Some(error) => {
            let message = format!("an overlay of {} could not be merged", task.resource());
            let detail = printable_within(error, SHOWN).to_string();
            Err(task.error(ErrorKind::InvalidState, message).with_detail(detail).into())
        }
    }
}

fn nodes(monitor: &Monitor<'_>) -> Result<Vec<Node>, Failure> {
    monitor.run("query-named-block-nodes", &json!({ "flat": true }))
}

fn merge(done: Bytes, total: Bytes) -> BlockJob {
    BlockJob { kind: BlockJobKind::Commit, done, total, ready: false }
}

/// The job with which we leave an overlay.
fn ours<'a>(jobs: &'a [Job], nodes: &[Node], overlay: &DiskPath) -> Option<&'a Job> {
    let mut all = jobs.iter().filter(|job| job.status != "null");
    all.find(|job| {
        let node = job.id.strip_prefix(JOB).and_then(|name| nodes.iter().find(|node| node.name == name));
        node.is_some_and(|node| node.path() == overlay.as_str())
    })
}

/// Whether it is the job with which libvirt made one of these images: `create-libvirt-3-format`, for `libvirt-3-storage`.
fn made(job: &Job, nodes: &[&Node]) -> bool {
    let stem = |name: &str| name.rsplit_once('-').map(|(stem, _)| stem.to_owned());
    let image = job.id.strip_prefix("create-").and_then(stem);
    image.is_some() && nodes.iter().any(|node| stem(&node.name) == image)
}

fn find<'a>(devices: &[Opened], nodes: &'a [Node], overlay: &DiskPath) -> Found<'a> {
    let node = |name: &Option<String>| nodes.iter().find(|node| Some(&node.name) == name.as_ref());
    let is_it = |node: &&Node| node.path() == overlay.as_str();
    for device in devices {
        if let Some(top) = node(&device.node).filter(is_it) {
            let below = device.backing.as_ref().and_then(|below| node(&below.node));
            return match below.filter(|below| !is_it(below)) {
                Some(base) => Found::Top { overlay: top, base },
                None => Found::Tangled,
            };
        }
        let mut below = std::iter::successors(device.backing.as_deref(), |below| below.backing.as_deref());
        if below.any(|below| node(&below.node).is_some_and(|node| is_it(&node))) {
            return Found::Tangled;
        }
    }
    let mut idle: Vec<_> = nodes.iter().filter(is_it).collect();
    // The image before the file that it is in.
    idle.sort_by_key(|node| node.driver == "file");
    if idle.is_empty() { Found::Nowhere } else { Found::Idle(idle) }
}

/// The images that the disks of a document write to.
fn sources(live: &Domain) -> impl Iterator<Item = &str> {
    let disks = live.devices.iter().flat_map(|devices| &devices.disk);
    disks.filter_map(|disk| path(disk.source.as_ref()))
}

/// All images that the disks of a document name.
fn named(live: &Domain) -> Vec<&str> {
    let disks = live.devices.iter().flat_map(|devices| &devices.disk);
    disks
        .flat_map(|disk| {
            let below = std::iter::successors(disk.backing_store.as_deref(), |store| store.backing_store.as_deref());
            let mirror = disk.mirror.as_ref().and_then(|mirror| mirror.source.as_ref());
            [disk.source.as_ref(), mirror].into_iter().chain(below.map(|store| store.source.as_ref()))
        })
        .filter_map(path)
        .collect()
}

fn path(source: Option<&DiskSource>) -> Option<&str> {
    let source = source?;
    source.file.as_deref().or(source.dev.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVERLAY: &str = "/images/web-vda.a.qcow2";

    fn overlay() -> DiskPath {
        DiskPath::parse(OVERLAY).unwrap()
    }

    fn nodes() -> Vec<Node> {
        let node = |name: &str, driver: &str, file: &str| json!({ "node-name": name, "drv": driver, "file": file });
        serde_json::from_value(json!([
            node("libvirt-3-storage", "file", OVERLAY),
            node("libvirt-3-format", "qcow2", OVERLAY),
            node("libvirt-2-format", "qcow2", "/images/web.qcow2"),
            node("libvirt-2-storage", "file", "/images/web.qcow2"),
            node("#block7", "throttle", OVERLAY),
        ]))
        .unwrap()
    }

    fn devices(value: Value) -> Vec<Opened> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_device_in_an_overlay_is_found_with_what_is_below() {
        let nodes = nodes();
        let all = devices(json!([
            { "device": "", "stats": {} },
            { "node-name": "libvirt-3-format", "backing": { "node-name": "libvirt-2-format" } },
        ]));
        assert_eq!(find(&all, &nodes, &overlay()), Found::Top { overlay: &nodes[1], base: &nodes[2] });
    }

    #[test]
    fn an_overlay_under_something_else_is_left_alone() {
        let nodes = nodes();
        for top in ["#block7", "libvirt-9-format"] {
            let below = json!({ "node-name": "libvirt-3-format", "backing": { "node-name": "libvirt-2-format" } });
            let all = devices(json!([{ "node-name": top, "backing": below }]));
            assert_eq!(find(&all, &nodes, &overlay()), Found::Tangled, "{top}");
        }
        assert_eq!(find(&devices(json!([{ "node-name": "libvirt-3-format" }])), &nodes, &overlay()), Found::Tangled);
    }

    #[test]
    fn nodes_that_nobody_uses_are_closed_before_their_files() {
        let mut nodes = nodes();
        nodes.pop();
        let all = devices(json!([{ "node-name": "libvirt-2-format" }]));
        assert_eq!(find(&all, &nodes, &overlay()), Found::Idle(vec![&nodes[1], &nodes[0]]));
        assert_eq!(find(&all, &nodes[2..], &overlay()), Found::Nowhere);
    }

    #[test]
    fn an_image_that_is_opened_without_what_its_header_says_is_below_is_found() {
        let mut nodes = nodes();
        nodes[1].file = format!(
            "json:{{\"backing\": null, \"driver\": \"qcow2\", \"file\": {{\"driver\": \"file\", \"filename\": \"{OVERLAY}\"}}}}"
        );
        let idle = devices(json!([{ "node-name": "libvirt-2-format" }]));
        assert_eq!(find(&idle, &nodes[..4], &overlay()), Found::Idle(vec![&nodes[1], &nodes[0]]));
        for file in ["json:", "json:{", "json:[]", "json:{\"file\": 7}"] {
            let node = Node { file: file.into(), ..nodes[0].clone() };
            assert_eq!(node.path(), file);
        }
    }

    #[test]
    fn a_job_that_made_an_idle_image_is_known_by_its_name() {
        let nodes = nodes();
        for (id, has_made) in [
            ("create-libvirt-3-format", true),
            ("create-libvirt-3-storage", true),
            ("create-libvirt-33-format", false),
            ("create-libvirt-2-format", false),
            ("create-", false),
            ("commit-libvirt-3-format", false),
        ] {
            let job = Job { id: id.into(), status: "concluded".into(), done: 1, total: 1, error: None };
            assert_eq!(made(&job, &[&nodes[0], &nodes[1]]), has_made, "{id}");
        }
    }

    #[test]
    fn only_a_job_of_ours_for_this_overlay_counts() {
        let job = |id: &str, status: &str| Job { id: id.into(), status: status.into(), done: 0, total: 0, error: None };
        let nodes = nodes();
        for (id, status, is_ours) in [
            ("kvm-leave-libvirt-3-format", "running", true),
            ("kvm-leave-libvirt-3-format", "null", false),
            ("kvm-leave-libvirt-2-format", "running", false),
            ("commit-vda-libvirt-3-format", "running", false),
        ] {
            assert_eq!(ours(&[job(id, status)], &nodes, &overlay()).is_some(), is_ours, "{id} {status}");
        }
    }
}
