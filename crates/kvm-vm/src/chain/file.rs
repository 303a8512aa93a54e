//! Which names lead to one file of the host.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kvm_core::Host;
use kvm_image::graph::Name;

/// How many paths one look at the file system takes.
const PATHS_AT_ONCE: usize = 500;

/// How long such a look may take.
const LOOK: Duration = Duration::from_secs(30);

/// The path without `//`, `/.` and a slash at the end. `..` stays: where it leads depends on links.
pub(crate) fn normal(path: &str) -> String {
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    format!("/{}", parts.join("/"))
}

/// Which paths lead to one file, by device and inode: through links, symbolic or hard, and through `..`.
#[derive(Debug, Default)]
pub(super) struct Files {
    inodes: BTreeMap<String, Name>,
}

impl Files {
    /// Asks the host's file system. Paths that are not there, and a host that cannot be asked, are left out: then
    /// equal spelling is all that is known.
    pub(super) async fn read(host: &Host, paths: BTreeSet<String>) -> Self {
        let paths: Vec<_> = paths.into_iter().collect();
        let mut inodes = BTreeMap::new();
        for chunk in paths.chunks(PATHS_AT_ONCE) {
            let mut argv = vec!["stat", "--dereference", "--printf=%d:%i:%n\\0", "--"];
            argv.extend(chunk.iter().map(String::as_str));
            let output = match host.transport.run(&argv, LOOK).await {
                Ok(output) => output,
                Err(e) => {
                    tracing::debug!(error = %e, "links between images cannot be seen");
                    return Self::default();
                }
            };
            inodes.extend(parse_stat(&output.stdout));
        }
        Self { inodes }
    }

    /// The file that a path leads to.
    pub(super) fn inode(&self, path: &str) -> Option<&Name> {
        self.inodes.get(path)
    }
}

/// Reads `device:inode:path`, each ended by a NUL.
fn parse_stat(output: &[u8]) -> impl Iterator<Item = (String, Name)> {
    output.split(|b| *b == 0).filter_map(|line| {
        let line = std::str::from_utf8(line).ok()?;
        let mut parts = line.splitn(3, ':');
        let inode = Name::Inode { device: parts.next()?.parse().ok()?, inode: parts.next()?.parse().ok()? };
        Some((parts.next()?.to_owned(), inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_says_which_names_are_one_file() {
        let inodes = parse_stat(b"1:2:/a\x001:2:/with:colon\x001:3:/b\0x:4:/c\0").collect();
        let files = Files { inodes };
        assert_eq!(files.inode("/a"), Some(&Name::Inode { device: 1, inode: 2 }));
        assert_eq!(files.inode("/a"), files.inode("/with:colon"));
        assert_ne!(files.inode("/a"), files.inode("/b"));
        assert_eq!(files.inode("/c"), None);
    }
}
