//! Whether an image may be changed.

use std::collections::BTreeSet;
use std::fmt;

use kvm_core::text::printable_within;
use serde::Serialize;

use super::{Access, Graph, Name, Presence, User};

/// What somebody wants to do to images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operation {
    /// Delete all of these.
    Delete {
        /// Which.
        images: BTreeSet<Name>,
    },
    /// Give all of these another place. What lies upon one of them must be one of them.
    Move {
        /// Which.
        images: BTreeSet<Name>,
    },
    /// Write what the images from `active` down to `base` hold into `base`, which changes it and everything between.
    Commit {
        /// The uppermost image of the chain in which it happens, such as the disk of the machine.
        active: Name,
        /// The image that receives the data.
        base: Name,
    },
    /// Copy into an image what it takes from those below. What it shows does not change, but it is written.
    Pull {
        /// Which.
        image: Name,
    },
    /// Put an image back to what a snapshot holds.
    Revert {
        /// Which.
        image: Name,
    },
}

impl Operation {
    /// Deletes all of these.
    #[must_use]
    pub fn delete(images: impl IntoIterator<Item = Name>) -> Self {
        Self::Delete { images: images.into_iter().collect() }
    }

    /// Moves all of these.
    #[must_use]
    pub fn relocate(images: impl IntoIterator<Item = Name>) -> Self {
        Self::Move { images: images.into_iter().collect() }
    }
}

/// The answer to [`Graph::may`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Nobody else is hurt.
    Allowed,
    /// Somebody is, or it cannot be known.
    Refused {
        /// Every reason.
        reasons: Vec<Reason>,
    },
}

impl Verdict {
    /// Whether it is allowed.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        *self == Self::Allowed
    }
}

/// Why a change is refused. `Display` is a line for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// Somebody else uses the image.
    Used {
        /// The image.
        image: Name,
        /// Who.
        user: User,
        /// What for.
        access: Access,
    },
    /// Another image lies upon it.
    Overlaid {
        /// The image.
        image: Name,
        /// What lies upon it.
        overlay: Name,
        /// Everybody who reads it through that.
        users: BTreeSet<User>,
    },
    /// An image of which it is not known what it lies upon.
    Unread {
        /// The image.
        image: Name,
        /// Why.
        why: String,
    },
    /// The graph has no such image.
    Unknown {
        /// The name.
        image: Name,
    },
    /// The two are not in one chain.
    NotBelow {
        /// The upper image.
        active: Name,
        /// The one that is not below it.
        base: Name,
    },
    /// The image lies, in the end, upon itself.
    Cycle {
        /// The image.
        image: Name,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Used { image, user, access } => {
                let verb = if *access == Access::Read { "read" } else { "written" };
                write!(f, "{image} is {verb} by {user}")
            }
            Self::Overlaid { image, overlay, users } => {
                write!(f, "{image} is the backing file of {overlay}")?;
                let mut divider = ", which is used by ";
                for user in users {
                    write!(f, "{divider}{user}")?;
                    divider = ", ";
                }
                Ok(())
            }
            Self::Unread { image, why } => {
                write!(f, "{image} could lie upon any image: {}", printable_within(why, 200))
            }
            Self::Unknown { image } => write!(f, "{image} is not known"),
            Self::NotBelow { active, base } => write!(f, "{base} is not below {active}"),
            Self::Cycle { image } => write!(f, "{image} lies upon itself in the end"),
        }
    }
}

impl Graph {
    /// Whether an operation hurts nobody but the users who take part in it.
    ///
    /// `partners` are the users for whom, or together with whom, it is done: all of a machine that is deleted as well,
    /// only the disk when its snapshots stay.
    #[must_use]
    pub fn may(&self, operation: &Operation, partners: &BTreeSet<User>) -> Verdict {
        let mut reasons = Vec::new();
        let changed = match self.changed(operation) {
            Ok(changed) => changed,
            Err(reason) => return Verdict::Refused { reasons: vec![reason] },
        };
        for &at in &changed {
            let image = &self.images[at];
            let others = image.users.iter().filter(|(user, _)| !partners.contains(user));
            reasons.extend(others.map(|(user, access)| Reason::Used {
                image: image.name().clone(),
                user: user.clone(),
                access: *access,
            }));
            let overlays = image.overlays.iter().filter(|overlay| !changed.contains(overlay));
            reasons.extend(overlays.map(|overlay| Reason::Overlaid {
                image: image.name().clone(),
                overlay: self.images[*overlay].name().clone(),
                users: self.users_through(*overlay),
            }));
        }
        // One that is itself deleted or moved cannot be hurt by it.
        for (at, image) in self.images.iter().enumerate() {
            if let Presence::Unread { why } = &image.presence
                && !changed.contains(&at)
            {
                reasons.push(Reason::Unread { image: image.name().clone(), why: why.clone() });
            }
        }
        if reasons.is_empty() { Verdict::Allowed } else { Verdict::Refused { reasons } }
    }

    /// The images that an operation changes.
    fn changed(&self, operation: &Operation) -> Result<BTreeSet<usize>, Reason> {
        let known = |name: &Name| self.find(name).ok_or_else(|| Reason::Unknown { image: name.clone() });
        match operation {
            Operation::Delete { images } | Operation::Move { images } => images.iter().map(known).collect(),
            Operation::Pull { image } | Operation::Revert { image } => {
                let at = known(image)?;
                if self.cycles().contains(&at) {
                    return Err(Reason::Cycle { image: image.clone() });
                }
                Ok(BTreeSet::from([at]))
            }
            Operation::Commit { active, base } => {
                let (top, bottom) = (known(active)?, known(base)?);
                let between = self.between(top, bottom);
                if let Some(at) = self.cycles().into_iter().find(|at| between.contains(at)) {
                    return Err(Reason::Cycle { image: self.images[at].name().clone() });
                }
                let is_below = top != bottom && between.contains(&top) && between.contains(&bottom);
                let apart = || Reason::NotBelow { active: active.clone(), base: base.clone() };
                if is_below { Ok(between) } else { Err(apart()) }
            }
        }
    }

    /// What is below the one and above the other, both included.
    fn between(&self, top: usize, bottom: usize) -> BTreeSet<usize> {
        let below = self.reach([top], |image| &image.backing);
        let above = self.reach([bottom], |image| &image.overlays);
        below.intersection(&above).copied().collect()
    }
}
