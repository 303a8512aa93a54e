//! Names as the helper knows them: below a directory, and never out of it.

use std::path::{Component, Path};

use kvm_wire::{FailureKind, FileRef, Reply};

use crate::transport::is_directory;
use crate::world::World;

pub(super) const PARTIAL: &str = ".partial";

/// What went wrong.
pub(super) struct Trouble(pub(super) FailureKind, pub(super) String, pub(super) Option<FileRef>);

impl Trouble {
    pub(super) fn new(kind: FailureKind, message: impl Into<String>, file: &FileRef) -> Self {
        Self(kind, message.into(), Some(file.clone()))
    }

    pub(super) fn plain(kind: FailureKind, message: impl Into<String>) -> Self {
        Self(kind, message.into(), None)
    }

    pub(super) fn into_reply(self) -> Reply {
        Reply::Error { kind: self.0, message: self.1, file: self.2, cause: None }
    }
}

pub(super) type Answer<T> = Result<T, Trouble>;

/// The path of a file, whose directory is there.
pub(super) fn path(world: &World, file: &FileRef) -> Answer<String> {
    let name = Path::new(&file.name);
    let is_plain = !file.name.is_empty()
        && !file.name.ends_with('/')
        && name.components().all(|part| matches!(part, Component::Normal(_)))
        && ![PARTIAL, ".sync"].iter().any(|end| file.name.ends_with(end));
    if !is_plain {
        return Err(Trouble::new(FailureKind::InvalidInput, "name: a relative path to a file is needed", file));
    }
    let path = format!("{}/{}", root(world, file)?, file.name);
    match Path::new(&path).parent().is_some_and(|parent| is_directory(world, parent)) {
        true => Ok(path),
        false => Err(missing("cannot open the directory", file)),
    }
}

/// The path of a directory below the root, or the root's own.
pub(super) fn directory(world: &World, file: &FileRef) -> Answer<String> {
    let path = if file.name.is_empty() { root(world, file)? } else { path(world, file)? };
    match is_directory(world, Path::new(&path)) {
        true => Ok(path),
        false => Err(missing("cannot open the directory", file)),
    }
}

/// Whether there is a file or directory of this path.
pub(super) fn has(world: &World, path: &str) -> bool {
    world.files.contains_key(path) || is_directory(world, Path::new(path))
}

pub(super) fn missing(doing: &str, file: &FileRef) -> Trouble {
    Trouble::new(FailureKind::NotFound, format!("{doing}: no such file or directory"), file)
}

pub(super) fn taken(file: &FileRef) -> Trouble {
    Trouble::new(FailureKind::AlreadyExists, "the name is taken", file)
}

fn root(world: &World, file: &FileRef) -> Answer<String> {
    if !file.root.starts_with('/') {
        return Err(Trouble::new(FailureKind::InvalidInput, "root: an absolute path is needed", file));
    }
    match is_directory(world, Path::new(&file.root)) {
        true => Ok(file.root.trim_end_matches('/').to_owned()),
        false => Err(missing("cannot open the directory", file)),
    }
}
