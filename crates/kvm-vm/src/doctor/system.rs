//! The host's operating system, as far as it decides whether machines run.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use kvm_core::{Bytes, Output, ProcessUser, Result, Scope, Transport};

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(5);
/// The largest file that is read; a host with many CPUs has a long `/proc/cpuinfo`.
const FILE: Bytes = Bytes::from_mib(8);

/// A way to ask a host's operating system.
#[derive(Clone, Copy, Debug)]
pub(super) struct System<'a> {
    transport: &'a dyn Transport,
    pub(super) scope: Scope,
    /// As whom libvirt says that machines run.
    runs_as: Option<ProcessUser>,
}

/// A user of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    /// The group that its processes have first.
    pub(super) gid: u32,
    pub(super) groups: BTreeSet<u32>,
    pub(super) group_names: BTreeSet<String>,
}

/// Who may use a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    /// Permission bits.
    pub(super) mode: u32,
    pub(super) owner: u32,
    pub(super) group: u32,
}

/// What a user wants of a file, as one digit of its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Want {
    /// To go through a directory.
    Pass = 0o1,
    /// To read.
    Read = 0o4,
    /// To read and write.
    ReadWrite = 0o6,
}

impl Access {
    /// Whether a user may do that, as far as permission bits say.
    pub(super) fn allows(self, user: &User, want: Want) -> bool {
        let bits = if user.uid == 0 {
            return true;
        } else if user.uid == self.owner {
            self.mode >> 6
        } else if user.groups.contains(&self.group) {
            self.mode >> 3
        } else {
            self.mode
        };
        bits & want as u32 == want as u32
    }
}

impl<'a> System<'a> {
    pub(super) fn new(transport: &'a dyn Transport, scope: Scope, runs_as: Option<ProcessUser>) -> Self {
        Self { transport, scope, runs_as }
    }

    pub(super) async fn run(&self, argv: &[&str]) -> Result<Output> {
        self.transport.run(argv, LOOK).await
    }

    /// The text of a file; `None` when it is not there or cannot be read.
    pub(super) async fn read(&self, path: &str) -> Option<String> {
        let data = self.transport.read_file(Path::new(path), FILE).await.ok()?;
        String::from_utf8(data).ok()
    }

    /// Whether a file is there; `Err` when nobody can be asked.
    pub(super) async fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.run(&["test", "-e", path]).await?.success())
    }

    /// Whether the user that we are on the host may read and write a file, access lists included.
    pub(super) async fn usable(&self, path: &str) -> Result<bool> {
        Ok(self.run(&["test", "-r", path, "-a", "-w", path]).await?.success())
    }

    /// Who may use a file; `None` when it is not there.
    pub(super) async fn access(&self, path: &str) -> Result<Option<Access>> {
        let output = self.run(&["stat", "--dereference", "--printf=%f:%u:%g", "--", path]).await?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(parse_access(&text).filter(|_| output.success()))
    }

    /// The user that we are on the host (no name given), or another one; `None` when there is no such user.
    pub(super) async fn user(&self, name: Option<&str>) -> Result<Option<User>> {
        let mut answers = Vec::new();
        for flags in ["-u", "-un", "-G", "-Gn"] {
            let argv: Vec<_> = ["id", flags].into_iter().chain(name).collect();
            let output = self.run(&argv).await?;
            if !output.success() {
                return Ok(None);
            }
            answers.push(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Ok(parse_user(&answers))
    }

    /// The user that QEMU runs as; `None` when it cannot be found out.
    pub(super) async fn qemu_user(&self) -> Result<Option<User>> {
        if self.scope == Scope::Session {
            return self.user(None).await;
        }
        if let Some(ProcessUser { uid, gid }) = self.runs_as {
            let known = self.user(Some(&uid.to_string())).await?;
            let mut user = known.unwrap_or_else(|| User { name: uid.to_string(), uid, ..User::default() });
            user.groups.insert(gid);
            return Ok(Some(User { gid, ..user }));
        }
        let configured = self.read("/etc/libvirt/qemu.conf").await.and_then(|text| configured_user(&text));
        // What distributions compile in, as long as the configuration says nothing or may not be read.
        let candidates = configured.into_iter().chain(["libvirt-qemu".into(), "qemu".into()]);
        for name in candidates {
            if let Some(user) = self.user(Some(&name)).await? {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }
}

fn parse_access(text: &str) -> Option<Access> {
    let mut parts = text.trim().split(':');
    let mode = u32::from_str_radix(parts.next()?, 16).ok()? & 0o7777;
    Some(Access { mode, owner: parts.next()?.parse().ok()?, group: parts.next()?.parse().ok()? })
}

fn parse_user(answers: &[String]) -> Option<User> {
    let [uid, name, groups, names] = answers else { return None };
    let groups: Vec<u32> = groups.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
    Some(User {
        name: name.clone(),
        uid: uid.parse().ok()?,
        // The user's own group is named first.
        gid: *groups.first()?,
        groups: groups.into_iter().collect(),
        group_names: names.split_whitespace().map(ToOwned::to_owned).collect(),
    })
}

/// The value of `user = "…"`, without the `+` that marks a number.
fn configured_user(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix("user")?.trim().strip_prefix('='))?;
    let value = value.trim().trim_matches('"').trim_start_matches('+');
    (!value.is_empty() && !value.starts_with('-')).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(uid: u32, groups: &[u32]) -> User {
        User { name: "u".into(), uid, groups: groups.iter().copied().collect(), ..User::default() }
    }

    #[test]
    fn permission_bits_decide_by_owner_group_or_others() {
        let kvm = parse_access("21b0:0:993").unwrap();
        assert_eq!(kvm, Access { mode: 0o660, owner: 0, group: 993 });
        assert!(kvm.allows(&user(64055, &[993, 64055]), Want::ReadWrite));
        assert!(!kvm.allows(&user(1000, &[1000]), Want::ReadWrite));
        assert!(kvm.allows(&user(0, &[0]), Want::ReadWrite));
        let open = Access { mode: 0o666, ..kvm };
        assert!(open.allows(&user(1000, &[1000]), Want::ReadWrite));
        assert!(Access { mode: 0o711, ..kvm }.allows(&user(1000, &[1000]), Want::Pass));
        assert!(!Access { mode: 0o766, ..kvm }.allows(&user(1000, &[1000]), Want::Pass));
        // The owner's bits count for the owner even when others have more.
        assert!(!Access { mode: 0o066, owner: 5, group: 1 }.allows(&user(5, &[1]), Want::ReadWrite));
    }

    #[test]
    fn the_configured_user_is_read_without_its_decoration() {
        assert_eq!(configured_user("#user = \"root\"\nuser = \"qemu\"\n").as_deref(), Some("qemu"));
        assert_eq!(configured_user("user=\"+0\"").as_deref(), Some("0"));
        assert_eq!(configured_user("# nothing\nuser_alias = 1"), None);
        assert_eq!(configured_user("user = \"--help\""), None);
    }

    #[test]
    fn the_first_group_is_the_users_own() {
        let user = parse_user(&["1000".into(), "ann".into(), "1000 27".into(), "ann sudo".into()]).unwrap();
        assert_eq!((user.uid, user.gid), (1000, 1000));
        assert_eq!(user.groups, BTreeSet::from([27, 1000]));
    }

    #[test]
    fn an_answer_that_is_no_answer_is_nobody() {
        assert_eq!(parse_user(&["0".into()]), None);
        assert_eq!(parse_access("rubbish"), None);
    }
}
