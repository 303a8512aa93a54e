//! The text files of the repository, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

/// Directories that are made by tools and belong to nobody's review.
const SKIPPED: &[&str] =
    &[".git", "dist", "fuzz/artifacts", "fuzz/corpus", "fuzz/coverage", "lab/state", "node_modules", "target"];

/// All files below the root, by their path with `/` between the parts.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    texts: BTreeMap<String, String>,
    /// Every file, the binary ones included, and every directory.
    paths: BTreeSet<String>,
}

impl Tree {
    /// Reads the tree below `root`.
    ///
    /// # Errors
    /// When a file or directory cannot be read.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.read_directory(root, "")?;
        Ok(tree)
    }

    fn read_directory(&mut self, root: &Path, directory: &str) -> io::Result<()> {
        for entry in fs::read_dir(root.join(directory))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = match directory {
                "" => name.clone(),
                directory => format!("{directory}/{name}"),
            };
            if SKIPPED.contains(&name.as_str()) || SKIPPED.contains(&path.as_str()) {
                continue;
            }
            // Symbolic links are named but not followed: what they point at may be anywhere.
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.read_directory(root, &path)?;
            } else if kind.is_file()
                && let Ok(text) = String::from_utf8(fs::read(entry.path())?)
            {
                self.texts.insert(path.clone(), text);
            }
            self.paths.insert(path);
        }
        Ok(())
    }

    /// Every text file with its text.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = self.texts.iter();
        files.map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Every text file whose name ends like this.
    pub(super) fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files().filter(move |(path, _)| path.ends_with(end))
    }

    /// The text of one file; empty when there is no such file.
    pub(super) fn text(&self, path: &str) -> &str {
        self.texts.get(path).map_or("", String::as_str)
    }

    /// Whether a file or directory of that path exists.
    pub(super) fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// The directories of all packages: wherever a manifest names one. A package with a workspace of its own cannot inherit.
    pub(super) fn packages(&self) -> impl Iterator<Item = &str> {
        self.ending("/Cargo.toml")
            .filter(|(_, text)| {
                text.lines().any(|line| line == "[package]") && !text.lines().any(|line| line == "[workspace]")
            })
            .filter_map(|(path, _)| path.strip_suffix("/Cargo.toml"))
    }

    /// The names of the crates: the directories in `crates/`.
    pub(super) fn crates(&self) -> impl Iterator<Item = &str> {
        let inside = self.paths.iter().filter_map(|p| p.strip_prefix("crates/"));
        inside.filter(|name| !name.contains('/'))
    }
}

#[cfg(test)]
impl Tree {
    /// A tree for a test, of paths and texts.
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            tree.texts.insert((*path).to_owned(), (*text).to_owned());
            let mut path = *path;
            tree.paths.insert(path.to_owned());
            while let Some((parent, _)) = path.rsplit_once('/') {
                tree.paths.insert(parent.to_owned());
                path = parent;
            }
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_itself_can_be_read() {
        let tree = Tree::read(&crate::workspace::root()).expect("readable");
        assert!(tree.packages().any(|package| package == "xtask"));
        assert!(tree.crates().any(|name| name == "kvm-core"));
        assert!(!tree.files().any(|(path, _)| path.starts_with("target/")));
    }
}
