//! Whether the user that QEMU runs as gets to the images of machines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kvm_core::text::{printable, shell_word};
use kvm_core::{Clock, Error, ErrorKind, Host, Resource, Result, Scope, VmSummary};
use kvm_image::graph::{Access, Name, User as ImageUser};

use super::reach::{Obstacle, Survey, Wanted, survey};
use super::system::{System, User, Want};
use super::{Check, Finding, Status};
use crate::chain::disk_graph;
use crate::parallel::within;

/// How long the documents and images of all machines may take.
const LOOK: Duration = Duration::from_secs(60);
/// The most images that are followed.
const IMAGES_MAX: usize = 2000;
/// The most directories that are reported.
const FINDINGS_MAX: usize = 20;
/// The most users of an image that are named.
const NAMED_MAX: usize = 3;

pub(super) async fn findings(
    host: Option<&Host>,
    system: Option<&System<'_>>,
    no_system: &str,
    vm: Option<&VmSummary>,
    clock: &dyn Clock,
) -> Vec<Finding> {
    let skipped = |why: &str| vec![Finding::skipped(Check::Disks, why)];
    let (host, system) = match (host, system) {
        (None, _) => return skipped("libvirt does not answer"),
        (_, None) => return skipped(no_system),
        (Some(host), Some(system)) => (host, system),
    };
    match within(clock, LOOK, look(host, system, vm)).await {
        None => skipped("the host has not answered within a minute"),
        Some(Err(e)) => skipped(&e.to_string()),
        Some(Ok(None)) => skipped("as whom QEMU runs is not known"),
        Some(Ok(Some(seen))) => report(system.scope, &seen),
    }
}

/// The error of a start that `refused` ended, with the reason where it is in the way to an image.
pub(super) async fn explain(
    host: &Host,
    system: &System<'_>,
    vm: &VmSummary,
    refused: Error,
    clock: &dyn Clock,
) -> Error {
    let Some(Ok(Some(seen))) = within(clock, LOOK, look(host, system, Some(vm))).await else { return refused };
    let Some(obstacle) = seen.survey.obstacles.first() else { return refused };
    let operation = if obstacle.entry.is_directory { "pass-directory" } else { "open-image" };
    Error::new(ErrorKind::Denied, sentence(&seen.user, obstacle))
        .with_detail(facts(&seen, obstacle))
        .on(Resource::File(obstacle.path.clone()))
        .during(operation)
        .with_source(refused)
}

/// What was seen of the images of some machines.
struct Seen {
    user: User,
    /// By path: who uses an image, directly or through what lies upon it.
    images: BTreeMap<String, BTreeSet<ImageUser>>,
    survey: Survey,
    /// Images that were too many.
    left_out: usize,
}

/// `None` when nobody knows as whom QEMU runs.
async fn look(host: &Host, system: &System<'_>, vm: Option<&VmSummary>) -> Result<Option<Seen>> {
    let Some(user) = system.qemu_user().await? else { return Ok(None) };
    let graph = disk_graph(host).await?;
    let graph = graph.graph();
    let is_meant = |user: &ImageUser| vm.is_none_or(|vm| user.owner() == vm.name.as_str());
    let (mut images, mut wanted, mut left_out) = (BTreeMap::new(), BTreeSet::new(), 0);
    for (index, image) in graph.images().iter().enumerate() {
        let users = graph.users_through(index);
        if !users.iter().any(is_meant) {
            continue;
        }
        // An image that only others lie upon is read.
        let writes = image.users.values().any(|access| *access != Access::Read);
        for name in &image.names {
            let Name::Path { path } = name else { continue };
            if images.len() == IMAGES_MAX {
                left_out += 1;
                continue;
            }
            images.insert(path.clone(), users.clone());
            wanted.insert(Wanted { path: path.clone(), writes });
        }
    }
    let survey = survey(system, &user, &wanted).await?;
    Ok(Some(Seen { user, images, survey, left_out }))
}

fn report(scope: Scope, seen: &Seen) -> Vec<Finding> {
    let obstacles = &seen.survey.obstacles;
    let mut findings: Vec<_> = obstacles
        .iter()
        .take(FINDINGS_MAX)
        .map(|obstacle| {
            Finding::new(Check::Disks, Status::Fail, sentence(&seen.user, obstacle))
                .why(facts(seen, obstacle))
                .fix(fix(scope, &seen.user, obstacle))
        })
        .collect();
    if let Some(more) = obstacles.len().checked_sub(FINDINGS_MAX).filter(|more| *more > 0) {
        findings.push(Finding::new(
            Check::Disks,
            Status::Fail,
            format!("{more} other directories and files stop it, too"),
        ));
    }
    let unseen = seen.survey.unseen.len() + seen.left_out;
    let all = seen.images.len() + seen.left_out;
    if unseen > 0 {
        let what = format!("{unseen} of {all} images could not be looked at");
        let finding = Finding::new(Check::Disks, Status::Skipped, what);
        findings.push(match seen.survey.unseen.first() {
            Some(path) => finding.why(format!("{} among them", printable(path))).fix("run it as root on the host"),
            None => finding.why(format!("{IMAGES_MAX} are followed at once")).fix("name a VM: kvmctl doctor VM"),
        });
    } else if findings.is_empty() {
        let what = match all {
            0 => "no disk has an image in a file".to_owned(),
            1 => format!("{}, as which QEMU runs, gets to the one image of disks", seen.user.name),
            _ => format!("{}, as which QEMU runs, gets to all {all} images of disks", seen.user.name),
        };
        findings.push(Finding::ok(Check::Disks, what));
    }
    findings
}

fn sentence(user: &User, obstacle: &Obstacle) -> String {
    let (user, path) = (&user.name, printable(&obstacle.path));
    match obstacle.entry.is_directory {
        true => format!("{path} does not let {user} through, as which QEMU runs"),
        false => format!("{path} cannot be opened by {user}, as which QEMU runs"),
    }
}

/// Owner, group and mode, and what lies behind it.
fn facts(seen: &Seen, obstacle: &Obstacle) -> String {
    let entry = &obstacle.entry;
    let kind = if entry.is_directory { "directory" } else { "file" };
    let mut facts = format!(
        "{kind} with mode {:04o}, owner {}, group {}",
        entry.access.mode,
        printable(&entry.owner),
        printable(&entry.group)
    );
    if obstacle.has_bits {
        facts += "; its mode would do, but an access list, or the server of a network file system, does not";
    }
    let used: Vec<_> =
        obstacle.files.iter().map(|file| format!("{}: {}", printable(file), users(seen, file))).collect();
    let more = used.len().saturating_sub(NAMED_MAX);
    for line in used.into_iter().take(NAMED_MAX) {
        facts += &format!("\n{line}");
    }
    if more > 0 {
        facts += &format!("\nand {more} more images");
    }
    facts
}

fn users(seen: &Seen, file: &str) -> String {
    let users = seen.images.get(file).into_iter().flatten();
    let named: Vec<_> = users.clone().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = users.count() - named.len();
    match more {
        0 => named.join(", "),
        _ => format!("{} and {more} more", named.join(", ")),
    }
}

fn fix(scope: Scope, user: &User, obstacle: &Obstacle) -> String {
    let path = shell_word(&obstacle.path);
    if obstacle.has_bits {
        return format!(
            "getfacl {path} shows the list; of a network file system, the export on its server (root_squash)"
        );
    }
    let is_own = scope == Scope::Session && obstacle.entry.access.owner == user.uid;
    let sudo = if is_own { "" } else { "sudo " };
    let name = shell_word(&user.name);
    match (obstacle.entry.is_directory, is_own) {
        (true, true) => format!("chmod u+x {path}"),
        (true, false) => {
            format!("{sudo}chmod a+x {path}\nor for this user alone: {sudo}setfacl --modify user:{name}:x {path}")
        }
        (false, true) => format!("chmod u+rw {path}"),
        (false, false) if obstacle.want == Want::Read => format!("{sudo}chmod a+r {path}"),
        (false, false) => format!("{sudo}chown {name} {path}"),
    }
}
