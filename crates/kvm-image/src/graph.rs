//! Images, what lies upon what, and who uses them, as one graph of a host; and whether a change would hurt somebody.
//!
//! The graph is data: a caller adds what machines, snapshots, jobs and headers say ([`GraphBuilder`]) and asks
//! ([`Graph::may`]). One image has many names: a canonical path, a volume of a pool, an inode for hard links, an address.
//! Whatever shares a name is one image. Symbolic links are resolved by whoever gives the paths.
//!
//! A change is allowed only when the graph proves that nobody else is hurt. Hence an image whose header could not be
//! read, and which may lie upon any other, refuses all changes until it is read or declared complete.
//!
//! ```
//! use kvm_image::graph::{Access, GraphBuilder, Name, Operation, User};
//!
//! let (base, web) = (Name::path("/images/base.qcow2"), Name::path("/images/web.qcow2"));
//! let mut builder = GraphBuilder::default();
//! builder.image(&[base.clone()]);
//! builder.image(&[web.clone()]);
//! builder.backing(&web, &base);
//! builder.usage(User::vm("web", "vda"), Access::Write, &web);
//! let graph = builder.build();
//!
//! let mine = graph.users_of_vm("web");
//! assert!(!graph.may(&Operation::delete([base.clone()]), &mine).is_allowed());
//! assert!(graph.may(&Operation::delete([base, web]), &mine).is_allowed());
//! ```

mod build;
mod render;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kvm_core::text::printable;
use serde::{Serialize, Serializer};

pub use build::GraphBuilder;
pub use verdict::{Operation, Reason, Verdict};

/// A name of an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Name {
    /// A canonical path: absolute, without symbolic links.
    Path {
        /// The path.
        path: String,
    },
    /// A volume of a storage pool.
    Volume {
        /// The pool.
        pool: String,
        /// The volume.
        volume: String,
    },
    /// An address on the network, such as `rbd:pool/image`.
    Network {
        /// The address.
        address: String,
    },
    /// A file by device and inode: the same for all its hard links.
    Inode {
        /// The device.
        device: u64,
        /// The inode.
        inode: u64,
    },
}

impl Name {
    /// A canonical path.
    #[must_use]
    pub fn path(path: impl Into<String>) -> Self {
        Self::Path { path: path.into() }
    }

    /// A volume of a pool.
    #[must_use]
    pub fn volume(pool: impl Into<String>, volume: impl Into<String>) -> Self {
        Self::Volume { pool: pool.into(), volume: volume.into() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { path } => write!(f, "{}", printable(path)),
            Self::Volume { pool, volume } => write!(f, "{}/{}", printable(pool), printable(volume)),
            Self::Network { address } => write!(f, "{}", printable(address)),
            Self::Inode { device, inode } => write!(f, "inode {device}:{inode}"),
        }
    }
}

/// Somebody who uses an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum User {
    /// A disk of a machine.
    Vm {
        /// The machine.
        vm: String,
        /// Its disk, such as `vda`.
        disk: String,
    },
    /// A snapshot that has this image as the state of a disk.
    Snapshot {
        /// The machine.
        vm: String,
        /// The snapshot.
        snapshot: String,
    },
    /// A checkpoint whose bitmap is in this image.
    Checkpoint {
        /// The machine.
        vm: String,
        /// The checkpoint.
        checkpoint: String,
    },
    /// Something else in a machine's definition: a kernel, an argument, a directory that is shared with the guest.
    Definition {
        /// The machine.
        vm: String,
    },
    /// A job that copies a disk into this image.
    Mirror {
        /// The machine.
        vm: String,
        /// The disk that is copied.
        disk: String,
    },
}

impl User {
    /// A disk of a machine.
    #[must_use]
    pub fn vm(vm: impl Into<String>, disk: impl Into<String>) -> Self {
        Self::Vm { vm: vm.into(), disk: disk.into() }
    }

    /// The machine that it belongs to.
    #[must_use]
    pub fn owner(&self) -> &str {
        match self {
            Self::Vm { vm, .. }
            | Self::Snapshot { vm, .. }
            | Self::Checkpoint { vm, .. }
            | Self::Definition { vm }
            | Self::Mirror { vm, .. } => vm,
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, what) = match self {
            Self::Vm { disk, .. } => ("disk", disk),
            Self::Snapshot { snapshot, .. } => ("snapshot", snapshot),
            Self::Checkpoint { checkpoint, .. } => ("checkpoint", checkpoint),
            Self::Mirror { disk, .. } => ("copy of disk", disk),
            Self::Definition { vm } => return write!(f, "definition of VM {}", printable(vm)),
        };
        write!(f, "{kind} {} of VM {}", printable(what), printable(self.owner()))
    }
}

/// What a user does with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Reads it.
    Read,
    /// Writes it, together with others who know of it.
    Shared,
    /// Writes it alone.
    Write,
}

/// Whether an image is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Presence {
    /// It was seen.
    Present,
    /// It was looked for and is not there.
    Missing,
    /// Somebody names it; nobody looked.
    Named,
    /// It is there, but what it lies upon is not known.
    Unread {
        /// Why.
        why: String,
    },
}

/// An image of the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Image {
    /// All its names, sorted; the first is the one to show.
    pub names: Vec<Name>,
    /// Whether it is there.
    pub presence: Presence,
    /// Who uses it directly. In JSON a list of `user` and `access`.
    #[serde(serialize_with = "as_list")]
    pub users: BTreeMap<User, Access>,
    /// What it lies upon, by [`Graph::images`]. More than one only when its names disagree.
    pub backing: BTreeSet<usize>,
    /// What lies upon it.
    pub overlays: BTreeSet<usize>,
}

/// A user is more than a string, so it cannot be a key in JSON.
fn as_list<S: Serializer>(users: &BTreeMap<User, Access>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Entry<'a> {
        user: &'a User,
        access: Access,
    }
    serializer.collect_seq(users.iter().map(|(user, access)| Entry { user, access: *access }))
}

impl Image {
    /// The name to show: a path where there is one.
    #[must_use]
    pub fn name(&self) -> &Name {
        // An image is made by its first name.
        &self.names[0]
    }
}

/// Who lies upon what and who uses what; made by [`GraphBuilder`]. Its JSON has the images with their edges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Graph {
    images: Vec<Image>,
    #[serde(skip)]
    by_name: BTreeMap<Name, usize>,
}

impl Graph {
    /// All images; an edge is an index into them.
    #[must_use]
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The index of the image that has this name.
    #[must_use]
    pub fn find(&self, name: &Name) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Everything through which a machine uses images: its disks, snapshots, checkpoints and jobs.
    #[must_use]
    pub fn users_of_vm(&self, vm: &str) -> BTreeSet<User> {
        let users = self.images.iter().flat_map(|image| image.users.keys());
        users.filter(|user| user.owner() == vm).cloned().collect()
    }

    /// These images and all below or above them, by the edges that `next` gives; a cycle ends where it began.
    fn reach<'a>(
        &'a self,
        from: impl IntoIterator<Item = usize>,
        next: fn(&'a Image) -> &'a BTreeSet<usize>,
    ) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<usize> = from.into_iter().collect();
        while let Some(at) = open.pop() {
            if reached.insert(at) {
                open.extend(next(&self.images[at]));
            }
        }
        reached
    }

    /// All that these images lie upon, in the end.
    #[must_use]
    pub fn below(&self, images: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        let bases = images.into_iter().filter_map(|at| self.images.get(at)).flat_map(|image| &image.backing);
        self.reach(bases.copied(), |image| &image.backing)
    }

    /// The part of the graph that a machine is in: its images, all below these, and whatever lies upon one of them.
    #[must_use]
    pub fn around(&self, vm: &str) -> Self {
        let used = |image: &Image| image.users.keys().any(|user| user.owner() == vm);
        let own = (0..self.images.len()).filter(|at| used(&self.images[*at]));
        let below = self.reach(own, |image| &image.backing);
        let kept: Vec<usize> = self.reach(below, |image| &image.overlays).into_iter().collect();
        let moved = |edges: &BTreeSet<usize>| edges.iter().filter_map(|at| kept.binary_search(at).ok()).collect();
        let images = kept.iter().map(|at| {
            let image = &self.images[*at];
            Image { backing: moved(&image.backing), overlays: moved(&image.overlays), ..image.clone() }
        });
        let names = self.by_name.iter().filter_map(|(name, at)| Some((name.clone(), kept.binary_search(at).ok()?)));
        Self { images: images.collect(), by_name: names.collect() }
    }

    /// Everybody who reads an image, directly or through what lies upon it.
    #[must_use]
    pub fn users_through(&self, image: usize) -> BTreeSet<User> {
        let above = self.reach(self.images.get(image).map(|_| image), |image| &image.overlays);
        above.into_iter().flat_map(|at| self.images[at].users.keys()).cloned().collect()
    }

    /// The images that are there and that nobody uses, directly or through others.
    ///
    /// While some image is [`Presence::Unread`], one of these may still be below it; [`Graph::may`] knows that.
    #[must_use]
    pub fn orphans(&self) -> Vec<usize> {
        let used = (0..self.images.len()).filter(|at| !self.images[*at].users.is_empty());
        let reached = self.reach(used, |image| &image.backing);
        let is_there = |at: &usize| matches!(self.images[*at].presence, Presence::Present | Presence::Unread { .. });
        (0..self.images.len()).filter(is_there).filter(|at| !reached.contains(at)).collect()
    }

    /// The images that are named or used, but not there.
    #[must_use]
    pub fn missing(&self) -> Vec<usize> {
        (0..self.images.len()).filter(|at| self.images[*at].presence == Presence::Missing).collect()
    }

    /// The images that lie, in the end, upon themselves.
    #[must_use]
    pub fn cycles(&self) -> Vec<usize> {
        let below = |at: usize| self.reach(self.images[at].backing.iter().copied(), |image| &image.backing);
        (0..self.images.len()).filter(|at| below(*at).contains(at)).collect()
    }
}
