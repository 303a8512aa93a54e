//! Which directory on the way to a file stops the user that QEMU runs as.
//!
//! Where it can be, the kernel itself is asked as that user, with `setpriv`: then access lists and file servers that trust
//! nobody's root count as well. Else permission bits and access lists are read. What counts in a system's libvirt are the
//! directories alone, because it gives an image to its user before that opens it; a session's opens it as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use kvm_core::{Output, Result, Scope};

use super::system::{Access, System, User, Want};

/// How many paths one program is given.
const PATHS_AT_ONCE: usize = 500;
const DIRECTORY: u32 = 0o040_000;
const TYPE: u32 = 0o170_000;

/// A file that QEMU opens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted {
    pub(super) path: String,
    pub(super) writes: bool,
}

/// A directory or file that stops QEMU's user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) path: String,
    pub(super) entry: Entry,
    /// What it does not let the user do.
    pub(super) want: Want,
    /// Whether its permission bits alone would let the user in: then something else does not.
    pub(super) has_bits: bool,
    /// The files behind it.
    pub(super) files: BTreeSet<String>,
}

/// What the file system says of a directory or file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) is_directory: bool,
    pub(super) access: Access,
    pub(super) owner: String,
    pub(super) group: String,
}

/// What was found on the ways to some files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    pub(super) obstacles: Vec<Obstacle>,
    /// Files on whose way there is a directory that we may not look into ourselves.
    pub(super) unseen: BTreeSet<String>,
}

/// Who looks.
enum Eyes {
    /// The user itself: what it sees is what it gets to. The words stand before a program.
    Its(Vec<String>),
    /// Another user, who sees permission bits.
    Ours,
}

/// Follows the way to each of these files. `Timeout` when the file system does not answer.
pub(super) async fn survey(system: &System<'_>, user: &User, files: &BTreeSet<Wanted>) -> Result<Survey> {
    let eyes = eyes(system, user).await?;
    let before = match &eyes {
        Eyes::Its(before) => before.as_slice(),
        Eyes::Ours => &[],
    };
    let mut walk =
        Walk { system, user, before, seen: BTreeMap::new(), stopped: BTreeMap::new(), survey: Survey::default() };
    let mut ways: Vec<(&str, String)> = files.iter().map(|file| (file.path.as_str(), file.path.clone())).collect();
    ways.extend(real_paths(system, files).await?);
    let places: BTreeSet<&str> = ways.iter().flat_map(|(_, way)| chain(way)).collect();
    walk.look(&places.into_iter().collect::<Vec<_>>()).await?;
    for (file, way) in &ways {
        match &eyes {
            Eyes::Its(_) => walk.as_the_user(file, way).await?,
            Eyes::Ours => walk.by_permissions(file, way).await?,
        }
    }
    if system.scope == Scope::Session {
        walk.open(files).await?;
    }
    Ok(walk.survey)
}

/// Finds out whether the user itself can be asked.
async fn eyes(system: &System<'_>, user: &User) -> Result<Eyes> {
    let ours = system.user(None).await?;
    if system.scope == Scope::Session || ours.as_ref().is_some_and(|ours| ours.uid == user.uid) {
        return Ok(Eyes::Its(Vec::new()));
    }
    if ours.is_none_or(|ours| ours.uid != 0) {
        return Ok(Eyes::Ours);
    }
    let groups: Vec<_> = user.groups.iter().map(ToString::to_string).collect();
    let before = vec![
        "setpriv".to_owned(),
        format!("--reuid={}", user.uid),
        format!("--regid={}", user.gid),
        format!("--groups={}", groups.join(",")),
        "--".to_owned(),
    ];
    // Not where there is no such program, and not in a container that lets nobody change who they are.
    match run(system, &before, &["test", "-x", "/"], &[]).await {
        Ok(output) if output.success() => Ok(Eyes::Its(before)),
        _ => Ok(Eyes::Ours),
    }
}

/// Where paths with symbolic links on their way end, for those that have some.
async fn real_paths<'a>(system: &System<'_>, files: &'a BTreeSet<Wanted>) -> Result<Vec<(&'a str, String)>> {
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut ways = Vec::new();
    for paths in paths.chunks(PATHS_AT_ONCE) {
        let Some(output) =
            optional(run(system, &[], &["readlink", "--canonicalize-missing", "--zero", "--"], paths).await)?
        else {
            return Ok(Vec::new());
        };
        let ends: Vec<_> = records(&output).collect();
        // One line for each, or nobody knows which is whose.
        if ends.len() == paths.len() {
            ways.extend(
                paths.iter().zip(ends).filter(|(path, end)| *path != end).map(|(path, end)| (*path, end.to_owned())),
            );
        }
    }
    Ok(ways)
}

/// A survey while it is made.
struct Walk<'a> {
    system: &'a System<'a>,
    user: &'a User,
    before: &'a [String],
    /// What could be looked at.
    seen: BTreeMap<String, Entry>,
    /// Whether a directory stops the user.
    stopped: BTreeMap<String, bool>,
    survey: Survey,
}

impl Walk<'_> {
    async fn look(&mut self, places: &[&str]) -> Result<()> {
        for places in places.chunks(PATHS_AT_ONCE) {
            let format = "--printf=%f:%u:%g:%U:%G:%n\\0";
            let looked = run(self.system, self.before, &["stat", "--dereference", format, "--"], places).await;
            if let Some(output) = optional(looked)? {
                self.seen.extend(records(&output).filter_map(parse_entry));
            }
        }
        Ok(())
    }

    /// Behind a directory that stops it, the user sees nothing.
    async fn as_the_user(&mut self, file: &str, way: &str) -> Result<()> {
        let unseen = chain(way).zip(chain(way).skip(1)).find(|(_, next)| !self.seen.contains_key(*next));
        let Some((last, _)) = unseen else { return Ok(()) };
        if !self.stopped.contains_key(last) {
            // Otherwise what comes next is not there.
            let passes = run(self.system, self.before, &["test", "-x", last], &[]).await?.success();
            self.stopped.insert(last.to_owned(), !passes);
        }
        if self.stopped[last] {
            self.stop(last, file, Want::Pass);
        }
        Ok(())
    }

    async fn by_permissions(&mut self, file: &str, way: &str) -> Result<()> {
        for place in chain(way).filter(|place| *place != way) {
            let Some(entry) = self.seen.get(place) else {
                self.survey.unseen.insert(file.to_owned());
                return Ok(());
            };
            if entry.access.allows(self.user, Want::Pass) {
                continue;
            }
            if !self.stopped.contains_key(place) {
                let getfacl = ["getfacl", "--absolute-names", "--numeric", "--omit-header", "--", place];
                let passes = optional(self.system.run(&getfacl).await)?
                    .is_some_and(|output| is_listed(&String::from_utf8_lossy(&output.stdout), self.user, entry.access));
                self.stopped.insert(place.to_owned(), !passes);
            }
            if self.stopped[place] {
                self.stop(place, file, Want::Pass);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Notes files that the user gets to, but may not use.
    async fn open(&mut self, files: &BTreeSet<Wanted>) -> Result<()> {
        for file in files {
            if !self.seen.contains_key(&file.path) {
                continue;
            }
            let mut tests = vec!["test", "-r", &file.path];
            if file.writes {
                tests.extend(["-a", "-w", &file.path]);
            }
            if !run(self.system, self.before, &tests, &[]).await?.success() {
                self.stop(&file.path, &file.path, if file.writes { Want::ReadWrite } else { Want::Read });
            }
        }
        Ok(())
    }

    fn stop(&mut self, place: &str, file: &str, want: Want) {
        let Some(entry) = self.seen.get(place) else { return };
        let known = self.survey.obstacles.iter_mut().find(|obstacle| obstacle.path == place);
        if let Some(obstacle) = known {
            obstacle.files.insert(file.to_owned());
            return;
        }
        self.survey.obstacles.push(Obstacle {
            path: place.to_owned(),
            entry: entry.clone(),
            want,
            has_bits: entry.access.allows(self.user, want),
            files: BTreeSet::from([file.to_owned()]),
        });
    }
}

async fn run(system: &System<'_>, before: &[String], program: &[&str], paths: &[&str]) -> Result<Output> {
    let argv: Vec<&str> =
        before.iter().map(String::as_str).chain(program.iter().copied()).chain(paths.iter().copied()).collect();
    system.run(&argv).await
}

/// The answer of a program that a host need not have.
fn optional(output: Result<Output>) -> Result<Option<Output>> {
    match output {
        Err(e) if e.kind() == kvm_core::ErrorKind::NotFound => Ok(None),
        output => output.map(Some),
    }
}

/// Every directory on the way to a file, from `/` on, and the file.
fn chain(path: &str) -> impl Iterator<Item = &str> {
    let slashes = path.match_indices('/').map(|(at, _)| at).skip(1);
    iter::once("/").chain(slashes.map(|at| &path[..at])).chain(iter::once(path))
}

fn records(output: &Output) -> impl Iterator<Item = &str> {
    output
        .stdout
        .split(|byte| *byte == 0)
        .filter_map(|record| std::str::from_utf8(record).ok())
        .filter(|r| !r.is_empty())
}

/// Reads `41c0:0:0:root:root:/srv`.
fn parse_entry(record: &str) -> Option<(String, Entry)> {
    let mut parts = record.splitn(6, ':');
    let mode = u32::from_str_radix(parts.next()?, 16).ok()?;
    let (uid, gid) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    // A number that no name belongs to.
    let name = |name: &str, number: u32| if name == "UNKNOWN" { number.to_string() } else { name.to_owned() };
    let entry = Entry {
        is_directory: mode & TYPE == DIRECTORY,
        access: Access { mode: mode & 0o7777, owner: uid, group: gid },
        owner: name(parts.next()?, uid),
        group: name(parts.next()?, gid),
    };
    Some((parts.next()?.to_owned(), entry))
}

/// Whether an access list, as `getfacl --numeric` prints it, lets a user through. Source: acl(5), the algorithm.
fn is_listed(list: &str, user: &User, access: Access) -> bool {
    let entries: Vec<(&str, Option<u32>, bool)> = list.lines().filter_map(parse_listed).collect();
    let mask = entries.iter().find(|(kind, ..)| *kind == "mask").is_none_or(|(.., passes)| *passes);
    let named = |(kind, id, _): &&(&str, Option<u32>, bool)| *kind == "user" && *id == Some(user.uid);
    if user.uid == access.owner {
        return entries.iter().any(|(kind, id, passes)| *kind == "user" && id.is_none() && *passes);
    }
    if let Some((.., passes)) = entries.iter().find(named) {
        return *passes && mask;
    }
    let is_in = |id: Option<u32>| user.groups.contains(&id.unwrap_or(access.group));
    let groups: Vec<_> = entries.iter().filter(|(kind, id, _)| *kind == "group" && is_in(*id)).collect();
    match groups.is_empty() {
        true => entries.iter().any(|(kind, _, passes)| *kind == "other" && *passes),
        false => groups.iter().any(|(.., passes)| *passes) && mask,
    }
}

/// Reads `user:64055:--x`.
fn parse_listed(line: &str) -> Option<(&str, Option<u32>, bool)> {
    let line = line.split_whitespace().next()?;
    let mut parts = line.splitn(3, ':');
    let (kind, id, rights) = (parts.next()?, parts.next()?, parts.next()?);
    let id = if id.is_empty() { None } else { Some(id.parse().ok()?) };
    Some((kind, id, rights.contains('x')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(uid: u32, groups: &[u32]) -> User {
        User { name: "u".into(), uid, gid: groups[0], groups: groups.iter().copied().collect(), ..User::default() }
    }

    #[test]
    fn the_way_to_a_file_begins_at_the_root_and_ends_with_it() {
        assert_eq!(chain("/srv/a b/c.img").collect::<Vec<_>>(), ["/", "/srv", "/srv/a b", "/srv/a b/c.img"]);
        assert_eq!(chain("/a").collect::<Vec<_>>(), ["/", "/a"]);
    }

    #[test]
    fn what_the_file_system_says_is_read_with_any_character_in_the_name() {
        let (path, entry) = parse_entry("41c0:0:994:root:UNKNOWN:/a:b\n c").unwrap();
        assert_eq!(path, "/a:b\n c");
        assert!(entry.is_directory);
        assert_eq!(entry.access, Access { mode: 0o700, owner: 0, group: 994 });
        assert_eq!((entry.owner.as_str(), entry.group.as_str()), ("root", "994"));
        assert!(!parse_entry("8180:0:0:root:root:/f").unwrap().1.is_directory);
        for rubbish in ["", "x:0:0:a:b:/", "41c0:0:0:root:root"] {
            assert_eq!(parse_entry(rubbish), None, "{rubbish}");
        }
    }

    #[test]
    fn an_access_list_decides_by_user_then_groups_then_others() {
        let home = Access { mode: 0o710, owner: 1000, group: 1000 };
        let list = "user::rwx\nuser:64055:--x\ngroup::---\ngroup:993:--x\nmask::--x\nother::---\n";
        assert!(is_listed(list, &user(64055, &[64055]), home));
        assert!(is_listed(list, &user(107, &[107, 993]), home));
        assert!(!is_listed(list, &user(107, &[107]), home));
        assert!(is_listed(list, &user(1000, &[1000]), home));
        // The mask takes away from all but the owner and the others.
        let masked = list.replace("mask::--x", "mask::r--");
        assert!(!is_listed(&masked, &user(64055, &[64055]), home));
        assert!(is_listed("user::rwx\ngroup::---\nother::--x\n", &user(107, &[107]), home));
        assert!(!is_listed("user::rwx\ngroup::---\nother::--x\n", &user(107, &[107, 1000]), home));
        assert!(!is_listed("", &user(107, &[107]), home));
    }
}
