//! The graph for people and for Graphviz. As JSON it is itself.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use super::{Access, Graph, Image, Presence};

impl Graph {
    /// A tree per chain as text: what is uppermost, with its users, and below it what it lies upon.
    ///
    /// ```text
    /// /images/web.qcow2  (disk vda of VM web)
    ///   /images/base.qcow2
    /// ```
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut told = BTreeSet::new();
        let (tops, rest): (Vec<_>, Vec<_>) =
            (0..self.images.len()).partition(|at| self.images[*at].overlays.is_empty());
        // What no chain has reached are rings, which have no uppermost image.
        for (at, is_top) in tops.into_iter().map(|at| (at, true)).chain(rest.into_iter().map(|at| (at, false))) {
            if is_top || !told.contains(&at) {
                self.chain(&mut text, at, &mut told);
            }
        }
        text
    }

    /// One chain, without recursion: chains may be long.
    fn chain(&self, text: &mut String, top: usize, told: &mut BTreeSet<usize>) {
        let (mut open, mut here) = (vec![(top, 0)], BTreeSet::new());
        while let Some((at, depth)) = open.pop() {
            let is_new = here.insert(at);
            told.insert(at);
            let again = if is_new { "" } else { "  (again)" };
            _ = writeln!(text, "{:width$}{}{again}", "", Label(&self.images[at]), width = depth * 2);
            if is_new {
                open.extend(self.images[at].backing.iter().rev().map(|below| (*below, depth + 1)));
            }
        }
    }

    /// The graph in Graphviz's language: `dot -Tsvg` draws it.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let mut dot = "digraph images {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
        let mut users = 0;
        for (at, image) in self.images.iter().enumerate() {
            let style = match image.presence {
                Presence::Present => "solid",
                Presence::Missing | Presence::Named => "dashed",
                Presence::Unread { .. } => "dotted",
            };
            _ = writeln!(dot, "  i{at} [label={}, style={style}];", Quoted(&image.name().to_string()));
            for below in &image.backing {
                _ = writeln!(dot, "  i{at} -> i{below};");
            }
            for (user, access) in &image.users {
                let label = Quoted(&user.to_string()).to_string();
                _ = writeln!(dot, "  u{users} [label={label}, shape=ellipse];\n  u{users} -> i{at} [label={access}];");
                users += 1;
            }
        }
        dot.push_str("}\n");
        dot
    }
}

/// An image on one line.
struct Label<'a>(&'a Image);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = self.0;
        write!(f, "{}", image.name())?;
        let state = match &image.presence {
            Presence::Present => None,
            Presence::Missing => Some("missing".to_owned()),
            Presence::Named => Some("not looked at".to_owned()),
            Presence::Unread { why } => Some(format!("not read: {}", kvm_core::text::printable_within(why, 200))),
        };
        let users = image.users.iter().map(|(user, access)| match access {
            Access::Write => user.to_string(),
            access => format!("{user}, {access}"),
        });
        let notes: Vec<String> = state.into_iter().chain(users).collect();
        if notes.is_empty() { Ok(()) } else { write!(f, "  ({})", notes.join("; ")) }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Shared => "shared",
            Self::Write => "write",
        })
    }
}

/// A string of Graphviz's language.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            // Backslashes begin escapes that stand for other things there.
            if matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')
    }
}
