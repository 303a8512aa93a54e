//! Putting a graph together from what many sources say.

use std::collections::{BTreeMap, BTreeSet};

use super::{Access, Graph, Image, Name, Presence, User};

/// Collects what is known of images, in any order.
#[derive(Clone, Debug, Default)]
pub struct GraphBuilder {
    /// Sets of names that are one image each.
    same: Vec<Vec<Name>>,
    presence: Vec<(Name, Presence)>,
    backing: Vec<(Name, Name)>,
    usage: Vec<(User, Access, Name)>,
}

impl GraphBuilder {
    /// Adds an image that is there, by all its names.
    pub fn image(&mut self, names: &[Name]) {
        self.add(names, Presence::Present);
    }

    /// Adds an image that was looked for and is not there.
    pub fn missing(&mut self, names: &[Name]) {
        self.add(names, Presence::Missing);
    }

    /// Adds an image whose header could not be read, and why. It may lie upon any other.
    pub fn unread(&mut self, names: &[Name], why: &str) {
        self.add(names, Presence::Unread { why: why.to_owned() });
    }

    fn add(&mut self, names: &[Name], presence: Presence) {
        self.same.push(names.to_vec());
        self.presence.extend(names.first().map(|name| (name.clone(), presence)));
    }

    /// Says that one image lies upon another. Both become known if they are not.
    pub fn backing(&mut self, overlay: &Name, base: &Name) {
        self.backing.push((overlay.clone(), base.clone()));
    }

    /// Says that somebody uses an image. It becomes known if it is not.
    pub fn usage(&mut self, user: User, access: Access, name: &Name) {
        self.usage.push((user, access, name.clone()));
    }

    /// The graph. Names that were said to be one image are, also in a roundabout way.
    #[must_use]
    pub fn build(self) -> Graph {
        let named = self.backing.iter().flat_map(|(overlay, base)| [overlay, base]);
        let named = named.chain(self.usage.iter().map(|(_, _, name)| name));
        let mut classes = Classes::default();
        for name in named {
            classes.class(name);
        }
        for names in &self.same {
            for name in names {
                classes.join(&names[0], name);
            }
        }
        let (images, by_name) = classes.images();
        let mut graph = Graph { images, by_name };
        for (name, presence) in self.presence {
            if let Some(image) = graph.of(&name) {
                image.presence = graver(image.presence.clone(), presence);
            }
        }
        for (overlay, base) in self.backing {
            if let (Some(above), Some(below)) = (graph.find(&overlay), graph.find(&base)) {
                graph.images[above].backing.insert(below);
                graph.images[below].overlays.insert(above);
            }
        }
        for (user, access, name) in self.usage {
            if let Some(image) = graph.of(&name) {
                let known = image.users.entry(user).or_insert(access);
                *known = access.max(*known);
            }
        }
        graph
    }
}

impl Graph {
    fn of(&mut self, name: &Name) -> Option<&mut Image> {
        self.find(name).and_then(|at| self.images.get_mut(at))
    }
}

/// What is true when two sources differ: not known is the least, there beats missing, unread beats all.
fn graver(a: Presence, b: Presence) -> Presence {
    let rank = |presence: &Presence| match presence {
        Presence::Named => 0,
        Presence::Missing => 1,
        Presence::Present => 2,
        Presence::Unread { .. } => 3,
    };
    if rank(&b) > rank(&a) { b } else { a }
}

/// Names and which of them are the same image: a forest of parents.
#[derive(Default)]
struct Classes {
    numbers: BTreeMap<Name, usize>,
    parents: Vec<usize>,
}

impl Classes {
    fn class(&mut self, name: &Name) -> usize {
        let fresh = self.parents.len();
        let number = *self.numbers.entry(name.clone()).or_insert(fresh);
        if number == fresh {
            self.parents.push(fresh);
        }
        self.root(number)
    }

    fn root(&mut self, mut at: usize) -> usize {
        while self.parents[at] != at {
            self.parents[at] = self.parents[self.parents[at]];
            at = self.parents[at];
        }
        at
    }

    fn join(&mut self, a: &Name, b: &Name) {
        let (a, b) = (self.class(a), self.class(b));
        self.parents[b] = a;
    }

    /// The images in the order of their first names, and the index of each name.
    fn images(mut self) -> (Vec<Image>, BTreeMap<Name, usize>) {
        let mut members: BTreeMap<usize, Vec<Name>> = BTreeMap::new();
        let numbers: Vec<_> = self.numbers.iter().map(|(name, number)| (name.clone(), *number)).collect();
        for (name, number) in numbers {
            members.entry(self.root(number)).or_default().push(name);
        }
        let mut groups: Vec<Vec<Name>> = members.into_values().collect();
        groups.sort();
        let by_name =
            groups.iter().enumerate().flat_map(|(at, names)| names.iter().map(move |name| (name.clone(), at)));
        let by_name = by_name.collect();
        let image = |names| Image {
            names,
            presence: Presence::Named,
            users: BTreeMap::new(),
            backing: BTreeSet::new(),
            overlays: BTreeSet::new(),
        };
        (groups.into_iter().map(image).collect(), by_name)
    }
}
